import type { RecordWrite, SessionStorage, WriteResult } from "../../storage/storage.js";
import { CANARY, type Contract, type ContractCases, failureOf } from "./contract.js";

const IDS: readonly string[] = ["a", "A", "a:b", "'", '"', "\\", "{a}", "😀", "__proto__", "a\nb", " a", "\u2028"];
const TEXTS: readonly string[] = ["", "null", '{"a":[1,2]}', "line\r\nline\ttab", "ä😀\u2028", "'; DROP TABLE a; --"];
const MANY = 500;

/** Many writes at once, where the storage can: each of them does what `write` would. */
export const batchCases: ContractCases = {
  "writeMany() - each write is a compare-and-set with a result of its own": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      const versions = new Map<string, number>();
      for (const id of ["taken", "replaced", "stale", "deleted"]) {
        versions.set(id, await contract.won(storage.write(id, 0, `old ${id}`)));
      }
      const at = (id: string): number => versions.get(id) ?? 0;
      const results = await writeMany([
        { id: "created", expected: 0, data: "new created" },
        { id: "taken", expected: 0, data: "new taken" },
        { id: "replaced", expected: at("replaced"), data: "new replaced" },
        { id: "stale", expected: at("stale") + 1, data: "new stale" },
        { id: "deleted", expected: at("deleted"), data: null },
        { id: "absent", expected: 7, data: null },
      ]);
      contract
        .expect(results.map((result) => typeof result))
        .toEqual(["number", "undefined", "number", "undefined", "number", "undefined"]);
      contract.expect(Number(results[2]) > at("replaced")).toBe(true);
      contract.expect(await dataOf(storage)).toEqual({
        created: "new created",
        taken: "old taken",
        replaced: "new replaced",
        stale: "old stale",
      });
      for (const [index, id] of [[0, "created"] as const, [2, "replaced"] as const]) {
        contract.expect((await storage.read(id))?.version).toBe(results[index]);
      }
      const again = await contract.won(storage.write("deleted", 0, "again"));
      contract.expect(again > Number(results[4])).toBe(true);
    }),
  "writeMany() - of nothing is nothing": (contract) =>
    withBatches(contract, async (_, writeMany) => {
      contract.expect([...(await writeMany([]))]).toEqual([]);
    }),
  "writeMany() - keeps any id apart and any data as it is": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      const writes = IDS.map((id, index) => ({ id, expected: 0, data: TEXTS[index % TEXTS.length] ?? "" }));
      await writeMany(writes);
      for (const { id, data } of writes) contract.expect((await storage.read(id))?.data).toBe(data);
      const second = await Promise.all(
        writes.map(async ({ id }) => ({ id, expected: (await storage.read(id))?.version ?? 0, data: `of ${id}` })),
      );
      await writeMany(second);
      for (const { id, data } of second) contract.expect((await storage.read(id))?.data).toBe(data);
    }),
  "writeMany() - many at once, created, replaced and deleted": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      const ids = Array.from({ length: MANY }, (_, index) => `session ${index}`);
      const created = await writeMany(ids.map((id) => ({ id, expected: 0, data: `${id} ${"x".repeat(500)}` })));
      contract.expect((await storage.list()).length).toBe(MANY);
      const replaced = await writeMany(ids.map((id, index) => ({ id, expected: Number(created[index]), data: "new" })));
      contract.expect(replaced.every((version, index) => Number(version) > Number(created[index]))).toBe(true);
      contract.expect(new Set((await storage.list()).map(({ data }) => data))).toEqual(new Set(["new"]));
      await writeMany(ids.map((id, index) => ({ id, expected: Number(replaced[index]), data: null })));
      contract.expect([...(await storage.list())]).toEqual([]);
    }),
  "writeMany() - of batches at once, in any order, exactly one wins each record": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      await raceFor(contract, () => writeMany);
      contract.expect((await storage.list()).length).toBe(RACED.length);
    }),
  "writeMany() - a write that cannot be done fails no other, and repeats no data": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      let results: readonly WriteResult[] = [];
      const failure = await failureOf(async () => {
        results = await writeMany([
          { id: "a", expected: 0, data: "plain" },
          { id: "b", expected: 0, data: `${CANARY} nul \0` },
          { id: "c", expected: 0, data: `${CANARY} lone \uD800` },
        ]);
      });
      contract.expect(failure).toBe(undefined);
      contract.expect(typeof results[0]).toBe("number");
      contract.expect((await storage.read("a"))?.data).toBe("plain");
      contract.expectNoCanary(results);
    }),
};

/** What `reopen` lets the contract see. */
export const batchRestartCases: ContractCases = {
  "writeMany() - what it resolved is there after a restart": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      await writeMany(RACED.map((id) => ({ id, expected: 0, data: `data of ${id}` })));
      await storage.close?.();
      const reopened = await contract.reopen(storage);
      contract.expect((await reopened.list()).length).toBe(RACED.length);
    }),
  "writeMany() - of two handles at once, exactly one wins each record": (contract) =>
    withBatches(contract, async (storage, writeMany) => {
      if (!storage.shared) return;
      const other = await contract.reopen(storage);
      const ofOther: WriteMany = async (writes) => (await other.writeMany?.(writes)) ?? [];
      await raceFor(contract, (batch) => (batch % 2 === 0 ? writeMany : ofOther));
    }),
};

type WriteMany = (writes: readonly RecordWrite[]) => Promise<readonly WriteResult[]>;

const RACED: readonly string[] = Array.from({ length: 40 }, (_, index) => `raced ${index}`);
const BATCHES = 6;

async function withBatches(
  contract: Contract,
  run: (storage: SessionStorage, writeMany: WriteMany) => Promise<void>,
): Promise<void> {
  const storage = await contract.open();
  if (storage.writeMany === undefined) return;
  await run(storage, async (writes) => (await storage.writeMany?.(writes)) ?? []);
}

/** Batches over the same records, every other one from the end: what locks them as they come would wait for ever. */
async function raceFor(contract: Contract, writeManyOf: (batch: number) => WriteMany): Promise<void> {
  let expected = new Map(RACED.map((id) => [id, 0]));
  for (const round of ["create", "replace"]) {
    const winners = new Map<string, number[]>(RACED.map((id) => [id, []]));
    const writeBatch = async (_: unknown, batch: number): Promise<void> => {
      const ids = batch % 2 === 0 ? RACED : [...RACED].reverse();
      const writes = ids.map((id) => ({ id, expected: expected.get(id) ?? 0, data: `${round} ${batch}` }));
      const results = await writeManyOf(batch)(writes);
      for (const [index, version] of results.entries()) {
        if (typeof version === "number") winners.get(ids[index] ?? "")?.push(version);
      }
    };
    await Promise.all(Array.from({ length: BATCHES }, writeBatch));
    contract.expect([...winners.values()].map((versions) => versions.length)).toEqual(RACED.map(() => 1));
    expected = new Map([...winners].map(([id, versions]) => [id, versions[0] ?? 0]));
  }
}

async function dataOf(storage: SessionStorage): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries((await storage.list()).map(({ id, data }) => [id, data]));
}
