import { describe, expect, test } from "vitest";
import { LeaseReleasedError, NoSessionAvailableError, OptionsError, PoolClosedError } from "../../src/errors.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

describe("close()", () => {
  test("rejects queued callers at once with PoolClosedError and waits for leases", async () => {
    const { pool, clock, telegram, storage } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const queued = watch(pool.acquire());
    const closing = watch(pool.close());
    await settled();
    expect(queued.error).toBeInstanceOf(PoolClosedError);
    await clock.advance(9_999);
    expect(closing.state).toBe("pending");
    expect(await lease.client.call("x")).toBe("x by a");
    lease.release();
    await settled();
    expect({
      closing: closing.state,
      online: telegram.online,
      isClosed: storage.isClosed,
      pendingTimers: clock.pending,
    }).toEqual({ closing: "resolved", online: [], isClosed: true, pendingTimers: 0 });
  });

  test.each([
    [undefined, 10_000],
    [500, 500],
    [0, 0],
  ])(
    "with { timeoutMs: %s }: after %d ms revokes the remaining leases and reports them as leaked",
    async (timeoutMs, ms) => {
      const { pool, clock, telegram, events } = await openPool({ sessions: ["a", "b"] });
      const [lease] = [await pool.acquire(), await pool.acquire()];
      const closing = watch(pool.close({ timeoutMs }));
      await clock.advance(ms);
      expect({ closing: closing.state, online: telegram.online, pendingTimers: clock.pending }).toEqual({
        closing: "resolved",
        online: [],
        pendingTimers: 0,
      });
      expect(events("leaked")).toEqual([
        { id: "a", heldMs: ms },
        { id: "b", heldMs: ms },
      ]);
      expect(lease?.signal.aborted).toBe(true);
      await expect(lease?.client.call("x")).rejects.toBeInstanceOf(LeaseReleasedError);
      lease?.release();
      expect(pool.leases()).toEqual([]);
    },
  );

  test("when called twice, also as destroy(), returns the same promise", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const closing = pool.close();
    expect(pool.close({ timeoutMs: 1 })).toBe(closing);
    expect(pool.destroy()).toBe(closing);
    expect(pool.close()).toBe(closing);
    await closing;
  });

  test("when timeoutMs is wrong, rejects with OptionsError and closes nothing", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await expect(pool.close({ timeoutMs: Number.NaN })).rejects.toBeInstanceOf(OptionsError);
    (await pool.acquire()).release();
    await pool.close();
  });

  test("after it, every call but the reading ones rejects at once", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.close();
    const calls = [
      () => pool.acquire(),
      () => pool.acquire({ wait: false, id: "nobody" }),
      () => pool.use(() => 1),
      () => pool.add("b", sessionString()),
      () => pool.update("a", { tags: [] }),
      () => pool.remove("a"),
      () => pool.disable("a"),
      () => pool.enable("a"),
    ];
    for (const call of calls) await expect(call()).rejects.toBeInstanceOf(PoolClosedError);
    expect(pool.get("a")?.state).toBe("free");
    expect(pool.sessions()).toHaveLength(1);
    expect(pool.status()).toMatchObject({ total: 1, free: 1, waiters: 0 });
  });

  test("when a session cools after the end, makes no timer and no write", async () => {
    const { pool, clock, storage } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    await pool.destroy();
    const writes = storage.writes.length;
    expect(() => lease.coolDown(60)).toThrow(LeaseReleasedError);
    expect(() => lease.retire("late")).toThrow(LeaseReleasedError);
    await settled();
    expect(clock.pending).toBe(0);
    await clock.advance(100_000);
    expect({ pendingTimers: clock.pending, writes: storage.writes.length }).toEqual({ pendingTimers: 0, writes });
  });

  test("when a connect is under way, waits closeTimeoutMs, then its caller gets PoolClosedError", async () => {
    for (const options of [{}, { id: "a" }]) {
      const { pool, clock, telegram } = await openPool({ sessions: ["a"] });
      telegram.onConnect = (_, signal) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      const acquiring = watch(pool.acquire(options));
      await settled();
      const closing = watch(pool.close({ timeoutMs: 1_000 }));
      await clock.advance(999);
      expect({ acquiring: acquiring.state, closing: closing.state }).toEqual({
        acquiring: "pending",
        closing: "pending",
      });
      await clock.advance(1);
      expect({ acquiringError: acquiring.error, closing: closing.state }).toEqual({
        acquiringError: expect.any(PoolClosedError),
        closing: "resolved",
      });
      expect({ online: telegram.online, pendingTimers: clock.pending }).toEqual({ online: [], pendingTimers: 0 });
    }
  });

  test("when a connect is under way, destroy() ends it at once", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    telegram.onConnect = (_, signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const acquiring = watch(pool.acquire());
    await settled();
    const destroying = watch(pool.destroy());
    await settled();
    expect({ acquiringError: acquiring.error, destroying: destroying.state }).toEqual({
      acquiringError: expect.any(PoolClosedError),
      destroying: "resolved",
    });
  });

  test("when a use() connects, waits until it is done", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    telegram.onConnect = () => new Promise<void>((resolve) => void clock.setTimer(500, resolve));
    const work = watch(pool.use((client) => client.call(READ)));
    await settled();
    const closing = watch(pool.close());
    await clock.advance(499);
    expect({ work: work.state, closing: closing.state }).toEqual({ work: "pending", closing: "pending" });
    await expect(pool.use((client) => client.call(READ))).rejects.toBeInstanceOf(PoolClosedError);
    await clock.advance(1);
    expect({ workValue: work.value, closing: closing.state, pendingTimers: clock.pending }).toEqual({
      workValue: `${READ} by a`,
      closing: "resolved",
      pendingTimers: 0,
    });
  });

  test("when a use() rotates, lets it continue with a free session without queueing", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    const gates = [deferred(), deferred()];
    telegram.onCall = async ({ number }) => {
      await gates[number - 1]?.promise;
      throw flood(60);
    };
    const work = watch(pool.use((client) => client.call(READ)));
    await settled();
    const closing = watch(pool.close());
    gates[0]?.resolve();
    await settled();
    expect({ callIds: telegram.calls.map(({ id }) => id), closing: closing.state }).toEqual({
      callIds: ["a", "b"],
      closing: "pending",
    });
    gates[1]?.resolve();
    await clock.advance(0);
    expect(work.error).toMatchObject({ code: "POOL_CLOSED", cause: { errorMessage: "FLOOD_WAIT_60" } });
    expect(closing.state).toBe("resolved");
  });

  test("when a connecting use() fails, lets it continue as long as a session is free", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    const gate = deferred();
    telegram.onConnect = (id) => (id === "a" ? gate.promise : undefined);
    const work = watch(pool.use((client) => client.call(READ)));
    await settled();
    const closing = watch(pool.close());
    gate.reject(new Error("connect ECONNREFUSED"));
    await clock.advance(0);
    expect({ workValue: work.value, closing: closing.state }).toEqual({
      workValue: `${READ} by b`,
      closing: "resolved",
    });
  });

  test.each(["close", "destroy"] as const)(
    "when %s() is called in the tick of a hand-over, leaves no client, timer or lease",
    async (end) => {
      const { pool, clock, telegram } = await openPool({ sessions: ["a", "b"] });
      const lease = await pool.acquire({ id: "a" });
      const queued = watch(pool.acquire({ id: "a" }));
      await settled();
      lease.release();
      const closing = watch(pool[end]());
      await clock.advance(10_000);
      expect({
        closing: closing.state,
        online: telegram.online,
        pendingTimers: clock.pending,
        leases: pool.leases(),
      }).toEqual({ closing: "resolved", online: [], pendingTimers: 0, leases: [] });
      expect(queued.state).not.toBe("pending");
    },
  );

  test("waits for a running change and flushes unwritten records", async () => {
    const { pool, storage, clock } = await openPool({ sessions: ["a"] });
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    const disabling = watch(pool.disable("a"));
    const closing = watch(pool.close());
    await settled();
    expect(closing.state).toBe("pending");
    gate.resolve();
    await settled();
    expect({
      disabling: disabling.state,
      closing: closing.state,
      isClosed: storage.isClosed,
      pendingTimers: clock.pending,
    }).toEqual({ disabling: "resolved", closing: "resolved", isClosed: true, pendingTimers: 0 });
    expect(await storage.stored("a")).toMatchObject({ disabledReason: "disabled" });
  });

  test("ends by its deadlines when storage and client never answer", async () => {
    const { pool, storage, telegram, clock, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    storage.fateOfWrite = () => "hangs";
    storage.fateOfClose = () => "hangs";
    telegram.onClose = () => new Promise(() => {});
    lease.coolDown(60);
    const closing = watch(pool.close({ timeoutMs: 1_000 }));
    await clock.advance(60_000);
    expect({ closing: closing.state, pendingTimers: clock.pending }).toEqual({ closing: "resolved", pendingTimers: 0 });
    expect(events("storageFailed").length).toBeGreaterThan(0);
  });

  test("when a client fails to close, is not held up", async () => {
    const { pool, telegram, storage } = await openPool({ sessions: ["a", "b"] });
    (await pool.acquire()).release();
    (await pool.acquire()).release();
    telegram.onClose = () => Promise.reject(new Error("no"));
    await pool.close();
    expect({ online: telegram.online, isClosed: storage.isClosed }).toEqual({ online: [], isClosed: true });
  });

  test("is called by await using", async () => {
    const { pool, storage } = await openPool({ sessions: ["a"] });
    {
      await using open = pool;
      await open.use(() => 1);
    }
    expect(storage.isClosed).toBe(true);
  });
});

