import type { SessionInfo } from "../session-info.js";

/**
 * Who is next, as a user's own rule: it gives each session a number, the pool keeps them in order. It never hands a
 * session out itself, so that whatever it says, nobody gets one that rests or is leased.
 *
 * Both methods are called in the middle of a change: they must be quick, and must not call the pool.
 */
export interface SelectionStrategy {
  /**
   * Where the session stands among those that can serve: the lowest is next, of equals the longest rested. Asked
   * whenever the session becomes able to serve: added, given back, recovered, enabled, with new tags. With `NaN`, or
   * when this throws, it is last.
   */
  rank(session: SessionInfo): number;
  /** The session was leased: by its rank, its id or a key. */
  leased(session: SessionInfo): void;
}

/** Any session that can serve, each as likely. */
export interface RandomSelection {
  /** A seed, for the same choices each time; or where chance comes from: numbers from 0 up to 1, as of `Math.random`. */
  readonly random: number | (() => number);
}

/** Each session in proportion to its weight. */
export interface WeightedSelection {
  /**
   * A session of weight 2 serves twice as often as one of weight 1, evenly spread. Asked as `SelectionStrategy.rank`
   * is. One without a finite weight above 0 serves only when no other can.
   */
  readonly weight: (session: SessionInfo) => number;
}

/** What `selection` takes. */
export type SessionSelection = "spread" | "warm" | "random" | RandomSelection | WeightedSelection | SelectionStrategy;
