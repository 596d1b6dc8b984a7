import type { PoolContext } from "../pool-context.js";
import type { SessionTable } from "../state/session-table.js";
import type { ProcessIdentity } from "./process-identity.js";

/** The right to a session while its claim lasts. */
export interface ClaimHandle {
  /**
   * Until when the session may be used, on the pool's time line. Moves later with every renewal. Once the claim has ended it
   * is `-Infinity` for good: a new claim gets a new handle.
   */
  readonly usableUntil: number;
}

/** The process that holds a session. */
export interface SessionHolder {
  readonly pid: number;
  /** Whether it runs on this host. */
  readonly isLocal: boolean;
}

/** The claim to store in a record. */
export interface ClaimDraft {
  readonly claim: Claim | null;
  /** Called when the record with the claim is on disk. */
  landed(): void;
}

/** Decides which sessions this pool may connect. One pool owns a session while its client is connected. */
export interface Ownership {
  /** Whether the session is claimed by this pool and may be used now. */
  isHeld(id: string): boolean;
  /** Whether time may have passed that the monotonic clock has not counted: the session has to be claimed again before use. */
  needsRevalidation(id: string): boolean;
  /** Whether another pool holds the session. */
  isForeign(id: string): boolean;
  /** The process of the pool that holds the session, where another one does and its record says who. */
  holderOf(id: string): SessionHolder | undefined;
  /**
   * Claims the session. Resolves with `undefined` if another pool has it. Rejects with `StorageError` if the claim
   * could not be stored, or there is no record of the session.
   */
  claim(id: string): Promise<ClaimHandle | undefined>;
  /** Releases the session; its client MUST be closed. Resolves when that is on disk or has timed out. */
  release(id: string): Promise<void>;
  /** Drops ownership of a session whose record was deleted. */
  forget(id: string): void;
  /** The claim to store in the record that is about to be written. */
  draft(id: string): ClaimDraft;
  /** Updates ownership from the claim in a record that was just read. */
  onRecordRead(id: string, claim: Claim | null): void;
  /** Releases every claim; other pools may ignore this one from now on. */
  end(): void;
}

/** A pool's claim on a session, as stored in its record. */
export interface Claim extends ProcessIdentity {
  /** Random id of the pool. */
  readonly pool: string;
  /** Increases with every write of the pool; a claim whose beat stops is no longer being renewed. */
  readonly beat: number;
  /** Lifetime of the claim without renewal, in milliseconds. */
  readonly ttlMs: number;
}

/**
 * Tolerated clock drift between hosts: a holder stops a quarter of the ttl before its claim ends, and another host
 * waits a quarter longer, each by its own clock.
 */
const CLOCK_MARGIN = 1 / 4;

/** How long the holder may use the session, counted from the start of the write of its claim. */
export function usableMs(ttlMs: number): number {
  return ttlMs * (1 - CLOCK_MARGIN);
}

/** How long another host must see the claim unrenewed before it takes over the session. */
export function takeoverAfterMs({ ttlMs }: Pick<Claim, "ttlMs">): number {
  return ttlMs * (1 + CLOCK_MARGIN);
}

/** Whether a record's field holds a claim. */
export function isClaim(value: unknown): value is Claim {
  if (typeof value !== "object" || value === null) return false;
  const { pool, beat, ttlMs, host, pid, thread, startedAt } = value as Partial<Record<keyof Claim, unknown>>;
  return (
    typeof pool === "string" &&
    pool !== "" &&
    [beat, pid, thread].every(isCount) &&
    Number.isFinite(ttlMs) &&
    Number(ttlMs) > 0 &&
    (host === null || typeof host === "string") &&
    typeof startedAt === "string"
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** Records whether another pool holds the session, and informs the parts that wait for it. */
export function setForeign(
  { time, events }: PoolContext,
  sessionTable: SessionTable,
  id: string,
  isForeign: boolean,
): void {
  const entry = sessionTable.get(id);
  if (entry === undefined || entry.isForeign === isForeign) return;
  sessionTable.setForeign(entry, isForeign, time.now());
  events.emit("availabilityChanged");
  if (!isForeign) events.emit("changed", id);
}
