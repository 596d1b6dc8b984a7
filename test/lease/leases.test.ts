import { describe, expect, test } from "vitest";
import { LeaseReleasedError, NoSessionAvailableError, OptionsError } from "../../src/errors.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { flood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

describe("release()", () => {
  test("frees the session; a second call is a no-op, also when another caller holds it", async () => {
    const { pool, events } = await openPool({ sessions: ["a"] });
    const first = await pool.acquire();
    first.release();
    first.release();
    const second = await pool.acquire();
    first.release();
    expect(pool.status()).toMatchObject({ leased: 1, free: 0 });
    expect(await second.client.call("x")).toBe("x by a");
    expect(events("released")).toHaveLength(1);
    second.release();
    expect(pool.status().free).toBe(1);
  });

  test("makes every later call of the client reject with LeaseReleasedError, unsent", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const { client } = lease;
    lease.release();
    await expect(client.call(READ)).rejects.toBeInstanceOf(LeaseReleasedError);
    await expect(lease.client.call(READ)).rejects.toBeInstanceOf(LeaseReleasedError);
    expect(telegram.calls).toEqual([]);
    expect(lease.signal.aborted).toBe(false);
  });

  test("rejects requests in flight; the session is handed on only when Telegram has answered", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const answer = deferred();
    telegram.onCall = () => answer.promise;
    const lease = await pool.acquire();
    const call = watch(lease.client.call(WRITE));
    await settled();
    lease.release();
    const next = watch(pool.acquire());
    await settled();
    expect(call.error).toBeInstanceOf(LeaseReleasedError);
    expect({ next: next.state, leased: pool.status().leased }).toEqual({ next: "pending", leased: 1 });
    answer.resolve();
    await settled();
    expect(next.value?.id).toBe("a");
  });

  test("when requests are never answered, hands the session on after callTimeoutMs, on a new connection", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], callTimeoutMs: 5_000 });
    telegram.onCall = () => new Promise(() => {});
    const lease = await pool.acquire();
    watch(lease.client.call(READ));
    await settled();
    lease.release();
    const next = watch(pool.acquire());
    await clock.advance(4_999);
    expect(next.state).toBe("pending");
    await clock.advance(1);
    expect(next.state).toBe("resolved");
    expect(telegram.handles).toHaveLength(2);
    expect(telegram.violations).toEqual([]);
  });

  test("is called by using and await using, also when the block throws", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    {
      using lease = await pool.acquire();
      expect(pool.status().leased).toBe(1);
      expect(lease.id).toBe("a");
    }
    const failing = async (): Promise<void> => {
      await using lease = await pool.acquire();
      throw new Error(`mine on ${lease.id}`);
    };
    await expect(failing()).rejects.toThrow("mine on a");
    expect(pool.status().free).toBe(1);
  });
});

test("lease - shows its session; leases() shows who holds what since when", async () => {
  const { pool, clock } = await openPool({ sessions: ["a", "b"] });
  const lease = await pool.acquire();
  await clock.advance(1_500);
  expect(lease.session).toMatchObject({ id: "a", state: "leased", availableAt: null, lastUsedAt: null });
  expect(pool.leases()).toEqual([{ id: "a", leasedAt: START, heldMs: 1_500 }]);
  lease.release();
  expect(pool.get("a")).toMatchObject({ state: "free", lastUsedAt: START + 1_500 });
});

test("leased - is emitted before the caller resumes, after the release that made way, in no caller's stack", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const told: string[] = [];
  pool.on("leased", ({ id }) => void told.push(`leased ${id}`));
  pool.on("released", ({ id }) => void told.push(`released ${id}`));
  const first = await pool.acquire();
  const next = pool.acquire().then((lease) => {
    told.push("goes on");
    return lease;
  });
  await settled();
  first.release();
  told.push("given back");
  (await next).release();
  expect(told).toEqual(["leased a", "released a", "given back", "leased a", "goes on", "released a"]);
});

