import { describe, expect, test } from "vitest";
import { AttemptTimeoutError, ConnectError, NoSessionAvailableError } from "../../src/errors.js";
import { READ } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

const refused = (): Promise<never> =>
  Promise.reject(Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }));

describe("a session that cannot connect", () => {
  test("backs off for 1 s doubling to 5 min, and starts over after a connect", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    telegram.onConnect = refused;
    const waits: number[] = [];
    for (let turn = 0; turn < 11; turn++) {
      await expect(pool.acquire({ id: "a", wait: false })).rejects.toBeInstanceOf(ConnectError);
      const info = pool.get("a");
      expect(info).toMatchObject({ state: "cooling", reason: "connect failed" });
      waits.push(((info?.availableAt ?? 0) - clock.now()) / 1_000);
      await clock.advance((waits.at(-1) ?? 0) * 1_000);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    telegram.onConnect = () => {};
    (await pool.acquire()).release();
    telegram.handle("a").drop();
    telegram.onConnect = refused;
    await expect(pool.acquire({ id: "a" })).rejects.toBeInstanceOf(ConnectError);
    expect(pool.get("a")?.availableAt).toBe(clock.now() + 1_000);
  });

  test("is replaced by another one in use() and acquire(), and the back-off is not stored", async () => {
    const { pool, telegram, storage } = await openPool({ sessions: ["a", "b"] });
    telegram.onConnect = (id) => (id === "a" ? refused() : undefined);
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by b`);
    expect(pool.get("a")?.state).toBe("cooling");
    expect(await storage.stored("a")).toMatchObject({ cooldown: null });
    expect(telegram.connects.map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("rejects acquire({ id }) with ConnectError, and any caller when every candidate failed", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onConnect = refused;
    await expect(pool.acquire({ id: "a" })).rejects.toMatchObject({
      code: "CONNECT_FAILED",
      sessionId: "a",
      cause: { code: "ECONNREFUSED" },
    });
    await clock.advance(1_000);
    await expect(pool.use((client) => client.call(READ))).rejects.toBeInstanceOf(ConnectError);
    expect(telegram.connects).toHaveLength(3);
  });

  test("counts its back-off in retryAt", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const lease = await pool.acquire({ id: "b" });
    lease.coolDown(3_600);
    lease.release();
    telegram.onConnect = (id) => (id === "a" ? refused() : undefined);
    const acquiring = watch(pool.acquire({ wait: false }));
    await settled();
    expect(acquiring.state).toBe("rejected");
    if (acquiring.error instanceof NoSessionAvailableError) {
      expect(acquiring.error).toMatchObject({ waitingCount: 2, retryAt: START + 1_000 });
    } else expect(acquiring.error).toBeInstanceOf(ConnectError);
  });

  test("is waited for when the wait covers its back-off", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    const lease = await pool.acquire({ id: "b" });
    lease.coolDown(3_600);
    lease.release();
    telegram.onConnect = (id) => (id === "a" && telegram.connects.length < 3 ? refused() : undefined);
    const acquiring = watch(pool.acquire({ wait: 5_000 }));
    await clock.advance(1_000);
    expect(acquiring.value?.id).toBe("a");
  });

  test("ends a connect after connectTimeoutMs", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], connectTimeoutMs: 2_000 });
    telegram.onConnect = () => new Promise(() => {});
    const acquiring = watch(pool.acquire({ id: "a" }));
    await clock.advance(1_999);
    expect(acquiring.state).toBe("pending");
    await clock.advance(1);
    expect(acquiring.error).toMatchObject({ code: "CONNECT_FAILED", message: expect.stringContaining("2000 ms") });
  });

  test("applies Telegram's verdict on connecting: dead or cooldown", async () => {
    const { pool, telegram, storage } = await openPool({ sessions: ["a", "b", "c"] });
    telegram.onConnect = (id) => {
      if (id === "a") throw dead();
      if (id === "b") throw flood(60);
    };
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by c`);
    expect({ state: pool.get("a")?.state, availableAt: pool.get("b")?.availableAt }).toEqual({
      state: "dead",
      availableAt: START + 60_000,
    });
    expect(await storage.stored("a")).toMatchObject({ deadReason: "AUTH_KEY_UNREGISTERED" });
  });

  test("settles use() when the records of all sessions are written, or storageTimeoutMs has passed", async () => {
    const { pool, telegram, storage } = await openPool({ sessions: ["a", "b"] });
    telegram.onConnect = (id) => {
      if (id === "a") throw flood(60);
    };
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    const work = watch(pool.use((client) => client.call(READ)));
    await settled();
    expect(work.state).toBe("pending");
    gate.resolve();
    await settled();
    expect(work.state).toBe("resolved");
  });
});

test("signal - aborting while it connects rejects at once and the session is not lost", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
  telegram.onConnect = () => new Promise<void>((resolve) => void clock.setTimer(5_000, resolve));
  const abort = new AbortController();
  const acquiring = watch(pool.acquire({ signal: abort.signal }));
  await clock.advance(1_000);
  const reason = new Error("enough");
  abort.abort(reason);
  await settled();
  expect(acquiring.error).toBe(reason);
  expect(pool.status()).toMatchObject({ leased: 0, free: 1 });
  telegram.onConnect = () => {};
  expect((await pool.acquire()).id).toBe("a");
  expect({ connects: telegram.connects.length, violations: telegram.violations }).toEqual({
    connects: 2,
    violations: [],
  });
});

