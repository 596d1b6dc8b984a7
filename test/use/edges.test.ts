import { describe, expect, test } from "vitest";
import { LeaseReleasedError, NoSessionAvailableError } from "../../src/errors.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, FakeRpcError, flood, peerFlood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

describe("use() - signal", () => {
  test("aborted during the work: rejects with its reason, the client is dead, the session comes back", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const abort = new AbortController();
    const reason = new Error("enough");
    const seen: unknown[] = [];
    const work = watch(
      pool.use(
        async (client, lease) => {
          lease.signal.addEventListener("abort", () => seen.push(lease.signal.reason));
          await new Promise<void>((resolve) => lease.signal.addEventListener("abort", () => resolve()));
          seen.push(await client.call(READ).catch((error: unknown) => error));
        },
        { signal: abort.signal },
      ),
    );
    await settled();
    abort.abort(reason);
    await settled();
    expect(work.error).toBe(reason);
    expect(seen).toEqual([reason, expect.any(LeaseReleasedError)]);
    expect({ free: pool.status().free, calls: telegram.calls }).toEqual({ free: 1, calls: [] });
  });

  test("aborted while it waits for the next session: rejects with its reason, nothing is sent any more", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    telegram.onCall = () => {
      throw flood(60);
    };
    const abort = new AbortController();
    const work = watch(pool.use((client) => client.call(READ), { signal: abort.signal }));
    await settled();
    abort.abort("enough");
    await settled();
    expect(work.error).toBe("enough");
    await clock.advance(120_000);
    expect(telegram.calls).toHaveLength(1);
  });
});

describe("while a session connects", () => {
  test("disabled or removed: no caller gets a session that is gone", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const gate = deferred();
    telegram.onConnect = () => gate.promise;
    const acquiring = watch(pool.acquire());
    await settled();
    const removing = watch(pool.remove("a"));
    await settled();
    gate.resolve();
    await settled();
    acquiring.value?.release();
    await settled();
    expect({ removing: removing.state, isAcquiring: acquiring.state === "pending" }).toEqual({
      removing: "resolved",
      isAcquiring: false,
    });
    expect({ total: pool.status().total, online: telegram.online }).toEqual({ total: 0, online: [] });
  });

  test("many callers of one session share one connect", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], leasesPerSession: 5 });
    telegram.onConnect = () => new Promise<void>((resolve) => void clock.setTimer(100, resolve));
    const acquiring = Array.from({ length: 5 }, () => watch(pool.acquire()));
    await clock.advance(100);
    expect(acquiring.every(({ state }) => state === "resolved")).toBe(true);
    expect({ connects: telegram.connects.length, violations: telegram.violations }).toEqual({
      connects: 1,
      violations: [],
    });
  });
});

describe("several verdicts", () => {
  test("the longer flood wins, in either order; each that moves the end is emitted", async () => {
    const { pool, telegram, events, clock } = await openPool({ sessions: ["a"], leasesPerSession: 3 });
    const gates = [deferred(), deferred(), deferred()];
    telegram.onCall = ({ number }) => gates[number - 1]?.promise;
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire()));
    const calls = leases.map((lease) => watch(lease.client.call(READ)));
    await settled();
    for (const [index, seconds] of [30, 10, 60].entries()) {
      gates[index]?.reject(flood(seconds));
      await settled();
    }
    for (const lease of leases) lease.release();
    await settled();
    expect(calls.every(({ state }) => state === "rejected")).toBe(true);
    expect(events("cooled").map(({ seconds }) => seconds)).toEqual([30, 60]);
    await clock.advance(59_999);
    expect(pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 60_000 });
  });

  test("a death under several leases ends the next call of each", async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a"], leasesPerSession: 2 });
    const [one, two] = [await pool.acquire(), await pool.acquire()];
    telegram.onCall = () => {
      throw dead();
    };
    await one.client.call(READ).catch(() => {});
    await expect(two.client.call(WRITE)).rejects.toMatchObject({ errorMessage: "AUTH_KEY_UNREGISTERED" });
    expect(telegram.calls).toHaveLength(1);
    one.release();
    two.release();
    await settled();
    expect({ died: events("died").length, state: pool.get("a")?.state, online: telegram.online }).toEqual({
      died: 1,
      state: "dead",
      online: [],
    });
  });

  test("PEER_FLOOD does not end a restriction that has no end", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], restrictedForMs: 1_000 });
    const lease = await pool.acquire();
    telegram.onCall = ({ number }) => {
      throw number === 1 ? new FakeRpcError(420, "FROZEN_METHOD_INVALID") : peerFlood();
    };
    await lease.client.call(READ).catch(() => {});
    await lease.client.call(READ).catch(() => {});
    lease.release();
    await clock.advance(3_600_000);
    expect(pool.get("a")?.state).toBe("restricted");
  });

  test("AUTH_KEY_DUPLICATED and a ban kill; the session is not leased by id, key or tag", async () => {
    for (const [code, text] of [
      [406, "AUTH_KEY_DUPLICATED"],
      [401, "USER_DEACTIVATED_BAN"],
      [401, "SESSION_REVOKED"],
    ] as const) {
      const { pool, telegram } = await openPool({ sessions: ["a"] });
      telegram.onCall = () => {
        throw new FakeRpcError(code, text);
      };
      await expect(pool.use((client) => client.call(READ))).rejects.toMatchObject({ cause: { errorMessage: text } });
      for (const options of [{}, { id: "a" }, { key: "k" }, { wait: 5 }]) {
        await expect(pool.acquire(options)).rejects.toBeInstanceOf(NoSessionAvailableError);
      }
      expect(pool.get("a")?.reason).toBe(text);
    }
  });
});

