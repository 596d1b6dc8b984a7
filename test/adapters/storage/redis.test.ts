import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { inspect } from "node:util";
import { Redis as Ioredis } from "ioredis";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RedisClient, redis } from "../../../adapters/storage/redis.js";
import { OptionsError, StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/storage/storage.js";
import { testSessionStorage } from "../../../src/testing/storage-contract.js";
import { isServerThere } from "./servers.js";

const url = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const isThere = await isServerThere("Redis", url);

/** Every key of this run begins with it, after the brace. */
const run = `test-${randomUUID()}`;

test.each([
  ["no client", undefined],
  ["a client without eval", {}],
])("redis() - %s is an OptionsError", (_, client) => {
  expect(() => redis(client as never)).toThrow(OptionsError);
});

test("redis() - an unknown option is an OptionsError", () => {
  expect(() => redis({ eval: () => undefined }, { prefx: "a" } as object)).toThrow('"prefx"');
  for (const options of [{ prefix: "" }, null, "prefix"]) {
    expect(() => redis({ eval: () => undefined }, options as never)).toThrow(OptionsError);
  }
});

test("write() - a client's error loses its parameters", async () => {
  const command = { name: "eval", args: ["canary-1BVtsOKABu"] };
  let isFailing = false;
  const storage = redis({
    eval: async () => {
      if (isFailing) throw Object.assign(new Error("ERR near canary-1BVtsOKABu"), { command });
    },
  });
  await storage.open?.();
  isFailing = true;
  const error: unknown = await storage.write("a", 0, "canary-1BVtsOKABu").catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StorageError);
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("canary-1BVtsOKABu");
});

test("list(), read(), write() - before open nothing is sent", async () => {
  const storage = redis({ eval: () => Promise.reject(new Error("sent")) });
  for (const call of [storage.list(), storage.read("a"), storage.write("a", 0, "one")]) {
    await expect(call).rejects.toThrow("not open");
  }
});

test("open() - a server that evicts is refused", async () => {
  const server = (memory: string): RedisClient => ({ eval: () => Promise.resolve(memory) });
  const evicting = "maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n";
  await expect(redis(server(evicting)).open?.()).rejects.toThrow("noeviction");
  await redis(server("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n")).open?.();
  await redis(server("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n")).open?.();
});

describe.skipIf(!isThere)("on a server", () => {
  const nodeRedis = createClient({ url, name: run });
  const ioredis = new Ioredis(url, { lazyConnect: true, connectionName: run });
  let prefixes = 0;

  beforeAll(async () => {
    await Promise.all([nodeRedis.connect(), ioredis.connect()]);
  });

  afterAll(async () => {
    const keys = await ioredis.keys(`{${run}*`);
    if (keys.length > 0) await ioredis.del(keys);
    ioredis.disconnect();
    nodeRedis.destroy();
  });

  for (const [name, client] of [
    ["redis by node-redis", nodeRedis],
    ["redis by ioredis", ioredis],
    ["redis by eval alone, as node-redis's", { eval: nodeRedis.eval.bind(nodeRedis) }],
    ["redis by eval alone, as ioredis's", { eval: ioredis.eval.bind(ioredis) }],
  ] as const) {
    const prefixOf = new WeakMap<SessionStorage, string>();
    const storageAt = (prefix: string): SessionStorage => {
      const storage = redis(client, { prefix });
      prefixOf.set(storage, prefix);
      return storage;
    };
    const openAt = async (prefix: string): Promise<SessionStorage> => {
      const storage = storageAt(prefix);
      await storage.open?.();
      return storage;
    };
    const newPrefix = (): string => {
      prefixes += 1;
      return `${run}-${prefixes}`;
    };

    testSessionStorage({
      test,
      expect,
      name,
      open: () => storageAt(newPrefix()),
      reopen: (storage) => storageAt(prefixOf.get(storage) ?? ""),
      corrupt: async (storage) => {
        await ioredis.hset(`{${prefixOf.get(storage)}}:records`, "7", "junk");
      },
      damage: async (storage, id) => {
        await ioredis.hset(`{${prefixOf.get(storage)}}:records`, id, "junk");
      },
      interrupt: async () => {
        const listed = String(await ioredis.call("CLIENT", "LIST", "TYPE", "pubsub")).split("\n");
        const own = listed.filter((line) => line.includes(` name=${run} `));
        for (const line of own) await ioredis.call("CLIENT", "KILL", "ID", /^id=(\d+)/.exec(line)?.[1] ?? "");
      },
    });

    test(`${name}: write() - a version beyond all whole numbers is a damaged record`, async () => {
      const prefix = newPrefix();
      await ioredis.hset(`{${prefix}}:records`, "a", "99999999999999999999:one");
      const storage = await openAt(prefix);
      expect(await storage.read("a")).toEqual({ id: "a", version: 1, data: "99999999999999999999:one" });
      expect(await storage.write("a", 1, "two")).toBeGreaterThan(1);
    });

    test(`${name}: list() - 20,000 records, page by page`, async () => {
      const prefix = newPrefix();
      const pairs = Array.from({ length: 20_000 }, (_, index) => [`session ${index}`, `1:data of ${index}`]).flat();
      await ioredis.hset(`{${prefix}}:records`, ...pairs);
      expect(new Set((await (await openAt(prefix)).list()).map(({ id }) => id)).size).toBe(20_000);
    });

    test(`${name}: write() - versions outgrow a lost counter`, async () => {
      const prefix = newPrefix();
      const storage = await openAt(prefix);
      await ioredis.hset(`{${prefix}}:records`, "a", "9007199254740000:one");
      expect(await storage.write("a", 9_007_199_254_740_000, "two")).toBe(9_007_199_254_740_001);
      expect(await storage.write("b", 0, "one")).toBe(9_007_199_254_740_002);
    });

    test(`${name}: close() - ends the subscription`, async () => {
      const storage = storageAt(newPrefix());
      await storage.open?.();
      storage.watch?.(() => {});
      await storage.close?.();
    });
  }

  test("watch() - works with an ioredis client without an offline queue", async () => {
    const client = new Ioredis(url, { enableOfflineQueue: false, connectionName: run });
    await once(client, "ready");
    const prefix = `${run}-no-queue`;
    const [storage, other] = [redis(client, { prefix }), redis(nodeRedis, { prefix })];
    await Promise.all([storage.open?.(), other.open?.()]);
    const heard = new Set<string>();
    storage.watch?.((id) => heard.add(id));
    let version = 0;
    await vi.waitFor(async () => {
      version = (await other.write("a", version, "news")) ?? version;
      expect(heard).toContain("a");
    }, 20_000);
    await storage.close?.();
    await other.close?.();
    client.disconnect();
  });

  test("peers - a damaged one is left out", async () => {
    const prefix = `${run}-peers`;
    const storage = redis(nodeRedis, { prefix });
    await storage.open?.();
    await storage.peers?.save("a", [{ id: "1", accessHash: "7" }]);
    await ioredis.hset(`{${prefix}}:peers:a`, "2", "junk", "3", '9:{"id":"3"}');
    expect(await storage.peers?.load("a")).toEqual([{ id: "1", accessHash: "7" }]);
    await storage.close?.();
  });
});
