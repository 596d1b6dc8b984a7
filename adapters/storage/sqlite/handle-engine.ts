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

/** So long statements may follow each other without a turn of the event loop between them. */
const LONGEST_TURN_MS = 10;

/**
 * An engine over an open handle. Statements run synchronously and are prepared once. `close` is the caller's.
 *
 * What awaits one statement after the other would never let the event loop turn: no timer would fire, no socket be read.
 * So a statement that comes too late in a turn waits for the next one.
 */
export function handleEngine(handle: SqliteHandle, close: () => void): Engine {
  const statements = new Map<string, SqliteStatement>();
  const turns = new Turns();
  return {
    async query(text, ...parameters) {
      if (turns.isLong) await turns.next();
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

/** How long the event loop has not turned while statements ran. */
class Turns {
  #began: number | undefined;

  /** Whether this turn has lasted too long. To be asked before each statement. */
  get isLong(): boolean {
    const now = performance.now();
    if (this.#began !== undefined) return now - this.#began > LONGEST_TURN_MS;
    this.#began = now;
    setImmediate(() => {
      this.#began = undefined;
    });
    return false;
  }

  async next(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
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
