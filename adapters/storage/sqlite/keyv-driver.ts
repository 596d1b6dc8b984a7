import { createRequire } from "node:module";
import { setImmediate as nextTurn } from "node:timers/promises";
import { StorageError } from "../../../src/errors.js";
import { codeOf } from "../to-storage-error.js";
import { BUSY_RETRY_MS, BUSY_TIMEOUT_MS, groupedEngine, type Row, type SqliteDriver } from "./sqlite-driver.js";

interface KeyvSqliteStore {
  query(statement: string, ...parameters: readonly unknown[]): Promise<readonly Row[]>;
  disconnect(): Promise<void>;
}

interface KeyvSqliteModule {
  readonly KeyvSqlite: new (options: { uri: string; table: string; busyTimeout: number }) => KeyvSqliteStore;
}

/**
 * SQLite by `query` of @keyv/sqlite, for Node.js versions without a SQLite of their own. Keyv itself is not used: it
 * has no compare-and-set and reports a failed read as "no such key". `inspect` checks the file before the driver
 * changes it; what it throws is thrown.
 */
export async function keyvDriver(
  path: string,
  load: () => Promise<unknown> = importKeyvSqlite,
  inspect?: (engine: SqliteDriver) => Promise<void>,
): Promise<SqliteDriver> {
  const { KeyvSqlite } = (await load().catch(fail)) as KeyvSqliteModule;
  if (inspect !== undefined) await withPlainDriver(path, inspect);
  // The constructor opens the file at once and creates the table that it is given; nothing is ever written to that one.
  const table = "telegram_session_pool_keyv";
  const store = new KeyvSqlite({ uri: `sqlite://${path}`, table, busyTimeout: BUSY_RETRY_MS });
  // MUST be in the same tick: a file that cannot be opened is an unhandled rejection while no query is pending.
  await store.query("SELECT 1");
  return groupedEngine(
    (statement, ...parameters) => querySerialized(store, statement, parameters),
    () => store.disconnect(),
  );
}

/** The methods used of sqlite3, the driver beneath @keyv/sqlite. */
interface Sqlite3 {
  readonly OPEN_READWRITE: number;
  readonly Database: new (path: string, mode: number, opened: (error: unknown) => void) => Sqlite3Database;
}

interface Sqlite3Database {
  configure(option: "busyTimeout", milliseconds: number): void;
  all(statement: string, parameters: readonly unknown[], done: (error: unknown, rows: readonly Row[]) => void): void;
  close(done: (error: unknown) => void): void;
}

/** Opens the file without creating the table that KeyvSqlite would add. */
async function withPlainDriver(path: string, work: (engine: SqliteDriver) => Promise<void>): Promise<void> {
  const sqlite3 = plainDriver();
  if (sqlite3 === undefined) return;
  const database = await new Promise<Sqlite3Database>((resolve, reject) => {
    const opened = new sqlite3.Database(path, sqlite3.OPEN_READWRITE, (error) =>
      error ? reject(error) : resolve(opened),
    );
  });
  database.configure("busyTimeout", BUSY_TIMEOUT_MS);
  const query: SqliteDriver["query"] = (statement, ...parameters) =>
    new Promise((resolve, reject) => {
      database.all(statement, parameters, (error, rows) => (error ? reject(error) : resolve(rows)));
    });
  const close = (): Promise<void> =>
    new Promise((resolve, reject) => database.close((error) => (error ? reject(error) : resolve())));
  try {
    await work({ query, close });
  } finally {
    await nextTurn();
    await close();
  }
}

/** `undefined` in a bundle, where the driver is not a package of its own. */
function plainDriver(): Sqlite3 | undefined {
  try {
    const local = createRequire(import.meta.url);
    return createRequire(local.resolve("@keyv/sqlite"))("sqlite3") as Sqlite3;
  } catch {
    return undefined;
  }
}

/**
 * MUST run while no other statement of the connection does. One that was refused for another process's lock counts as
 * an active write until the driver has finalized it, which is after it has reported it: what runs meanwhile is reported as done,
 * is not committed, and is rolled back with it. Source: sqlite3VdbeHalt (`nVdbeWrite`), node-sqlite3's Statement::Process.
 */
async function querySerialized(
  store: KeyvSqliteStore,
  statement: string,
  parameters: readonly unknown[],
): Promise<readonly Row[]> {
  try {
    return await store.query(statement, ...parameters);
  } catch (error) {
    await nextTurn();
    throw error;
  }
}

/** `await import()` in a `try` block: so bundlers do not fail where the package is not installed. */
async function importKeyvSqlite(): Promise<unknown> {
  try {
    return await import("@keyv/sqlite");
  } catch (error) {
    return fail(error);
  }
}

function fail(error: unknown): never {
  if (error instanceof StorageError) throw error;
  throw new StorageError(installHint(error), { cause: error });
}

function installHint(error: unknown): string {
  if (codeOf(error) === "ERR_MODULE_NOT_FOUND" || codeOf(error) === "MODULE_NOT_FOUND") {
    return `sqlite() needs Node.js 22.13 or newer, which has SQLite built in, or the package @keyv/sqlite: run "npm install keyv@5 @keyv/sqlite@4".`;
  }
  return `The package @keyv/sqlite is there but does not load. If npm blocked the install script of sqlite3 (npm 12 does), add "allowScripts": { "sqlite3": true } to your package.json and run "npm rebuild sqlite3"; Node.js 22.13 and newer need no package at all.`;
}
