import { describe, expect, onTestFinished, test } from "vitest";
import { NoSessionAvailableError } from "../../src/errors.js";
import { encodeSpending, sessionRecordId } from "../../src/rate-limits/durable/spending-record.js";
import { SpentCalls } from "../../src/rate-limits/durable/spent-calls.js";
import { decodeRecord, encodeRecord } from "../../src/storage/record.js";
import { FakeTelegram, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { START, settled, VirtualClock } from "../fakes/virtual-clock.js";

const MINUTE = 60_000;
const DAY = 86_400_000;

/** Pools of one storage and one Telegram, one after the other or together. */
class Stage {
  readonly clock: VirtualClock = new VirtualClock();
  readonly telegram: FakeTelegram = new FakeTelegram(this.clock);
  readonly storage: FaultyStorage = new FaultyStorage();
  readonly #calls: number;
  readonly #perMs: number;

  constructor(calls: number, perMs: number = DAY) {
    this.#calls = calls;
    this.#perMs = perMs;
    onTestFinished(() => expect(this.mostInWindow()).toBeLessThanOrEqual(calls));
  }

  open(options: TestPoolOptions = {}): Promise<TestPool> {
    const { clock, telegram, storage } = this;
    const budgets = { [WRITE]: { calls: this.#calls, perMs: this.#perMs, durable: true } };
    return openPool({ storage, clock, telegram, sessions: ["a"], budgets, ...options });
  }

  /** Another process on the same records: of the killed one nothing is written any more. */
  kill(): void {
    this.storage.fateOfWrite = () => "hangs";
    (this as { storage: FaultyStorage }).storage = this.storage.sibling();
  }

  /** The most calls that any window has. */
  mostInWindow(): number {
    const calls = this.telegram.calls.filter(({ method }) => method === WRITE);
    const counts = calls.map(({ at }) => calls.filter((other) => other.at > at - this.#perMs && other.at <= at).length);
    return Math.max(0, ...counts);
  }

  /** Writes of the records of what was spent. */
  get writes(): number {
    return this.storage.writes.filter(({ id }) => id.startsWith("~pool:spent:")).length;
  }
}

function send({ pool }: TestPool): Promise<unknown> {
  return pool.use((client) => client.call(WRITE), { wait: false });
}

/** Sends by one session. */
function on({ pool }: TestPool, id: string): Promise<unknown> {
  return pool.use((client) => client.call(WRITE), { id, wait: false });
}

/** Sends until the limit refuses, letting time pass where a call waits. Returns how many were sent. */
async function sendAll(made: TestPool, stage: Stage): Promise<number> {
  const before = stage.telegram.calls.length;
  for (;;) {
    const sent = watch(send(made));
    await settled();
    for (let waits = 0; sent.state === "pending" && waits < 10; waits++) await stage.clock.advance(1_000);
    if (sent.state !== "resolved") return stage.telegram.calls.length - before;
  }
}

describe("durable limits", () => {
  test("a spent limit is still spent after a restart, to the instant at which the first call is forgotten", async () => {
    const stage = new Stage(3);
    const first = await stage.open();
    for (let call = 0; call < 3; call++) await send(first);
    await expect(send(first)).rejects.toMatchObject({ retryAt: START + DAY });
    await first.pool.close();
    await stage.clock.advance(1_000);
    const second = await stage.open();
    expect(await second.pool.acquire({ method: WRITE, wait: false }).catch((error: unknown) => error)).toMatchObject({
      code: "NO_SESSION_AVAILABLE",
      retryAt: START + DAY,
      waitingCount: 1,
    });
    await expect(send(second)).rejects.toBeInstanceOf(NoSessionAvailableError);
    await second.pool.use((client) => client.call(READ), { wait: false });
    await stage.clock.advance(DAY - 1_001);
    await expect(send(second)).rejects.toBeInstanceOf(NoSessionAvailableError);
    await stage.clock.advance(1);
    await send(second);
  });

  test.each([1, 2, 3, 5, 40, 500])("%i calls a day - every one of them can be made, without a pause", async (calls) => {
    const stage = new Stage(calls);
    const made = await stage.open();
    for (let call = 0; call < Math.min(calls, 40); call++) await send(made);
    expect(stage.telegram.calls.filter(({ method }) => method === WRITE)).toHaveLength(Math.min(calls, 40));
    expect(await sendAll(made, stage)).toBe(calls - Math.min(calls, 40));
  });

  test("a killed process has spent at least what it sent, and at most a quarter of the limit more", async () => {
    const stage = new Stage(40);
    const first = await stage.open();
    for (let call = 0; call < 7; call++) await send(first);
    stage.kill();
    const second = await stage.open({ sessions: [], ownership: { host: "other" } });
    await stage.clock.advance(10 * MINUTE);
    const left = await sendAll(second, stage);
    expect(left).toBeLessThanOrEqual(33);
    expect(left).toBeGreaterThanOrEqual(23);
  });

  test("a closed process has spent exactly what it sent", async () => {
    const stage = new Stage(40);
    const first = await stage.open();
    for (let call = 0; call < 7; call++) await send(first);
    await first.pool.close();
    const second = await stage.open();
    expect(await sendAll(second, stage)).toBe(33);
  });

  test("writes - on average at most one in two seconds, however fast the calls", async () => {
    const stage = new Stage(100_000, 30 * DAY);
    const made = await stage.open();
    const begun = stage.clock.monotonic();
    for (let call = 0; call < 3_000; call++) {
      const sent = watch(send(made));
      await settled();
      while (sent.state === "pending") await stage.clock.advance(100);
      expect(sent.state).toBe("resolved");
      await stage.clock.advance(20);
    }
    const seconds = (stage.clock.monotonic() - begun) / 1000;
    expect(seconds).toBeLessThan(70);
    expect(stage.writes).toBeLessThanOrEqual(Math.ceil(seconds / 2));
  });

  test("the record of 30 days stays small, and the limit holds", async () => {
    const stage = new Stage(1_000, 30 * DAY);
    const made = await stage.open();
    for (let hour = 0; hour < 800; hour++) {
      for (let call = 0; call < 2; call++) await send(made).catch(() => {});
      stage.clock.skip(DAY / 24);
    }
    await made.pool.close();
    const record = stage.storage.writes.findLast(({ id }) => id.startsWith("~pool:spent:"));
    expect(record?.data?.length).toBeLessThan(2_500);
    expect(stage.telegram.calls.length).toBeGreaterThan(1_000);
  });

  test.each([DAY, -DAY, -3 * DAY, 3_600_000, -3_600_000, 400 * DAY])(
    "the wall clock is set by %i ms while the pool runs - nothing is refunded, also after a restart",
    async (ms) => {
      const stage = new Stage(3, 2 * DAY);
      const first = await stage.open();
      await send(first);
      stage.clock.turnWall(ms);
      await send(first);
      await send(first);
      await expect(send(first)).rejects.toBeInstanceOf(NoSessionAvailableError);
      await first.pool.close();
      const second = await stage.open();
      await expect(send(second)).rejects.toBeInstanceOf(NoSessionAvailableError);
      stage.clock.turnWall(-ms);
      await expect(send(second)).rejects.toBeInstanceOf(NoSessionAvailableError);
      await second.pool.close();
      const third = await stage.open();
      await expect(send(third)).rejects.toBeInstanceOf(NoSessionAvailableError);
    },
  );

  test("a wall clock that is behind at the next start - no time counts as passed, and the wait is known", async () => {
    const stage = new Stage(1);
    const first = await stage.open();
    await send(first);
    await first.pool.close();
    stage.clock.turnWall(-30 * DAY);
    const second = await stage.open();
    const error = await send(second).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ retryAt: stage.clock.now() + DAY });
    await stage.clock.advance(DAY);
    await send(second);
  });

  test("the storage fails - the call is not sent, and goes when the storage works again", async () => {
    const stage = new Stage(3);
    const made = await stage.open();
    await made.pool.use((client) => client.call(READ));
    stage.storage.fateOfWrite = () => "fails";
    await expect(send(made)).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(stage.telegram.calls.filter(({ method }) => method === WRITE)).toEqual([]);
    stage.storage.heal();
    for (let call = 0; call < 3; call++) await send(made);
    await expect(send(made)).rejects.toBeInstanceOf(NoSessionAvailableError);
  });

  test("a write that is applied although it failed is not counted twice", async () => {
    const stage = new Stage(8);
    const made = await stage.open();
    await made.pool.use((client) => client.call(READ));
    const { storage } = stage;
    const write = storage.write.bind(storage);
    let applied = 0;
    storage.write = async (id, expected, data) => {
      const version = await write(id, expected, data);
      const isLost = version !== undefined && id.startsWith("~pool:spent:") && ++applied % 2 === 0;
      if (isLost) throw new Error("the answer was lost");
      return version;
    };
    let sent = 0;
    for (let error: unknown; !(error instanceof NoSessionAvailableError); ) {
      const result = watch(send(made));
      await settled();
      while (result.state === "pending") await stage.clock.advance(1_000);
      if (result.state === "resolved") sent++;
      error = result.error;
    }
    expect(sent).toBe(8);
  });

  test("two processes on one session's record never exceed the limit together, and use all of it", async () => {
    const stage = new Stage(40);
    const [one, two] = [await stage.open(), await stage.open({ sessions: [], storage: stage.storage.sibling() })];
    await send(one);
    await one.pool.close();
    expect(await sendAll(two, stage)).toBe(39);
  });

  test("a record of which nothing has counted for a day - is deleted at the next start", async () => {
    const stage = new Stage(3);
    const first = await stage.open();
    await send(first);
    await first.pool.close();
    const isStored = async (): Promise<boolean> => (await stage.storage.stored(sessionRecordId("a"))) !== undefined;
    await stage.clock.advance(2 * DAY - MINUTE);
    const second = await stage.open();
    await stage.clock.advance(MINUTE / 2);
    expect(await isStored()).toBe(true);
    await second.pool.close();
    await stage.clock.advance(15 * MINUTE);
    const third = await stage.open();
    await stage.clock.advance(MINUTE);
    expect(await isStored()).toBe(false);
    expect(await sendAll(third, stage)).toBe(3);
    expect(await isStored()).toBe(true);
  });

  test("a record that is deleted while another process knows it - the limit holds for both", async () => {
    const stage = new Stage(3);
    const first = await stage.open({ ownership: { host: "one" }, idleTimeoutMs: 0 });
    await send(first);
    await stage.clock.advance(3 * DAY);
    const second = await stage.open({ ownership: { host: "two" }, idleTimeoutMs: 0, storage: stage.storage.sibling() });
    await stage.clock.advance(MINUTE);
    expect(await stage.storage.stored(sessionRecordId("a"))).toBeUndefined();
    await send(first);
    await stage.clock.advance(2 * MINUTE);
    expect(await sendAll(second, stage)).toBe(2);
  });

  test("a damaged record - is reported, is not overwritten, and nothing is sent until it is removed", async () => {
    const stage = new Stage(3);
    const first = await stage.open();
    await send(first);
    await first.pool.close();
    const [record] = (await stage.storage.list()).filter(({ id }) => id.startsWith("~pool:spent:"));
    if (record === undefined) throw new Error("no record");
    await stage.storage.write(record.id, record.version, "{");
    const second = await stage.open();
    expect(second.pool.rejected()).toMatchObject([{ id: record.id }]);
    await expect(send(second)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect((await stage.storage.read(record.id))?.data).toBe("{");
    expect(await second.pool.remove(record.id)).toBe(true);
    await send(second);
  });

  test("close() - leaves no timer, and a call that waits for its reservation is rejected", async () => {
    const stage = new Stage(1_000_000, 30 * DAY);
    const made = await stage.open();
    stage.storage.fateOfWrite = (id) => (id.startsWith("~pool:spent:") ? "hangs" : "works");
    const sent = watch(made.pool.use((client) => client.call(WRITE)));
    await settled();
    const closed = watch(made.pool.close({ timeoutMs: 100 }));
    await stage.clock.advance(20_000);
    expect({ sent: sent.state, closed: closed.state, timers: stage.clock.pending }).toEqual({
      sent: "rejected",
      closed: "resolved",
      timers: 0,
    });
  });
});

/** Tells the pools which account some sessions are of, as another process would that has learned it. */
async function setAccount({ storage }: Stage, ids: readonly string[], accountId = "5000000001"): Promise<void> {
  for (const id of ids) {
    const stored = await storage.read(id);
    if (stored === undefined) throw new Error("There is no record.");
    await storage.write(id, stored.version, encodeRecord({ ...decodeRecord(stored.data), accountId }));
  }
}

const SYNC_MS = 25_000;

describe("durable limits of an account", () => {
  test("its sessions share the limit, in one process and after a restart", async () => {
    const stage = new Stage(6);
    const first = await stage.open({ sessions: ["a", "b"] });
    await setAccount(stage, ["a", "b"]);
    await stage.clock.advance(SYNC_MS);
    for (let call = 0; call < 6; call++) await send(first);
    expect(new Set(stage.telegram.calls.map(({ id }) => id)).size).toBe(2);
    await expect(send(first)).rejects.toMatchObject({ waitingCount: 2 });
    await first.pool.close();
    const second = await stage.open({ sessions: [] });
    for (const id of ["a", "b"]) {
      await expect(second.pool.acquire({ id, method: WRITE, wait: false })).rejects.toMatchObject({
        retryAt: START + SYNC_MS + DAY,
      });
    }
  });

  test("two processes with a session each never exceed it together, and use all of it", async () => {
    const stage = new Stage(40);
    const one = await stage.open({ sessions: ["a", "b"], ownership: { host: "one" } });
    await setAccount(stage, ["a", "b"]);
    await stage.clock.advance(SYNC_MS);
    const two = await stage.open({ storage: stage.storage.sibling(), sessions: [], ownership: { host: "two" } });
    const call = (made: TestPool, id: string) =>
      watch(made.pool.use((client) => client.call(WRITE), { id, wait: 60_000 }));
    let sent = 0;
    for (let round = 0; round < 60; round++) {
      const calls = [call(one, "a"), call(two, "b")];
      for (let waits = 0; waits < 90 && calls.some(({ state }) => state === "pending"); waits++) {
        await stage.clock.advance(1_000);
      }
      sent += calls.filter(({ state }) => state === "resolved").length;
    }
    expect(sent).toBe(40);
  });

  test("what a session spent before its account was known counts, once, whichever process learns it", async () => {
    const stage = new Stage(20);
    const first = await stage.open({ sessions: ["a", "b"] });
    for (let call = 0; call < 3; call++) await on(first, "a");
    await on(first, "b");
    const other = await stage.open({ storage: stage.storage.sibling(), sessions: [], ownership: { host: "two" } });
    await setAccount(stage, ["a", "b"]);
    await stage.clock.advance(SYNC_MS);
    await on(first, "a");
    await on(first, "b");
    await first.pool.close();
    await stage.clock.advance(SYNC_MS);
    expect((await stage.storage.list()).map(({ id }) => id).filter((id) => id.startsWith("~pool:spent"))).toEqual([
      "~pool:spent:account:5000000001",
    ]);
    expect(await sendAll(other, stage)).toBe(14);
  });

  test("a limit that one session has spent - its other sessions cool at once, and other accounts do not", async () => {
    const stage = new Stage(2);
    const made = await stage.open({ sessions: ["a", "b", "c"] });
    await setAccount(stage, ["a", "b"]);
    await setAccount(stage, ["c"], "5000000002");
    await stage.clock.advance(SYNC_MS);
    for (let call = 0; call < 2; call++) await on(made, "a");
    await expect(made.pool.acquire({ id: "b", method: WRITE, wait: false })).rejects.toMatchObject({
      waitingCount: 1,
      retryAt: START + SYNC_MS + DAY,
    });
    (await made.pool.acquire({ id: "b", method: READ, wait: false })).release();
    (await made.pool.acquire({ id: "c", method: WRITE, wait: false })).release();
  });

  test("what a session has spent counts, even if its record is read after the account has made calls", async () => {
    const stage = new Stage(20);
    const made = await stage.open({ sessions: ["a", "b"] });
    await setAccount(stage, ["a", "b"]);
    await stage.clock.advance(SYNC_MS);
    await on(made, "b");
    const at = stage.clock.now();
    const methods = new Map([[WRITE, new SpentCalls(DAY, [{ at, calls: 3 }])]]);
    const data = encodeSpending({ at, latest: at, wall: at, line: "", methods, absorbed: new Map() });
    await stage.storage.write(sessionRecordId("b"), 0, data);
    await stage.clock.advance(2 * SYNC_MS);
    expect(await sendAll(made, stage)).toBe(16);
    await made.pool.close();
    expect((await stage.storage.list()).map(({ id }) => id)).not.toContain(sessionRecordId("b"));
  });

  test("a spent limit of a session that was removed and added again is still spent", async () => {
    const stage = new Stage(2);
    const made = await stage.open();
    for (let call = 0; call < 2; call++) await send(made);
    await made.pool.remove("a");
    await made.pool.add("a", sessionString("a"));
    await expect(send(made)).rejects.toMatchObject({ retryAt: START + DAY });
  });
});
