import { expect, test } from "vitest";
import { resolveOptions } from "../../src/create-pool.js";
import { OptionsError } from "../../src/errors.js";
import type { SessionSelection } from "../../src/options/selection-strategy.js";
import type { SessionInfo } from "../../src/session-info.js";
import type { SessionPool } from "../../src/session-pool.js";
import { type FakeClient, FakeTelegram } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

const NAMES = ["alice", "bob", "carol", "dave"];

async function served(pool: SessionPool<FakeClient>, turns: number): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const lease = await pool.acquire();
    ids.push(lease.id);
    lease.release();
  }
  return ids;
}

async function servedBy(selection: SessionSelection, turns: number): Promise<readonly string[]> {
  return served((await openPool({ sessions: NAMES, selection })).pool, turns);
}

test("selection - the longest rested by default", async () => {
  const { pool } = await openPool({ sessions: NAMES });
  expect(await served(pool, 8)).toEqual([...NAMES, ...NAMES]);
});

test('selection "warm" - uses no second session for callers that come one after the other', async () => {
  const { pool, events, clock } = await openPool({ sessions: NAMES, selection: "warm", idleTimeoutMs: 60_000 });
  const both = await Promise.all([pool.acquire(), pool.acquire()]);
  for (const lease of both) lease.release();
  expect(events("connected")).toHaveLength(2);
  await served(pool, 20);
  await clock.advance(30_000);
  const [last] = await served(pool, 1);
  await clock.advance(30_000);
  expect(events("disconnected")).toHaveLength(1);
  expect(await served(pool, 3)).toEqual([last, last, last]);
  expect(events("connected")).toHaveLength(2);
});

test('selection "warm" - treats a session whose client was closed as cold', async () => {
  const { pool, events, clock } = await openPool({ sessions: NAMES, selection: "warm", idleTimeoutMs: 60_000 });
  await served(pool, 2);
  await clock.advance(120_000);
  expect(events("disconnected")).toEqual([expect.objectContaining({ id: "alice" })]);
  expect(await served(pool, 2)).toEqual(["bob", "bob"]);
});

test("selection { random } - the same seed gives the same choices, another seed gives others", async () => {
  const [first, again, other] = [
    await servedBy({ random: 7 }, 40),
    await servedBy({ random: 7 }, 40),
    await servedBy({ random: 8 }, 40),
  ];
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
  expect(new Set(first)).toEqual(new Set(NAMES));
  expect(new Set(await servedBy("random", 200))).toEqual(new Set(NAMES));
  expect(await servedBy({ random: () => 0.999 }, 1)).toEqual(["dave"]);
});

test("selection { weight } - is in proportion to the current weight of each session", async () => {
  const { pool } = await openPool({
    selection: { weight: ({ tags }) => (tags.includes("strong") ? 3 : 1) },
    sessions: ["alice", "bob"],
  });
  await pool.update("bob", { tags: ["strong"] });
  const ids = await served(pool, 40);
  expect(ids.filter((id) => id === "bob")).toHaveLength(30);
  await pool.update("bob", { tags: [] });
  const equal = await served(pool, 40);
  expect(equal.filter((id) => id === "bob").length).toBeGreaterThanOrEqual(19);
  expect(equal.filter((id) => id === "bob").length).toBeLessThanOrEqual(21);
});

test("selection by a strategy - the strategy ranks, and is notified of every lease", async () => {
  const asked: SessionInfo[] = [];
  const leased: string[] = [];
  const strategy = {
    rank(session: SessionInfo) {
      asked.push(session);
      return -NAMES.indexOf(session.id);
    },
    leased: ({ id, state }: SessionInfo) => void leased.push(`${id} ${state}`),
  };
  const { pool } = await openPool({ sessions: NAMES, selection: strategy });
  const two = [await pool.acquire(), await pool.acquire(), await pool.acquire({ id: "alice" })];
  expect(two.map(({ id }) => id)).toEqual(["dave", "carol", "alice"]);
  expect(leased).toEqual(["dave leased", "carol leased", "alice leased"]);
  expect(asked.map(({ id }) => id)).toEqual(NAMES);
  two[0]?.release();
  expect(asked.at(-1)).toMatchObject({ id: "dave", state: "free" });
});

test.each<[string, SessionSelection]>([
  ["a weight", { weight: () => fail() }],
  ["chance", { random: () => fail() }],
  ["both methods", { rank: () => fail(), leased: () => void fail() }],
  ["a promise for a rank", { rank: async () => fail(), leased: async () => void fail() } as never],
  ["a text for a rank", { rank: () => "first", leased: () => {} } as never],
])("a strategy that fails: %s - every session still serves, and the failure is reported once", async (_, selection) => {
  const told: string[] = [];
  const quiet = () => {};
  const logger = { debug: quiet, info: quiet, warn: quiet, error: (message: string) => void told.push(message) };
  const { pool } = await openPool({ sessions: NAMES, selection, logger });
  const leases = await Promise.all(NAMES.map(() => pool.acquire()));
  expect(new Set(leases.map(({ id }) => id))).toEqual(new Set(NAMES));
  for (const lease of leases) lease.release();
  expect(pool.status()).toMatchObject({ free: 4, leased: 0 });
  expect(told.length).toBeLessThanOrEqual(1);
  await expect(pool.acquire({ key: "k", wait: false })).resolves.toBeDefined();
});

test("a strategy that calls the pool, though it must not - no session has two leases", async () => {
  let pool: SessionPool<FakeClient> | undefined;
  const nested: Promise<{ id: string; release(): void }>[] = [];
  let left = 3;
  const meddle = () => {
    if (pool === undefined || left-- <= 0) return;
    nested.push(pool.acquire());
  };
  const opened = await openPool({
    sessions: NAMES,
    selection: {
      rank() {
        meddle();
        return 0;
      },
      leased: meddle,
    },
  });
  pool = opened.pool;
  const own = await Promise.all([pool.acquire(), pool.acquire({ wait: 0 }).catch(() => undefined)]);
  const others = await Promise.all(nested);
  const ids = [...own, ...others].filter((lease) => lease !== undefined).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const lease of [...own, ...others]) lease?.release();
  expect(pool.status()).toMatchObject({ free: 4, leased: 0, total: 4 });
});

test("selection - the error for a wrong value lists the accepted ones", () => {
  const clock = new VirtualClock();
  const client = new FakeTelegram(clock);
  expect(() => resolveOptions({ client, selection: "lru" as never })).toThrow(OptionsError);
  expect(() => resolveOptions({ client, selection: "lru" as never })).toThrow(
    /selection must be "spread", "warm", "random", .*weight.*rank\(\) and leased\(\)/,
  );
});

function fail(): never {
  throw new Error("out of order");
}
