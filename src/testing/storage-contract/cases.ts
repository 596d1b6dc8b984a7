import type { SessionStorage } from "../../storage/storage.js";
import { CANARY, type ContractCases, failureOf } from "./contract.js";

const AWKWARD_IDS = [
  "a",
  "b",
  "A",
  "a:b",
  "a/b",
  "a b",
  "%",
  "_",
  "*",
  "'",
  '"',
  "`",
  "\\",
  "{a}",
  "ä",
  "😀",
  "__proto__",
  "constructor",
  "a\tb",
  "a\nb",
  "\u0001",
  "\u007f",
  "\ufeffa",
  "a\u200bb",
  "\u202ea",
  "\u2028",
  "\u00e9",
  "e\u0301",
  " a",
  "a ",
  "\u{10ffff}",
];
/** Of databases that give a thousand rows, or 1024, at a time. */
const MORE_THAN_A_PAGE = 1_025;
/** The longest that the pool gives a session: 512 bytes. */
const LONGEST_ID = "😀".repeat(128);
const IDS: readonly string[] = [...AWKWARD_IDS, LONGEST_ID, "x".repeat(1_000)];

/** Create, read, update, delete. */
export const recordCases: ContractCases = {
  "list() - empty at first": async (contract) => {
    const storage = await contract.open();
    contract.expect([...(await storage.list())]).toEqual([]);
    contract.expect(await storage.read("a")).toBe(undefined);
  },
  "write() - creates, replaces and deletes": async (contract) => {
    const storage = await contract.open();
    const created = await contract.won(storage.write("a", 0, "one"));
    contract.expect(created >= 1).toBe(true);
    contract.expect(await storage.read("a")).toEqual({ id: "a", version: created, data: "one" });
    const replaced = await contract.won(storage.write("a", created, "two"));
    contract.expect(await storage.read("a")).toEqual({ id: "a", version: replaced, data: "two" });
    contract.expect([...(await storage.list())]).toEqual([{ id: "a", version: replaced, data: "two" }]);
    await contract.won(storage.write("a", replaced, null));
    contract.expect(await storage.read("a")).toBe(undefined);
    contract.expect([...(await storage.list())]).toEqual([]);
  },
  "write() - versions are whole numbers that only grow, also over delete and re-create": async (contract) => {
    const storage = await contract.open();
    const versions = [0];
    for (const data of ["one", "two", null, "three", null, "four"]) {
      const isCreation = (await storage.read("a")) === undefined;
      versions.push(await contract.won(storage.write("a", isCreation ? 0 : (versions.at(-1) ?? 0), data)));
    }
    for (const [index, version] of versions.entries()) {
      const former = versions[index - 1] ?? -1;
      if (version <= former) throw new Error(`A version must be greater than the former ${former}; it is ${version}.`);
    }
  },
  "write() - keeps any id apart from any other": async (contract) => {
    const storage = await contract.open();
    for (const id of IDS) {
      const taken = `write(${JSON.stringify(id)}, 0, …) resolved undefined: the id was taken for one written before it.`;
      await contract.won(storage.write(id, 0, `data of ${id}`), taken);
    }
    const listed = (await storage.list()).map(({ id, data }) => [id, data]);
    contract.expect(listed.sort()).toEqual(IDS.map((id) => [id, `data of ${id}`]).sort());
    for (const id of IDS) contract.expect((await storage.read(id))?.data).toBe(`data of ${id}`);
  },
  "write() - keeps any data as it is": async (contract) => {
    const storage = await contract.open();
    const texts = [
      "",
      " ",
      "null",
      '{"a":[1,2]}',
      "line\r\nline\ttab",
      "ä😀\u2028",
      "'; DROP TABLE a; --",
      "x".repeat(65_536),
    ];
    for (const [index, data] of texts.entries()) {
      await contract.won(storage.write(`id ${index}`, 0, data));
      contract.expect((await storage.read(`id ${index}`))?.data).toBe(data);
    }
  },
  "list() - holds every one of many records once": async (contract) => {
    const storage = await contract.open();
    const ids = Array.from({ length: contract.options.rows ?? MORE_THAN_A_PAGE }, (_, index) => `session ${index}`);
    await createAll(storage, ids);
    const listed = await storage.list();
    contract.expect(listed.length).toBe(ids.length);
    contract.expect(new Set(listed.map(({ id }) => id))).toEqual(new Set(ids));
  },
};