describe("key", () => {
  test("gives the same key the same session; when leased, waits for it; when dead, gives the next", async () => {
    const { pool } = await openPool({ sessions: ["a", "b", "c", "d"] });
    const home = await pool.use((_, lease) => lease.id, { key: "user 7" });
    for (let turn = 0; turn < 5; turn++) expect(await pool.use((_, lease) => lease.id, { key: "user 7" })).toBe(home);
    const lease = await pool.acquire({ key: "user 7" });
    const waiting = watch(pool.acquire({ key: "user 7" }));
    await settled();
    expect({ id: lease.id, waiting: waiting.state }).toEqual({ id: home, waiting: "pending" });
    lease.retire("banned");
    lease.release();
    await settled();
    expect(waiting.value?.id).not.toBe(home);
  });
});

describe("a caller that can no longer be served", () => {
  test("is rejected as soon as the last session is disabled, restricted or loses its tag", async () => {
    const { pool, telegram } = await openPool();
    await pool.add("a", sessionString("a"), { tags: ["x"] });
    const lease = await pool.acquire();
    const waiting = watch(pool.acquire({ tags: ["x"] }));
    telegram.onCall = () => {
      throw peerFlood();
    };
    await lease.client.call(READ).catch(() => {});
    await settled();
    expect(waiting.error).toMatchObject({ code: "NO_SESSION_AVAILABLE", retryAt: null });
  });

  test("is served again by enable()", async () => {
    const { pool } = await openPool({ sessions: ["a", "b"] });
    await pool.acquire({ id: "a" });
    await pool.disable("b");
    const waiting = watch(pool.acquire());
    await settled();
    expect(waiting.state).toBe("pending");
    await pool.enable("b");
    await settled();
    expect(waiting.value?.id).toBe("b");
  });
});

test("add() - of a removed session whose last lease still runs is refused; afterwards it works", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  await pool.remove("a");
  await expect(pool.add("a", sessionString("a"))).rejects.toMatchObject({ sessionId: "a" });
  await expect(pool.add("b", sessionString("a"))).rejects.toMatchObject({ code: "DUPLICATE_SESSION", sessionId: "a" });
  lease.release();
  await settled();
  expect(await pool.add("b", sessionString("a"))).toMatchObject({ state: "free" });
  expect(await pool.add("a", sessionString("new"))).toMatchObject({ state: "free" });
});

test("acquire() - every timer that fires early is set again, no caller is served early", async () => {
  const { pool, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.coolDown(1);
  lease.release();
  const original = clock.setTimer.bind(clock);
  clock.setTimer = (ms, callback) => original(Math.max(ms - 0.75, 0.1), callback);
  const waiting = watch(pool.acquire());
  await clock.advance(999);
  expect(waiting.state).toBe("pending");
  await clock.advance(1.5);
  expect(waiting.state).toBe("resolved");
});

test("wait - a session due at the deadline itself is either given or refused, and never lost", async () => {
  const { pool, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.coolDown(5);
  lease.release();
  const waiting = watch(pool.acquire({ wait: 5_000 }));
  await clock.advance(5_000);
  expect(waiting.state).not.toBe("pending");
  waiting.value?.release();
  expect(pool.status()).toMatchObject({ free: 1, waiters: 0 });
});
