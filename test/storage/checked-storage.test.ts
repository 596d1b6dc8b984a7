import { describe, expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { checkedStorage } from "../../src/storage/checked-storage.js";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";

/** A storage whose answers are the test's. */
function storageThat(answers: Partial<Record<"list" | "read" | "write" | "watch", unknown>>): SessionStorage {
  const inner = memory();
  const answer = (name: keyof typeof answers): object =>
    name in answers ? { [name]: () => (name === "watch" ? answers[name] : Promise.resolve(answers[name])) } : {};
  return Object.assign(Object.create(inner), {
    shared: true,
    open: async () => {},
    list: () => inner.list(),
    read: (id: string) => inner.read(id),
    write: (id: string, expected: number, data: string | null) => inner.write(id, expected, data),
    ...answer("list"),
    ...answer("read"),
    ...answer("write"),
    ...answer("watch"),
  });
}

describe("write() - an invalid version", () => {
  test.each([null, Number.NaN, 0, -1, 1.5, "2", true, {}])("%s - is a failure, not a success", async (version) => {
    const storage = checkedStorage(storageThat({ write: version }));
    await expect(storage.write("a", 0, "text")).rejects.toThrow(StorageError);
  });
});

describe("read() - an invalid record", () => {
  test.each([null, "text", {}, { id: "b", version: 1, data: "b's" }, []])("%j - is a failure", async (record) => {
    const storage = checkedStorage(storageThat({ read: record }));
    await expect(storage.read("a")).rejects.toThrow(/read\(\) must resolve to the record/);
  });

  test("a damaged one - is returned with its id, for the pool to set aside", async () => {
    const storage = checkedStorage(storageThat({ read: { id: "a", version: "x", data: null } }));
    await expect(storage.read("a")).resolves.toEqual({ id: "a", version: 1, data: "" });
  });
});

describe("list()", () => {
  test.each([null, undefined, {}, "records"])("%j - is a failure", async (records) => {
    await expect(checkedStorage(storageThat({ list: records })).list()).rejects.toThrow(StorageError);
  });

  test.each([null, 5, {}, { id: 7 }])("an entry without an id (%j) - is a failure that says which", async (entry) => {
    const storage = checkedStorage(storageThat({ list: [{ id: "a", version: 1, data: "x" }, entry] }));
    await expect(storage.list()).rejects.toThrow(/index 1 has no id/);
  });

  test("an id twice - the later version counts", async () => {
    const [older, newer] = [1, 2].map((version) => ({ id: "a", version, data: String(version) }));
    await expect(checkedStorage(storageThat({ list: [newer, older] })).list()).resolves.toEqual([newer]);
  });

  test("a damaged entry - is set aside, never written, and the others serve", async () => {
    const inner = new FaultyStorage();
    const before = await openPool({ storage: inner, sessions: ["a", "b"] });
    await before.pool.close();
    await inner.write("b", (await inner.read("b"))?.version ?? 0, "");
    const list = inner.list.bind(inner);
    inner.list = async () =>
      (await list()).map((record) => (record.id === "b" ? Object.assign({}, record, { data: undefined }) : record));
    const { pool, clock, events } = await openPool({ storage: inner });
    await clock.advance(0);
    expect(pool.rejected()).toEqual([{ id: "b", reason: "the storage has lost its data" }]);
    expect(events("recordRejected")).toHaveLength(1);
    const writes = inner.writes.length;
    await expect(pool.use((_, lease) => lease.id)).resolves.toBe("a");
    await expect(pool.add("b", sessionString("b"))).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect(inner.writes.slice(writes).map(({ id }) => id)).not.toContain("b");
    await expect(pool.remove("b")).resolves.toBe(true);
    await expect(pool.add("b", sessionString("b"))).resolves.toMatchObject({ id: "b" });
  });
});

describe("watch()", () => {
  test("an invalid id - is left out", () => {
    const told: unknown[] = [];
    const given = storageThat({});
    const watched = Object.assign(given, {
      watch: (changed: (id: never) => void) => {
        for (const id of [undefined, null, 5, {}, "a"]) changed(id as never);
        return () => {};
      },
    });
    checkedStorage(watched).watch?.((id) => told.push(id));
    expect(told).toEqual(["a"]);
  });

  test("a result that is no function - is reported as a failure, and the pool works", async () => {
    const storage = Object.assign(new FaultyStorage(), { watch: () => undefined });
    const { pool, clock, events } = await openPool({ storage: storage as never, sessions: ["a"] });
    await clock.advance(0);
    expect(events("storageFailed")).toHaveLength(1);
    await expect(pool.use((_, lease) => lease.id)).resolves.toBe("a");
  });
});

describe("peers.load()", () => {
  test("rows that are no peers - are left out", async () => {
    const good = { id: "1", accessHash: "2", name: "n" };
    const rows = [null, 5, {}, { id: "1" }, { id: 1, accessHash: "2" }, { id: "1", accessHash: "2", name: 5 }, good];
    const storage = Object.assign(memory(), {
      peers: { load: async () => rows, save: async () => {}, clear: async () => {} },
    });
    await expect(checkedStorage(storage).peers?.load("a")).resolves.toEqual([good]);
  });
});

describe("open() and close() of a shared storage object", () => {
  test("the last of two pools closes it", async () => {
    const storage = new FaultyStorage();
    storage.shared = false;
    const [first, second] = [await openPool({ storage }), await openPool({ storage })];
    await first.pool.close();
    expect(storage.isClosed).toBe(false);
    await expect(second.pool.add("a", sessionString("a"))).resolves.toMatchObject({ id: "a" });
    await second.pool.close();
    expect(storage.isClosed).toBe(true);
  });

  test("a pool does not close a checkpoint's storage that another pool uses", async () => {
    const storage = new FaultyStorage();
    const [jobs, other] = [await openPool({ sessions: ["a"] }), await openPool({ storage })];
    const run = jobs.pool.map([1], async () => 1, { checkpoint: { storage, name: "job", key: String } });
    for await (const result of run) expect(result.ok).toBe(true);
    await jobs.pool.close();
    expect(storage.isClosed).toBe(false);
    await expect(other.pool.add("b", sessionString("b"))).resolves.toMatchObject({ id: "b" });
  });

  test("a failed open beside an open pool closes nothing", async () => {
    const storage = new FaultyStorage();
    const { pool } = await openPool({ storage });
    storage.fateOfList = () => "fails";
    await expect(openPool({ storage })).rejects.toThrow(StorageError);
    expect(storage.isClosed).toBe(false);
    storage.heal();
    await expect(pool.add("a", sessionString("a"))).resolves.toMatchObject({ id: "a" });
  });

  test("an open that fails - the next one tries again", async () => {
    let tries = 0;
    const storage = checkedStorage(
      Object.assign(memory(), {
        open: async () => {
          if (++tries === 1) throw new Error("no network");
        },
      }),
    );
    await expect(storage.open?.()).rejects.toThrow("no network");
    await expect(storage.open?.()).resolves.toBeUndefined();
    expect(tries).toBe(2);
  });

  test("open() while it is being closed - waits for that", async () => {
    const steps: string[] = [];
    let closed = (): void => {};
    const storage = checkedStorage(
      Object.assign(memory(), {
        open: async () => void steps.push("open"),
        close: () =>
          new Promise<void>((resolve) => {
            closed = () => {
              steps.push("closed");
              resolve();
            };
          }),
      }),
    );
    await storage.open?.();
    const closing = storage.close?.();
    const opening = storage.open?.();
    await Promise.resolve();
    closed();
    await Promise.all([closing, opening]);
    expect(steps).toEqual(["open", "closed", "open"]);
  });
});
