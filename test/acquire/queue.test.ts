import { getEventListeners } from "node:events";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { AcquireTimeoutError, NoSessionAvailableError } from "../../src/errors.js";
import { SessionTable } from "../../src/state/session-table.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled } from "../fakes/virtual-clock.js";

/** Takes turns on the one session "a": who got it, in order. */
async function queueOf(): Promise<{
  made: Awaited<ReturnType<typeof openPool>>;
  order: string[];
  join(name: string, options?: Parameters<Awaited<ReturnType<typeof openPool>>["pool"]["acquire"]>[0]): void;
  start(): Promise<void>;
}> {
  const made = await openPool({ sessions: ["a"] });
  const first = await made.pool.acquire();
  const order: string[] = [];
  const join = (name: string, options = {}): void => {
    made.pool.acquire(options).then(
      (lease) => {
        order.push(name);
        lease.release();
      },
      () => {},
    );
  };
  const start = async (): Promise<void> => {
    await settled();
    first.release();
    await settled();
  };
  return { made, order, join, start };
}

describe("the queue", () => {
  test("serves in order of arrival, also when callers in between give up", async () => {
    const { made, order, join, start } = await queueOf();
    const abort = new AbortController();
    join("1");
    join("aborted", { signal: abort.signal });
    join("2");
    join("timed out", { wait: 10 });
    join("3");
    await made.clock.advance(10);
    abort.abort();
    await start();
    expect(order).toEqual(["1", "2", "3"]);
  });

  test("serves higher priority first, strictly; equal priorities in order of arrival", async () => {
    const { order, join, start } = await queueOf();
    join("low", { priority: -1 });
    join("normal 1");
    join("high 1", { priority: 5 });
    join("normal 2", { priority: 0 });
    join("high 2", { priority: 5 });
    join("half", { priority: 0.5 });
    await start();
    expect(order).toEqual(["high 1", "high 2", "half", "normal 1", "normal 2", "low"]);
  });

  test("a caller that cannot be served does not hold up those behind it", async () => {
    const { pool } = await openPool({ sessions: ["a", "b"] });
    const [a, b] = [await pool.acquire({ id: "a" }), await pool.acquire({ id: "b" })];
    const [onB, any] = [watch(pool.acquire({ id: "b" })), watch(pool.acquire())];
    a.release();
    await settled();
    expect({ onB: onB.state, anyId: any.value?.id }).toEqual({ onB: "pending", anyId: "a" });
    b.release();
    await settled();
    expect(onB.value?.id).toBe("b");
  });

  test("when time advances in between, no later caller overtakes", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.coolDown(5);
    lease.release();
    const waiting = watch(pool.acquire());
    await settled();
    clock.skip(5_000);
    pool.status();
    pool.get("a");
    pool.sessions();
    const late = watch(pool.acquire({ wait: false }));
    await clock.advance(1);
    expect({ waiting: waiting.state, late: late.state }).toEqual({ waiting: "resolved", late: "rejected" });
  });

  test("when more sessions are due than one batch returns, waiting callers come before a new one", async () => {
    const ids = Array.from({ length: 501 }, (_, index) => `s${index}`);
    const { pool, clock } = await openPool({ sessions: ids });
    for (const lease of await Promise.all(ids.map((id) => pool.acquire({ id })))) {
      lease.coolDown(60);
      lease.release();
    }
    const waiting = ids.map(() => watch(pool.acquire()));
    await settled();
    const newcomer = watch(
      (async () => {
        await new Promise<void>((resolve) => pool.once("leased", () => resolve()));
        return pool.acquire({ wait: 1_000 });
      })(),
    );
    await clock.advance(60_000);
    expect(waiting.filter(({ state }) => state !== "resolved")).toEqual([]);
    expect(newcomer.state).toBe("pending");
  });

  test("when a running job checks for a free session, no waiting caller is overtaken", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"], inlineWaitMs: 60_000 });
    const b = await pool.acquire({ id: "b" });
    b.coolDown(5);
    b.release();
    const held = await pool.acquire({ id: "a" });
    const waiting = watch(pool.acquire({ id: "b" }));
    held.release();
    const job = watch(
      pool.use(async (client, lease) => {
        lease.coolDown(30);
        clock.skip(5_000);
        await client.call(READ);
      }),
    );
    await settled();
    const late = pool.acquire({ id: "b", wait: false });
    await expect(late).rejects.toThrow(NoSessionAvailableError);
    await clock.advance(1);
    expect({ waiting: waiting.state, job: job.state }).toEqual({ waiting: "resolved", job: "pending" });
  });

  test("when a listener of released acquires a session, it comes after the waiting callers", async () => {
    const { made, order, join, start } = await queueOf();
    made.pool.on("released", () => {
      if (order.length < 4) join("listener");
    });
    join("normal");
    join("high", { priority: 100 });
    await start();
    expect(order.slice(0, 2)).toEqual(["high", "normal"]);
  });

  test("when a session is added, it serves the first waiting caller", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.acquire();
    const [first, second] = [watch(pool.acquire()), watch(pool.acquire())];
    await pool.add("b", sessionString());
    await settled();
    expect({ firstId: first.value?.id, second: second.state }).toEqual({ firstId: "b", second: "pending" });
  });

  test("when 10 sessions are due at once for 10,000 waiters, 10 are served in order and the rest keep their places", async () => {
    const ids = Array.from({ length: 10 }, (_, index) => `s${index}`);
    const { pool, clock } = await openPool({ sessions: ids });
    for (const lease of await Promise.all(ids.map((id) => pool.acquire({ id })))) {
      lease.coolDown(5);
      lease.release();
    }
    const served: number[] = [];
    for (let index = 0; index < 10_000; index++) {
      pool.acquire().then(
        () => served.push(index),
        () => {},
      );
    }
    await settled();
    expect(pool.status().waiters).toBe(10_000);
    await clock.advance(5_000);
    expect(served).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(pool.status().waiters).toBe(9_990);
  });
});

