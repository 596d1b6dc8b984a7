import type { Claim } from "./claim.js";

/** The right to a session while its claim lasts. Once it has ended it stays unusable; a new claim gets a new handle. */
export interface ClaimHandle {
  /** Whether the session may be used; `now` is the monotonic clock's. */
  isUsable(now: number): boolean;
}

/** The claim to store in a record. */
export interface ClaimDraft {
  readonly claim: Claim | null;
  /** Called when the record with the claim is on disk. */
  landed(): void;
}

/** Callbacks about ownership changes. */
export interface OwnershipEvents {
  /** Called when another pool has claimed or released the session. */
  foreign(id: string, isForeign: boolean): void;
  /** Called when this pool has lost the session; its use has to stop immediately. */
  lost(id: string): void;
}

/** Decides which sessions this pool may connect. One pool owns a session while its client is connected. */
export interface Ownership {
  /** Whether the session is claimed by this pool and may be used now. */
  isHeld(id: string): boolean;
  /** Whether time may have passed that no clock has counted: `hold` tells whether the session is still held. */
  needsRevalidation(id: string): boolean;
  /** Whether another pool holds the session. */
  isForeign(id: string): boolean;
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
