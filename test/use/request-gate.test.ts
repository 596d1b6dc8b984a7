import { describe, expect, test } from "vitest";
import { ConnectError, OutcomeUnknownError } from "../../src/errors.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

/** A lease whose first so many requests lose their connection after they were sent. */
async function losing(times: number): Promise<Awaited<ReturnType<typeof openPool>>> {
  const made = await openPool({ sessions: ["a", "b"] });
  made.telegram.onCall = ({ id, number }) => {
    if (number > times) return `${number}`;
    queueMicrotask(() => made.telegram.handle(id).drop());
    return new Promise(() => {});
  };
  return made;
}

describe("a request whose connection is lost", () => {
  test("is sent again on the same session if it is a read", async () => {
    const { pool, telegram } = await losing(1);
    expect(await pool.use((client) => client.call(READ))).toBe("2");
    expect(telegram.calls.map(({ id }) => id)).toEqual(["a", "a"]);
  });

  test("is sent again once if it is a write with a random_id; RANDOM_ID_DUPLICATE proves it was executed", async () => {
    const { pool, telegram } = await losing(1);
    expect(await pool.use((client) => client.call(WRITE, { hasRandomId: true }))).toBe("2");
    telegram.calls.length = 0;
    const made = await losing(1);
    const { onCall } = made.telegram;
    made.telegram.onCall = (call) => {
      if (call.number === 2) throw new FakeRpcError(500, "RANDOM_ID_DUPLICATE");
      return onCall(call);
    };
    const work = watch(made.pool.use((client) => client.call(WRITE, { hasRandomId: true })));
    await settled();
    expect(work.error).toBeInstanceOf(OutcomeUnknownError);
    expect(work.error).toMatchObject({ executed: "yes" });
    expect(made.telegram.calls).toHaveLength(2);
  });

  test("is not sent a third time if it is a write with a random_id", async () => {
    const { pool, telegram } = await losing(9);
    await expect(pool.use((client) => client.call(WRITE, { hasRandomId: true }))).rejects.toMatchObject({
      executed: "unknown",
    });
    expect(telegram.calls.map(({ id }) => id)).toEqual(["a", "a"]);
  });

  test("is OutcomeUnknownError and not repeated if it is any other write", async () => {
    const { pool, telegram } = await losing(1);
    await expect(pool.use((client) => client.call(WRITE), { retry: "any" })).rejects.toMatchObject({
      executed: "unknown",
      cause: expect.any(ConnectError),
    });
    expect(telegram.calls).toHaveLength(1);
  });

  test("when its second copy is flooded, the outcome is unknown, the session cools, and no other session sends it", async () => {
    const { pool, telegram } = await losing(1);
    const { onCall } = telegram;
    telegram.onCall = (call) => {
      if (call.number === 2) throw flood(60);
      return onCall(call);
    };
    const work = watch(pool.use((client) => client.call(WRITE, { hasRandomId: true })));
    await settled();
    expect(work.state).toBe("rejected");
    expect({ calls: telegram.calls.length, state: pool.get("a")?.state }).toEqual({ calls: 2, state: "cooling" });
  });

  test("when the session cools since, is not sent again, read or write", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    telegram.onCall = () => new Promise(() => {});
    const lease = await pool.acquire();
    const [read, write] = [watch(lease.client.call(READ)), watch(lease.client.call(WRITE, { hasRandomId: true }))];
    await settled();
    lease.coolDown(60);
    telegram.handle("a").drop();
    await settled();
    expect(read.error).toMatchObject({ errorMessage: "FLOOD_WAIT_60" });
    expect(write.error).toBeInstanceOf(OutcomeUnknownError);
    expect({ calls: telegram.calls.length, connects: telegram.connects.length }).toEqual({ calls: 2, connects: 1 });
  });
});