describe("events in the same tick", () => {
  test("when a timeout meets a release, exactly one wins and the session is not lost", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    for (const releaseFirst of [true, false]) {
      const lease = await pool.acquire();
      const release = () => clock.setTimer(10, () => lease.release());
      if (releaseFirst) release();
      const waiting = watch(pool.acquire({ wait: 10 }));
      const behind = watch(pool.acquire());
      await settled();
      if (!releaseFirst) release();
      await clock.advance(10);
      if (releaseFirst) waiting.value?.release();
      else expect(waiting.error).toBeInstanceOf(AcquireTimeoutError);
      await settled();
      expect(behind.value?.id).toBe("a");
      behind.value?.release();
      expect(pool.status()).toMatchObject({ free: 1, waiters: 0 });
    }
  });

  test("when an abort precedes the release, the abort wins and the next caller is served", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const abort = new AbortController();
    const [aborted, next] = [watch(pool.acquire({ signal: abort.signal })), watch(pool.acquire())];
    await settled();
    abort.abort();
    lease.release();
    await settled();
    expect({ aborted: aborted.state, next: next.state }).toEqual({ aborted: "rejected", next: "resolved" });
  });

  test("when a release precedes the abort, acquire() has its lease", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const abort = new AbortController();
    const waiting = watch(pool.acquire({ signal: abort.signal }));
    await settled();
    lease.release();
    abort.abort();
    await settled();
    const free = pool.status().free;
    expect(waiting.state === "resolved" ? free === 0 : free === 1).toBe(true);
  });

  test("when a release precedes the abort, use() does not run its work", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const abort = new AbortController();
    const working = watch(pool.use(() => new Promise(() => {}), { signal: abort.signal }));
    await settled();
    lease.release();
    abort.abort(new Error("enough"));
    await settled();
    expect(working.error).toMatchObject({ message: "enough" });
    expect(pool.status().free).toBe(1);
  });
});

