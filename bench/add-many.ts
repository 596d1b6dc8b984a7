/**
 * What it takes to add many accounts: `addMany`, a loop of `add`, and the least that could be done: one row per account,
 * inserted in batches of 500 by the driver alone. (An account takes the pool three writes: its key is reserved, its record
 * written, its key confirmed.)
 *
 *     npx tsx bench/add-many.ts [accounts]
 *
 * Redis and Postgres at `REDIS_URL` and `POSTGRES_URL`, or their usual ports on this machine. The loop is timed over a
 * fiftieth of the accounts. `held` is the longest that the event loop was held during `addMany`.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { Redis } from "ioredis";
import pg from "pg";
import { formatSession, type NewSession, SessionPool, type SessionStorage } from "telegram-session-pool";
import { postgres } from "telegram-session-pool/postgres";
import { redis } from "telegram-session-pool/redis";
import { sqlite } from "telegram-session-pool/sqlite";
import { nothing } from "./nothing-client.js";

const ACCOUNTS = Number(process.argv[2] ?? 10_000);
const ROUNDS = 3;
const BATCH = 500;
const RECORD = "x".repeat(700);

const TELEGRAM = { format: "gramjs", isTest: false, dcId: 2, serverAddress: "149.154.167.51", port: 443 } as const;

/** One place to add to, as the pool and as the bare driver see it. */
interface Place {
  storage(name: string): SessionStorage;
  /** Inserts one batch of rows, durably; `undefined` where there is no driver to compare with. */
  insert?(name: string, ids: readonly string[]): Promise<void>;
  prepare?(name: string): Promise<void>;
  end(): Promise<void>;
}

function accounts(count: number): readonly NewSession[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `account ${index}`,
    session: formatSession({ ...TELEGRAM, authKey: randomBytes(256) }, "gramjs"),
  }));
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function withPool<T>(storage: SessionStorage, work: (pool: SessionPool<object>) => Promise<T>): Promise<T> {
  await using pool = await SessionPool.open({ client: nothing, storage });
  return await work(pool);
}

async function measure(name: string, place: Place): Promise<void> {
  const [many, loop, bare, held]: number[][] = [[], [], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    const given = accounts(ACCOUNTS);
    await withPool(place.storage(randomUUID()), async (pool) => {
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      many?.push(await milliseconds(() => pool.addMany(given)));
      held?.push(delay.max / 1e6);
      if (pool.status().total !== ACCOUNTS) throw new Error("Not all were added.");
    });
    const few = given.slice(0, Math.ceil(ACCOUNTS / 50));
    await withPool(place.storage(randomUUID()), async (pool) => {
      const spentMs = await milliseconds(async () => {
        for (const { id, session } of few) await pool.add(id, session);
      });
      loop?.push(spentMs * (ACCOUNTS / few.length));
    });
    const table = randomUUID();
    await place.prepare?.(table);
    const insertAll = async (): Promise<void> => {
      for (let start = 0; start < ACCOUNTS; start += BATCH) {
        const ids = given.slice(start, start + BATCH).map(({ id }) => id);
        await place.insert?.(table, ids);
      }
    };
    bare?.push(await milliseconds(insertAll));
  }
  await place.end();
  const [manyMs, loopMs, bareMs] = [many, loop, bare].map((times) => Math.min(...(times ?? [])));
  const ratio = place.insert === undefined ? "" : ((manyMs ?? 0) / (bareMs ?? 1)).toFixed(1);
  console.log(
    `${name.padEnd(10)} addMany ${seconds(manyMs)}  loop of add ${seconds(loopMs)} (${((loopMs ?? 0) / (manyMs ?? 1)).toFixed(1)} x)` +
      `  bare INSERTs ${place.insert === undefined ? "-" : seconds(bareMs)} (addMany is ${ratio} x)  held ${Math.max(...(held ?? [])).toFixed(0)} ms`,
  );
}

function seconds(ms = 0): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

interface Database {
  exec(statement: string): void;
  prepare(statement: string): { run(...parameters: readonly string[]): unknown };
}

function sqlitePlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), "add-many-"));
  const end = async (): Promise<void> => rmSync(folder, { recursive: true });
  const storage = (name: string): SessionStorage => sqlite(join(folder, `${name}.db`));
  const own = process.getBuiltinModule("node:sqlite") as { DatabaseSync: new (path: string) => Database } | undefined;
  if (own === undefined) return { storage, end };
  let database: Database | undefined;
  return {
    storage,
    end,
    async prepare(name) {
      database = new own.DatabaseSync(join(folder, `${name}.bare.db`));
      database.exec("PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA");
      database.exec("CREATE TABLE records (id TEXT PRIMARY KEY, version INTEGER, data TEXT) STRICT");
    },
    async insert(_, ids) {
      database?.exec("BEGIN IMMEDIATE");
      const statement = database?.prepare("INSERT INTO records VALUES (?, 1, ?)");
      for (const id of ids) statement?.run(id, RECORD);
      database?.exec("COMMIT");
    },
  };
}

function redisPlace(client: Redis): Place {
  const prefix = `add-many-${randomUUID()}`;
  return {
    storage: (name) => redis(client, { prefix: `${prefix}-${name}` }),
    async insert(name, ids) {
      const pipeline = client.pipeline();
      for (const id of ids) pipeline.hset(`{${prefix}-${name}}:bare`, id, RECORD);
      await pipeline.exec();
    },
    async end() {
      const keys = await client.keys(`{${prefix}*`);
      if (keys.length > 0) await client.del(keys);
      client.disconnect();
    },
  };
}

async function postgresPlace(client: pg.Pool): Promise<Place> {
  const schema = `add_many_${randomBytes(6).toString("hex")}`;
  await client.query(`CREATE SCHEMA ${schema}`);
  const tableOf = (name: string): string => `${schema}.t_${name.replaceAll("-", "_")}`;
  return {
    storage: (name) => postgres(client, { table: tableOf(name) }),
    async prepare(name) {
      await client.query(`CREATE TABLE ${tableOf(name)} (id text PRIMARY KEY, version bigint, data text)`);
    },
    async insert(name, ids) {
      const values = [ids, ids.map(() => RECORD)];
      await client.query(
        `INSERT INTO ${tableOf(name)} SELECT id, 1, data FROM unnest($1::text[], $2::text[]) AS t (id, data)`,
        values,
      );
    },
    async end() {
      await client.query(`DROP SCHEMA ${schema} CASCADE`);
      await client.end();
    },
  };
}

console.log(`${ACCOUNTS} accounts, Node.js ${process.version}, the fastest of ${ROUNDS} rounds`);
await measure("SQLite", sqlitePlace());
await measure("Redis", redisPlace(new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379")));
const pool = new pg.Pool({ connectionString: process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test" });
await measure("Postgres", await postgresPlace(pool));
