import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { StoredRecord } from "../storage/storage.js";
import type { Verdict } from "../telegram/verdicts.js";

/** A method, or a method and a peer, that is not to be called before an instant. */
export interface RateBlock {
  readonly method: string;
  readonly peer: string | undefined;
  readonly until: number;
}

/** Where the limits come from. Instants are on the pool's own time line. */
export interface RateLimits {
  /** What keeps a request from going now; nothing: it may go. */
  refusals(id: string, request: OutgoingRequest, now: number): readonly RateBlock[];
  /** It goes: counts it in. What rests from now on. */
  send(id: string, request: OutgoingRequest, now: number): readonly RateBlock[];
  /** It is on the wire no more. `isGranted`: Telegram has answered it, and not with an error. */
  settled?(id: string, request: OutgoingRequest, isGranted: boolean): void;
  /** Telegram has answered it with an error. */
  refused?(id: string, request: OutgoingRequest, verdict: Verdict): void;
  /** Takes in what the storage holds. */
  load?(records: readonly StoredRecord[]): void;
  /** Writes what is not written yet. Rejects as the storage does. */
  flush?(): Promise<void>;
}

export const NO_BLOCK: readonly RateBlock[] = [];
