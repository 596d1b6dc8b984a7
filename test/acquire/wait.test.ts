import { describe, expect, test } from "vitest";
import { AcquireTimeoutError, NoSessionAvailableError, OptionsError, QueueFullError } from "../../src/errors.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood, peerFlood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

/** Claims that are not renewed a hundred thousand times while a month goes by. */
const LONG = { ttlMs: 30 * 86_400_000 };

/** Rests every session of the pool for so many seconds. */
async function coolAll({ pool }: TestPool, seconds: number): Promise<void> {
  const leases = await Promise.all(pool.sessions().map(({ id }) => pool.acquire({ id })));
  for (const lease of leases) lease.coolDown(seconds);
  for (const lease of leases) lease.release();
  await settled();
}

describe("acquire({ wait }) - forms", () => {
  test.each([NaN, -1, Number.NEGATIVE_INFINITY, "5", null, {}, 5n])("%s is an OptionsError", async (wait) => {
    const { pool } = await openPool({ sessions: ["a"] });
    await expect(pool.acquire({ wait: wait as number })).rejects.toBeInstanceOf(OptionsError);
    await expect(pool.use(() => 1, { wait: wait as number })).rejects.toBeInstanceOf(OptionsError);
    expect(pool.status().free).toBe(1);
  });

  test.each([false, 0])("%s rejects at once while all are leased", async (wait) => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    await pool.acquire();
    const waiting = watch(pool.acquire({ wait }));
    await settled();
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
    expect(waiting.error).toMatchObject({
      waitingCount: 0,
      nextReleaseIn: null,
      retryAt: null,
      code: "NO_SESSION_AVAILABLE",
    });
    expect(clock.now()).toBe(START);
  });

  test.each([true, Number.POSITIVE_INFINITY, undefined])("%s waits as long as it can help", async (wait) => {
    const { pool, clock } = await openPool({ sessions: ["a"], ownership: LONG });
    const lease = await pool.acquire();
    const waiting = watch(pool.acquire({ wait }));
    await clock.advance(30 * 86_400_000);
    expect(waiting.state).toBe("pending");
    lease.release();
    await settled();
    expect(waiting.value?.id).toBe("a");
  });

  test("a wait of over 2^31 ms neither fires at once nor early", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"], ownership: LONG });
    await pool.acquire();
    const waiting = watch(pool.acquire({ wait: 2 ** 31 + 1_000 }));
    await clock.advance(2 ** 31 + 999);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect(waiting.error).toBeInstanceOf(AcquireTimeoutError);
  });
});

describe("acquire({ wait: ms })", () => {
  test("rejects with AcquireTimeoutError at its deadline and leaves nothing behind", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    await settled();
    const before = clock.pending;
    const waiting = watch(pool.acquire({ wait: 500 }));
    await clock.advance(499);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect(waiting.error).toBeInstanceOf(AcquireTimeoutError);
    expect((waiting.error as Error).message).toMatch(/500 ms.*1 leased/);
    expect({ waiters: pool.status().waiters, pendingTimers: clock.pending }).toEqual({
      waiters: 0,
      pendingTimers: before,
    });
    lease.release();
    expect(pool.status().free).toBe(1);
  });

  test("rejects at once when all cool longer and none is leased", async () => {
    const made = await openPool({ sessions: ["a", "b"] });
    await coolAll(made, 10);
    const waiting = watch(made.pool.acquire({ wait: 9_999 }));
    await settled();
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
    expect(waiting.error).toMatchObject({
      waitingCount: 2,
      nextReleaseIn: 10,
      retryAt: START + 10_000,
      status: { cooling: 2, total: 2, nextAvailableAt: START + 10_000 },
    });
  });

  test("is served when a cooldown ends before the deadline", async () => {
    const made = await openPool({ sessions: ["a"] });
    await coolAll(made, 10);
    const waiting = watch(made.pool.acquire({ wait: 10_001 }));
    await made.clock.advance(9_999);
    expect(waiting.state).toBe("pending");
    await made.clock.advance(1);
    expect(waiting.value?.id).toBe("a");
  });

  test("waits when all cool longer but one is leased", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"] });
    const [one, other] = [await pool.acquire({ id: "a" }), await pool.acquire({ id: "b" })];
    one.coolDown(60);
    one.release();
    const waiting = watch(pool.acquire({ wait: 5_000 }));
    await clock.advance(4_000);
    other.release();
    await settled();
    expect(waiting.value?.id).toBe("b");
  });

  test("when a queued caller can no longer be served in time, rejects it at once", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const waiting = watch(pool.acquire({ wait: 5_000 }));
    await settled();
    lease.coolDown(60);
    await settled();
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
  });
});

