import type { Connection } from "../connections/connection.js";
import type { Credentials } from "../encryption/credentials.js";
import { SessionEntry } from "./session-entry.js";

/** One session of the pool: what the roster knows of it, and what is not the roster's business. */
export class PooledSession extends SessionEntry {
  /** The one that is open, whatever its state. */
  connection: Connection<unknown> | undefined = undefined;
  credentials: Credentials;
  fingerprint: string;
  /** It was removed while it was connected; its record goes when its client is gone. */
  isRemoved = false;
  /** The latest, until it connects. */
  connectFailure: ConnectFailure | undefined = undefined;
  /** What this process has changed and not written yet, and at which count of changes. */
  pendingChanges: ReadonlyMap<LocalChange, number> = UNCHANGED;

  constructor({ id, tags, addedAt, credentials, fingerprint }: NewSession) {
    super(id, tags, addedAt);
    this.credentials = credentials;
    this.fingerprint = fingerprint;
  }
}

/** A connect that failed, whoever wanted it. */
export interface ConnectFailure {
  /** How many connects had failed by then. */
  readonly order: number;
  /** What a caller gets who has no other session left. */
  readonly error: Error;
}

let connectFailures = 0;

/** How many connects have failed so far: what fails later counts for a caller that begins now. */
export function connectFailuresSoFar(): number {
  return connectFailures;
}

/** The session could not connect, and backs off. */
export function noteConnectFailure(known: PooledSession, error: Error): void {
  connectFailures++;
  known.connectFailure = { order: connectFailures, error };
}

/** How the session has failed to connect since then; a back-off that was lifted takes its failure along. */
export function connectFailureSince(known: PooledSession | undefined, order: number): ConnectFailure | undefined {
  const failure = known?.connectFailure;
  return failure !== undefined && failure.order > order && known?.backOff.reason !== null ? failure : undefined;
}

/** What a session begins with. */
export interface NewSession {
  readonly id: string;
  readonly tags: readonly string[];
  readonly addedAt: number;
  readonly credentials: Credentials;
  readonly fingerprint: string;
}

/**
 * What wins over another process's record until it is on disk: what a person has changed (`"disabled"`; `"revived"`, which
 * ends death, disabling and restriction; `"resurrected"`, which ends death alone), and what Telegram has just said
 * (`"verdict"`; `"answered"`, which ends death and restriction).
 */
export type LocalChange = "tags" | "credentials" | "disabled" | "revived" | "resurrected" | "verdict" | "answered";

/** Of all sessions of which nothing is to be written. */
const UNCHANGED: ReadonlyMap<LocalChange, number> = new Map();

let changes = 0;

/** Takes note of a change; to be called before the record is written. */
export function markDirty(known: PooledSession, ...parts: readonly LocalChange[]): void {
  changes++;
  known.pendingChanges = new Map([...known.pendingChanges, ...parts.map((part) => [part, changes] as const)]);
}

/** The record is on disk with these changes: what was not changed again since may be changed by others. */
export function markClean(known: PooledSession, written: ReadonlyMap<LocalChange, number>): void {
  if (written.size === 0) return;
  const left = [...known.pendingChanges].filter(([part, count]) => written.get(part) !== count);
  known.pendingChanges = left.length === 0 ? UNCHANGED : new Map(left);
}