describe("signal", () => {
  test("when already aborted, rejects with its reason and takes nothing", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const reason = new Error("no");
    await expect(pool.acquire({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(pool.use(() => 1, { signal: AbortSignal.abort("a string") })).rejects.toBe("a string");
    expect(telegram.connects).toEqual([]);
    expect(pool.status().free).toBe(1);
  });

  test("when aborted after the lease was handed over, changes nothing and leaves no listener", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const first = await pool.acquire();
    const abort = new AbortController();
    const waiting = watch(pool.acquire({ signal: abort.signal }));
    await settled();
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(1);
    first.release();
    await settled();
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(0);
    abort.abort();
    await settled();
    expect(await waiting.value?.client.call("x")).toBe("x by a");
  });

  test("when 10,000 waiters share one signal, adds one listener, causes no warning and rejects all with its reason", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warned);
    const abort = new AbortController();
    const reasons: unknown[] = [];
    for (let index = 0; index < 10_000; index++)
      pool.acquire({ signal: abort.signal }).catch((error) => reasons.push(error));
    const other = watch(pool.acquire());
    await settled();
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(1);
    const reason = new Error("all of you");
    abort.abort(reason);
    // A turn of the event loop for every thousand.
    for (let turn = 0; turn < 20; turn++) await settled();
    process.off("warning", warned);
    expect({ reasonCount: reasons.length, distinctReasons: new Set(reasons).size, firstReason: reasons[0] }).toEqual({
      reasonCount: 10_000,
      distinctReasons: 1,
      firstReason: reason,
    });
    expect({ warnings, waiters: pool.status().waiters }).toEqual({ warnings: [], waiters: 1 });
    lease.release();
    await settled();
    expect(other.state).toBe("resolved");
  });
});

describe("many callers that wait for the same", () => {
  const spied = ["reserveAvailable", "canServeBy", "forecast"] as const;
  const looks = (): number =>
    spied.reduce((sum, name) => sum + vi.mocked(SessionTable.prototype[name]).mock.calls.length, 0);
  beforeEach(() => {
    for (const name of spied) vi.spyOn(SessionTable.prototype, name);
    return () => vi.restoreAllMocks();
  });

  test.each([
    ["tag", { tags: ["x"] }],
    ["key", { key: "k" }],
    ["method", { method: READ }],
    ["deadline", { tags: ["x"], wait: 60_000 }],
  ])("of one %s - the sessions are examined once for all of them", async (_, options) => {
    const { pool } = await openPool({ sessions: ["a", "b", "c"] });
    await pool.update("c", { tags: ["x"] });
    const leases = [await pool.acquire({ id: "a" }), await pool.acquire({ id: "b" }), await pool.acquire({ id: "c" })];
    leases[0]?.coolDown(5, { method: READ });
    leases[1]?.coolDown(5, { method: READ });
    for (let index = 0; index < 200; index++) watch(pool.acquire(options));
    await settled();
    vi.clearAllMocks();
    leases[0]?.coolDown(10);
    leases[1]?.release();
    expect(pool.status().waiters).toBeGreaterThan(150);
    expect(looks()).toBeLessThan(20);
    vi.clearAllMocks();
    leases[2]?.retire("gone");
    expect(looks()).toBeLessThan(20);
  });
});

test("acquire() - calls no listener in the caller's stack", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  let isInside = true;
  const seen: string[] = [];
  for (const name of ["waiting", "leased", "recovered"] as const) pool.on(name, () => isInside && seen.push(name));
  watch(pool.acquire());
  watch(pool.acquire());
  isInside = false;
  await settled();
  expect(seen).toEqual([]);
});

test("acquire() and release() - make no timer on a connected session", async () => {
  const { pool, clock } = await openPool({ sessions: ["a", "b"] });
  for (let turn = 0; turn < 4; turn++) (await pool.acquire()).release();
  const before = clock.timersMade;
  for (let turn = 0; turn < 100; turn++) (await pool.acquire()).release();
  for (let turn = 0; turn < 100; turn++) await pool.use((client) => client === undefined);
  expect(clock.timersMade).toBe(before);
});
