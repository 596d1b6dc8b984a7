import { setTimeout as pause } from "node:timers/promises";
import { codeOf } from "../to-storage-error.js";

/** One row, by column name. */
export type Row = Readonly<Record<string, unknown>>;

/** The little of SQLite this adapter needs, over whichever driver there is. */
export interface SqliteDriver {
  /** Runs one statement to its end, by itself a transaction, and resolves its rows. */
  query(statement: string, ...parameters: readonly (string | number | null)[]): Promise<readonly Row[]>;
  close(): Promise<void>;
}

/** How long a statement is tried again before another process's lock fails it. */
export const BUSY_RETRY_MS = 5_000;

/**
 * How long SQLite itself waits for a lock. Short: it would block the event loop with the synchronous drivers, and, since
 * it looks ever more rarely (every 100 ms in the end), starve behind processes that have just begun to wait.
 */
export const BUSY_TIMEOUT_MS = 20;

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** The database is damaged, or is no database. */
export function isCorrupt(error: unknown): boolean {
  return isCode(error, SQLITE_CORRUPT, "SQLITE_CORRUPT") || isNoDatabase(error);
}

/** The file is something else than a database. */
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
