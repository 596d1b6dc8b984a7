import { StorageError } from "../../../src/errors.js";
import { codeOf } from "../storage-failure.js";
import { BUSY_TIMEOUT_MS, type Engine, type Row } from "./engine.js";

interface KeyvSqliteModule {
  readonly KeyvSqlite: new (options: {
    uri: string;
    table: string;
    busyTimeout: number;
  }) => {
    query(statement: string, ...parameters: readonly unknown[]): Promise<readonly Row[]>;
    disconnect(): Promise<void>;
  };
}

/**
 * SQLite by `query` of @keyv/sqlite, for Node.js versions without a SQLite of their own. Keyv itself is not used: it
 * has no compare-and-set and reports a failed read as "no such key".
 */
export async function keyvEngine(
  path: string,
  load: () => Promise<unknown> = () => import("@keyv/sqlite"),
): Promise<Engine> {
  const { KeyvSqlite } = await loadModule(load);
  // The constructor opens the file at once and creates the table it is told; nothing is ever written to that one.
  const table = "telegram_session_pool_keyv";
  const store = new KeyvSqlite({ uri: `sqlite://${path}`, table, busyTimeout: BUSY_TIMEOUT_MS });
  // MUST be in the same tick: a file that cannot be opened is an unhandled rejection while no query is pending.
  await store.query("SELECT 1");
  return {
    query: (statement, ...parameters) => store.query(statement, ...parameters),
    close: () => store.disconnect(),
  };
}

async function loadModule(load: () => Promise<unknown>): Promise<KeyvSqliteModule> {
  try {
    return (await load()) as KeyvSqliteModule;
  } catch (error) {
    throw new StorageError(fixFor(error), { cause: error });
  }
}

function fixFor(error: unknown): string {
  if (codeOf(error) === "ERR_MODULE_NOT_FOUND" || codeOf(error) === "MODULE_NOT_FOUND") {
    return `sqlite() needs Node.js 22.13 or newer, which has SQLite built in, or the package @keyv/sqlite: run "npm install keyv@5 @keyv/sqlite@4".`;
  }
  return `The package @keyv/sqlite is there but does not load. If npm blocked the install script of sqlite3 (npm 12 does), add "allowScripts": { "sqlite3": true } to your package.json and run "npm rebuild sqlite3"; Node.js 22.13 and newer need no package at all.`;
}
