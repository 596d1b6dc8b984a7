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
    const best = this.#highestReady(key, criteria, now);
    if (best === undefined || !this.#canLease(best)) return undefined;
    const rankOf = ranksOf(key);
    const bestRank = rankOf(best.id);
    for (const entry of this.#entries.values()) {
      // Few are better than one that was drawn: the rank first, then the rest. Mostly the first that is ends the search.
      if (entry.isReady || rankOf(entry.id) <= bestRank) continue;
      if (isMatch(entry, criteria) && isAwaited(entry, criteria, now)) return undefined;
    }
    return best;
  }

  #highestReady(key: string, criteria: Criteria, now: number): RosterEntry | undefined {
    let best: RosterEntry | undefined;
    let bestRank = -1;
    const rankOf = ranksOf(key);
    this.#ready.forEach((entry) => {
      const rank = rankOf(entry.id);
      if (rank <= bestRank || !isMatch(entry, criteria) || isHeld(entry, criteria, now)) return;
      best = entry;
      bestRank = rank;
    });
    return best;
  }

  #isUsable(entry: RosterEntry, criteria: Criteria, now: number): boolean {
    return this.#canLease(entry) && isMatch(entry, criteria) && !isHeld(entry, criteria, now);
  }
}

function isHeld(entry: RosterEntry, { methods, peers }: Criteria, now: number): boolean {
  return entry.cooldowns.holds(methods, peers, now) !== undefined;
}

/** Whether a key waits for it: it is leased, and nothing else keeps it from serving. */
function isAwaited(entry: RosterEntry, criteria: Criteria, now: number): boolean {
  return entry.isLeased && entry.isWorthWaiting && entry.restsUntil <= now && !isHeld(entry, criteria, now);
}
