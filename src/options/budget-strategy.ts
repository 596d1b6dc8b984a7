import type { SessionInfo } from "../session-info.js";

/** A request to which rate limits apply. */
export interface BudgetedCall {
  readonly session: SessionInfo;
  /** The method, spelled as in `messages.SendMessage`. */
  readonly method: string;
  /** The peer that the request names: `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`; `undefined` if it names none. */
  readonly peer: string | undefined;
  /** The current time, epoch milliseconds of the pool's clock. */
  readonly at: number;
}

/**
 * Rate limits of your own: a token bucket, hours of the day, limits by tag, a quota shared by sessions. The strategy
 * returns when the next call is permitted, and the pool does the rest as for its own rate limits: it skips the session
 * for that method, knows the wait in advance, and refuses the request before it is sent. Waits by Telegram always apply
 * in addition.
 *
 * All methods are called in the middle of a change: they must be quick and must not call the pool. If a method throws, or
 * returns a wait that is not a number, no limit applies; the first such failure is reported by a process warning and to
 * the `logger`.
 */
export interface BudgetStrategy {
  /**
   * Returns the milliseconds until the session may make such a call to any peer; 0 if it may now. Called before a request
   * is sent, and again after it, so that the wait is known before the next one. A wait that was returned cannot be
   * shortened.
   */
  waitMs(call: BudgetedCall): number;
  /** The same for this method and peer only; called for requests that name a peer. @default 0 */
  peerWaitMs?(call: BudgetedCall): number;
  /** Called when the request is sent. */
  sent(call: BudgetedCall): void;
  /** Called when Telegram has refused the request with a wait, for which the session cools down in any case. */
  refused?(call: BudgetedCall, seconds: number): void;
}
