import { setTimeout as pause } from "node:timers/promises";
import { Mutex } from "async-mutex";
import { codeOf } from "../to-storage-error.js";

/** One row, by column name. */
export type Row = Readonly<Record<string, unknown>>;

/** The part of SQLite that this adapter needs, over any driver. */
export interface SqliteDriver {
  /** Runs one statement to its end, as a transaction of its own, and resolves its rows. */
  query(statement: string, ...parameters: readonly (string | number | null)[]): Promise<readonly Row[]>;
  close(): Promise<void>;
}

/**
 * How long a statement is retried before the lock of another process fails it. By the system's clock: the contract of a
 * storage has none, and other processes release their locks by no injected clock.
 */
export const BUSY_RETRY_MS = 5_000;

/**
 * How long SQLite itself waits for a lock. Short: it would block the event loop with the synchronous drivers, and, since
 * its own retries grow apart (to 100 ms in the end), starve behind processes that have just begun to wait.
 */
export const BUSY_TIMEOUT_MS = 20;

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** The database is damaged, or is no database. */
export function isCorrupt(error: unknown): boolean {
  return isCode(error, SQLITE_CORRUPT, "SQLITE_CORRUPT") || isNoDatabase(error);
}

/** The file is not a database. */
export function isNoDatabase(error: unknown): boolean {
  return isCode(error, SQLITE_NOTADB, "SQLITE_NOTADB");
}

/** Another connection has locked what the statement needs. */
export function isBusy(error: unknown): boolean {
  return isCode(error, SQLITE_BUSY, "SQLITE_BUSY");
}

/**
 * Repeats what another process's lock refused, up to {@link BUSY_RETRY_MS}. A refused statement has done nothing.
 */
export async function retryWhileBusy<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + BUSY_RETRY_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error;
    }
    await pause(5 + Math.random() * 20);
  }
}

/** node:sqlite says `errcode` (a number), sqlite3 and better-sqlite3 say `code` (a name, the latter with a suffix). */
function isCode(error: unknown, primary: number, name: string): boolean {
  if (typeof error !== "object" || error === null) return false;
  if ("errcode" in error && typeof error.errcode === "number") return (error.errcode & 0xff) === primary;
  const code = codeOf(error);
  return typeof code === "string" && (code === name || code.startsWith(`${name}_`));
}

type Parameter = string | number | null;

interface Write {
  readonly statement: string;
  readonly parameters: readonly Parameter[];
  resolve(rows: readonly Row[]): void;
  reject(error: unknown): void;
}

/** An engine on a connection that nothing else uses: one statement at a time, writes of the same moment in one commit. */
export function groupedEngine(run: SqliteDriver["query"], close: () => Promise<void>): SqliteDriver {
  const turns = new Mutex();
  const commits = new GroupCommit(turns, run);
  return {
    query: (statement, ...parameters) =>
      /^(INSERT|UPDATE|DELETE)\b/.test(statement)
        ? commits.write(statement, ...parameters)
        : turns.runExclusive(() => run(statement, ...parameters)),
    close: () => turns.runExclusive(close),
  };
}

/**
 * Writes that wait for the same lock are committed together: they take it once, and the disk is waited for once. Each
 * is answered when all are committed. When one of them fails the commit is rolled back, and each is run separately.
 */
class GroupCommit {
  readonly #turns: Mutex;
  readonly #run: SqliteDriver["query"];
  #waiting: Write[] = [];

  /** `run` is called within a turn only, never twice at once. */
  constructor(turns: Mutex, run: SqliteDriver["query"]) {
    this.#turns = turns;
    this.#run = run;
  }

  write(statement: string, ...parameters: readonly Parameter[]): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statement, parameters, resolve, reject });
      if (this.#waiting.length === 1) void this.#turns.runExclusive(() => this.#commit()).catch(reject);
    });
  }

  async #commit(): Promise<void> {
    const writes = this.#waiting;
    this.#waiting = [];
    if (writes.length === 1 || !(await this.#isSettled(writes))) {
      for (const write of writes)
        await this.#run(write.statement, ...write.parameters).then(write.resolve, write.reject);
    }
  }

  async #isSettled(writes: readonly Write[]): Promise<boolean> {
    try {
      await this.#run("BEGIN IMMEDIATE");
    } catch (error) {
      for (const { reject } of writes) reject(error);
      return true; // all of them are settled
    }
    try {
      const answers: (readonly Row[])[] = [];
      for (const { statement, parameters } of writes) answers.push(await this.#run(statement, ...parameters));
      await this.#run("COMMIT");
      for (const [index, { resolve }] of writes.entries()) resolve(answers[index] ?? []);
      return true;
    } catch {
      await this.#run("ROLLBACK").catch(() => undefined); // SQLite may have done so itself
      return false;
    }
  }
}
