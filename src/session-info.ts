/** What a session is right now. What is several at once counts as the first of leased, disabled, dead, restricted, foreign, cooling, free. */
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
  /** When it was last given back, epoch milliseconds; `null` before that. */
  readonly lastUsedAt: number | null;
}

/** What a check has found out about a session. What is not known is `null`. */
export interface SessionHealth {
  readonly id: string;
  /** Whether Telegram has just answered for the account. `false` also when it was not asked: see `reason`. */
  readonly isAlive: boolean;
  /** The account's user id. */
  readonly accountId: string | null;
  readonly isBot: boolean | null;
  readonly isPremium: boolean | null;
  /** Whether Telegram has frozen the account: `true` when it said so in answer to a request, else `null`. */
  readonly isFrozen: boolean | null;
  /** When a freeze ends, epoch milliseconds. Not read yet: always `null`. */
  readonly frozenUntil: number | null;
  /** Why Telegram restricts the account, in its own words; `null` when it does not say so. */
  readonly restriction: string | null;
  /** When Telegram ends a session that nobody uses, epoch milliseconds. Not read yet: always `null`. */
  readonly expiresAt: number | null;
  /** The account's data center, by its number. */
  readonly dcId: number;
  /** Why it is not alive, or could not be asked; `null` when it is alive. */
  readonly reason: string | null;
}

/** The pool in numbers. The seven counts sum up to `total`. */
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
  /** Now when one is free, else the earliest known instant (epoch milliseconds), else `null`. */
  readonly nextAvailableAt: number | null;
}
