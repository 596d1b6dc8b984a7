import { expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import type { SessionStorage, StoredRecord } from "../../src/storage/storage.js";
import { testSessionStorage } from "../../src/testing/storage-contract.js";

interface Row {
  readonly version: number;
  readonly data: string | null;
}

type Rows = Map<string, Row>;

/** What a storage does wrong, by a name for it. Each changes one thing of an honest one. */
interface Defect {
  /** Looks, waits, and writes then. */
  readonly isRacy?: boolean;
  /** Forgets the version of what was deleted. */
  readonly restartsVersions?: boolean;
  readonly versionsAreTexts?: boolean;
  readonly longestList?: number;
  readonly ignoresDeletes?: boolean;
  /** Keeps what was written to itself, until it is closed, or for good. */
  readonly saves?: "at close" | "never";
  readonly servesWhenClosed?: boolean;
  readonly foldsCase?: boolean;
  readonly repeatsData?: boolean;
  readonly losesDamage?: boolean;
}

class TinyStorage implements SessionStorage {
  readonly shared = false;
  readonly disk: { rows: Rows; isDamaged: boolean };
  readonly #defect: Defect;
  #rows: Rows = new Map();
  #isOpen = false;

  constructor(defect: Defect, disk: TinyStorage["disk"] = { rows: new Map(), isDamaged: false }) {
    this.#defect = defect;
    this.disk = disk;
  }

  async open(): Promise<void> {
    if (this.disk.isDamaged && !this.#defect.losesDamage) throw new Error("damaged");
    this.#rows = this.disk.isDamaged ? new Map() : new Map(this.disk.rows);
    this.#isOpen = true;
  }

  async list(): Promise<readonly StoredRecord[]> {
    this.#assertOpen();
    const records = [...this.#rows.keys()].flatMap((id) => this.#find(id) ?? []);
    return records.slice(0, this.#defect.longestList);
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    this.#assertOpen();
    return this.#find(this.#key(id));
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    this.#assertOpen(data);
    const key = this.#key(id);
    const last = this.#rows.get(key) ?? { version: 0, data: null };
    if (this.#defect.isRacy) await Promise.resolve();
    if (expected !== (last.data === null ? 0 : last.version)) return undefined;
    const version = last.version + 1;
    if (data === null && this.#defect.ignoresDeletes) return version;
    if (data === null && this.#defect.restartsVersions) this.#rows.delete(key);
    else this.#rows.set(key, { version, data });
    if (this.#defect.saves === undefined) this.disk.rows = new Map(this.#rows);
    return this.#defect.versionsAreTexts ? (String(version) as unknown as number) : version;
  }

  async close(): Promise<void> {
    if (this.#isOpen && this.#defect.saves === "at close") this.disk.rows = this.#rows;
    this.#isOpen = false;
  }

  #find(id: string): StoredRecord | undefined {
    const row = this.#rows.get(id);
    return row === undefined || row.data === null ? undefined : { id, version: row.version, data: row.data };
  }

  #key(id: string): string {
    return this.#defect.foldsCase ? id.toLowerCase() : id;
  }

  #assertOpen(data: string | null = null): void {
    if (this.#isOpen || this.#defect.servesWhenClosed) return;
    throw new StorageError(`It is closed${this.#defect.repeatsData ? `: ${data}` : ""}.`);
  }
}

/** The names of the kit's tests that fail, each with its error. */
async function failuresOf(defect: Defect): Promise<readonly string[]> {
  const tests: [name: string, run: () => Promise<void>][] = [];
  testSessionStorage({
    test: (name, run) => tests.push([name, run]),
    expect,
    name: "tiny",
    open: () => new TinyStorage(defect),
    reopen: (storage) => new TinyStorage(defect, (storage as TinyStorage).disk),
    corrupt: (storage) => {
      (storage as TinyStorage).disk.isDamaged = true;
    },
  });
  const failures: string[] = [];
  for (const [name, run] of tests) await run().catch(({ message }: Error) => failures.push(`${name}: ${message}`));
  return failures;
}

test("testSessionStorage() - an honest storage passes, also one that counts a deletion of nothing", async () => {
  expect(await failuresOf({})).toEqual([]);
});

test.each<[string, Defect, string]>([
  ["an update is lost", { isRacy: true }, "of 50 writers at once exactly one wins"],
  ["versions begin anew", { restartsVersions: true }, "only grow, also over delete and re-create"],
  ["a list ends after a page", { longestList: 1_000 }, "every one of many records once"],
  ["deletions are ignored", { ignoresDeletes: true }, "creates, replaces and deletes"],
  ["nothing is durable", { saves: "never" }, "what was acknowledged is there"],
  ["it is durable only after close()", { saves: "at close" }, "without a close() in between"],
  ["it serves when closed", { servesWhenClosed: true }, "every later call rejects"],
  ["ids that differ in case are one", { foldsCase: true }, "keeps any id apart from any other"],
  ["an error repeats the data", { repeatsData: true }, "every later call rejects"],
  ["damage is an empty list", { losesDamage: true }, "damaged records are an error"],
])("testSessionStorage() - %s: it is found", async (_, defect, name) => {
  const failures = await failuresOf(defect);
  expect(failures.filter((failure) => failure.includes(name))).not.toEqual([]);
});

test.each<[string, Defect, string]>([
  ["versions restart", { restartsVersions: true }, "A version must be greater than the former 3; it is 1."],
  [
    "a text as version",
    { versionsAreTexts: true },
    "write() must resolve the new version, a safe integer; it resolved '1'.",
  ],
  [
    "ids that differ in case are one",
    { foldsCase: true },
    'write("A", 0, …) resolved undefined: the id was taken for one',
  ],
  ["it serves when closed", { servesWhenClosed: true }, "A call resolved that must reject with StorageError."],
])("testSessionStorage() - %s: the error says so", async (_, defect, sentence) => {
  expect((await failuresOf(defect)).join("\n")).toContain(sentence);
});
