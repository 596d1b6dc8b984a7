import { resolve } from "node:path";
import { OptionsError, StorageError } from "../../src/errors.js";
import type { PeerStorage, SessionStorage, StoredRecord } from "../../src/records/storage.js";
import { type Engine, isCorrupt, type Row, whenNotBusy } from "./sqlite/engine.js";
import { prepareFile } from "./sqlite/file.js";
import { handleEngine, nodeEngine, type SqliteHandle } from "./sqlite/handle-engine.js";
import { keyvEngine } from "./sqlite/keyv-engine.js";
import { prepareDatabase, prepareHandle } from "./sqlite/schema.js";
import { sqlitePeers } from "./sqlite/sqlite-peers.js";
import { storageFailure } from "./storage-failure.js";

export type { SqliteHandle, SqliteStatement } from "./sqlite/handle-engine.js";

/** What {@link sqlite} can be told. */
export interface SqliteOptions {
  /** Whether a file that other users of the machine can read or write is taken all the same. @default false */
  readonly allowOpenPermissions?: boolean;
}

const LIST = "SELECT id, version, data FROM telegram_session_pool WHERE data IS NOT NULL";
const READ = "SELECT id, version, data FROM telegram_session_pool WHERE id = ? AND data IS NOT NULL";
const CREATE = `INSERT INTO telegram_session_pool (id, version, data) VALUES (?, 1, ?)
  ON CONFLICT (id) DO UPDATE SET version = version + 1, data = excluded.data WHERE data IS NULL RETURNING version`;
const REPLACE = `UPDATE telegram_session_pool SET version = version + 1, data = ?
  WHERE id = ? AND version = ? AND data IS NOT NULL RETURNING version`;

/**
 * Keeps records in one SQLite file: for one process or several on one host, never on a network file system.
 *
 * Uses the SQLite of Node.js (22.13 and newer), else the package `@keyv/sqlite`. The file is created with mode 0600
 * and opened with full durability: an acknowledged write survives a power cut. A write is one statement and one commit
 * (well under a millisecond to a few, by the disk); `list` is one SELECT. A deleted record leaves its id and version.
 *
 * @param database A path (its folder must exist), `":memory:"`, or an open handle of node:sqlite or better-sqlite3,
 *   which stays the caller's: it is not closed, gets two tables, `synchronous` FULL or EXTRA and `secure_delete`.
 * @throws `OptionsError` for a wrong argument. `open` rejects with `StorageCorruptError` when the file is damaged or no
 *   database, and with `StorageError` when it is another application's, newer than this package or readable by others.
 */
export function sqlite(database: string | SqliteHandle, options: SqliteOptions = {}): SessionStorage {
  assertArguments(database, options);
  if (typeof database !== "string") return new SqliteStorage("the database", () => openHandle(database));
  const path = database === ":memory:" ? database : resolve(database);
  return new SqliteStorage(path, () => openPath(path, options.allowOpenPermissions ?? false));
}

class SqliteStorage implements SessionStorage {
  readonly shared = true;
  readonly peers: PeerStorage;
  readonly #name: string;
  readonly #openEngine: () => Promise<Engine>;
  #engine: Promise<Engine> | undefined;
  #closed: Promise<void> | undefined;

  constructor(name: string, openEngine: () => Promise<Engine>) {
    this.#name = name;
    this.#openEngine = openEngine;
    this.peers = sqlitePeers((statement, ...parameters) => this.#run(statement, ...parameters));
  }

  async open(): Promise<void> {
    await this.#closed;
    this.#closed = undefined;
    this.#engine ??= this.#openEngine().catch((error: unknown) => {
      this.#engine = undefined;
      throw storageFailure(`${this.#name} cannot be opened`, error, { isCorrupt: isCorrupt(error) });
    });
    await this.#engine;
  }

  async list(): Promise<readonly StoredRecord[]> {
    return (await this.#run(LIST)).map(toRecord);
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    const [row] = await this.#run(READ, id);
    return row && toRecord(row);
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    if (expected === 0 && data === null) return undefined;
    const [row] = expected === 0 ? await this.#run(CREATE, id, data) : await this.#run(REPLACE, data, id, expected);
    return row && Number(row.version);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    try {
      await (await engine?.catch(() => undefined))?.close();
    } catch (error) {
      throw storageFailure(`${this.#name} cannot be closed`, error);
    }
  }

  async #run(statement: string, ...parameters: readonly (string | number | null)[]): Promise<readonly Row[]> {
    if (this.#engine === undefined) throw new StorageError(`${this.#name} is not open.`);
    const engine = await this.#engine;
    try {
      return await whenNotBusy(() => engine.query(statement, ...parameters));
    } catch (error) {
      const secrets = parameters.filter((parameter) => typeof parameter === "string");
      throw storageFailure(`${this.#name} failed`, error, { secrets, isCorrupt: isCorrupt(error) });
    }
  }
}

async function openPath(path: string, allowOpenPermissions: boolean): Promise<Engine> {
  if (path !== ":memory:") await prepareFile(path, allowOpenPermissions);
  const engine = nodeEngine(path) ?? (await whenNotBusy(() => keyvEngine(path)));
  try {
    await whenNotBusy(() => prepareDatabase(engine, path));
  } catch (error) {
    await engine.close();
    throw error;
  }
  return engine;
}

async function openHandle(handle: SqliteHandle): Promise<Engine> {
  const engine = handleEngine(handle, () => {});
  await whenNotBusy(() => prepareHandle(engine));
  return engine;
}

function toRecord(row: Row): StoredRecord {
  return { id: String(row.id), version: Number(row.version), data: String(row.data) };
}

function assertArguments(database: unknown, options: object): void {
  const isHandle = typeof database === "object" && database !== null && "prepare" in database;
  if (!isHandle && (typeof database !== "string" || database === "")) {
    throw new OptionsError('sqlite() expects a path, ":memory:" or an open database handle.');
  }
  for (const [key, given] of Object.entries(options)) {
    if (key !== "allowOpenPermissions") throw new OptionsError(`sqlite() knows no option "${key}".`);
    if (given !== undefined && typeof given !== "boolean") {
      throw new OptionsError(`sqlite(): allowOpenPermissions expects a boolean, got ${typeof given}.`);
    }
  }
}
