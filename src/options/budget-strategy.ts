import type { SessionInfo } from "../session-info.js";

/** A request that is held against budgets. */
export interface BudgetedCall {
  readonly session: SessionInfo;
  /** In the spelling `messages.SendMessage`. */
  readonly method: string;
  /** `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`, if it names one. */
  readonly peer: string | undefined;
  /** Now, epoch milliseconds by the pool's clock. */
  readonly at: number;
}

/**
 * Budgets by a rule of a user's own: a token bucket, hours of the day, limits by tag, a quota shared by sessions. It says
 * when the next call may go; the pool does the rest, as for budgets of its own: the session is passed over for that
 * method, the wait is known in advance, the call is refused before it is sent. It only ever adds to what Telegram told.
 *
 * All methods are called in the middle of a change: they must be quick, and must not call the pool. One that throws, and
 * a wait that is no number, count as no limit; the first of these is told
 * by a process warning and to the `logger`.
 */
export interface BudgetStrategy {
  /**
   * Milliseconds before the session may make such a call, whoever the peer; 0: it may go now. Asked before a call is
   * sent, and again when it was: so that the wait is known before the next one. What was said once stands.
   */
  waitMs(call: BudgetedCall): number;
  /** The same for this method and peer alone; of calls that name a peer. @default 0 */
  peerWaitMs?(call: BudgetedCall): number;
  /** The call is put on the wire. */
  sent(call: BudgetedCall): void;
  /** Telegram refused it: how many seconds it told to wait. The pool rests the session for them in any case. */
  refused?(call: BudgetedCall, seconds: number): void;
}
