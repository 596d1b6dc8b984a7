import type { AvailableSessions } from "./available-sessions.js";
import { type Criteria, matches, matchesAll, stickyRanks } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";

/** Who is next: of the sessions that can serve and match, the first by the pool's order; with a key, the highest ranked. */
export class SessionPicker {
  readonly #entries: ReadonlyMap<string, SessionEntry>;
  readonly #ready: AvailableSessions;
  readonly #hasRoom: () => boolean;
  readonly #isShared: boolean;
  readonly #canLease = (entry: SessionEntry): boolean => entry.isLeased || this.#hasRoom();

  /** `hasRoom` tells whether one more session may be leased; `isShared`, whether one that is leased may be. */
  constructor(
    entries: ReadonlyMap<string, SessionEntry>,
    ready: AvailableSessions,
    hasRoom: () => boolean,
    isShared: boolean,
  ) {
    this.#entries = entries;
    this.#ready = ready;
    this.#hasRoom = hasRoom;
    this.#isShared = isShared;
  }

  pick(criteria: Criteria, now: number): SessionEntry | undefined {
    if (this.#isExhausted) return undefined;
    if (criteria.id !== undefined) return this.#pickNamed(criteria.id, criteria, now);
    if (criteria.key !== undefined) return this.#pickSticky(criteria.key, criteria, now);
    if (matchesAll(criteria)) return this.#ready.first(this.#canLease);
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

  #pickNamed(id: string, criteria: Criteria, now: number): SessionEntry | undefined {
    const entry = this.#entries.get(id);
    return entry?.isAvailable && this.#isUsable(entry, criteria, now) ? entry : undefined;
  }

  /** The highest ranked of those that serve or are leased; nobody while that one is leased. */
  #pickSticky(key: string, criteria: Criteria, now: number): SessionEntry | undefined {
    const best = this.#highestReady(key, criteria, now);
    if (best === undefined || !this.#canLease(best)) return undefined;
    const rankOf = stickyRanks(key);
    const bestRank = rankOf(best.id);
    for (const entry of this.#entries.values()) {
      // Few are better than one that was drawn: the rank first, then the rest. Mostly the first that is ends the search.
      if (entry.isAvailable || rankOf(entry.id) <= bestRank) continue;
      if (matches(entry, criteria) && isAwaited(entry, criteria, now)) return undefined;
    }
    return best;
  }

  #highestReady(key: string, criteria: Criteria, now: number): SessionEntry | undefined {
    let best: SessionEntry | undefined;
    let bestRank = -1;
    const rankOf = stickyRanks(key);
    this.#ready.forEach((entry) => {
      const rank = rankOf(entry.id);
      if (rank <= bestRank || !matches(entry, criteria) || isHeld(entry, criteria, now)) return;
      best = entry;
      bestRank = rank;
    });
    return best;
  }

  #isUsable(entry: SessionEntry, criteria: Criteria, now: number): boolean {
    return this.#canLease(entry) && matches(entry, criteria) && !isHeld(entry, criteria, now);
  }
}

function isHeld(entry: SessionEntry, { methods, peers }: Criteria, now: number): boolean {
  return entry.cooldowns.blockingCooldown(methods, peers, now) !== undefined;
}

/** Whether a key waits for it: it is leased, and nothing else keeps it from serving. */
function isAwaited(entry: SessionEntry, criteria: Criteria, now: number): boolean {
  return entry.isLeased && entry.canEverServe && entry.unavailableUntil <= now && !isHeld(entry, criteria, now);
}
