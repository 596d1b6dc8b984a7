/** Storages on real servers that several pools of a scenario share. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { createClient } from "redis";
import { onTestFinished } from "vitest";
import { postgres } from "../../adapters/storage/postgres.js";
import { redis } from "../../adapters/storage/redis.js";
import type { SessionStorage } from "../../src/index.js";
import { isServerThere } from "../adapters/storage/servers.js";

const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const postgresUrl = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";

/** Creates a storage for each pool, over one client. */
export type Storages = () => SessionStorage;

interface SharedServer {
  readonly name: string;
  connect(): Promise<Storages | undefined>;
}

async function overRedis(): Promise<Storages | undefined> {
  if (!(await isServerThere("Redis", redisUrl))) return undefined;
  const client = createClient({ url: redisUrl });
  await client.connect();
  const prefix = `{shared-${randomUUID()}}:`;
  onTestFinished(async () => {
    for await (const keys of client.scanIterator({ MATCH: `${prefix}*` })) {
      const found = [keys].flat();
      if (found.length > 0) await client.del(found);
    }
    await client.close();
  });
  return () => redis(client, { prefix });
}

async function overPostgres(): Promise<Storages | undefined> {
  if (!(await isServerThere("Postgres", postgresUrl))) return undefined;
  const client = new pg.Pool({ connectionString: postgresUrl, max: 3 });
  const table = `shared_${randomUUID().replaceAll("-", "")}`;
  onTestFinished(async () => {
    await client.query(`DROP TABLE IF EXISTS ${table}, ${table}_peers CASCADE`);
    await client.end();
  });
  return () => postgres(client, { table });
}

/**
 * The servers by name. `connect` resolves with `undefined` where there is none, and is to be called before `stage`: what is set
 * up first is taken down last.
 */
export const SHARED_SERVERS: readonly SharedServer[] = [
  { name: "Redis", connect: overRedis },
  { name: "Postgres", connect: overPostgres },
];
