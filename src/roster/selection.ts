import { type Criteria, isAny, isMatch, rankOf } from "./criteria.js";
import type { RestedQueue } from "./rested-queue.js";
import type { RosterEntry } from "./roster-entry.js";

/** Who is next: of the sessions that can serve and match, the longest rested; with a key, the highest ranked. */
export class Selection {
  readonly #entries: ReadonlyMap<string, RosterEntry>;
  readonly #rested: RestedQueue;
  readonly #hasRoom: () => boolean;

  /** `hasRoom` tells whether one more session may be leased. */
  constructor(entries: ReadonlyMap<string, RosterEntry>, rested: RestedQueue, hasRoom: () => boolean) {
    this.#entries = entries;
    this.#rested = rested;
    this.#hasRoom = hasRoom;
  }

  pick(criteria: Criteria, now: number): RosterEntry | undefined {
    if (this.#rested.size === 0) return undefined;
    if (criteria.id !== undefined) {
      const entry = this.#entries.get(criteria.id);
      return entry !== undefined && this.#rested.has(entry) && this.#isUsable(entry, criteria, now) ? entry : undefined;
    }
    if (criteria.key !== undefined) return this.#pickSticky(criteria.key, criteria, now);
    const first = this.#rested.peek();
    if (first !== undefined && (isAny(criteria) ? this.#canLease(first) : this.#isUsable(first, criteria, now))) {
      return first;
    }
    return this.#rested.find((entry) => this.#isUsable(entry, criteria, now));
  }

  /** The highest ranked of those that serve or are leased; nobody while that one is leased. */
  #pickSticky(key: string, criteria: Criteria, now: number): RosterEntry | undefined {
    let best: RosterEntry | undefined;
    let bestRank = -1;
    for (const entry of this.#entries.values()) {
      if (!isMatch(entry, criteria) || !this.#isCandidate(entry, criteria, now)) continue;
      const rank = rankOf(key, entry.id);
      if (rank <= bestRank) continue;
      best = entry;
      bestRank = rank;
    }
    return best !== undefined && this.#rested.has(best) && this.#canLease(best) ? best : undefined;
  }

  #isCandidate(entry: RosterEntry, { methods, peers }: Criteria, now: number): boolean {
    const isThere = this.#rested.has(entry) || (entry.isLeased && entry.isWorthWaiting && entry.restsUntil <= now);
    return isThere && entry.cooldowns.holds(methods, peers, now) === undefined;
  }

  #isUsable(entry: RosterEntry, criteria: Criteria, now: number): boolean {
    return (
      this.#canLease(entry) &&
      isMatch(entry, criteria) &&
      entry.cooldowns.holds(criteria.methods, criteria.peers, now) === undefined
    );
  }

  #canLease(entry: RosterEntry): boolean {
    return entry.isLeased || this.#hasRoom();
  }
}
