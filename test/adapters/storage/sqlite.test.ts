import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, expect, test } from "vitest";
import { handleDriver, nodeDriver, type SqliteHandle } from "../../../adapters/storage/sqlite/handle-driver.js";
import { keyvDriver } from "../../../adapters/storage/sqlite/keyv-driver.js";
import { prepareDatabase } from "../../../adapters/storage/sqlite/schema.js";
import type { SqliteDriver } from "../../../adapters/storage/sqlite/sqlite-driver.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import { OptionsError, StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { SessionStorage } from "../../../src/storage/storage.js";
import { testSessionStorage } from "../../../src/testing/storage-contract.js";

const folder = mkdtempSync(join(tmpdir(), "sqlite-storage-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const paths = new WeakMap<SessionStorage, string>();
let files = 0;

function newPath(): string {
  files += 1;
  return join(folder, `${files}.db`);
}

function storageAt(path: string): SessionStorage {
  const storage = sqlite(path);
  paths.set(storage, path);
  return storage;
}

function pathOf(storage: SessionStorage): string {
  return paths.get(storage) ?? "";
}

testSessionStorage({
  test,
  expect,
  name: "sqlite",
  open: () => storageAt(newPath()),
  reopen: (storage) => storageAt(pathOf(storage)),
  corrupt: (storage) => overwriteAllButTheHeader(pathOf(storage)),
  damage: (storage, id) =>
    withEngine(pathOf(storage), async (engine) => {
      await engine.query("UPDATE telegram_session_pool SET data = substr(data, 1, 5) WHERE id = ?", id);
    }),
});

testSessionStorage({ test, expect, name: "sqlite :memory:", rows: 10_000, open: () => sqlite(":memory:") });

function overwriteAllButTheHeader(path: string): void {
  const file = openSync(path, "r+");
  writeSync(file, Buffer.alloc(statSync(path).size - 100, 0xa5), 0, undefined, 100);
  closeSync(file);
}

async function failureOf(work: () => Promise<unknown> | undefined): Promise<Error> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("It did not fail.");
}

/** A second look at the file, by the driver the adapter itself would use. */
async function withEngine<T>(path: string, work: (engine: SqliteDriver) => Promise<T>): Promise<T> {
  const engine = nodeDriver(path) ?? (await keyvDriver(path));
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

test("sqlite() - nothing is touched before open", async () => {
  const path = newPath();
  const storage = sqlite(path);
  expect(() => statSync(path)).toThrow("ENOENT");
  await expect(storage.list()).rejects.toThrow(StorageError);
  await storage.close?.();
});

test.each([
  ["an empty path", () => sqlite("")],
  ["no path", () => sqlite(undefined as unknown as string)],
  ["no options", () => sqlite("a.db", null as never)],
  ["an object that is no handle", () => sqlite({ prepare: 1 } as never)],
  ["an unknown option", () => sqlite("a.db", { wal: true } as object)],
  ["a wrong type", () => sqlite("a.db", { allowOpenPermissions: "yes" as unknown as boolean })],
])("sqlite() - %s is an OptionsError", (_, call) => {
  expect(call).toThrow(OptionsError);
});

test("open() - the file and its companions are the owner's alone", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await storage.write("a", 0, "one");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const { journal } = await withEngine(path, async (engine) => {
    const [row] = await engine.query("PRAGMA journal_mode");
    return { journal: row?.journal_mode };
  });
  if (journal === "wal") expect(statSync(`${path}-wal`).mode & 0o777).toBe(0o600);
  await storage.close?.();
});

test("open() - a file that other users can read is refused with the command that helps", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await storage.close?.();
  chmodSync(path, 0o644);
  const error = await failureOf(() => sqlite(path).open?.());
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain(`chmod 600 ${path}`);
  const allowed = sqlite(path, { allowOpenPermissions: true });
  await allowed.open?.();
  expect(await allowed.list()).toEqual([]);
  await allowed.close?.();
});

test("open() - a missing folder is named", async () => {
  const error = await failureOf(() => sqlite(join(folder, "nowhere", "a.db")).open?.());
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain(`The folder ${join(folder, "nowhere")} does not exist`);
});

test("open() - a folder instead of a file is a StorageError", async () => {
  expect(await failureOf(() => sqlite(folder).open?.())).toBeInstanceOf(StorageError);
});

test("open() - a file that is no database is left as it is", async () => {
  const path = newPath();
  const text = "these are not the sessions you are looking for\n".repeat(200);
  writeFileSync(path, text);
  const storage = sqlite(path);
  expect(await failureOf(() => storage.open?.())).toBeInstanceOf(StorageCorruptError);
  await storage.close?.();
  expect(readFileSync(path, "utf8")).toBe(text);
});

test("open() - junk behind a good header is left as it is", async () => {
  const path = newPath();
  const text = `SQLite format 3\0${"junk".repeat(2_000)}`.replace(/^(.{68}).{4}/s, "$1\0\0\0\0");
  writeFileSync(path, text, { mode: 0o600 });
  expect(await failureOf(() => sqlite(path).open?.())).toBeInstanceOf(StorageCorruptError);
  expect(readFileSync(path, "latin1")).toBe(text);
});