describe("destroy()", () => {
  test("revokes every lease at once, with the reason as cause", async () => {
    const { pool, clock, telegram, events } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = () => new Promise(() => {});
    const reason = new Error("out of memory");
    const working = watch(pool.use((client) => client.call(READ)));
    const lease = await pool.acquire();
    const call = watch(lease.client.call(READ));
    const queued = watch(pool.acquire());
    await settled();
    await pool.destroy(reason);
    for (const { error } of [working, queued]) {
      expect(error).toBeInstanceOf(PoolClosedError);
      expect((error as Error).cause).toBe(reason);
    }
    expect(call.error).toBeInstanceOf(LeaseReleasedError);
    expect({ aborted: lease.signal.aborted, online: telegram.online, pendingTimers: clock.pending }).toEqual({
      aborted: true,
      online: [],
      pendingTimers: 0,
    });
    expect(events("leaked")).toEqual([]);
    await expect(pool.acquire()).rejects.toMatchObject({ cause: reason });
  });

  test.each([false, true])("ends a close() that waits for leases early (a turn later: %s)", async (isLater) => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.acquire();
    const closing = watch(pool.close({ timeoutMs: 60_000 }));
    if (isLater) await settled();
    watch(pool.destroy());
    await settled();
    await settled();
    expect(closing.state).toBe("resolved");
  });
});

