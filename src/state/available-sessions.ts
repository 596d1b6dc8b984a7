import type { AccountIndex } from "./accounts.js";
import { ANY, type Criteria, candidatesOf, isCooling, matches, stickyRanks } from "./criteria.js";
import type { FrozenSessions } from "./frozen-sessions.js";
import type { SelectionOrder } from "./selection-order.js";
import type { SessionEntry } from "./session-entry.js";
import { SessionIndexes } from "./session-indexes.js";
import type { SessionQueue } from "./session-queue.js";

/** Searches that visit at most this many entries are cheaper than an index. */
const SCAN_LIMIT = 8;

/** Adding an entry to a queue costs as much as visiting this number of entries. */
const NAMED_COST = 4;

/** Added to the rank of a session whose account is in use: it then comes after all sessions of other accounts. */
const ACCOUNT_IN_USE = 2 ** 40;

const isAny = (): boolean => true;

/** The available sessions, and the selection of the next one: by the pool's order, or by rank for a sticky key. */
export class AvailableSessions {
  /** Number of available sessions. */
  size = 0;
  readonly #entries: ReadonlyMap<string, SessionEntry>;
  readonly #accounts: AccountIndex;
  readonly #order: SelectionOrder;
  readonly #queue: SessionQueue;
  readonly #frozen: FrozenSessions;
  /** Created by the first search that visits many entries. */
  #indexes: SessionIndexes | undefined;

  /** `entries` and `accounts` hold all sessions, the available ones and the others. */
  constructor(
    entries: ReadonlyMap<string, SessionEntry>,
    accounts: AccountIndex,
    order: SelectionOrder,
    frozen: FrozenSessions,
  ) {
    this.#entries = entries;
    this.#accounts = accounts;
    this.#order = order;
    this.#queue = order.createQueue();
    this.#frozen = frozen;
  }

  add(entry: SessionEntry, now: number): void {
    if (entry.isAvailable) return;
    entry.isAvailable = true;
    this.size++;
    const rank = this.#order.rank?.(entry) ?? (entry.isAccountInUse ? ACCOUNT_IN_USE : 0) + entry.lastUsedSequence;
    // A user's strategy may have called the pool, although it must not.
    if (!entry.isAvailable) return;
    this.#queue.add(entry, rank);
    this.#indexes?.add(entry, rank, now);
  }

  remove(entry: SessionEntry): void {
    if (!entry.isAvailable) return;
    entry.isAvailable = false;
    this.size--;
    this.#queue.remove(entry);
    this.#indexes?.remove(entry);
  }

  /** Updates the indexes when a method or peer cooldown of the entry has started or ended. */
  onScopedCooldownChanged(entry: SessionEntry, now: number): void {
    if (this.#indexes === undefined || !entry.isAvailable) return;
    this.#indexes.remove(entry);
    this.#indexes.add(entry, this.#queue.rankOf(entry), now);
  }

  /**
   * The session to lease next, if there is one.
   *
   * @param isFull whether only sessions that are already leased may be selected
   */
  select(criteria: Criteria, now: number, isFull: boolean): SessionEntry | undefined {
    if (criteria === ANY && !isFull) return this.#queue.find(isAny);
    const available = this.#selectAvailable(criteria, now, isFull);
    return this.#mayBeFrozen(criteria) ? this.#frozen.choose(criteria, now, isFull, available) : available;
  }

  /** Whether {@link select} would find a session. Has no side effect, as a random draw would have. */
  canSelect(criteria: Criteria, now: number, isFull: boolean): boolean {
    if (!this.#mayBeFrozen(criteria)) return this.#canSelectAvailable(criteria, now, isFull);
    // For a key, the available sessions alone do not decide.
    const isAvailable = criteria.key === undefined && this.#canSelectAvailable(criteria, now, isFull);
    return isAvailable || this.#frozen.choose(criteria, now, isFull, undefined) !== undefined;
  }

  #mayBeFrozen({ allowFrozen }: Criteria): boolean {
    return this.#frozen.size > 0 && allowFrozen === true;
  }

  #selectAvailable(criteria: Criteria, now: number, isFull: boolean): SessionEntry | undefined {
    if (criteria.id !== undefined) return this.#selectById(criteria.id, criteria, now, isFull);
    if (criteria.key !== undefined) return this.#selectByKey(criteria.key, criteria, now, isFull);
    return this.#search(criteria, now, isFull, (queue, isMatch) => queue.find(isMatch));
  }