test("timeoutMs - a session that does not connect in time backs off and leaves its place to the next", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"], maxConnected: 1 });
  telegram.onConnect = (id) => (id === "a" ? new Promise<void>(() => {}) : undefined);
  const first = watch(pool.use((client) => client.call(READ), { timeoutMs: 300 }));
  await clock.advance(300);
  expect(first.error).toBeInstanceOf(AttemptTimeoutError);
  expect(pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 300 + 1_000 });
  expect(await pool.use((_, lease) => lease.id)).toBe("b");
  expect(telegram.violations).toEqual([]);
});

test("create() of the adapter throws - ConnectError and a back-off, not an endless loop", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  telegram.create = () => {
    throw new Error("no such socket class");
  };
  await expect(pool.acquire()).rejects.toMatchObject({ code: "CONNECT_FAILED", sessionId: "a" });
  expect(pool.get("a")?.state).toBe("cooling");
});

test("cooldown - no session connects while it cools", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.coolDown(60);
  telegram.handle("a").drop();
  await expect(lease.client.call(READ)).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_60" });
  lease.release();
  const waiting = watch(pool.acquire());
  await clock.advance(59_999);
  expect({ waiting: waiting.state, connects: telegram.connects.length }).toEqual({ waiting: "pending", connects: 1 });
  await clock.advance(1);
  expect({ waiting: waiting.state, connects: telegram.connects.length }).toEqual({ waiting: "resolved", connects: 2 });
});

describe("idleTimeoutMs", () => {
  test("closes a client that had no lease for that long, and none in use", async () => {
    const { pool, clock, telegram, events } = await openPool({ sessions: ["a", "b"], idleTimeoutMs: 1_000 });
    await settled();
    const before = clock.pending;
    const [a, b] = [await pool.acquire(), await pool.acquire()];
    a.release();
    await clock.advance(999);
    expect(telegram.online).toEqual(["a", "b"]);
    await clock.advance(1);
    expect(telegram.online).toEqual(["b"]);
    b.release();
    await clock.advance(500);
    (await pool.acquire({ id: "b" })).release();
    await clock.advance(999);
    expect(telegram.online).toEqual(["b"]);
    await clock.advance(1);
    expect({ online: telegram.online, newTimers: clock.pending - before }).toEqual({ online: [], newTimers: 0 });
    expect(events("disconnected")).toEqual([
      { id: "a", reason: "idle" },
      { id: "b", reason: "idle" },
    ]);
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  });

  test("when 0, closes at once; when Infinity, never", async () => {
    const at0 = await openPool({ sessions: ["a"], idleTimeoutMs: 0 });
    (await at0.pool.acquire()).release();
    await settled();
    expect(at0.telegram.online).toEqual([]);
    // A claim that is renewed every ten days: its renewals are what takes time in thirty.
    const ownership = { ttlMs: 30 * 86_400_000 };
    const never = await openPool({ sessions: ["a"], idleTimeoutMs: Number.POSITIVE_INFINITY, ownership });
    (await never.pool.acquire()).release();
    await never.clock.advance(30 * 86_400_000);
    expect(never.telegram.online).toEqual(["a"]);
  });
});

test("acquire() - while the old client of a changed session fails to close: a new one serves it", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  await pool.update("a", { profile: { deviceModel: "another" } });
  const closing = deferred();
  telegram.onClose = () => closing.promise;
  lease.release();
  const next = watch(pool.acquire({ id: "a" }));
  await settled();
  expect(next.state).toBe("pending");
  closing.reject(new Error("no"));
  await settled();
  expect({ next: next.state, nextError: next.error, online: telegram.online }).toEqual({
    next: "resolved",
    nextError: undefined,
    online: ["a"],
  });
});

describe("maxConnected", () => {
  test("never exceeds it; the client that is idle for longest gives its place", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b", "c"], maxConnected: 2 });
    let most = 0;
    telegram.onConnect = () => {
      most = Math.max(most, telegram.online.length + 1);
    };
    for (let turn = 0; turn < 6; turn++) {
      (await pool.acquire()).release();
      await settled();
    }
    expect({ most, online: telegram.online.length, violations: telegram.violations }).toEqual({
      most: 2,
      online: 2,
      violations: [],
    });
  });

  test("when all are in use, callers wait though a session is free", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"], maxConnected: 1 });
    const lease = await pool.acquire({ id: "a" });
    const waiting = watch(pool.acquire({ id: "b" }));
    await expect(pool.acquire({ wait: false })).rejects.toBeInstanceOf(NoSessionAvailableError);
    expect({ waiting: waiting.state, online: telegram.online }).toEqual({ waiting: "pending", online: ["a"] });
    lease.release();
    await settled();
    expect({ waitingId: waiting.value?.id, online: telegram.online }).toEqual({ waitingId: "b", online: ["b"] });
  });

  test("when many callers share the places, all are served", async () => {
    const ids = Array.from({ length: 8 }, (_, index) => `s${index}`);
    const { pool, telegram, clock } = await openPool({ sessions: ids, maxConnected: 3 });
    telegram.onConnect = () => new Promise<void>((resolve) => void clock.setTimer(10, resolve));
    const jobs = Array.from({ length: 60 }, () => watch(pool.use((client) => client.call(READ))));
    await clock.advance(5_000);
    expect(jobs.every(({ state }) => state === "resolved")).toBe(true);
    expect(telegram.online.length).toBeLessThanOrEqual(3);
    expect(telegram.violations).toEqual([]);
  });
});

test("connected and disconnected - one of each per connection", async () => {
  const { pool, telegram, events } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  telegram.handle("a").drop("reset by peer");
  expect(await lease.client.call(READ)).toBe(`${READ} by a`);
  lease.release();
  await pool.close();
  expect(events("connected")).toEqual([{ id: "a" }, { id: "a" }]);
  expect(events("disconnected")).toEqual([
    { id: "a", reason: "reset by peer" },
    { id: "a", reason: "the pool was closed" },
  ]);
});
