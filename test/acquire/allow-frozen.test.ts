import { describe, expect, test } from "vitest";
import { ReadOnlyLeaseError } from "../../src/errors.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";

const DAY_MS = 86_400_000;
const frozenError = (code = "FROZEN_METHOD_INVALID"): FakeRpcError => new FakeRpcError(420, code);

/** A pool with these sessions, of which the given ones are frozen: they answer reads only. */
async function poolWith(
  sessions: readonly string[],
  frozen: readonly string[],
  options: TestPoolOptions = {},
): Promise<TestPool> {
  const scene = await openPool({ isAskable: true, sessions, ...options });
  const { pool, telegram } = scene;
  telegram.onCall = ({ id, method }) => {
    if (frozen.includes(id) && method === WRITE) throw frozenError();
    return `${method} by ${id}`;
  };
  for (const id of frozen) await pool.use((client) => client.call(WRITE), { id, retry: "none" }).catch(() => {});
  expect(pool.status().restricted).toBe(frozen.length);
  telegram.calls.length = 0;
  return scene;
}

describe("allowFrozen", () => {
  test("not given - a frozen session is not leased", async () => {
    const { pool } = await poolWith(["a"], ["a"]);
    await expect(pool.acquire()).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    await expect(pool.acquire({ id: "a" })).rejects.toThrow("a lease with allowFrozen reads with it");
    await expect(pool.acquire({ allowFrozen: "yes" as never })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });

  test("the frozen session is leased, reads, and is restricted again after the lease", async () => {
    const { pool, telegram } = await poolWith(["a"], ["a"]);
    const lease = await pool.acquire({ allowFrozen: true });
    expect(pool.status()).toMatchObject({ leased: 1, restricted: 0 });
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    lease.release();
    expect(pool.get("a")).toMatchObject({ state: "restricted", reason: "FROZEN_METHOD_INVALID" });
    expect(telegram.violations).toEqual([]);
  });

  test("a write - ReadOnlyLeaseError, on whichever session, and nothing is sent", async () => {
    const { pool, telegram } = await poolWith(["a", "b"], ["a"]);
    for (const id of ["a", "b"]) {
      const error = await pool.use((client) => client.call(WRITE), { id, allowFrozen: true }).catch((caught) => caught);
      expect(error).toBeInstanceOf(ReadOnlyLeaseError);
      expect(error).toMatchObject({ code: "READ_ONLY_LEASE", sessionId: id, method: WRITE });
    }
    const writes = () => telegram.calls.filter(({ method }) => method === WRITE);
    expect(writes()).toEqual([]);
    expect(pool.status()).toMatchObject({ free: 1, restricted: 1 });
    await pool.use((client) => client.call(WRITE));
    expect(writes()).toMatchObject([{ id: "b" }]);
  });

  test("frozen and free sessions - the least recently used one of both", async () => {
    const { pool } = await poolWith(["a", "b", "c"], ["b"]);
    const order: string[] = [];
    for (let turn = 0; turn < 6; turn++) {
      const { id } = await pool.use((_client, lease) => lease, { allowFrozen: true });
      order.push(id);
    }
    expect(new Set(order.slice(0, 3))).toEqual(new Set(["a", "b", "c"]));
    expect(order.slice(3)).toEqual(order.slice(0, 3));
  });

  test('selection: "warm" - a frozen session only if there is no other', async () => {
    const { pool } = await poolWith(["a", "b"], ["b"], { selection: "warm" });
    const first = await pool.acquire({ allowFrozen: true });
    const second = await pool.acquire({ allowFrozen: true });
    expect([first.id, second.id]).toEqual(["a", "b"]);
    first.release();
    second.release();
    expect((await pool.acquire({ allowFrozen: true })).id).toBe("a");
  });

  test("a waiter that only reads - gets the frozen session when it is released, an earlier one that may write does not", async () => {
    const { pool } = await poolWith(["a", "b"], ["a"]);
    const frozen = await pool.acquire({ id: "a", allowFrozen: true });
    const other = await pool.acquire({ id: "b" });
    const writer = watch(pool.acquire());
    const reader = watch(pool.acquire({ allowFrozen: true }));
    frozen.release();
    await Promise.resolve();
    await expect.poll(() => reader.state).toBe("resolved");
    expect({ reader: reader.value?.id, writer: writer.state }).toEqual({ reader: "a", writer: "pending" });
    other.release();
    await expect.poll(() => writer.value?.id).toBe("b");
  });

  test("a frozen session that cools - serves when the cooldown is over, not before", async () => {
    const { pool, telegram, clock } = await poolWith(["a"], ["a"]);
    const { onCall } = telegram;
    telegram.onCall = () => {
      throw flood(60);
    };
    const read = { allowFrozen: true, retry: "none" } as const;
    await pool.use((client) => client.call(READ), read).catch(() => {});
    telegram.onCall = onCall;
    await expect(pool.acquire({ allowFrozen: true, wait: 59_000 })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
      waitingCount: 1,
      nextReleaseIn: 60,
    });
    const waiting = watch(pool.acquire({ allowFrozen: true }));
    await clock.advance(59_999);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect({ state: waiting.state, id: waiting.value?.id }).toEqual({ state: "resolved", id: "a" });
  });

  test("the last session that could serve dies or is disabled - the waiting reader is rejected", async () => {
    const { pool } = await poolWith(["a"], ["a"]);
    const lease = await pool.acquire({ allowFrozen: true });
    const waiting = watch(pool.acquire({ allowFrozen: true }));
    await pool.disable("a");
    await expect.poll(() => waiting.state).toBe("rejected");
    expect(waiting.error).toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    lease.release();
    expect(pool.get("a")?.state).toBe("disabled");
  });

  test("a key - the highest-ranked session of both kinds, which it waits for while it is leased", async () => {
    const ids = ["a", "b", "c", "d"];
    const { pool } = await poolWith(ids, ["b", "c"]);
    for (const key of ["k1", "k2", "k3", "k4", "k5", "k6"]) {
      const first = await pool.acquire({ key, allowFrozen: true });
      const again = watch(pool.acquire({ key, allowFrozen: true }));
      await Promise.resolve();
      expect(again.state).toBe("pending");
      first.release();
      await expect.poll(() => again.value?.id).toBe(first.id);
      again.value?.release();
    }
  });

  test.each([
    ["FROZEN_METHOD_INVALID", { method: READ }, { method: READ }],
    ["FROZEN_PARTICIPANT_MISSING", { method: READ, peer: "channel:5" }, { peer: "channel:5" }],
  ])(
    "a read refused with %s - moves to another session, and that one is not used for it again",
    async (code, criteria, cooled) => {
      const { pool, telegram, events } = await poolWith(["a", "b"], ["a"]);
      const { onCall } = telegram;
      telegram.onCall = (call) => {
        if (call.id === "a" && call.method === READ) throw frozenError(code);
        return onCall(call);
      };
      const { peer } = criteria as { readonly peer?: string };
      const options = peer === undefined ? {} : { peer };
      const work = { id: undefined, allowFrozen: true };
      for (let turn = 0; turn < 3; turn++) {
        expect(await pool.use((client) => client.call(READ, options), { ...work, ...criteria })).toBe(`${READ} by b`);
      }
      expect(telegram.calls.filter(({ id }) => id === "a").length).toBeLessThanOrEqual(1);
      await pool
        .use((client) => client.call(READ, options), { id: "a", allowFrozen: true, retry: "none" })
        .catch(() => {});
      expect(telegram.calls.filter(({ id }) => id === "a")).toHaveLength(1);
      expect(events("cooled")).toMatchObject([{ id: "a", ...cooled }]);
      expect(await pool.use((client) => client.call("help.GetConfig"), { id: "a", allowFrozen: true })).toBe(
        "help.GetConfig by a",
      );
    },
  );

  test("a frozen session that cannot connect - backs off like any other", async () => {
    const { pool, telegram, clock } = await poolWith(["a"], ["a"], { idleTimeoutMs: 0 });
    await clock.advance(1);
    const before = telegram.connects.length;
    telegram.onConnect = () => {
      throw new Error("no way");
    };
    await expect(pool.acquire({ allowFrozen: true })).rejects.toMatchObject({ code: "CONNECT_FAILED" });
    expect(telegram.connects.length).toBe(before + 1);
    telegram.onConnect = () => {};
    const waiting = watch(pool.acquire({ allowFrozen: true }));
    await clock.advance(1_000);
    expect({ state: waiting.state, violations: telegram.violations }).toEqual({ state: "resolved", violations: [] });
  });

  test("maxConnected and leasesPerSession - count for frozen sessions, too", async () => {
    const { pool } = await poolWith(["a", "b"], ["a", "b"], { maxConnected: 1, leasesPerSession: 2 });
    const first = await pool.acquire({ allowFrozen: true });
    const second = await pool.acquire({ allowFrozen: true });
    expect(second.id).toBe(first.id);
    await expect(pool.acquire({ allowFrozen: true, wait: false })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
    });
    first.release();
    second.release();
  });

  test("the freeze ends during the lease - the session is free afterwards", async () => {
    const { pool, telegram, clock, events } = await poolWith(["a"], ["a"]);
    const until = Math.ceil(clock.now() / 1_000) + 60;
    telegram.onCall = ({ method }) =>
      method === "help.GetAppConfig"
        ? {
            className: "help.AppConfig",
            config: {
              className: "JsonObject",
              value: [
                { key: "freeze_since_date", value: { className: "JsonNumber", value: 5 } },
                { key: "freeze_until_date", value: { className: "JsonNumber", value: until } },
              ],
            },
          }
        : [{ className: "User", self: true, id: 7n }];
    Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
    expect(await pool.check("a")).toMatchObject({ isAlive: true, isFrozen: true, frozenUntil: until * 1_000 });
    const lease = await pool.acquire({ allowFrozen: true });
    await clock.advance(61_000);
    expect(pool.get("a")?.state).toBe("leased");
    lease.release();
    await clock.advance(1);
    expect({ state: pool.get("a")?.state, recovered: events("recovered") }).toEqual({
      state: "free",
      recovered: [{ id: "a" }],
    });
  });

  test("map() - reads with frozen sessions", async () => {
    const { pool } = await poolWith(["a", "b"], ["a", "b"]);
    const ids = new Set<string | null>();
    for await (const { ok, sessionId } of pool.map([1, 2, 3, 4], (client) => client.call(READ), {
      allowFrozen: true,
    })) {
      expect(ok).toBe(true);
      ids.add(sessionId);
    }
    expect(ids).toEqual(new Set(["a", "b"]));
  });

  test("a pool without frozen sessions - is used as ever, and refuses writes", async () => {
    const { pool, clock } = await poolWith(["a"], []);
    const lease = await pool.acquire({ allowFrozen: true });
    await expect(lease.client.call(WRITE)).rejects.toBeInstanceOf(ReadOnlyLeaseError);
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    lease.release();
    await clock.advance(DAY_MS / 24);
    expect(pool.get("a")?.state).toBe("free");
  });
});
