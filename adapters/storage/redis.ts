import { randomUUID } from "node:crypto";
import { OptionsError, StorageError } from "../../src/errors.js";

import { assertKnownOptions } from "../../src/options/validators.js";
import type { PeerStorage, RecordWrite, SessionStorage, StoredRecord, WriteResult } from "../../src/storage/storage.js";
import { ClientErrors } from "./client-errors.js";
import { KeptWatch } from "./kept-watch.js";
import { createEvaluator, type Evaluate, pagesOf, type RedisClient, subscription } from "./redis/redis-client.js";
import { type RedisKeys, redisKeys, redisPeers } from "./redis/redis-peers.js";
import { toStorageError } from "./to-storage-error.js";

export type { RedisClient } from "./redis/redis-client.js";

/** Options of {@link redis}. */
export interface RedisOptions {
  /** Stands before every key, in braces: pools with one prefix are one pool. @default "telegram-session-pool" */
  readonly prefix?: string;
}

/**
 * Keeps records in Redis or Valkey, for any number of processes on any number of hosts.
 *
 * One script per write, or per up to 500 writes of one moment, one command per read; `list` reads a thousand records per
 * command. Where the client can `duplicate()`, a second connection reports the writes of other processes. The client has to be connected and stays the
 * caller's: `close` does not end it. While the storage is open it listens to the client's `error` events, so that a
 * restart of the server does not end the process.
 *
 * Redis is as durable as its configuration: with `appendonly yes` and `appendfsync everysec` a crash of the server loses
 * up to a second of acknowledged writes, a failover likewise, and two processes may then hold one session. Where that
 * matters take Postgres. A server that may evict the records is refused by `open`.
 *
 * @throws `OptionsError` for a wrong argument.
 */
export function redis(client: RedisClient, options: RedisOptions = {}): SessionStorage {
  const isObject = (typeof client === "object" && client !== null) || typeof client === "function";
  if (!isObject || typeof client.eval !== "function") {
    throw wrong("a connected client with eval(): redis(await createClient({ url }).connect())");
  }
  assertKnownOptions("redis()", options, ["prefix"]);
  const { prefix = "telegram-session-pool" } = options;
  if (typeof prefix !== "string" || prefix === "") throw wrong("a non-empty string as prefix");
  return new RedisStorage(client, prefix);
}

class RedisStorage implements SessionStorage {
  readonly shared = true;
  readonly peers: PeerStorage;
  readonly watch?: NonNullable<SessionStorage["watch"]>;
  readonly #client: RedisClient;
  readonly #keys: RedisKeys;
  readonly #writer = randomUUID();
  /** Bounded by the number of pools: each has one watch. */
  readonly #stops = new Set<() => void>();
  readonly #errors: ClientErrors;
  #evaluate: Evaluate | undefined;

