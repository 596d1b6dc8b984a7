import type { OutgoingRequest } from "../../connections/client-adapter.js";
import type { StoredRecord } from "../../records/storage.js";
import type { Allowance, Spending } from "../../roster/spending.js";
import type { Verdict } from "../../telegram/verdicts.js";

/** Where the limits come from. What a session has sent is in `spending`. */
export interface Limits {
  /** What a request is held against. */
  allowances(spending: Spending, id: string, request: OutgoingRequest, now: number): readonly Allowance[];
  /** The request may go; it is not counted yet. */
  sending?(spending: Spending, id: string, request: OutgoingRequest, now: number): void;
  /** It is counted. */
  sent?(spending: Spending, id: string, request: OutgoingRequest): void;
  /** It is on the wire no more. */
  settled?(spending: Spending, id: string, request: OutgoingRequest): void;
  /** Telegram has answered it with an error. */
  refused?(spending: Spending, id: string, request: OutgoingRequest, verdict: Verdict): void;
  /** Takes in what the storage holds. */
  load?(records: readonly StoredRecord[]): void;
}
