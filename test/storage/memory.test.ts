import { expect, test } from "vitest";
import { memory as fromAdapters } from "../../adapters/storage/memory.js";
import { StorageError } from "../../src/errors.js";
import { memory } from "../../src/storage/memory.js";
import { testSessionStorage } from "../../src/testing/storage-contract.js";

testSessionStorage({ test, expect, open: memory, name: "memory", rows: 10_000 });

test("memory() - the entry point gives the same storage", () => {
  expect(fromAdapters).toBe(memory);
});

test("list() - returns copies", async () => {
  const storage = memory();
  await storage.write("a", 0, "one");
  const [listed] = await storage.list();
  Object.assign(listed ?? {}, { data: "changed" });
  Object.assign((await storage.read("a")) ?? {}, { data: "changed" });
  expect(await storage.read("a")).toEqual({ id: "a", version: 1, data: "one" });
});

test("save() - stores copies", async () => {
  const { peers } = memory();
  const peer = { id: "1", accessHash: "2" };
  await peers?.save("a", [peer]);
  peer.accessHash = "changed";
  expect(await peers?.load("a")).toEqual([{ id: "1", accessHash: "2" }]);
});

test("open() - after close(), the records are there again", async () => {
  const storage = memory();
  await storage.write("a", 0, "one");
  await storage.close?.();
  await expect(storage.read("a")).rejects.toBeInstanceOf(StorageError);
  await expect(storage.peers?.load("a")).rejects.toBeInstanceOf(StorageError);
  await storage.open?.();
  expect((await storage.read("a"))?.data).toBe("one");
});
