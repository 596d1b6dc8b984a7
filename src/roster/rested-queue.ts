import { IndexedHeap } from "./heap.js";
import type { Line } from "./line.js";
import { IN_ENTRIES, type RosterEntry } from "./roster-entry.js";

/**
 * The sessions that can serve, longest rested first.
 *
 * One that is given back is the latest of all, so it goes to the end of a list in O(1). Only one that comes back from
 * a cooldown may have rested longer than others; those wait in a heap beside the list, and the older head of the two
 * is next.
 */
export class RestedQueue implements Line {
  #first: RosterEntry | null = null;
  #last: RosterEntry | null = null;
  #listed = 0;
  readonly #recovered = new IndexedHeap<RosterEntry>(() => 0, IN_ENTRIES);

  get size(): number {
    return this.#listed + this.#recovered.size;
  }

  add(entry: RosterEntry): void {
    if (this.#last !== null && this.#last.usedOrder > entry.usedOrder) {
      this.#recovered.add(entry, entry.usedOrder);
      return;
    }
    entry.previous = this.#last;
    if (this.#last === null) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#listed++;
  }

  remove(entry: RosterEntry): void {
    if (!this.#isListed(entry)) {
      this.#recovered.remove(entry);
      return;
    }
    if (entry.previous === null) this.#first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === null) this.#last = entry.previous;
    else entry.next.previous = entry.previous;
    entry.previous = null;
    entry.next = null;
    this.#listed--;
  }

  rankOf(entry: RosterEntry): number {
    return entry.usedOrder;
  }

  /** The longest rested one that matches. */
  find(matches: (entry: RosterEntry) => boolean): RosterEntry | undefined {
    const recovered = this.#recovered.size === 0 ? undefined : this.#recovered.find(matches);
    const latest = recovered?.usedOrder ?? Number.POSITIVE_INFINITY;
    for (let entry = this.#first; entry !== null && entry.usedOrder < latest; entry = entry.next) {
      if (matches(entry)) return entry;
    }
    return recovered;
  }

  some(matches: (entry: RosterEntry) => boolean): boolean {
    return this.find(matches) !== undefined;
  }

  forEach(visit: (entry: RosterEntry, rank: number) => void): void {
    for (let entry = this.#first; entry !== null; entry = entry.next) visit(entry, entry.usedOrder);
    this.#recovered.forEach(visit);
  }

  #isListed(entry: RosterEntry): boolean {
    return entry.previous !== null || entry === this.#first;
  }
}
