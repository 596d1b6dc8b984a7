import { inspect } from "node:util";
import { expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { checkedStorage } from "../../src/storage/checked-storage.js";
import { memory } from "../../src/storage/memory.js";
import type { RecordWrite, SessionStorage, WriteResult } from "../../src/storage/storage.js";

const CANARY = "canary1BVtsOKABu0123456789abcdef";

/** A storage in memory, and the batches that it was sent; single writes are batches of one. */
function recording(
  writeMany?: (writes: readonly RecordWrite[], inner: SessionStorage) => Promise<readonly WriteResult[]>,
): { readonly storage: SessionStorage; readonly batches: readonly (readonly string[])[] } {
  const inner = memory();
  const batches: (readonly string[])[] = [];
  const storage: SessionStorage = {
    shared: true,
    list: () => inner.list(),
    read: (id) => inner.read(id),
    write: (id, expected, data) => {
      batches.push([id]);
      return inner.write(id, expected, data);
    },
    writeMany: async (writes) => {
      batches.push(writes.map(({ id }) => id));
      return (await (writeMany ?? (async () => inner.writeMany?.(writes)))(writes, inner)) ?? [];
    },
  };
  return { storage: checkedStorage(storage), batches };
}

const rejections = async (writes: readonly Promise<unknown>[]): Promise<readonly unknown[]> =>
  (await Promise.allSettled(writes)).map((result) => (result.status === "rejected" ? result.reason : undefined));

test("write() - what one turn of the event loop writes goes together, what comes later does not wait for it", async () => {
  const { storage, batches } = recording();
  const chained = async (id: string): Promise<void> => {
    await Promise.resolve();
    await storage.write(id, 0, "one");
  };
  await Promise.all([storage.write("a", 0, "one"), storage.write("b", 0, "one")]);
  await Promise.all(["c", "d", "e"].map(chained));
  expect(batches).toEqual([
    ["a", "b"],
    ["c", "d", "e"],
  ]);
});

test("write() - one alone is a write, as it was", async () => {
  const { storage, batches } = recording(() => Promise.reject(new Error("not a batch")));
  expect(await storage.write("a", 0, "one")).toBe(1);
  expect(batches).toEqual([["a"]]);
});

test("write() - two of one record keep their order and are never in one batch", async () => {
  const { storage, batches } = recording();
  const versions = await Promise.all([
    storage.write("a", 0, "one"),
    storage.write("b", 0, "one"),
    storage.write("a", 1, "two"),
    storage.write("a", 2, "three"),
  ]);
  expect(versions).toEqual([1, 1, 2, 3]);
  expect(batches).toEqual([["a", "b"], ["a"], ["a"]]);
});

test("write() - a batch has at most 500 writes, and a million characters", async () => {
  const { storage, batches } = recording();
  await Promise.all(Array.from({ length: 1_100 }, (_, index) => storage.write(`${index}`, 0, "one")));
  await Promise.all(["a", "b", "c"].map((id) => storage.write(id, 0, "x".repeat(600_000))));
  expect(batches.map(({ length }) => length)).toEqual([500, 500, 100, 2, 1]);
});

test("write() - each write of a batch has its own result", async () => {
  const { storage } = recording(async () => [7, undefined, new StorageError("row refused")]);
  const results = await Promise.allSettled(["a", "b", "c"].map((id) => storage.write(id, 0, "one")));
  expect(results).toEqual([
    { status: "fulfilled", value: 7 },
    { status: "fulfilled", value: undefined },
    { status: "rejected", reason: new StorageError("row refused") },
  ]);
});

test("write() - a batch that rejects rejects each of its writes, and repeats the data of none", async () => {
  const failed = async (writes: readonly RecordWrite[]): Promise<never> => {
    throw Object.assign(new Error("statement failed"), { rows: writes });
  };
  const { storage } = recording(failed);
  const errors = await rejections([storage.write("a", 0, "{}"), storage.write("b", 0, CANARY)]);
  expect(errors).toHaveLength(2);
  for (const error of errors) {
    expect(error).toBeInstanceOf(StorageError);
    expect(String(error)).toContain("statement failed");
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(CANARY);
  }
});

test("write() - an error that several writes share repeats the data of none", async () => {
  const shared = new Error(`near ${CANARY}`);
  const { storage } = recording(async (writes) => writes.map(() => shared));
  for (const error of await rejections([storage.write("a", 0, "{}"), storage.write("b", 0, CANARY)])) {
    expect(error).toBeInstanceOf(StorageError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(CANARY);
  }
});

test.each([
  ["nothing", undefined],
  ["too few", [1]],
  ["a version that is none", [1, "2"]],
])("write() - writeMany() that resolves %s is a StorageError that says what was expected", async (_, resolved) => {
  const { storage } = recording(async () => resolved as never);
  const errors = await rejections([storage.write("a", 0, "one"), storage.write("b", 0, "one")]);
  expect(errors[1]).toBeInstanceOf(StorageError);
  expect(String(errors[1])).toContain("writeMany() must resolve");
});

test("write() - a batch that hangs holds back none that comes after it", async () => {
  let isHanging = true;
  const { storage } = recording((writes, inner) =>
    isHanging ? new Promise(() => {}) : (inner.writeMany?.(writes) ?? Promise.resolve([])),
  );
  void Promise.all([storage.write("a", 0, "one"), storage.write("b", 0, "one")]);
  await new Promise(setImmediate);
  isHanging = false;
  expect(await Promise.all([storage.write("a", 0, "two"), storage.write("c", 0, "two")])).toEqual([1, 1]);
});

test("writeMany - is there when the storage has it", async () => {
  const bare: SessionStorage = {
    shared: true,
    list: async () => [],
    read: async () => undefined,
    write: async () => 1,
  };
  expect(checkedStorage(bare).writeMany).toBe(undefined);
  expect(checkedStorage(memory()).writeMany).toBeTypeOf("function");
  expect(await Promise.all([checkedStorage(bare).write("a", 0, "one"), bare.write("b", 0, "one")])).toEqual([1, 1]);
});