/** Who wins. */
export const conflictCases: ContractCases = {
  "write() - creates what is there only once": async (contract) => {
    const storage = await contract.open();
    const version = await contract.won(storage.write("a", 0, "one"));
    contract.expect(await storage.write("a", 0, "two")).toBe(undefined);
    contract.expect(await storage.read("a")).toEqual({ id: "a", version, data: "one" });
  },
  "write() - a stale version changes nothing": async (contract) => {
    const storage = await contract.open();
    const first = await contract.won(storage.write("a", 0, "one"));
    const second = await contract.won(storage.write("a", first, "two"));
    for (const expected of [first, second + 1, 0]) {
      contract.expect(await storage.write("a", expected, "three")).toBe(undefined);
      contract.expect(await storage.write("a", expected, null)).toBe(undefined);
    }
    contract.expect(await storage.read("a")).toEqual({ id: "a", version: second, data: "two" });
  },
  "write() - what is not there is neither replaced nor deleted": async (contract) => {
    const storage = await contract.open();
    await storage.write("a", 0, null); // nothing deletes nothing: whatever it resolves
    for (const expected of [1, 7]) contract.expect(await storage.write("a", expected, null)).toBe(undefined);
    contract.expect(await storage.write("a", 1, "one")).toBe(undefined);
    const created = await contract.won(storage.write("a", 0, "one"));
    const deleted = await contract.won(storage.write("a", created, null));
    for (const expected of [created, deleted]) {
      contract.expect(await storage.write("a", expected, "two")).toBe(undefined);
      contract.expect(await storage.write("a", expected, null)).toBe(undefined);
    }
    contract.expect([...(await storage.list())]).toEqual([]);
  },
  "write() - of 50 writers at once exactly one wins": async (contract) => {
    const storage = await contract.open();
    const created = await race(50, (writer) => storage.write("a", 0, `creator ${writer}`));
    contract.expect(created.length).toBe(1);
    const version = (await storage.read("a"))?.version ?? 0;
    contract.expect(version).toBe(created[0]?.version);
    const replaced = await race(50, (writer) => storage.write("a", version, `writer ${writer}`));
    contract.expect(replaced.length).toBe(1);
    contract.expect((await storage.read("a"))?.data).toBe(`writer ${replaced[0]?.writer}`);
  },
  "list() - while others write, holds every record that stays": async (contract) => {
    const storage = await contract.open();
    const ids = Array.from({ length: 50 }, (_, index) => `stays ${index}`);
    await createAll(storage, ids);
    const churn = Promise.all(Array.from({ length: 5 }, (_, writer) => churnOn(storage, `passes ${writer}`)));
    for (let round = 0; round < 10; round += 1) {
      const listed = (await storage.list()).filter(({ id }) => id.startsWith("stays"));
      contract.expect(listed.length).toBe(ids.length);
    }
    await churn;
  },
  "write() - a failure does not repeat the data": async (contract) => {
    const storage = await contract.open();
    for (const id of ["nul \0", "lone \uD800"]) {
      contract.expectNoCanary(await failureOf(() => storage.write(id, 0, CANARY)));
      contract.expectNoCanary(await failureOf(() => storage.write(`a${id.length}`, 0, `${CANARY} ${id}`)));
    }
  },
};

/** The writers that won, by number. */
export async function race(
  writers: number,
  write: (writer: number) => Promise<number | undefined>,
): Promise<readonly { readonly writer: number; readonly version: number }[]> {
  const versions = await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
  return versions.flatMap((version, writer) => (version === undefined ? [] : [{ writer, version }]));
}

async function createAll(storage: SessionStorage, ids: readonly string[]): Promise<void> {
  for (let start = 0; start < ids.length; start += 50) {
    await Promise.all(ids.slice(start, start + 50).map((id) => storage.write(id, 0, `data of ${id}`)));
  }
}

async function churnOn(storage: SessionStorage, id: string): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    const version = (await storage.write(id, 0, "here")) ?? 0;
    await storage.write(id, version, null);
  }
}
