import type { Criteria } from "./criteria.js";
import { Indexes } from "./indexes.js";
import type { Line } from "./line.js";
import type { Order } from "./order.js";
import type { RosterEntry } from "./roster-entry.js";

/** Looking at so many in vain is cheaper than an index. */
const FEW = 8;

/** The sessions that can serve, in the pool's order, and in lines of their own where many callers want few of them. */
export class ReadySessions {
  readonly #order: Order;
  readonly #all: Line;
  readonly #indexes: Indexes;

  constructor(order: Order) {
    this.#order = order;
    this.#all = order.line();
    this.#indexes = new Indexes(() => order.partialLine());
  }

  get size(): number {
    return this.#all.size;
  }

  add(entry: RosterEntry, now: number): void {
    if (entry.isReady) return;
    entry.isReady = true;
    const rank = this.#order.rank(entry);
    // A user's rule may have called the pool, though it must not.
    if (!entry.isReady) return;
    this.#all.add(entry, rank);
    this.#indexes.add(entry, rank, now);
  }

  remove(entry: RosterEntry): void {
    if (!entry.isReady) return;
    entry.isReady = false;
    this.#all.remove(entry);
    this.#indexes.remove(entry);
  }

  /** A method of it rests now, or does so no longer. */
  narrowed(entry: RosterEntry, now: number): void {
    if (this.#indexes.size === 0 || !entry.isReady) return;
    this.#indexes.remove(entry);
    this.#indexes.add(entry, this.#all.rankOf(entry), now);
  }

  /** The next that matches, whatever else a caller wants. */
  first(matches: (entry: RosterEntry) => boolean): RosterEntry | undefined {
    return this.#all.find(matches);
  }

  /** In no particular order. */
  forEach(visit: (entry: RosterEntry) => void): void {
    this.#all.forEach(visit);
  }

  /** The next for a caller; `isUsable` has the last word. */
  find(criteria: Criteria, isUsable: (entry: RosterEntry) => boolean, now: number): RosterEntry | undefined {
    return this.#search(criteria, isUsable, now, (line, matches) => line.find(matches));
  }

  /** Whether there is any for a caller. */
  some(criteria: Criteria, isUsable: (entry: RosterEntry) => boolean, now: number): boolean {
    return this.#search(criteria, isUsable, now, (line, matches) => line.some(matches));
  }

  #search<Result>(
    criteria: Criteria,
    isUsable: (entry: RosterEntry) => boolean,
    now: number,
    search: (line: Line, matches: (entry: RosterEntry) => boolean) => Result,
  ): Result {
    const line = this.#indexes.narrowest(criteria) ?? this.#all;
    let seen = 0;
    const result = search(line, (entry) => {
      seen++;
      return isUsable(entry);
    });
    if (seen > FEW) this.#indexes.wasted(criteria, seen, this.#all, now);
    return result;
  }
}
