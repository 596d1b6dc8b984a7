import type { SessionInfo } from "../session-info.js";

/**
 * A selection order of your own: it ranks the sessions, and the pool selects the available one of the lowest rank. As the
 * pool does the selecting, no rank can cause a session to be leased that is cooling or leased already.
 *
 * Both methods are called in the middle of a change: they must be quick and must not call the pool.
 *
 * @example
 * ```ts
 * const lastLeased = new Map<string, number>();
 * const selection: SelectionStrategy = {
 *   rank: ({ id }) => lastLeased.get(id) ?? 0,
 *   leased: ({ id }) => lastLeased.set(id, Date.now()),
 * };
 * ```
 */
export interface SelectionStrategy {
  /**
   * Returns the rank of a session. The available session of the lowest rank is selected next; among equals, the least
   * recently used. Called whenever the session becomes available: after it was added, released, recovered, enabled or
   * given other tags. A session for which this returns `NaN` or throws comes last.
   */
  rank(session: SessionInfo): number;
  /** Called when the session has been leased: by its rank, its id or a key. */
  leased(session: SessionInfo): void;
}

/** Selects a random available session, with equal probabilities. */
export interface RandomSelection {
  /** A seed, for a reproducible selection, or a function that returns numbers from 0 to 1 as `Math.random` does. */
  readonly random: number | (() => number);
}

/** Selects sessions in proportion to their weights. */
export interface WeightedSelection {
  /**
   * Returns the weight of a session. Weight 2 is selected twice as often as weight 1, evenly spread. Called when
   * {@link SelectionStrategy.rank} would be. A session without a finite weight above 0 is selected only if no other is
   * available.
   */
  readonly weight: (session: SessionInfo) => number;
}

/** The option `selection`. */
export type SessionSelection = "spread" | "warm" | "random" | RandomSelection | WeightedSelection | SelectionStrategy;
