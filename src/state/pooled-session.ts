import type { Connection } from "../connections/connection.js";
import type { Credentials } from "../encryption/credentials.js";
import { SessionEntry } from "./session-entry.js";

/** One session of the pool: its entry in the session table, its credentials and its connection. */
export class PooledSession extends SessionEntry {
  /** Number of connects that have failed in this process so far. A field: every request for a lease reads it. */
  static connectFailures = 0;

  /** The connection that is open or being opened, whatever its state. */
  connection: Connection<unknown> | undefined = undefined;
  credentials: Credentials;
  fingerprint: string;
  /** Removed while it was connected: its record is deleted once its client has disconnected. */
  isRemoved = false;
  /** The latest failed connect; `undefined` once one has succeeded. */
  connectFailure: ConnectFailure | undefined = undefined;
  /** Changes by this process that are not written yet, each with its number. */
  pendingChanges: ReadonlyMap<LocalChange, number> = NO_CHANGES;

  constructor({ id, tags, addedAt, credentials, fingerprint }: NewSession) {
    super(id, tags, addedAt);
    this.credentials = credentials;
    this.fingerprint = fingerprint;
  }
}

/** A failed connect. */
export interface ConnectFailure {
  /** The value of {@link PooledSession.connectFailures} including this failure. */
  readonly order: number;
  /** The error for callers that no other session can serve. */
  readonly error: Error;
}

/** Records that the session could not connect and backs off. */
export function recordConnectFailure(session: PooledSession, error: Error): void {
  PooledSession.connectFailures++;
  session.connectFailure = { order: PooledSession.connectFailures, error };
}

/** The latest failed connect of the session, if it is later than `order` and the session still backs off. */
export function connectFailureSince(session: PooledSession | undefined, order: number): ConnectFailure | undefined {
  const failure = session?.connectFailure;
  return failure !== undefined && failure.order > order && session?.backOff.reason !== null ? failure : undefined;
}

/** Arguments for creating a {@link PooledSession}. */
export interface NewSession {
  readonly id: string;
  readonly tags: readonly string[];
  readonly addedAt: number;
  readonly credentials: Credentials;
  readonly fingerprint: string;
}

/**
 * A change that takes precedence over another process's record until it is written: a change by the user (`"disabled"`;
 * `"revived"` ends death, disabling and restriction; `"resurrected"` ends death alone), or an answer of Telegram
 * (`"verdict"`; `"answered"` ends death and restriction; `"facts"` are the account, and when the session expires).
 */
export type LocalChange =
  | "tags"
  | "credentials"
  | "disabled"
  | "revived"
  | "resurrected"
  | "verdict"
  | "answered"
  | "facts";

/** Shared by all sessions without unwritten changes. */
const NO_CHANGES: ReadonlyMap<LocalChange, number> = new Map();

let changeCount = 0;

/** Records changes that are to be written. MUST be called before the record is. */
export function markDirty(session: PooledSession, ...changes: readonly LocalChange[]): void {
  changeCount++;
  session.pendingChanges = new Map([
    ...session.pendingChanges,
    ...changes.map((change) => [change, changeCount] as const),
  ]);
}

/** Records that changes have been written; those made again in the meantime stay pending. */
export function markClean(session: PooledSession, written: ReadonlyMap<LocalChange, number>): void {
  if (written.size === 0) return;
  const left = [...session.pendingChanges].filter(([change, count]) => written.get(change) !== count);
  session.pendingChanges = left.length === 0 ? NO_CHANGES : new Map(left);
}
