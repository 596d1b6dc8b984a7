import type { Engine, Row } from "./engine.js";

/** A prepared statement, as node:sqlite and better-sqlite3 make them. */
export interface SqliteStatement {
  all(...parameters: readonly (string | number | null)[]): readonly unknown[];
  run(...parameters: readonly (string | number | null)[]): unknown;
  /** better-sqlite3: whether the statement returns rows; `all` throws when it does not. */
  readonly reader?: boolean;
}

/** An open database: node:sqlite's `DatabaseSync`, better-sqlite3's `Database`, or anything with their `prepare`. */
export interface SqliteHandle {
  prepare(statement: string): SqliteStatement;
}

/** An engine over an open handle. Statements run synchronously and are prepared once. `close` is the caller's. */
export function handleEngine(handle: SqliteHandle, close: () => void): Engine {
  const statements = new Map<string, SqliteStatement>();
  return {
    async query(text, ...parameters) {
      const statement = statements.get(text) ?? handle.prepare(text);
      statements.set(text, statement);
      if (statement.reader !== false) return statement.all(...parameters) as readonly Row[];
      statement.run(...parameters);
      return [];
    },
    async close() {
      statements.clear();
      close();
    },
  };
}

interface NodeSqlite {
  readonly DatabaseSync: new (path: string) => SqliteHandle & { close(): void };
}

/** The SQLite of Node.js itself (22.13 and newer), or `undefined` where there is none. */
export function nodeEngine(path: string): Engine | undefined {
  const module = process.getBuiltinModule("node:sqlite") as NodeSqlite | undefined;
  if (module === undefined) return undefined;
  const database = new module.DatabaseSync(path);
  return handleEngine(database, () => database.close());
}
