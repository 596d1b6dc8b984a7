/**
 * Who knows whom: how long a storage takes to find the sessions that hold a peer, and a pool to lease one of them, with
 * 5,000 sessions of 200 peers each. Redis and Postgres as for their tests, where they run.
 *
 *   npx tsx bench/knows.ts [memory] [sqlite] [redis] [postgres]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { createClient } from "redis";
import { postgres } from "../adapters/storage/postgres.js";
import { redis } from "../adapters/storage/redis.js";
import { sqlite } from "../adapters/storage/sqlite.js";
import { memory, type SessionStorage, type StoredPeer } from "../src/index.js";

const SESSIONS = 5_000;
const PEERS = 200;
/** Peers in all: each is known to twenty sessions on average. */
const DISTINCT = (SESSIONS * PEERS) / 20;
const LOOK_UPS = 1_000;
const AT_ONCE = 8;

const folder = mkdtempSync(join(tmpdir(), "bench-knows-"));
const prefix = `bench_knows_${process.pid}`;
const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const postgresUrl = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";

interface Opened {
  readonly storage: SessionStorage;
  end(): Promise<unknown>;
}

const storages: Readonly<Record<string, () => Promise<Opened>>> = {
  memory: async () => ({ storage: memory(), end: async () => {} }),
  sqlite: async () => ({ storage: sqlite(join(folder, "sessions.db")), end: async () => {} }),
  redis: async () => {
    const client = await createClient({ url: redisUrl }).connect();
    const end = async (): Promise<void> => {
      for await (const keys of client.scanIterator({ MATCH: `{${prefix}}*`, COUNT: 1_000 }))
        if (keys.length > 0) await client.unlink(keys);
      client.destroy();
    };
    return { storage: redis(client, { prefix }), end };
  },
  postgres: async () => {
    const pool = new pg.Pool({ connectionString: postgresUrl, max: AT_ONCE });
    const end = async (): Promise<void> => {
      await pool.query(`DROP TABLE IF EXISTS ${prefix}, ${prefix}_peers`);
      await pool.end();
    };
    return { storage: postgres(pool, { table: prefix }), end };
  },
};

/** The peers of a session, spread over all of them. */
function peersOf(session: number): readonly StoredPeer[] {
  return Array.from({ length: PEERS }, (_, index) => {
    const number = (session * 7_919 + index * 104_729) % DISTINCT;
    return { id: `-100${1_000_000_000 + number}`, accessHash: `${number}${session}`, username: `channel${number}` };
  });
}

async function fill(storage: SessionStorage): Promise<void> {
  const numbers = Array.from({ length: SESSIONS }, (_, number) => number);
  await storage.writeMany?.(numbers.map((number) => ({ id: `session ${number}`, expected: 0, data: "{}" })));
  const left = numbers.values();
  const fillNext = async (): Promise<void> => {
    for (const number of left) await storage.peers?.save(`session ${number}`, peersOf(number));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, fillNext));
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function measure({ storage, end }: Opened): Promise<Readonly<Record<string, string>>> {
  await storage.open?.();
  try {
    const knowing = (field: "id" | "username", value: string): Promise<readonly string[]> =>
      storage.peers?.knowing?.(field, [value]) ?? Promise.resolve([]);
    const filled = await timed(() => fill(storage));
    const first = (await timed(() => knowing("username", "channel7"))) + (await timed(() => knowing("id", "-1001")));
    let found = 0;
    const lookUps = await timed(async () => {
      for (let index = 0; index < LOOK_UPS; index++)
        found += (await knowing("username", `channel${index * 31}`)).length;
    });
    const saves = await timed(() => storage.peers?.save("session 1", peersOf(2)) ?? Promise.resolve());
    return {
      "fill, s": (filled / 1_000).toFixed(1),
      "first (indexes), s": (first / 1_000).toFixed(2),
      "one look-up, ms": (lookUps / LOOK_UPS).toFixed(3),
      "sessions found": (found / LOOK_UPS).toFixed(1),
      "200 peers saved after it, ms": saves.toFixed(1),
    };
  } finally {
    await end().finally(() => storage.close?.());
  }
}

const wanted = process.argv.slice(2);
const results: Record<string, object> = {};
for (const [name, open] of Object.entries(storages)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  results[name] = await open()
    .then(measure)
    .catch((error: Error) => ({ failed: error.message }));
}
rmSync(folder, { recursive: true, force: true });
console.log(`${SESSIONS.toLocaleString("en")} sessions, ${PEERS} peers each.`);
console.table(results);
