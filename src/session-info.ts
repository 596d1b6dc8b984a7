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