  #canSelectAvailable(criteria: Criteria, now: number, isFull: boolean): boolean {
    if (criteria.id !== undefined || criteria.key !== undefined) {
      return this.#selectAvailable(criteria, now, isFull) !== undefined;
    }
    return this.#search(criteria, now, isFull, (queue, isMatch) => queue.some(isMatch));
  }

  #selectById(id: string, criteria: Criteria, now: number, isFull: boolean): SessionEntry | undefined {
    const entry = this.#entries.get(id);
    return entry?.isAvailable && isUsable(entry, criteria, now, isFull) ? entry : undefined;
  }

  /** The highest-ranked session that is available or leased; none while that one is leased. */
  #selectByKey(key: string, criteria: Criteria, now: number, isFull: boolean): SessionEntry | undefined {
    const rankOf = stickyRanks(key);
    const best = this.#highestRanked(rankOf, criteria, now);
    if (best === undefined || (isFull && !best.isLeased)) return undefined;
    const bestRank = rankOf(best.id);
    for (const entry of candidatesOf(this.#entries, this.#accounts, criteria)) {
      // The rank first: few sessions rank higher than the best of those that are available.
      if (entry.isAvailable || rankOf(entry.id) <= bestRank) continue;
      if (matches(entry, criteria) && isOnlyLeased(entry, criteria, now)) return undefined;
    }
    return best;
  }

  #highestRanked(rankOf: (id: string) => number, criteria: Criteria, now: number): SessionEntry | undefined {
    let best: SessionEntry | undefined;
    let bestRank = -1;
    this.#queueFor(criteria).forEach((entry) => {
      const rank = rankOf(entry.id);
      if (rank <= bestRank || !matches(entry, criteria) || isCooling(entry, criteria, now)) return;
      best = entry;
      bestRank = rank;
    });
    return best;
  }

  #search<Result>(
    criteria: Criteria,
    now: number,
    isFull: boolean,
    search: (queue: SessionQueue, isMatch: (entry: SessionEntry) => boolean) => Result,
  ): Result {
    const queue = this.#queueFor(criteria);
    let visited = 0;
    const result = search(queue, (entry) => {
      visited++;
      return isUsable(entry, criteria, now, isFull);
    });
    if (visited > SCAN_LIMIT) {
      this.#indexes ??= new SessionIndexes(() => this.#order.createIndexQueue());
      this.#indexes.recordSearch(criteria, visited, this.#queue, now);
    }
    return result;
  }

  /** The smallest queue at hand that contains every session the criteria match. */
  #queueFor(criteria: Criteria): SessionQueue {
    const queue = this.#indexes?.smallestFor(criteria) ?? this.#queue;
    const { account, knows } = criteria;
    const isNamed = account !== undefined || (knows !== undefined && knows.ids.size * NAMED_COST <= queue.size);
    if (!isNamed) return queue;
    const named = this.#order.createIndexQueue();
    for (const entry of candidatesOf(this.#entries, this.#accounts, criteria)) {
      if (entry.isAvailable) named.add(entry, this.#queue.rankOf(entry));
    }
    return named;
  }
}

function isUsable(entry: SessionEntry, criteria: Criteria, now: number, isFull: boolean): boolean {
  return (!isFull || entry.isLeased) && matches(entry, criteria) && !isCooling(entry, criteria, now);
}

/** Whether nothing but its leases makes the session unavailable to the caller: a sticky key then waits for it. */
function isOnlyLeased(entry: SessionEntry, criteria: Criteria, now: number): boolean {
  return entry.isLeased && entry.canEverServe && entry.unavailableUntil <= now && !isCooling(entry, criteria, now);
}
