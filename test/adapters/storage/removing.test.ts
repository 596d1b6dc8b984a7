import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { redis } from "../../../adapters/storage/redis.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import { SessionPool, type SessionStorage, systemClock } from "../../../src/index.js";
import { type FakeClient, FakeTelegram, READ } from "../../fakes/fake-telegram.js";
import { sessionString } from "../../fakes/sessions.js";
import { FakeRpcError } from "../../fakes/telegram-errors.js";
import { isServerThere } from "./servers.js";

const url = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const isRedisThere = await isServerThere("Redis", url);

type Storages = () => Promise<readonly [SessionStorage, SessionStorage]>;

/** Two connections to one file. */
const files: Storages = async () => {
  const folder = mkdtempSync(join(tmpdir(), "removing-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return [sqlite(join(folder, "sessions.db")), sqlite(join(folder, "sessions.db"))];
};

/** Two clients of one server. */
const servers: Storages = async () => {
  const prefix = `test-${randomUUID()}`;
  const clients = [createClient({ url }), createClient({ url })] as const;
  for (const client of clients) await client.on("error", () => {}).connect();
  onTestFinished(async () => {
    for (const key of await clients[0].keys(`{${prefix}*`)) await clients[0].del(key);
    for (const client of clients) client.destroy();
  });
  return [redis(clients[0], { prefix }), redis(clients[1], { prefix })];
};

describe.each([
  ["SQLite", files, true],
  ["Redis", servers, isRedisThere],
])("two pools over %s", (_, storages, isThere) => {
  const open = async (storage: SessionStorage, telegram: FakeTelegram, host: string) => {
    const pool = await SessionPool.open({
      client: telegram,
      storage,
      idleTimeoutMs: 0,
      ownership: { host, ttlMs: 1_500 },
    });
    onTestFinished(() => pool.destroy());
    return pool;
  };

  async function both(): Promise<{
    readonly pools: readonly [SessionPool<FakeClient>, SessionPool<FakeClient>];
    readonly telegram: FakeTelegram;
  }> {
    const telegram = new FakeTelegram(systemClock);
    const [first, second] = await storages();
    const one = await open(first, telegram, "one");
    for (let i = 0; i < 5; i++) await one.add(`s${i}`, sessionString(`s${i}`));
    return { telegram, pools: [one, await open(second, telegram, "two")] };
  }

  test.runIf(isThere)("that remove a dead session - both remove it, and its key is free", async () => {
    const { pools, telegram } = await both();
    const failures: unknown[] = [];
    for (const pool of pools) {
      pool.on("died", async ({ id }) => void (await pool.remove(id).catch((error: unknown) => failures.push(error))));
    }
    telegram.onCall = ({ id }) => {
      if (id !== "s4") throw new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
      return "alive";
    };
    const work = (pool: SessionPool<FakeClient>) => pool.use((client) => client.call(READ));
    expect(await Promise.all([...pools, ...pools].map(work))).toEqual(["alive", "alive", "alive", "alive"]);
    for (const pool of pools) await pool.use((client) => client.call(READ), { id: "s0" }).catch(() => {});
    await vi.waitFor(
      () => {
        for (const pool of pools) {
          const dead = pool.sessions().filter(({ state }) => state === "dead");
          expect(dead).toEqual([]);
          expect(pool.get("s0")).toBeUndefined();
        }
      },
      { timeout: 15_000, interval: 50 },
    );
    expect(failures).toEqual([]);
    // Its client may still be closing, which keeps the key.
    await vi.waitFor(() => pools[1].add("again", sessionString("s0")), { timeout: 15_000, interval: 50 });
    expect(telegram.violations).toEqual([]);
  });

  test.runIf(isThere)("that remove the same sessions at once, while they are leased - no call fails", async () => {
    const { pools, telegram } = await both();
    const ids = ["s0", "s1", "s2", "s3"];
    const leasing = ids.map((id) =>
      pools[1]
        .acquire({ id, wait: 2_000 })
        .then((lease) => lease.release())
        .catch(() => {}),
    );
    const removals = await Promise.all(ids.flatMap((id) => pools.map((pool) => pool.remove(id))));
    await Promise.all(leasing);
    expect(removals.filter(Boolean).length).toBeGreaterThanOrEqual(ids.length);
    await vi.waitFor(() => expect(pools.map((pool) => pool.status().total)).toEqual([1, 1]), {
      timeout: 15_000,
      interval: 50,
    });
    for (const pool of pools)
      expect(await pool.use((client) => client.call(READ), { wait: 10_000 })).toBe(`${READ} by s4`);
    expect(telegram.violations).toEqual([]);
  });
});