test("open() - a torn file is corrupt", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  for (let index = 0; index < 30; index += 1) await storage.write(`${index}`, 0, "x".repeat(1_000));
  await storage.close?.();
  writeFileSync(path, readFileSync(path).subarray(0, 3 * 4_096));
  expect(await failureOf(() => sqlite(path).open?.())).toBeInstanceOf(StorageCorruptError);
});

test.each([
  ["another application's database", ["PRAGMA application_id=7", "CREATE TABLE theirs (a)"], "application_id 7"],
  ["a database with other tables", ["CREATE TABLE theirs (a)"], "holds something else"],
])("open() - %s is refused and left as it is", async (_, statements, reason) => {
  const path = newPath();
  writeFileSync(path, "", { mode: 0o600 });
  await withEngine(path, async (engine) => {
    for (const statement of statements) await engine.query(statement);
  });
  const before = readFileSync(path);
  const error = await failureOf(() => sqlite(path).open?.());
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain(reason);
  expect(readFileSync(path)).toEqual(before);
});

test("open() - a newer schema is refused", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await storage.close?.();
  await withEngine(path, (engine) => engine.query("PRAGMA user_version=2"));
  const error = await failureOf(() => sqlite(path).open?.());
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain("newer version");
});

test("open() - eight at once on a new file", async () => {
  const path = newPath();
  const storages = Array.from({ length: 8 }, () => sqlite(path));
  await Promise.all(storages.map((storage) => storage.open?.()));
  const versions = await Promise.all(storages.map((storage) => storage.write("a", 0, "one")));
  expect(versions.filter((version) => version !== undefined)).toEqual([1]);
  await Promise.all(storages.map((storage) => storage.close?.()));
});

test("open() - another process makes the same new file ready at any moment in between", async () => {
  let statements = Number.POSITIVE_INFINITY;
  for (let moment = 0; moment < statements; moment++) {
    const path = newPath();
    writeFileSync(path, "", { mode: 0o600 });
    statements = 0;
    await withEngine(path, async (engine) => {
      const query: SqliteDriver["query"] = async (...statement) => {
        if (statements++ === moment) await withEngine(path, (other) => prepareDatabase(other, path));
        return engine.query(...statement);
      };
      await prepareDatabase({ ...engine, query }, path);
    });
  }
  expect(statements).toBeGreaterThan(5);
});

test("write() - sequential writes with either driver let the event loop turn", async () => {
  const storage = sqlite(newPath());
  await storage.open?.();
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const began = performance.now();
  let writes = 0;
  for (; performance.now() - began < 300; writes++) await storage.write(`s${writes}`, 0, "x".repeat(1_000));
  clearInterval(timer);
  await storage.close?.();
  // A driver that is synchronous turns after each write that takes longer than 10 ms.
  expect(turns).toBeGreaterThan(Math.min(5, writes / 2));
});

test("write() - a deleted record's data is not left in the file", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await storage.write("a", 0, "canary-1BVtsOKABu");
  await storage.write("a", 1, null);
  await storage.close?.();
  expect(readFileSync(path, "latin1")).not.toContain("canary-1BVtsOKABu");
});

test("write() - waits for another process's lock", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await withEngine(path, async (engine) => {
    await engine.query("BEGIN IMMEDIATE");
    const write = storage.write("a", 0, "one");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await engine.query("COMMIT");
    expect(await write).toBe(1);
  });
  await storage.close?.();
});

test("list() - 100,000 records are one SELECT", async () => {
  const path = newPath();
  const storage = sqlite(path);
  await storage.open?.();
  await withEngine(path, (engine) =>
    engine.query(
      "INSERT INTO telegram_session_pool WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT 'session ' || i, 1, hex(zeroblob(200)) FROM n",
    ),
  );
  const before = process.cpuUsage();
  expect((await storage.list()).length).toBe(100_000);
  const { user, system } = process.cpuUsage(before); // of this process, however busy the machine is
  expect((user + system) / 1_000).toBeLessThan(3_000);
  await storage.close?.();
});

test("open() - after close(), the records are there again", async () => {
  const storage = sqlite(newPath());
  await storage.open?.();
  await storage.write("a", 0, "one");
  await storage.close?.();
  await storage.open?.();
  expect(await storage.read("a")).toEqual({ id: "a", version: 1, data: "one" });
  await storage.close?.();
});

test("open() - without a driver, the message says what to install", async () => {
  const missing = Object.assign(new Error("Cannot find package '@keyv/sqlite'"), { code: "ERR_MODULE_NOT_FOUND" });
  const error = await failureOf(() => keyvDriver(":memory:", () => Promise.reject(missing)));
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain("npm install keyv@5 @keyv/sqlite@4");
});

test("open() - a driver whose install script was blocked is named in the message", async () => {
  const unbuilt = new Error("Could not locate the bindings file. Tried: …");
  const error = await failureOf(() => keyvDriver(":memory:", () => Promise.reject(unbuilt)));
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain('"allowScripts": { "sqlite3": true }');
});