  constructor(client: RedisClient, prefix: string) {
    this.#client = client;
    this.#keys = redisKeys(prefix);
    this.peers = redisPeers(this.#keys, (...script) => this.#run(...script));
    this.#errors = new ClientErrors(client, "A connection to Redis failed");
    if (client.duplicate === undefined) return;
    this.watch = (changed, failed = () => {}, listening = () => {}) => this.#watch(changed, failed, listening);
  }

  async open(): Promise<void> {
    this.#errors.open();
    try {
      this.#evaluate = await connected(this.#client);
      await this.#assertKeeps();
    } catch (error) {
      this.#evaluate = undefined;
      this.#errors.close();
      throw error;
    }
  }

  async #assertKeeps(): Promise<void> {
    const memory = String(await this.#run(MEMORY, [this.#keys.records], []));
    if (/^maxmemory_policy:allkeys/m.test(memory) && !/^maxmemory:0\r?$/m.test(memory)) {
      throw new StorageError("This Redis may evict sessions: set maxmemory-policy to noeviction.");
    }
  }

  async list(): Promise<readonly StoredRecord[]> {
    const records = new Map<string, StoredRecord>();
    const pages = pagesOf((cursor) => this.#run(LIST, [this.#keys.records], [cursor]));
    for await (const texts of pages) {
      for (let index = 0; index < texts.length; index += 2) {
        const id = texts[index] ?? "";
        records.set(id, toRecord(id, texts[index + 1]));
      }
    }
    return [...records.values()];
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    const found = await this.#run(READ, [this.#keys.records], [id]);
    return found === null || found === undefined ? undefined : toRecord(id, String(found));
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    const version = await this.#write(WRITE, [{ id, expected, data }]);
    return version === null || version === undefined ? undefined : Number(version);
  }

  async writeMany(writes: readonly RecordWrite[]): Promise<readonly WriteResult[]> {
    const versions = (await this.#write(WRITE_MANY, writes)) as readonly unknown[];
    return versions.map((version) => (Number(version) === 0 ? undefined : Number(version)));
  }

  #write(script: string, writes: readonly RecordWrite[]): Promise<unknown> {
    const { records, counter, channel } = this.#keys;
    const changes = writes.flatMap(({ id, expected, data }) => [
      id,
      `${expected}`,
      ...(data === null ? ["delete", ""] : ["set", data]),
    ]);
    return this.#run(script, [records, counter], [channel, this.#writer, ...changes]);
  }

  async close(): Promise<void> {
    this.#evaluate = undefined;
    for (const stop of this.#stops) stop();
    this.#errors.close();
  }

  #watch(changed: (id: string) => void, failed: (error: Error) => void, listening: () => void): () => void {
    const onMessage = (message: string): void => {
      const [writer = "", ...id] = message.split(" ");
      if (writer !== this.#writer && this.#stops.has(stop)) changed(id.join(" "));
    };
    const watch = new KeptWatch(subscription(this.#client, this.#keys.channel, onMessage), failed, listening);
    const silence = this.#errors.report(failed);
    const stop = (): void => {
      if (!this.#stops.delete(stop)) return;
      silence();
      void watch.stop();
    };
    this.#stops.add(stop);
    watch.start();
    return stop;
  }

  async #run(script: string, keys: readonly string[], parameters: readonly string[]): Promise<unknown> {
    if (this.#evaluate === undefined) throw new StorageError("The Redis storage is not open.");
    try {
      return await this.#evaluate(script, keys, parameters);
    } catch (error) {
      throw toStorageError("Redis failed", error, { secrets: parameters });
    }
  }
}

async function connected(client: RedisClient): Promise<Evaluate> {
  try {
    return await createEvaluator(client);
  } catch (error) {
    throw toStorageError("Redis failed", error);
  }
}

/** A text that the WRITE script has not written is a damaged record: as it stands, at the version that WRITE takes it for. */
function toRecord(id: string, text = ""): StoredRecord {
  const parts = /^([1-9]\d{0,15}):(.*)$/s.exec(text);
  const version = Number(parts?.[1]);
  return Number.isSafeInteger(version) ? { id, version, data: parts?.[2] ?? "" } : { id, version: 1, data: text };
}

function wrong(expected: string): OptionsError {
  return new OptionsError(`redis() expects ${expected}.`);
}

/**
 * Compare-and-set, in one step as every script. A record is "<version>:<data>" in one hash. Versions come from a counter
 * of the whole store, so that a re-created record continues above its old versions. The message is a hint: where publishing is
 * not allowed the write stands all the same. A text of another form is a damaged record, which counts as version 1.
 */
const COMPARE_AND_SET = `
local function write(channel, writer, id, expected, change, data)
  local found = redis.call('HGET', KEYS[1], id)
  local current = '0'
  if found then
    current = string.match(found, '^([1-9]%d*):') or '1'
    if #current > 16 or tonumber(current) > 9007199254740991 then current = '1' end
  end
  if current ~= expected or (change == 'delete' and not found) then return false end
  local counter = redis.call('INCR', KEYS[2])
  local version = math.max(counter, tonumber(current) + 1)
  local text = string.format('%.0f', version)
  if version > counter then redis.call('SET', KEYS[2], text) end
  if change == 'delete' then redis.call('HDEL', KEYS[1], id)
  else redis.call('HSET', KEYS[1], id, text .. ':' .. data) end
  redis.pcall('PUBLISH', channel, writer .. ' ' .. id)
  return version
end`;

/** Keys: records, counter. Parameters: channel, writer, id, expected, "set" or "delete", data. */
const WRITE: string = `${COMPARE_AND_SET}
return write(unpack(ARGV))`;

/**
 * Many writes. Versions, 0 where another writer won. Keys: records, counter. Parameters: channel, writer, then id,
 * expected, "set" or "delete", data of each.
 */
const WRITE_MANY: string = `${COMPARE_AND_SET}
local versions = {}
for i = 3, #ARGV, 4 do
  versions[#versions + 1] = write(ARGV[1], ARGV[2], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) or 0
end
return versions`;

/** Keys: records. Parameters: id. */
const READ = "return redis.call('HGET', KEYS[1], ARGV[1])";

/**
 * One page: the next cursor, then ids and records in turn. What is there from the first page to the last is in one of
 * them; what is in two counts as last seen. Keys: records. Parameters: cursor.
 */
const LIST = "return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)";

/** The server's memory settings, or nothing where it does not allow INFO. */
const MEMORY = "local info = redis.pcall('INFO', 'memory') if type(info) == 'table' then return '' end return info";

/** Works everywhere, and changes nothing. */
export const NOOP_SCRIPT = "return 1";
