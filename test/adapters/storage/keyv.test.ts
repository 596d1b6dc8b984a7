import { inspect } from "node:util";
import KeyvSqlite from "@keyv/sqlite";
import Keyv5 from "keyv";
import { describe, expect, test } from "vitest";
import { recordKey } from "../../../adapters/storage/keyv/keyv-entries.js";
import { keyv } from "../../../adapters/storage/keyv.js";
import { OptionsError, StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/storage/storage.js";
import { testSessionStorage } from "../../../src/testing/storage-contract.js";

const CANARY = "canary-1BVtsOKABu";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
/** Keyv 6 needs Node.js 22.19; npm leaves it out before: see test/packages/newer-node. */
const hasKeyv6 = major > 22 || (major === 22 && minor >= 19);
const keyv6: string = "keyv6";
const majors: readonly (readonly [string, typeof Keyv5])[] = [
  ["keyv 5", Keyv5],
  ...(hasKeyv6 ? ([["keyv 6", ((await import(keyv6)) as { default: typeof Keyv5 }).default]] as const) : []),
];

/** Both majors answer failures in ways of their own, and the adapter is to make one of them. */
describe.each(majors)("%s", (_, Keyv) => {
  const maps = new WeakMap<SessionStorage, Map<string, string>>();

  function storageOn(map: Map<string, string>): SessionStorage {
    const storage = keyv(new Keyv({ store: map }));
    maps.set(storage, map);
    return storage;
  }

  function mapOf(storage: SessionStorage): Map<string, string> {
    return maps.get(storage) ?? new Map();
  }

  testSessionStorage({
    test,
    expect,
    name: "keyv",
    open: () => storageOn(new Map()),
    reopen: (storage) => storageOn(mapOf(storage)),
    corrupt: (storage) => {
      const map = mapOf(storage);
      for (const key of [...map.keys()].filter((other) => !other.endsWith("index")).slice(0, 20)) map.delete(key);
    },
    damage: (storage, id) => {
      mapOf(storage).delete([...mapOf(storage).keys()].find((key) => key.endsWith(recordKey(id))) ?? "");
    },
  });

  testSessionStorage({
    test,
    expect,
    name: "keyv on SQLite",
    rows: 100,
    open: () => keyv(new Keyv({ store: new KeyvSqlite({ uri: "sqlite://:memory:" }) })),
  });

  test.each([
    ["no Keyv", undefined],
    ["a Map", new Map()],
    ["a Keyv that forgets", new Keyv({ ttl: 1_000 })],
  ])("keyv() - %s is an OptionsError", (_, store) => {
    expect(() => keyv(store as never)).toThrow(OptionsError);
  });

  test("open() - a damaged index is an error and stays", async () => {
    const map = new Map<string, string>();
    const first = storageOn(map);
    await first.open?.();
    await first.write("a", 0, "one");
    await first.close?.();
    const wrapper = new Keyv({ store: map });
    await wrapper.set("telegram-session-pool/index", "junk");
    await expect(storageOn(map).open?.()).rejects.toBeInstanceOf(StorageCorruptError);
    expect(await wrapper.get("telegram-session-pool/index")).toBe("junk");
  });

  test("open() - completes the deletions of a killed process", async () => {
    const map = new Map<string, string>();
    const first = storageOn(map);
    await first.open?.();
    await first.write("a", 0, CANARY);
    const left = new Map(map);
    await first.write("a", 1, null);
    const index = [...map].filter(([key]) => key.endsWith("index"));
    for (const [key, value] of index) left.set(key, value);
    const next = storageOn(left);
    await next.open?.();
    expect(await next.read("a")).toBe(undefined);
    expect(inspect(left)).not.toContain(CANARY);
    expect(await next.write("a", 0, "again")).toBe(3);
  });

  describe("a store that fails", () => {
    class FailingMap extends Map<string, string> {
      isFailing = false;
      override get(key: string): string | undefined {
        if (this.isFailing) throw new Error("the disk is gone");
        return super.get(key);
      }
      override set(key: string, value: string): this {
        if (this.isFailing) throw new Error(`cannot set ${value}`);
        return super.set(key, value);
      }
    }

    test.each([false, true])("read(), list(), write() - reject, with a listener of errors: %s", async (isHeard) => {
      const store = new FailingMap();
      const wrapper = new Keyv({ store });
      if (isHeard) wrapper.on("error", () => {});
      const storage = keyv(wrapper);
      await storage.open?.();
      await storage.write("a", 0, "one");
      store.isFailing = true;
      await expect(storage.read("a")).rejects.toBeInstanceOf(StorageError);
      await expect(storage.list()).rejects.toBeInstanceOf(StorageError);
      const error: unknown = await storage.write("b", 0, `{"secret":"${CANARY}"}`).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(StorageError);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(CANARY);
      store.isFailing = false;
      expect((await storage.list()).length).toBe(1);
    });

    test("open() - rejects, and is not taken for an empty store", async () => {
      const store = new FailingMap();
      store.isFailing = true;
      await expect(keyv(new Keyv({ store })).open?.()).rejects.toBeInstanceOf(StorageError);
    });
  });
});