test("acquire() - runs no code of the adapter while the client is connected: none can fail a release or the next caller", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  const first = await pool.acquire();
  const next = watch(pool.acquire());
  await settled();
  const [handle] = telegram.handles;
  if (handle === undefined) throw new Error("no client was made");
  const fail = (): never => {
    throw new Error("mine");
  };
  for (const name of ["isConnected", "connect", "guard", "floodError", "probe"])
    Object.defineProperty(handle, name, { configurable: true, get: fail });
  expect(() => first.release()).not.toThrow();
  await settled();
  expect(next.state).toBe("resolved");
  await expect(pool.acquire({ wait: false })).rejects.toBeInstanceOf(NoSessionAvailableError);
  next.value?.release();
  expect(pool.status()).toMatchObject({ leased: 0, free: 1 });
  (await pool.acquire()).release();
});

test("traceLeases - remembers who took a lease", async () => {
  const { pool, clock, events } = await openPool({ sessions: ["a"], traceLeases: true, maxLeaseMs: 10 });
  const borrower = () => pool.acquire();
  await borrower();
  expect(pool.leases()[0]?.stack).toMatch(/borrower/);
  await clock.advance(10);
  expect(events("leaked")[0]?.stack).toMatch(/borrower/);
});

test("traceLeases - for a waiting caller, names that caller and not the one that released", async () => {
  const { pool } = await openPool({ sessions: ["a"], traceLeases: true });
  const first = await pool.acquire();
  const waiter = () => pool.use(() => new Promise(() => {}));
  watch(waiter());
  await settled();
  first.release();
  await settled();
  expect(pool.leases()[0]?.stack).toMatch(/waiter/);
});

test("traceLeases - for a lease of map(), names the caller of map()", async () => {
  const { pool } = await openPool({ sessions: ["a"], traceLeases: true });
  const mapper = () => pool.map(["item"], () => new Promise(() => {}));
  watch(mapper().next());
  await settled();
  expect(pool.leases()[0]?.stack).toMatch(/mapper/);
});

describe("maxLeaseMs", () => {
  test("when held longer, a lease is reported as leaked, revoked and dead", async () => {
    const { pool, clock, events, telegram } = await openPool({ sessions: ["a"], maxLeaseMs: 1_000 });
    const lease = await pool.acquire();
    const { signal } = lease;
    const next = watch(pool.acquire());
    await clock.advance(999);
    expect({ leaked: events("leaked"), aborted: signal.aborted }).toEqual({ leaked: [], aborted: false });
    await clock.advance(1);
    expect(events("leaked")).toEqual([{ id: "a", heldMs: 1_000 }]);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBeInstanceOf(LeaseReleasedError);
    await expect(lease.client.call("x")).rejects.toBeInstanceOf(LeaseReleasedError);
    expect(next.value?.id).toBe("a");
    lease.release();
    expect(await next.value?.client.call("x")).toBe("x by a");
    expect(telegram.violations).toEqual([]);
  });

  test("when released in time, leaves no timer", async () => {
    const { pool, clock, events } = await openPool({ sessions: ["a"], maxLeaseMs: 1_000 });
    (await pool.acquire()).release();
    await clock.advance(5_000);
    expect(events("leaked")).toEqual([]);
  });

  test("when the lease is revoked, use() rejects", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"], maxLeaseMs: 1_000 });
    const working = watch(pool.use(() => new Promise(() => {})));
    await clock.advance(1_000);
    expect(working.error).toBeInstanceOf(LeaseReleasedError);
  });
});