describe("NoSessionAvailableError - numbers", () => {
  test("nextReleaseIn is whole seconds, rounded up; retryAt the instant of the first", async () => {
    const made = await openPool({ sessions: ["a", "b", "c"] });
    const { pool, clock } = made;
    const leases = await Promise.all(["a", "b", "c"].map((id) => pool.acquire({ id })));
    leases[0]?.coolDown(30);
    leases[1]?.coolDown(20);
    leases[2]?.retire("banned");
    for (const lease of leases) lease.release();
    await clock.advance(1_500);
    await expect(pool.acquire({ wait: false })).rejects.toMatchObject({
      waitingCount: 2,
      nextReleaseIn: 19,
      retryAt: START + 20_000,
      status: { total: 3, cooling: 2, dead: 1 },
      message: expect.stringContaining("in 19 s"),
    });
    expect(pool.status().nextAvailableAt).toBe(START + 20_000);
  });

  test("a method's cooldown counts only for callers that name the method", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    lease.coolDown(7, { method: "contacts.resolveUsername" });
    lease.release();
    const error = { waitingCount: 1, nextReleaseIn: 7, retryAt: START + 7_000, status: { free: 1, cooling: 0 } };
    await expect(pool.acquire({ method: "contacts.ResolveUsername", wait: false })).rejects.toMatchObject(error);
    await expect(pool.acquire({ method: "contacts.resolveUsername", wait: 1 })).rejects.toMatchObject(error);
    await expect(pool.acquire({ method: "contacts.Search", wait: false })).resolves.toMatchObject({ id: "a" });
  });

  test("a restriction's end counts in no instant, and no caller waits for it", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], restrictedForMs: 1_000 });
    telegram.onCall = () => {
      throw peerFlood();
    };
    await expect(pool.use((client) => client.call(READ))).rejects.toMatchObject({ retryAt: null, nextReleaseIn: null });
    await expect(pool.acquire({ wait: 5_000 })).rejects.toMatchObject({ waitingCount: 0, retryAt: null });
    expect(pool.status()).toMatchObject({ restricted: 1, nextAvailableAt: null });
    await clock.advance(1_000);
    expect(pool.status()).toMatchObject({ free: 1 });
  });
});

describe("acquire() - when no session can ever serve", () => {
  test("rejects at once for an empty pool", async () => {
    const { pool } = await openPool();
    await expect(pool.acquire()).rejects.toMatchObject({ waitingCount: 0, retryAt: null, status: { total: 0 } });
  });

  test("for an empty pool, the message points to records that could not be loaded", async () => {
    const { pool } = await openPool();
    await expect(pool.acquire()).rejects.toThrow(/no sessions; add\(\) some, or see rejected\(\)/);
  });

  test.each(["dead", "disabled", "removed"])(
    "when every session %s: rejects at once, also callers that wait already",
    async (how) => {
      const { pool } = await openPool({ sessions: ["a"] });
      const lease = await pool.acquire();
      const waiting = watch(pool.acquire());
      const byTag = watch(pool.acquire({ tags: ["none"], wait: true }));
      await settled();
      expect({ waiting: waiting.state, byTagError: byTag.error }).toEqual({
        waiting: "pending",
        byTagError: expect.any(NoSessionAvailableError),
      });
      if (how === "dead") lease.retire("banned");
      if (how === "disabled") await pool.disable("a");
      if (how === "removed") await pool.remove("a");
      await settled();
      expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
      await expect(pool.acquire()).rejects.toBeInstanceOf(NoSessionAvailableError);
    },
  );

  test("does not affect callers that can still be served", async () => {
    const { pool } = await openPool();
    await pool.add("a", sessionString(), { tags: ["x"] });
    await pool.add("b", sessionString(), { tags: ["y"] });
    const [a, b] = [await pool.acquire({ id: "a" }), await pool.acquire({ id: "b" })];
    const [onX, onY] = [watch(pool.acquire({ tags: ["x"] })), watch(pool.acquire({ tags: ["y"] }))];
    a.retire("banned");
    await settled();
    expect({ onX: onX.state, onY: onY.state }).toEqual({ onX: "rejected", onY: "pending" });
    b.release();
    await settled();
    expect(onY.value?.id).toBe("b");
  });
});

