import type { Criteria } from "./criteria.js";
import { Indexes } from "./indexes.js";
import type { SelectionOrder } from "./selection-order.js";
import type { SessionEntry } from "./session-entry.js";
import type { SessionQueue } from "./session-queue.js";

/** Looking at so many in vain is cheaper than an index. */
const SCAN_LIMIT = 8;

/** The sessions that can serve, in the pool's order, and in lines of their own where many callers want few of them. */
export class AvailableSessions {
  readonly #order: SelectionOrder;
  readonly #all: SessionQueue;
  readonly #indexes: Indexes;

  constructor(order: SelectionOrder) {
    this.#order = order;
    this.#all = order.queue();
    this.#indexes = new Indexes(() => order.indexQueue());
  }

  get size(): number {
    return this.#all.size;
  }

  add(entry: SessionEntry, now: number): void {
    if (entry.isAvailable) return;
    entry.isAvailable = true;
    const rank = this.#order.rank(entry);
    // A user's rule may have called the pool, though it must not.
    if (!entry.isAvailable) return;
    this.#all.add(entry, rank);
    this.#indexes.add(entry, rank, now);
  }

  remove(entry: SessionEntry): void {
    if (!entry.isAvailable) return;
    entry.isAvailable = false;
    this.#all.remove(entry);
    this.#indexes.remove(entry);
  }

  /** A method of it rests now, or does so no longer. */
  onScopedCooldownChanged(entry: SessionEntry, now: number): void {
    if (this.#indexes.size === 0 || !entry.isAvailable) return;
    this.#indexes.remove(entry);
    this.#indexes.add(entry, this.#all.rankOf(entry), now);
  }

  /** The next that matches, whatever else a caller wants. */
  first(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined {
    return this.#all.find(matches);
  }

  /** In no particular order. */
  forEach(visit: (entry: SessionEntry) => void): void {
    this.#all.forEach(visit);
  }

  /** The next for a caller; `isUsable` has the last word. */
  find(criteria: Criteria, isUsable: (entry: SessionEntry) => boolean, now: number): SessionEntry | undefined {
    return this.#search(criteria, isUsable, now, (line, matches) => line.find(matches));
  }

  /** Whether there is any for a caller. */
  some(criteria: Criteria, isUsable: (entry: SessionEntry) => boolean, now: number): boolean {
    return this.#search(criteria, isUsable, now, (line, matches) => line.some(matches));
  }

  #search<Result>(
    criteria: Criteria,
    isUsable: (entry: SessionEntry) => boolean,
    now: number,
    search: (line: SessionQueue, matches: (entry: SessionEntry) => boolean) => Result,
  ): Result {
    const line = this.#indexes.smallestFor(criteria) ?? this.#all;
    let seen = 0;
    const result = search(line, (entry) => {
      seen++;
      return isUsable(entry);
    });
    if (seen > SCAN_LIMIT) this.#indexes.recordScanCost(criteria, seen, this.#all, now);
    return result;
  }
}