describe("coolDown()", () => {
  test("cools the session from now on, for at least that long, and never shorter than before", async () => {
    const { pool, clock, events, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.coolDown(60);
    lease.coolDown(5);
    await expect(lease.client.call(READ)).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_60" });
    lease.release();
    await settled();
    expect(pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 60_000 });
    expect(events("cooled")).toEqual([{ id: "a", until: START + 60_000, seconds: 60, reason: "coolDown" }]);
    await clock.advance(59_999);
    expect(pool.status().cooling).toBe(1);
    await clock.advance(1);
    expect({ free: pool.status().free, recovered: events("recovered"), calls: telegram.calls }).toEqual({
      free: 1,
      recovered: [{ id: "a" }],
      calls: [],
    });
  });

  test("after the release, throws LeaseReleasedError and does not disturb the next holder", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.release();
    const next = await pool.acquire();
    expect(() => lease.coolDown(60)).toThrow(LeaseReleasedError);
    expect(() => lease.coolDown(60, { method: READ })).toThrow(LeaseReleasedError);
    await expect(next.client.call(READ)).resolves.toBe(`${READ} by a`);
    expect(pool.get("a")?.state).toBe("leased");
  });

  test("after a revocation, throws LeaseReleasedError and cools nothing", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"], maxLeaseMs: 1_000 });
    const lease = await pool.acquire();
    await clock.advance(1_000);
    expect(() => lease.coolDown(60)).toThrow(LeaseReleasedError);
    expect(pool.get("a")?.state).toBe("free");
  });

  test.each([
    [0, 1],
    [0.2, 1],
    [1e12, 365 * 86_400],
    [Number.POSITIVE_INFINITY, 365 * 86_400],
  ])("with %s seconds is %s", async (seconds, rests) => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.coolDown(seconds);
    lease.release();
    expect(pool.get("a")?.availableAt).toBe(START + rests * 1_000);
  });

  test.each([NaN, -1, "60", null])("with %s throws OptionsError", async (seconds) => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    expect(() => lease.coolDown(seconds as number)).toThrow(OptionsError);
  });

  test("for a method or a peer, leaves the rest usable", async () => {
    const { pool, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.coolDown(10, { method: "messages.sendMessage" });
    lease.coolDown(20, { peer: "user:7" });
    await expect(lease.client.call(WRITE)).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_10" });
    await expect(lease.client.call(READ, { peer: "user:7" })).rejects.toMatchObject({
      errorMessage: "SLOWMODE_WAIT_20",
    });
    expect(await lease.client.call(READ, { peer: "user:8" })).toBe(`${READ} by a`);
    lease.release();
    await settled();
    expect(pool.get("a")).toMatchObject({ state: "free", availableAt: null });
    expect(events("cooled")).toEqual([
      { id: "a", until: START + 10_000, seconds: 10, reason: "coolDown", method: WRITE },
      { id: "a", until: START + 20_000, seconds: 20, reason: "coolDown", peer: "user:7" },
    ]);
  });
});

describe("retire()", () => {
  test("is durable, is refused at once and ends every later lease", async () => {
    const { pool, events, storage, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.retire("spam bot said no");
    await expect(lease.client.call(READ)).rejects.toBeInstanceOf(Error);
    lease.release();
    await settled();
    expect(pool.get("a")).toMatchObject({ state: "dead", reason: "spam bot said no", availableAt: null });
    expect(events("died")).toEqual([{ id: "a", reason: "spam bot said no" }]);
    expect(await storage.stored("a")).toMatchObject({ deadReason: "spam bot said no" });
    await expect(pool.acquire({ id: "a" })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect({ calls: telegram.calls, online: telegram.online }).toEqual({ calls: [], online: [] });
  });
});

test("retire() - after the release, throws and leaves the next holder alone", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.release();
  using next = await pool.acquire();
  expect(() => lease.retire("mine")).toThrow(LeaseReleasedError);
  expect({ state: pool.get("a")?.state, answer: await next.client.call("users.GetUsers") }).toEqual({
    state: "leased",
    answer: expect.anything(),
  });
});

test("a flood answered after the lease has ended - still cools the session", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  const answer = deferred();
  telegram.onCall = () => answer.promise;
  const lease = await pool.acquire();
  watch(lease.client.call(WRITE));
  await settled();
  lease.release();
  answer.reject(flood(60));
  await settled();
  expect(pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 60_000 });
});

test("leasesPerSession - allows that many callers and no more", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"], leasesPerSession: 2 });
  const [one, two] = [await pool.acquire(), await pool.acquire()];
  const third = watch(pool.acquire());
  await settled();
  expect({ third: third.state, connects: telegram.connects.length, handles: telegram.handles.length }).toEqual({
    third: "pending",
    connects: 1,
    handles: 1,
  });
  one.release();
  await settled();
  expect(third.state).toBe("resolved");
  await expect(one.client.call("x")).rejects.toBeInstanceOf(LeaseReleasedError);
  expect(await two.client.call("x")).toBe("x by a");
});
