import { describe, expect, test } from "vitest";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled } from "../fakes/virtual-clock.js";

const [ALICE, BOB] = ["5000000001", "5000000002"];

/** A pool with two sessions of one account, and one of another. */
async function openAccounts(options: TestPoolOptions = {}): Promise<TestPool> {
  const opened = await openPool(options);
  await opened.pool.addMany([
    { id: "a1", session: sessionString("a1"), accountId: ALICE },
    { id: "a2", session: sessionString("a2"), accountId: ALICE },
    { id: "b", session: sessionString("b"), accountId: BOB },
  ]);
  return opened;
}

/** The sessions of these many uses, one after the other. */
async function uses({ pool }: TestPool, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let use = 0; use < count; use++) ids.push(await pool.use((_, { id }) => id));
  return ids;
}

describe('selection: "spread" with several sessions of an account', () => {
  test("one is leased - the other comes after the sessions of other accounts", async () => {
    const { pool } = await openAccounts();
    const first = await pool.acquire();
    const second = await pool.acquire();
    const third = await pool.acquire();
    expect([first.id, second.id, third.id]).toEqual(["a1", "b", "a2"]);
  });

  test("one was just used - another account is next, and the sessions of the account take turns", async () => {
    expect(await uses(await openAccounts(), 6)).toEqual(["a1", "b", "a2", "b", "a1", "b"]);
  });

  test("one is released - the account is selected by its last use again", async () => {
    const { pool } = await openAccounts();
    const first = await pool.acquire();
    const other = await pool.acquire();
    other.release();
    first.release();
    const next = await pool.acquire();
    expect([first.id, other.id, next.id]).toEqual(["a1", "b", "b"]);
  });

  test("one is removed while the other is leased - the other is an account of its own", async () => {
    const { pool } = await openAccounts();
    const [first, other] = [await pool.acquire(), await pool.acquire()];
    await pool.remove("a2");
    first.release();
    other.release();
    expect((await pool.acquire()).id).toBe("a1");
  });

  test("after a restart - an account counts as used when any of its sessions was", async () => {
    const first = await openAccounts();
    await first.pool.use(() => {}, { id: "b" });
    await first.clock.advance(1_000);
    await first.pool.use(() => {}, { id: "a1" });
    await first.pool.disable("a1");
    await first.pool.disable("b");
    await first.pool.enable("b");
    await first.pool.enable("a1");
    await first.pool.close();
    const second = await openPool({ storage: first.storage, clock: first.clock });
    expect((await second.pool.acquire()).id).toBe("b");
  });

  test.each([
    ["several leases for each session", { leasesPerSession: 2 }, ["a1", "b", "b", "a2", "a1", "a2"]],
    ['selection: "warm"', { selection: "warm" }, ["a1", "a2", "b"]],
  ] as const)("%s - every lease is granted", async (_, options, expected) => {
    const { pool } = await openAccounts(options);
    const ids: string[] = [];
    for (let count = 0; count < expected.length; count++) ids.push((await pool.acquire({ wait: false })).id);
    expect(ids.toSorted()).toEqual([...expected].sort());
    await expect(pool.acquire({ wait: false })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });
});

describe("acquire({ account })", () => {
  test("leases sessions of that account only, and waits for them", async () => {
    const { pool } = await openAccounts();
    const first = await pool.acquire({ account: ALICE });
    const second = await pool.acquire({ account: ALICE });
    expect([first.id, second.id].sort()).toEqual(["a1", "a2"]);
    const third = watch(pool.acquire({ account: ALICE }));
    await settled();
    expect(third.state).toBe("pending");
    second.release();
    await settled();
    expect(third.value?.id).toBe(second.id);
  });

  test("no session is known to be of that account - rejects at once, and names the account", async () => {
    const { pool } = await openAccounts();
    await expect(pool.acquire({ account: "7" })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
      message: expect.stringContaining("of the account 7"),
    });
  });

  test("every session of the account is disabled - rejects at once, also a caller that waits already", async () => {
    const { pool } = await openAccounts();
    const lease = await pool.acquire({ account: BOB });
    const waiting = watch(pool.acquire({ account: BOB }));
    await pool.disable("b");
    lease.release();
    await settled();
    expect(waiting.error).toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });

  test("with key and tags - meets all of them", async () => {
    const { pool } = await openAccounts();
    await pool.update("a2", { tags: ["eu"] });
    expect(await pool.use((_, { id }) => id, { account: ALICE, tags: ["eu"] })).toBe("a2");
    const sticky = await Promise.all(["k", "k"].map((key) => pool.use((_, { id }) => id, { account: ALICE, key })));
    expect(sticky[0]).toBe(sticky[1]);
    await expect(pool.acquire({ account: BOB, tags: ["eu"] })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });

  test("a session that joins the account while a caller waits - serves it", async () => {
    const { pool } = await openAccounts();
    const leases = [await pool.acquire({ account: ALICE }), await pool.acquire({ account: ALICE })];
    const waiting = watch(pool.acquire({ account: ALICE }));
    await pool.addMany([{ id: "a3", session: sessionString("a3"), accountId: ALICE }]);
    await settled();
    expect({ served: waiting.value?.id, held: leases.length }).toEqual({ served: "a3", held: 2 });
  });

  test.each(["", "0", "alice", "-5", "1e3", 5000000001])("%j - is an OptionsError", async (account) => {
    const { pool } = await openAccounts();
    await expect(pool.acquire({ account: account as string })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("addMany() - the account", () => {
  test("of a session that the pool has and whose account is not known, is learned", async () => {
    const { pool, events } = await openPool({ sessions: ["a"] });
    await pool.addMany([{ id: "a", session: sessionString("a"), accountId: ALICE, isBot: true }]);
    expect(pool.get("a")).toMatchObject({ accountId: ALICE, isBot: true });
    await settled();
    expect(events("accountLearnt")).toEqual([{ id: "a", accountId: ALICE }]);
  });

  test("that is not a user id, refuses the entry", async () => {
    const { pool } = await openPool();
    const { refused } = await pool.addMany([{ id: "a", session: sessionString("a"), accountId: "alice" }]);
    expect(refused).toMatchObject([{ id: "a", error: { code: "INVALID_OPTIONS" } }]);
  });
});
