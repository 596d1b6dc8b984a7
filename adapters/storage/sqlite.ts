import { resolve } from "node:path";
import { OptionsError, StorageCorruptError, StorageError } from "../../src/errors.js";
import { assertKnownOptions } from "../../src/options/validators.js";
import type { PeerStorage, RecordWrite, SessionStorage, StoredRecord, WriteResult } from "../../src/storage/storage.js";
import { writeBatch } from "./sql-batch.js";
import { fields, toRecords } from "./sql-rows.js";
import { assertPrivate, fileGuard, prepareFile } from "./sqlite/file.js";
import { handleDriver, nodeDriver, type SqliteHandle } from "./sqlite/handle-driver.js";
import { keyvDriver } from "./sqlite/keyv-driver.js";
import { assertOurs, prepareDatabase, prepareHandle, sqlitePeers } from "./sqlite/schema.js";
import { isCorrupt, isNoDatabase, type Row, retryWhileBusy, type SqliteDriver } from "./sqlite/sqlite-driver.js";
import { SqliteWatch } from "./sqlite/sqlite-watch.js";
import { toStorageError } from "./to-storage-error.js";

export type { SqliteHandle, SqliteStatement } from "./sqlite/handle-driver.js";

/** Options of {@link sqlite}. */
export interface SqliteOptions {
  /** Whether a file that other users of the machine own, can read or write is taken all the same. @default false */
  readonly allowOpenPermissions?: boolean;
}

const LIST = "SELECT id, version, data FROM telegram_session_pool WHERE data IS NOT NULL";
const READ = "SELECT id, version, data FROM telegram_session_pool WHERE id = ? AND data IS NOT NULL";
const CREATE = `INSERT INTO telegram_session_pool (id, version, data) VALUES (?, 1, ?)
  ON CONFLICT (id) DO UPDATE SET version = version + 1, data = excluded.data WHERE data IS NULL RETURNING version`;
const REPLACE = `UPDATE telegram_session_pool SET version = version + 1, data = ?
  WHERE id = ? AND version = ? AND data IS NOT NULL RETURNING version`;

/** Creates many records by one statement. Its parameter: a JSON array of `{ id, data }`. */
const CREATE_MANY = `INSERT INTO telegram_session_pool (id, version, data)
  SELECT value ->> 'id', 1, value ->> 'data' FROM json_each(?) WHERE true
  ON CONFLICT (id) DO UPDATE SET version = version + 1, data = excluded.data WHERE data IS NULL RETURNING id, version`;
/** Replaces and deletes many. Its parameter: a JSON array of `{ id, expected, data }`. */
const REPLACE_MANY = `UPDATE telegram_session_pool SET version = version + 1, data = given.value ->> 'data'
  FROM json_each(?) AS given
  WHERE telegram_session_pool.id = given.value ->> 'id' AND version = given.value ->> 'expected' AND data IS NOT NULL
  RETURNING telegram_session_pool.id, version`;

/**
 * Keeps records in one SQLite file: for one process or several on one host, never on a network file system.
 *
 * Uses the SQLite of Node.js (22.13 and newer), else the package `@keyv/sqlite`. The file is created with mode 0600
 * and opened with full durability: an acknowledged write survives a power cut. A write is one statement and one commit
 * (a few milliseconds, by the disk); writes of one moment share the commit, and up to 500 of them one statement; `list` is one SELECT. A deleted record leaves its id
 * and version. Writes of other processes are noticed within a second, on Linux within about 0.1 s.
 *
 * @param database A path (its folder must exist), `":memory:"`, or an open handle of node:sqlite or better-sqlite3,
 *   which stays the caller's: it is not closed, gets two tables, `synchronous` FULL or EXTRA and `secure_delete`. While a
 *   transaction of the caller's is open on the handle a write waits 2 s for its end, then rejects with `StorageError`.
 * @throws `OptionsError` for a wrong argument. `open` rejects with `StorageCorruptError` when the file is damaged or no
 *   database, and with `StorageError` when it is another application's, newer than this package, another user's or readable by
 *   others. A write rejects with `StorageError` once the file was deleted or replaced.
 */
export function sqlite(database: string | SqliteHandle, options: SqliteOptions = {}): SessionStorage {
  assertArguments(database, options);
  if (typeof database !== "string") return new SqliteStorage("the database", () => openHandle(database));
  if (database === ":memory:") return new SqliteStorage(database, () => openPath(database), false);
  const path = resolve(database);
  return new SqliteStorage(path, () => openFile(path, options.allowOpenPermissions ?? false));
}

class SqliteStorage implements SessionStorage {
  readonly shared = true;
  readonly peers: PeerStorage;
  readonly watch?: NonNullable<SessionStorage["watch"]>;
  readonly #name: string;
  readonly #openEngine: () => Promise<SqliteDriver>;
  /** Bounded by the watches that have not been stopped. */
  readonly #watches = new Set<SqliteWatch>();
  /** The last list, for as long as its caller keeps it: a watch continues from it. */
  #listed: WeakRef<readonly StoredRecord[]> | undefined;
  #engine: Promise<SqliteDriver> | undefined;
  #closed: Promise<void> | undefined;

