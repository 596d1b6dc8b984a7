import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import pg from "pg";
import { postgres } from "../../../adapters/storage/postgres.js";
import { redis } from "../../../adapters/storage/redis.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import type { SessionStorage } from "../../../src/index.js";

/** Where a place's records are: what a process has to know to use it. */
export interface PlaceAddress {
  readonly engine: "sqlite" | "redis" | "postgres";
  readonly url: string;
  /** The prefix or the table. */
  readonly name: string;
}

/** An empty place for records that several processes use, of a test's own. */
export interface Place {
  readonly address: PlaceAddress;
  /** Deletes it. */
  drop(): Promise<void>;
}

/** A storage on a place, and the end of its connections. */
export interface OpenPlace {
  readonly storage: SessionStorage;
  end(): Promise<void>;
}

export const REDIS_URL: string = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
export const POSTGRES_URL: string = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";

/** Makes an empty place. */
export async function makePlace(engine: PlaceAddress["engine"]): Promise<Place> {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  if (engine === "redis") return redisPlace({ engine, url: REDIS_URL, name });
  if (engine === "postgres") return postgresPlace({ engine, url: POSTGRES_URL, name });
  const folder = mkdtempSync(join(tmpdir(), "processes-"));
  return {
    address: { engine, url: join(folder, "sessions.db"), name },
    drop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

function redisPlace(address: PlaceAddress): Place {
  const drop = async (): Promise<void> => {
    const client = new Redis(address.url);
    const keys = await client.keys(`{${address.name}}*`);
    if (keys.length > 0) await client.del(keys);
    client.disconnect();
  };
  return { address, drop };
}

/** A schema for each: with it its tables go. */
async function postgresPlace(address: PlaceAddress): Promise<Place> {
  const inSchema = async (statement: string): Promise<void> => {
    const client = new pg.Client(address.url);
    await client.connect();
    await client.query(statement);
    await client.end();
  };
  await inSchema(`CREATE SCHEMA ${address.name}`);
  return {
    address: { ...address, name: `${address.name}.sessions` },
    drop: () => inSchema(`DROP SCHEMA ${address.name} CASCADE`),
  };
}

/** A storage on the place, with connections of its own. */
export function openPlace({ engine, url, name }: PlaceAddress): OpenPlace {
  if (engine === "sqlite") return { storage: sqlite(url), end: async () => {} };
  if (engine === "redis") {
    const client = new Redis(url);
    return { storage: redis(client, { prefix: name }), end: async () => client.disconnect() };
  }
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  return { storage: postgres(pool, { table: name }), end: () => pool.end() };
}