describe("inlineWaitMs", () => {
  test("when a flood is that short and no other session is free, waits in the call; the work runs once", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], inlineWaitMs: 10_000 });
    telegram.onCall = ({ number }) => {
      if (number === 2) throw flood(5);
      return number;
    };
    let runs = 0;
    const work = watch(
      pool.use(async (client) => {
        runs++;
        return [await client.call(WRITE), await client.call(WRITE)];
      }),
    );
    await clock.advance(4_999);
    expect({ work: work.state, calls: telegram.calls.length }).toEqual({ work: "pending", calls: 2 });
    await clock.advance(1);
    expect({ workValue: work.value, runs }).toEqual({ workValue: [1, 3], runs: 1 });
  });

  test("when another session is free and rotation is safe, rotates", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"], inlineWaitMs: 10_000 });
    telegram.onCall = ({ id }) => {
      if (id === "a") throw flood(5);
      return id;
    };
    expect(await pool.use((client) => client.call(WRITE))).toBe("b");
  });

  test("when rotation would be unsafe, waits though another session is free", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"], inlineWaitMs: 10_000 });
    telegram.onCall = ({ id, number }) => {
      if (number === 2) throw flood(5);
      return id;
    };
    const work = watch(pool.use(async (client) => [await client.call(WRITE), await client.call(WRITE)]));
    await clock.advance(5_000);
    expect(work.value).toEqual(["a", "a"]);
  });

  test("when the flood is longer, does not wait", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"], inlineWaitMs: 4_999 });
    telegram.onCall = () => {
      throw flood(5);
    };
    await expect(pool.use((client) => client.call(READ), { wait: false })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
    });
  });

  test("when the lease ends, stops waiting", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], inlineWaitMs: 10_000 });
    telegram.onCall = () => {
      throw flood(5);
    };
    const lease = await pool.acquire();
    const call = watch(lease.client.call(READ));
    await clock.advance(1_000);
    lease.release();
    await settled();
    expect(call.error).toMatchObject({ code: "LEASE_RELEASED" });
    await clock.advance(60_000);
    expect(telegram.calls).toHaveLength(1);
  });
});

describe("ordered requests", () => {
  test("are sent one at a time; a flooded first one stops the rest", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const first = deferred<string>();
    telegram.onCall = ({ number }) => (number === 1 ? first.promise : `${number}`);
    const lease = await pool.acquire();
    const calls = [1, 2, 3].map(() => watch(lease.client.call(WRITE, { isOrdered: true })));
    await settled();
    expect(telegram.calls).toHaveLength(1);
    first.reject(flood(60));
    await settled();
    expect(calls.map(({ state }) => state)).toEqual(["rejected", "rejected", "rejected"]);
    expect(telegram.calls).toHaveLength(1);
    lease.release();
    await settled();
    expect(pool.get("a")?.state).toBe("cooling");
  });

  test("keep their order", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const answers = ["m1", "m2", "m3"].map((method) => lease.client.call(method, { isOrdered: true }));
    await Promise.all(answers);
    expect(telegram.calls.map(({ method }) => method)).toEqual(["m1", "m2", "m3"]);
  });
});

test("invoke() - a request of a cooling session, method or peer is refused before it is sent, with the seconds left", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.coolDown(10, { method: WRITE });
  await clock.advance(2_500);
  await expect(lease.client.call(WRITE)).rejects.toMatchObject({ code: 420, errorMessage: "FLOOD_WAIT_8" });
  await clock.advance(7_499);
  await expect(lease.client.call(WRITE)).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_1" });
  expect(telegram.calls).toEqual([]);
  await clock.advance(1);
  expect(await lease.client.call(WRITE)).toBe(`${WRITE} by a`);
});

test("lease - when held through a cooldown, refuses calls to the last millisecond, then works again", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  lease.coolDown(10);
  await clock.advance(9_999);
  await expect(lease.client.call(READ)).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_1" });
  expect(telegram.calls).toEqual([]);
  await clock.advance(1);
  expect(await lease.client.call(READ)).toBe(`${READ} by a`);
});

test("invoke() - a 401 of another data center does not kill the account", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  telegram.onCall = () => {
    throw new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
  };
  await pool.use((client) => client.call(READ, { isHomeDc: false }), { maxAttempts: 1 }).catch(() => {});
  expect(pool.get("a")?.state).toBe("free");
});
