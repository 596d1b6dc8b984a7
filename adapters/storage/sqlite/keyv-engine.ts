import { setImmediate as nextTurn } from "node:timers/promises";
import { Mutex } from "async-mutex";
import { StorageError } from "../../../src/errors.js";
import { codeOf } from "../storage-failure.js";
import { type Engine, PATIENCE_MS, type Row } from "./engine.js";
import { GroupCommit } from "./group-commit.js";

interface KeyvSqliteStore {
  query(statement: string, ...parameters: readonly unknown[]): Promise<readonly Row[]>;
  disconnect(): Promise<void>;
}

interface KeyvSqliteModule {
  readonly KeyvSqlite: new (options: { uri: string; table: string; busyTimeout: number }) => KeyvSqliteStore;
}

/**
 * SQLite by `query` of @keyv/sqlite, for Node.js versions without a SQLite of their own. Keyv itself is not used: it
 * has no compare-and-set and reports a failed read as "no such key".
 */
export async function keyvEngine(path: string, load: () => Promise<unknown> = importKeyvSqlite): Promise<Engine> {
  const { KeyvSqlite } = (await load().catch(fail)) as KeyvSqliteModule;
  // The constructor opens the file at once and creates the table it is told; nothing is ever written to that one.
  const table = "telegram_session_pool_keyv";
  const store = new KeyvSqlite({ uri: `sqlite://${path}`, table, busyTimeout: PATIENCE_MS });
  // MUST be in the same tick: a file that cannot be opened is an unhandled rejection while no query is pending.
  await store.query("SELECT 1");
  const turns = new Mutex();
  const alone: Engine["query"] = (statement, ...parameters) => queryAlone(store, statement, parameters);
  const commits = new GroupCommit(turns, alone);
  return {
    query: (statement, ...parameters) =>
      /^(INSERT|UPDATE|DELETE)\b/.test(statement)
        ? commits.write(statement, ...parameters)
        : turns.runExclusive(() => alone(statement, ...parameters)),
    close: () => turns.runExclusive(() => store.disconnect()),
  };
}

/**
 * MUST run while no other statement of the connection does. One that was refused for another process's lock counts as
 * an active write until the driver has finalized it, which is after it has told so: what runs meanwhile is told as done,
 * is not committed, and is rolled back with it. Source: sqlite3VdbeHalt (`nVdbeWrite`), node-sqlite3's Statement::Process.
 */
async function queryAlone(
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
  throw new StorageError(fixFor(error), { cause: error });
}

function fixFor(error: unknown): string {
  if (codeOf(error) === "ERR_MODULE_NOT_FOUND" || codeOf(error) === "MODULE_NOT_FOUND") {
    return `sqlite() needs Node.js 22.13 or newer, which has SQLite built in, or the package @keyv/sqlite: run "npm install keyv@5 @keyv/sqlite@4".`;
  }
  return `The package @keyv/sqlite is there but does not load. If npm blocked the install script of sqlite3 (npm 12 does), add "allowScripts": { "sqlite3": true } to your package.json and run "npm rebuild sqlite3"; Node.js 22.13 and newer need no package at all.`;
}