test("open() - then close() leaves nothing, also without a session", async () => {
  const { pool, clock } = await openPool();
  expect({ pendingTimers: clock.pending, referencedTimers: clock.referenced }).toEqual({
    pendingTimers: 1,
    referencedTimers: 0,
  });
  await expect(pool.acquire()).rejects.toBeInstanceOf(NoSessionAvailableError);
  await pool.close();
  expect(clock.pending).toBe(0);
});

test("timers - keep the process alive only while a session is leased or a caller waits", async () => {
  const { pool, clock } = await openPool({ sessions: ["a"] });
  expect(clock.referenced).toBe(0);
  const lease = await pool.acquire();
  expect(clock.referenced).toBe(1);
  lease.coolDown(60);
  lease.release();
  await settled();
  expect(clock.referenced).toBe(0);
  const waiting = watch(pool.acquire());
  await settled();
  expect(clock.referenced).toBe(1);
  await clock.advance(60_000);
  waiting.value?.release();
  await settled();
  expect(clock.referenced).toBe(0);
});

test("disable() and retire() - a reason that is no text is an OptionsError, and nothing is written", async () => {
  const { pool, storage } = await openPool({ sessions: ["a"] });
  using lease = await pool.acquire();
  const writes = storage.writes.length;
  for (const reason of [404, new Error("banned"), null, ""]) {
    expect(() => lease.retire(reason as string)).toThrow(OptionsError);
    await expect(pool.disable("a", reason as string)).rejects.toBeInstanceOf(OptionsError);
  }
  expect(() => lease.coolDown(5, { method: 5 as never })).toThrow(OptionsError);
  expect({ writes: storage.writes.length, state: pool.get("a")?.state }).toEqual({ writes, state: "leased" });
});

test("close() - when ending the storage's watch fails, closes the storage and reports the failure", async () => {
  const storage = new FaultyStorage();
  Object.assign(storage, {
    watch: () => () => {
      throw new Error("not any more");
    },
  });
  const { pool, events } = await openPool({ storage, sessions: ["a"] });
  await settled();
  await pool.close();
  expect({ isClosed: storage.isClosed, storageFailed: events("storageFailed").length }).toEqual({
    isClosed: true,
    storageFailed: 1,
  });
});

test("watch() - a failure that the storage reports is emitted as storageFailed, until the pool is closed", async () => {
  let report: (error: Error) => void = () => {};
  const storage = new FaultyStorage();
  Object.assign(storage, {
    watch: (_: unknown, failed: (error: Error) => void) => {
      report = failed;
      return () => {};
    },
  });
  const { pool, events } = await openPool({ storage, sessions: ["a"] });
  await settled();
  const lost = new Error("the line was cut");
  report(lost);
  await settled();
  expect(events("storageFailed")).toHaveLength(1);
  expect(events("storageFailed")).toMatchObject([{ error: { code: "STORAGE_FAILED", cause: lost } }]);
  expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  await pool.close();
  report(lost);
  await settled();
  expect(events("storageFailed")).toHaveLength(1);
});

test.each([true, false])(
  "close() - after a second, logs which leases it waits for, traceLeases: %s",
  async (traceLeases) => {
    const told: string[] = [];
    const logger = { debug() {}, info() {}, warn: (message: string) => void told.push(message), error() {} };
    const { pool, clock } = await openPool({ sessions: ["a", "b"], logger, traceLeases });
    const lease = await pool.acquire({ id: "a" });
    const closed = watch(pool.close());
    await clock.advance(999);
    expect(told).toEqual([]);
    await clock.advance(1);
    expect(told).toEqual([expect.stringMatching(/^close\(\) waits for a lease for 9 s more, .*"a" \(held for 1 s/)]);
    expect(told[0]).toContain(traceLeases ? "close.test" : "traceLeases: true");
    lease.release();
    await clock.advance(20_000);
    expect({ closed: closed.state, told: told.length }).toEqual({ closed: "resolved", told: 1 });
  },
);