describe("maxWaiters", () => {
  test("when reached, rejects with QueueFullError at once; every way out of the queue frees the place", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"], maxWaiters: 1 });
    const lease = await pool.acquire();
    const abort = new AbortController();
    const first = watch(pool.acquire({ signal: abort.signal }));
    await expect(pool.acquire()).rejects.toBeInstanceOf(QueueFullError);
    abort.abort();
    await settled();
    expect(first.state).toBe("rejected");
    const second = watch(pool.acquire({ wait: 10 }));
    await expect(pool.acquire()).rejects.toBeInstanceOf(QueueFullError);
    await clock.advance(10);
    expect(second.state).toBe("rejected");
    const third = watch(pool.acquire());
    lease.release();
    await settled();
    expect(third.state).toBe("resolved");
  });

  test("when 0, no caller waits", async () => {
    const { pool } = await openPool({ sessions: ["a"], maxWaiters: 0 });
    const lease = await pool.acquire();
    await expect(pool.acquire()).rejects.toBeInstanceOf(QueueFullError);
    lease.release();
    await expect(pool.acquire()).resolves.toMatchObject({ id: "a" });
  });
});

test("waiting - reports how many callers wait and until when", async () => {
  const made = await openPool({ sessions: ["a"] });
  await coolAll(made, 5);
  watch(made.pool.acquire());
  watch(made.pool.acquire());
  await settled();
  expect(made.events("waiting")).toEqual([
    { waiters: 1, nextAvailableAt: START + 5_000 },
    { waiters: 2, nextAvailableAt: START + 5_000 },
  ]);
});

describe("NoSessionAvailableError - message", () => {
  test("for one session, gives its state, the reason and what to do", async () => {
    const { pool } = await openPool({ sessions: ["a", "b", "c", "d", "e"] });
    const refusal = async (id: string, method?: string): Promise<string> => {
      const error = await pool.acquire({ id, wait: false, ...(method === undefined ? {} : { method }) }).catch(String);
      return String(error);
    };
    await pool.use((_, lease) => lease.retire("AUTH_KEY_UNREGISTERED"), { id: "a" });
    await pool.disable("b", "holiday");
    await pool.use((_, lease) => lease.coolDown(30), { id: "c" });
    await pool.acquire({ id: "d" });
    await pool.use((_, lease) => lease.coolDown(30, { method: READ }), { id: "e" });
    expect(await refusal("a")).toContain(
      'with the id "a": it is dead (AUTH_KEY_UNREGISTERED); give it a new session string with update()',
    );
    expect(await refusal("b")).toContain('with the id "b": it is disabled (holiday); enable() brings it back');
    expect(await refusal("c")).toContain('with the id "c": it is cooling (coolDown); it is free in 30 s');
    expect(await refusal("d")).toContain('with the id "d": it is leased');
    expect(await refusal("e", READ)).toContain("it is cooling for that; it is free in 30 s");
  });

  test("when a session string was passed as id or tag, does not repeat it", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const secret = sessionString("a");
    for (const call of [
      pool.acquire({ id: secret }),
      pool.acquire({ tags: [secret], wait: false }),
      pool.enable(secret),
    ]) {
      const error = await call.catch((reason: unknown) => reason);
      expect(JSON.stringify([String(error), (error as { sessionId?: string }).sessionId])).not.toContain(
        secret.slice(0, 30),
      );
    }
  });

  test("when the wait for a named session has passed, says how that one is", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"] });
    const lease = await pool.acquire({ id: "a" });
    const waiting = watch(pool.acquire({ id: "a", wait: 500 }));
    await clock.advance(500);
    expect(waiting.error).toMatchObject({
      sessionId: "a",
      message: 'No session was free within 500 ms (wait) with the id "a": it is leased.',
    });
    lease.release();
  });

  test("when the named session is free and no client may be opened, says so", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"], maxConnected: 1 });
    const lease = await pool.acquire({ id: "b" });
    const waiting = watch(pool.acquire({ id: "a", wait: 500 }));
    await clock.advance(500);
    const state = 'with the id "a": it is free; maxConnected allows no further client.';
    expect((waiting.error as Error).message).toBe(`No session was free within 500 ms (wait) ${state}`);
    await expect(pool.acquire({ id: "a", wait: false })).rejects.toThrow(`No session is available ${state}`);
    lease.release();
  });

  test("when a wait has passed, names the wait that was given", async () => {
    const { pool, clock, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    telegram.onCall = () => Promise.reject(flood(2));
    const job = watch(pool.use((client) => client.call(READ), { wait: 5_000 }));
    await clock.advance(2_000);
    lease.release();
    await clock.advance(100);
    watch(pool.acquire({ priority: 9 }));
    await clock.advance(5_000);
    expect(String(job.error)).toContain("No session was free within 5000 ms (wait)");
  });
});
