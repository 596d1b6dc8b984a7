import type { Claim } from "./claim.js";

/** The right to a session while its claim lasts. Once it has ended it stays unusable; a new claim gets a new handle. */
export interface ClaimHandle {
  /** Whether the session may be used; `now` is the monotonic clock's. */
  isUsable(now: number): boolean;
}

/** The claim that goes into a record. */
export interface ClaimDraft {
  readonly claim: Claim | null;
  /** To be called when the record is on disk with it. */
  landed(): void;
}

/** What is told of ownership. */
export interface OwnershipEvents {
  /** Another pool holds the session, or holds it no longer. */
  foreign(id: string, isForeign: boolean): void;
  /** The session was ours and is not any more: whoever uses it has to stop now. */
  lost(id: string): void;
}

/** Which sessions this pool may connect: one pool holds a session while its client is connected. */
export interface Ownership {
  /** Whether the session is held, and may be used now. */
  isHeld(id: string): boolean;
  /** Whether time may have passed that no clock has counted: `hold` tells whether the session is still held. */
  needsRevalidation(id: string): boolean;
  /** Whether another pool holds the session. */
  isForeign(id: string): boolean;
  /**
   * Makes the session this pool's. Resolves `undefined` when another pool has it. Rejects with `StorageError` when the
   * storage did not take the claim, or has no record of the session.
   */
  claim(id: string): Promise<ClaimHandle | undefined>;
  /** Gives the session up; its client MUST be gone. Resolves when that is on disk, or is late. */
  release(id: string): Promise<void>;
  /** The record is gone: who still uses the session loses it. */
  forget(id: string): void;
  /** The claim for the record that is about to be written. */
  draft(id: string): ClaimDraft;
  /** Takes note of the claim in a record that was just read. */
  onRecordRead(id: string, claim: Claim | null): void;
  /** Holds nothing any more, and is none of those that others have to respect. */
  end(): void;
}
