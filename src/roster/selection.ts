import { type Criteria, isAny, isMatch, ranksOf } from "./criteria.js";
import type { ReadySessions } from "./ready-sessions.js";
import type { RosterEntry } from "./roster-entry.js";

/** Who is next: of the sessions that can serve and match, the first by the pool's order; with a key, the highest ranked. */
export class Selection {
  readonly #entries: ReadonlyMap<string, RosterEntry>;
  readonly #ready: ReadySessions;
  readonly #hasRoom: () => boolean;
  readonly #isShared: boolean;
  readonly #canLease = (entry: RosterEntry): boolean => entry.isLeased || this.#hasRoom();

  /** `hasRoom` tells whether one more session may be leased; `isShared`, whether one that is leased may be. */
  constructor(
    entries: ReadonlyMap<string, RosterEntry>,
    ready: ReadySessions,
    hasRoom: () => boolean,
    isShared: boolean,
  ) {
    this.#entries = entries;
    this.#ready = ready;
    this.#hasRoom = hasRoom;
    this.#isShared = isShared;
  }

  pick(criteria: Criteria, now: number): RosterEntry | undefined {
    if (this.#isExhausted) return undefined;
    if (criteria.id !== undefined) return this.#pickNamed(criteria.id, criteria, now);
    if (criteria.key !== undefined) return this.#pickSticky(criteria.key, criteria, now);
    if (isAny(criteria)) return this.#ready.first(this.#canLease);
    return this.#ready.find(criteria, (entry) => this.#isUsable(entry, criteria, now), now);
  }

  /** Whether {@link pick} would find one. Leaves no trace, as drawing by chance would. */
  canServe(criteria: Criteria, now: number): boolean {
    if (criteria.id !== undefined || criteria.key !== undefined) return this.pick(criteria, now) !== undefined;
    if (this.#isExhausted) return false;
    return this.#ready.some(criteria, (entry) => this.#isUsable(entry, criteria, now), now);
  }

  /** Nobody at all can be served: most often known without a look at any session. */
  get #isExhausted(): boolean {
    return this.#ready.size === 0 || (!this.#isShared && !this.#hasRoom());
  }

  #pickNamed(id: string, criteria: Criteria, now: number): RosterEntry | undefined {
    const entry = this.#entries.get(id);
    return entry?.isReady && this.#isUsable(entry, criteria, now) ? entry : undefined;
  }

  /** The highest ranked of those that serve or are leased; nobody while that one is leased. */
  #pickSticky(key: string, criteria: Criteria, now: number): RosterEntry | undefined {
    let best: RosterEntry | undefined;
    let bestRank = -1;
    const rankOf = ranksOf(key);
    for (const entry of this.#entries.values()) {
      const rank = rankOf(entry.id);
      // Few are better than all before them: the rank first, then the rest.
      if (rank <= bestRank || !isMatch(entry, criteria) || !this.#isCandidate(entry, criteria, now)) continue;
      best = entry;
      bestRank = rank;
    }
    return best?.isReady && this.#canLease(best) ? best : undefined;
  }

  #isCandidate(entry: RosterEntry, { methods, peers }: Criteria, now: number): boolean {
    const isThere = entry.isReady || (entry.isLeased && entry.isWorthWaiting && entry.restsUntil <= now);
    return isThere && entry.cooldowns.holds(methods, peers, now) === undefined;
  }

  #isUsable(entry: RosterEntry, criteria: Criteria, now: number): boolean {
    return (
      this.#canLease(entry) &&
      isMatch(entry, criteria) &&
      entry.cooldowns.holds(criteria.methods, criteria.peers, now) === undefined
    );
  }
}