  constructor(name: string, openEngine: () => Promise<SqliteDriver>, hasOthers = true) {
    this.#name = name;
    this.#openEngine = openEngine;
    this.peers = sqlitePeers((...statement) => this.#run(...statement));
    if (!hasOthers) return;
    this.watch = (changed, failed = () => {}, listening = () => {}) => this.#watch(changed, failed, listening);
  }

  async open(): Promise<void> {
    await this.#closed;
    this.#closed = undefined;
    this.#engine ??= this.#openEngine().catch((error: unknown) => {
      this.#engine = undefined;
      throw toStorageError(`${this.#name} cannot be opened`, error, { isCorrupt: isCorrupt(error) });
    });
    await this.#engine;
  }

  async list(): Promise<readonly StoredRecord[]> {
    const records = toRecords(await this.#run(LIST));
    this.#listed = new WeakRef(records);
    return records;
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    return toRecords(await this.#run(READ, id))[0];
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    if (expected === 0 && data === null) return undefined;
    const [row] = expected === 0 ? await this.#run(CREATE, id, data) : await this.#run(REPLACE, data, id, expected);
    if (row === undefined) return undefined;
    const version = Number(fields(row)[0]);
    for (const watch of this.#watches) watch.wrote(id, version);
    return version;
  }

  async writeMany(writes: readonly RecordWrite[]): Promise<readonly WriteResult[]> {
    const results = await writeBatch(writes, {
      create: (rows) => this.#run(CREATE_MANY, JSON.stringify(rows)),
      replace: (rows) => this.#run(REPLACE_MANY, JSON.stringify(rows)),
      write: ({ id, expected, data }) => this.write(id, expected, data),
    });
    for (const [index, version] of results.entries()) {
      const id = writes[index]?.id;
      if (id !== undefined && typeof version === "number") for (const watch of this.#watches) watch.wrote(id, version);
    }
    return results;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #watch(changed: (id: string) => void, failed: (error: Error) => void, listening: () => void): () => void {
    const watch = new SqliteWatch(
      (...statement) => this.#run(...statement),
      this.#listed?.deref(),
      changed,
      failed,
      listening,
    ).start();
    this.#watches.add(watch);
    return () => {
      watch.stop();
      this.#watches.delete(watch);
    };
  }

  async #close(): Promise<void> {
    for (const watch of this.#watches) watch.stop();
    this.#watches.clear();
    const engine = this.#engine;
    this.#engine = undefined;
    try {
      await (await engine?.catch(() => undefined))?.close();
    } catch (error) {
      throw toStorageError(`${this.#name} cannot be closed`, error);
    }
  }

  async #run(statement: string, ...parameters: readonly (string | number | null)[]): Promise<readonly Row[]> {
    if (this.#engine === undefined) throw new StorageError(`${this.#name} is not open.`);
    const engine = await this.#engine;
    try {
      return await retryWhileBusy(() => engine.query(statement, ...parameters));
    } catch (error) {
      throw toStorageError(`${this.#name} failed`, error, { secrets: parameters, isCorrupt: isCorrupt(error) });
    }
  }
}

async function openFile(path: string, allowOpenPermissions: boolean): Promise<SqliteDriver> {
  prepareFile(path);
  const engine = await openPath(path, async (opened) => {
    await assertOurs(opened, path);
    if (!allowOpenPermissions) assertPrivate(path);
  });
  const assertSame = fileGuard(path);
  return {
    async query(...statement) {
      try {
        return await engine.query(...statement);
      } finally {
        assertSame();
      }
    },
    close: () => engine.close(),
  };
}

/** `inspect` runs before anything is changed. */
async function openPath(path: string, inspect?: (engine: SqliteDriver) => Promise<void>): Promise<SqliteDriver> {
  try {
    const own = nodeDriver(path);
    const engine = own ?? (await retryWhileBusy(() => keyvDriver(path, undefined, inspect)));
    return await prepared(engine, path, own && inspect);
  } catch (error) {
    if (!isNoDatabase(error)) throw error;
    throw new StorageCorruptError(`${path} is not an SQLite database. Nothing was overwritten.`);
  }
}

async function prepared(
  engine: SqliteDriver,
  path: string,
  inspect?: (engine: SqliteDriver) => Promise<void>,
): Promise<SqliteDriver> {
  try {
    await retryWhileBusy(async () => inspect?.(engine));
    await retryWhileBusy(() => prepareDatabase(engine, path));
    return engine;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

async function openHandle(handle: SqliteHandle): Promise<SqliteDriver> {
  const engine = handleDriver(handle, () => {});
  await retryWhileBusy(() => prepareHandle(engine));
  return engine;
}

function assertArguments(database: unknown, options: SqliteOptions): void {
  const isHandle =
    typeof database === "object" &&
    database !== null &&
    "prepare" in database &&
    typeof database.prepare === "function";
  if (!isHandle && (typeof database !== "string" || database === "")) {
    throw new OptionsError('sqlite() expects a path, ":memory:" or an open database handle.');
  }
  assertKnownOptions("sqlite()", options, ["allowOpenPermissions"]);
  const given = options.allowOpenPermissions;
  if (given !== undefined && typeof given !== "boolean") {
    throw new OptionsError(`sqlite(): allowOpenPermissions expects a boolean, got ${typeof given}.`);
  }
}
