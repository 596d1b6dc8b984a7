import { setTimeout as pause } from "node:timers/promises";
import { StorageError } from "../../../src/errors.js";
import type { Row, SqliteDriver } from "./sqlite-driver.js";
import { groupedEngine } from "./sqlite-driver.js";

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
  /** node:sqlite: whether a transaction is open. */
  readonly isTransaction?: boolean;
  /** better-sqlite3: the same. */
  readonly inTransaction?: boolean;
}

/** Maximum time statements may run back to back without a turn of the event loop. */
const MAX_TURN_MS = 10;

/** How long a write waits for the end of the application's own transaction. Shorter than the pool's timeout for a write. */
const TRANSACTION_PATIENCE_MS = 2_000;

/**
 * An engine over an open handle of the application's. Writes wait until no transaction is open on the handle: what was
 * acknowledged within one would be undone by its ROLLBACK. `close` is the caller's.
 */
export function handleDriver(handle: SqliteHandle, close: () => void): SqliteDriver {
  const runner = new Runner(handle);
  return {
    async query(statement, ...parameters) {
      const isRead = /^(SELECT\b|PRAGMA [^=]*$)/.test(statement);
      const deadline = performance.now() + TRANSACTION_PATIENCE_MS;
      for (;;) {
        await runner.turn();
        // In the same tick: the application cannot begin a transaction in between.
        if (isRead || !runner.isInTransaction()) return runner.run(statement, parameters);
        if (performance.now() >= deadline) throw openTransaction();
        await pause(5);
      }
    },
    async close() {
      close();
    },
  };
}

function openTransaction(): StorageError {
  return new StorageError(
    "A transaction of the application is open on the handle that sqlite() was given, and its rollback would undo what the pool writes now: commit before awaiting the pool, or give sqlite() a handle of its own.",
  );
}

/**
 * Runs statements synchronously, each prepared once.
 *
 * Code that awaits one statement after another would block the event loop: no timer would fire, no socket be read.
 * So a statement that comes too late in a turn waits for the next one.
 */
class Runner {
  readonly #handle: SqliteHandle;
  /** Bounded by the statements of the adapter. */
  readonly #statements = new Map<string, SqliteStatement>();
  readonly #turns = new Turns();

  constructor(handle: SqliteHandle) {
    this.#handle = handle;
  }

  /** To be awaited before each statement. */
  async turn(): Promise<void> {
    while (this.#turns.isLong) await this.#turns.next();
  }

  run(text: string, parameters: readonly (string | number | null)[]): readonly Row[] {
    const statement = this.#statements.get(text) ?? this.#handle.prepare(text);
    this.#statements.set(text, statement);
    if (statement.reader !== false) return statement.all(...parameters) as readonly Row[];
    statement.run(...parameters);
    return [];
  }

  /** Before Node.js 22.16 the handle does not say: then an empty transaction of our own does. */
  isInTransaction(): boolean {
    const known = this.#handle.isTransaction ?? this.#handle.inTransaction;
    if (typeof known === "boolean") return known;
    try {
      this.run("BEGIN", []);
      this.run("COMMIT", []);
      return false;
    } catch (error) {
      return error instanceof Error && error.message.includes("within a transaction");
    }
  }
}

/** How long the event loop has not turned while statements ran. */
class Turns {
  #began: number | undefined;

  /** Whether this turn has lasted too long. To be asked before each statement. */
  get isLong(): boolean {
    const now = performance.now();
    if (this.#began !== undefined) return now - this.#began > MAX_TURN_MS;
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

/** The SQLite of Node.js itself (22.13 and newer); `undefined` in older versions. */
export function nodeDriver(path: string): SqliteDriver | undefined {
  const module = process.getBuiltinModule("node:sqlite") as NodeSqlite | undefined;
  if (module === undefined) return undefined;
  const database = new module.DatabaseSync(path);
  const runner = new Runner(database);
  return groupedEngine(
    async (statement, ...parameters) => {
      await runner.turn();
      return runner.run(statement, parameters);
    },
    async () => database.close(),
  );
}
