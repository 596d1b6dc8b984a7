/**
 * The current state of a session. If several apply, it is the first of leased, disabled, dead, restricted, foreign, cooling,
 * free.
 */
export type SessionState = "free" | "leased" | "cooling" | "restricted" | "dead" | "disabled" | "foreign";

/** A frozen snapshot of one session. Never holds the session string. */
export interface SessionInfo {
  readonly id: string;
  readonly state: SessionState;
  readonly tags: readonly string[];
  /** When a cooling session can serve again, epoch milliseconds; `null` in every other state. */
  readonly availableAt: number | null;
  /** Why it is cooling, restricted, dead or disabled; `null` otherwise. */
  readonly reason: string | null;
  /** When it was added, epoch milliseconds. */
  readonly addedAt: number;
  /** When its last lease ended, epoch milliseconds; `null` if it was never leased. */
  readonly lastUsedAt: number | null;
  /** The user id of its account, in decimal; `null` until it is known, and again after `update` with another auth key. */
  readonly accountId: string | null;
  /** Whether the account is a bot; `null` if that is not known. */
  readonly isBot: boolean | null;
  /** When Telegram terminates the session if it stays unused, epoch milliseconds; `null` if that is not known. */
  readonly expiresAt: number | null;
}

/** Result of a check of a session. Unknown values are `null`. */
export interface SessionHealth {
  readonly id: string;
  /** Whether Telegram has just returned the account. Also `false` if the request was not sent; see `reason`. */
  readonly isAlive: boolean;
  /** The account's user id. */
  readonly accountId: string | null;
  readonly isBot: boolean | null;
  readonly isPremium: boolean | null;
  /** Whether Telegram has frozen the account, which then reads and changes nothing. `false` only by a complete answer. */
  readonly isFrozen: boolean | null;
  /** When a freeze ends, epoch milliseconds: without an appeal by then, Telegram deletes the account. */
  readonly frozenUntil: number | null;
  /** Telegram's reason for restricting the account; since when it is frozen and where to appeal. `null` for neither. */
  readonly restriction: string | null;
  /** When Telegram terminates the session if it stays unused, epoch milliseconds. Bots have no such instant. */
  readonly expiresAt: number | null;
  /** The account's data center, by its number. */
  readonly dcId: number;
  /** Why the session is not alive or could not be checked; `null` if it is alive. */
  readonly reason: string | null;
}

/** Counts of the pool. The seven counts add up to `total`. */
export interface PoolStatus {
  readonly total: number;
  readonly free: number;
  readonly leased: number;
  readonly cooling: number;
  readonly restricted: number;
  readonly dead: number;
  readonly disabled: number;
  readonly foreign: number;
  /** Callers waiting for a session. */
  readonly waiters: number;
  /** Epoch milliseconds: now if a session is free, otherwise the earliest known instant; `null` if none is known. */
  readonly nextAvailableAt: number | null;
}