/** A handle whose every statement throws as a driver might, with everything it knows hung on the error. */
function failingHandle(error: (parameters: readonly unknown[]) => Error): SqliteHandle {
  const fail = (...parameters: readonly unknown[]): never => {
    throw error(parameters);
  };
  return { prepare: () => ({ all: fail, run: fail }) };
}

test("write() - a driver's error loses its parameters", async () => {
  let isFailing = false;
  const answers: Record<string, number> = { synchronous: 2, fullfsync: 1, checkpoint_fullfsync: 1, secure_delete: 1 };
  const broken = failingHandle((parameters) =>
    Object.assign(new Error(`disk I/O error near ${String(parameters[1])}`), { code: "SQLITE_IOERR", parameters }),
  );
  const storage = sqlite({
    prepare(statement) {
      if (isFailing) return broken.prepare(statement);
      const name = statement.replace(/^PRAGMA /, "");
      return { all: () => [{ value: name === "journal_mode" ? "wal" : answers[name] }], run: () => undefined };
    },
  });
  await storage.open?.();
  isFailing = true;
  const error = await failureOf(() => storage.write("a", 0, "canary-1BVtsOKABu"));
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain("disk I/O error");
  expect(error.cause).toMatchObject({ code: "SQLITE_IOERR" });
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("canary-1BVtsOKABu");
});

test.skipIf(nodeDriver(":memory:") === undefined)(
  "sqlite(handle) - works on an open DatabaseSync and leaves it open",
  async () => {
    const module = process.getBuiltinModule("node:sqlite" as "node:fs") as unknown as {
      DatabaseSync: new (path: string) => SqliteHandle & { close(): void };
    };
    const database = new module.DatabaseSync(":memory:");
    const engine = handleDriver(database, () => {});
    await engine.query("CREATE TABLE theirs (a)");
    await engine.query("PRAGMA user_version=9");
    const storage = sqlite(database);
    await storage.open?.();
    expect(await storage.write("a", 0, "one")).toBe(1);
    expect(await storage.list()).toEqual([{ id: "a", version: 1, data: "one" }]);
    await storage.close?.();
    await expect(storage.list()).rejects.toThrow(StorageError);
    expect(await engine.query("PRAGMA user_version")).toEqual([expect.objectContaining({ user_version: 9 })]);
    database.close();
  },
);

/** A handle that answers what `open` asks, within a transaction of the application's or not. */
class ApplicationHandle implements SqliteHandle {
  isTransaction = false;
  readonly #answers: Record<string, unknown> = {
    synchronous: 2,
    fullfsync: 1,
    checkpoint_fullfsync: 1,
    secure_delete: 1,
    journal_mode: "wal",
  };
  readonly #asRow: (value: unknown) => unknown;

  constructor(asRow: (value: unknown) => unknown = (value) => ({ value })) {
    this.#asRow = asRow;
  }

  prepare(statement: string): ReturnType<SqliteHandle["prepare"]> {
    const name = statement.replace(/^PRAGMA /, "");
    const answer = statement.startsWith("PRAGMA") ? this.#answers[name] : 1;
    return { all: () => [this.#asRow(answer)], run: () => undefined };
  }
}

test("write() - waits for the end of the application's own transaction on the handle", async () => {
  const handle = new ApplicationHandle();
  const storage = sqlite(handle);
  await storage.open?.();
  handle.isTransaction = true;
  let isWritten = false;
  const write = storage.write("a", 0, "one").then((version) => {
    isWritten = true;
    return version;
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(isWritten).toBe(false);
  handle.isTransaction = false;
  expect(await write).toBe(1);
});

test("write() - within the application's own transaction is refused in the end", async () => {
  const handle = new ApplicationHandle();
  const storage = sqlite(handle);
  await storage.open?.();
  handle.isTransaction = true;
  const error = await failureOf(() => storage.write("a", 0, "one"));
  expect(error).toBeInstanceOf(StorageError);
  expect(error.message).toContain("A transaction of the application is open");
});

test("write() - a handle that does not say whether it is in a transaction is asked by one of our own", async () => {
  const statements: string[] = [];
  let isTransaction = true;
  const handle: SqliteHandle = {
    prepare: (statement) => ({
      all: () => {
        statements.push(statement);
        if (statement === "BEGIN" && isTransaction) throw new Error("cannot start a transaction within a transaction");
        return [{ version: 1 }];
      },
      run: () => undefined,
    }),
  };
  const engine = handleDriver(handle, () => {});
  const write = engine.query("INSERT");
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(statements).not.toContain("INSERT");
  isTransaction = false;
  expect(await write).toEqual([{ version: 1 }]);
  expect(statements.slice(-3)).toEqual(["BEGIN", "COMMIT", "INSERT"]);
});

test("list() - a handle that returns arrays, or renames columns, gives the same records", async () => {
  for (const asRow of [(value: unknown) => [value], (value: unknown) => ({ Renamed: value })]) {
    const storage = sqlite(new ApplicationHandle(asRow));
    await storage.open?.();
    expect(await storage.write("a", 0, "one")).toBe(1);
  }
});
