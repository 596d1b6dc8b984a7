import type { AccountIndex } from "./accounts.js";
import { type Criteria, candidatesOf, canEverServe, isCooling, matches, stickyRanks } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";

/**
 * The sessions whose accounts Telegram has frozen, for callers that only read (`allowFrozen`). They are in no queue: there are
 * few of them, and no other caller gets one.
 */
export class FrozenSessions {
  /** Number of frozen sessions, usable ones and others. A field: every lease reads it. */
  size = 0;
  readonly #entries: ReadonlyMap<string, SessionEntry>;
  readonly #accounts: AccountIndex;
  readonly #leasesPerSession: number;
  /** Whether a frozen session that was used longer ago comes before an available one, as in the order of least recent use. */
  readonly #isInOrder: boolean;
  readonly #frozen = new Set<SessionEntry>();

  /** `entries` and `accounts` hold all sessions. */
  constructor(
    entries: ReadonlyMap<string, SessionEntry>,
    accounts: AccountIndex,
    leasesPerSession: number,
    isInOrder: boolean,
  ) {
    this.#entries = entries;
    this.#accounts = accounts;
    this.#leasesPerSession = leasesPerSession;
    this.#isInOrder = isInOrder;
  }

  /** Adds or removes the entry, by its state. */
  update(entry: SessionEntry): void {
    if (entry.isFrozen) this.#frozen.add(entry);
    else this.#frozen.delete(entry);
    this.size = this.#frozen.size;
  }

  remove(entry: SessionEntry): void {
    this.#frozen.delete(entry);
    this.size = this.#frozen.size;
  }

  /**
   * The session to lease next to a caller that only reads: a frozen one or `available`, the one that any caller would get.
   * For a sticky key it is the highest-ranked of both kinds, and none while that one is leased.
   *
   * @param isFull whether only sessions that are already leased may be selected
   */
  choose(
    criteria: Criteria,
    now: number,
    isFull: boolean,
    available: SessionEntry | undefined,
  ): SessionEntry | undefined {
    if (criteria.key !== undefined) return this.#chooseByKey(criteria.key, criteria, now, isFull);
    if (available !== undefined && (!this.#isInOrder || criteria.id !== undefined)) return available;
    let best = available;
    for (const entry of this.#frozen) {
      if (best !== undefined && best.lastUsedSequence <= entry.lastUsedSequence) continue;
      if (this.#isUsable(entry, criteria, now, isFull)) best = entry;
    }
    return best;
  }

  #chooseByKey(key: string, criteria: Criteria, now: number, isFull: boolean): SessionEntry | undefined {
    const rankOf = stickyRanks(key);
    let best: SessionEntry | undefined;
    let bestRank = -1;
    for (const entry of candidatesOf(this.#entries, this.#accounts, criteria)) {
      const rank = rankOf(entry.id);
      if (rank <= bestRank || !matches(entry, criteria) || !canEverServe(entry, criteria)) continue;
      // One that is leased is waited for, whichever process owns it.
      if ((entry.isForeign && !entry.isLeased) || entry.unavailableUntil > now) continue;
      if (isCooling(entry, criteria, now)) continue;
      best = entry;
      bestRank = rank;
    }
    if (best === undefined || best.isForeign || (isFull && !best.isLeased)) return undefined;
    return best.hasRoom(this.#leasesPerSession) ? best : undefined;
  }

  #isUsable(entry: SessionEntry, criteria: Criteria, now: number, isFull: boolean): boolean {
    if (!entry.canServeReadsAt(now, this.#leasesPerSession) || (isFull && !entry.isLeased)) return false;
    return matches(entry, criteria) && !isCooling(entry, criteria, now);
  }
}
