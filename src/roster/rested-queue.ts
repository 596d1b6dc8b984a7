import { IndexedHeap } from "./heap.js";
import type { RosterEntry } from "./roster-entry.js";

/**
 * The sessions that can serve, longest rested first.
 *
 * One that is given back is the latest of all, so it goes to the end of a list in O(1). Only one that comes back from
 * a cooldown may have rested longer than others; those wait in a heap beside the list, and the older head of the two
 * is next.
 */
export class RestedQueue {
  #first: RosterEntry | null = null;
  #last: RosterEntry | null = null;
  #listed = 0;
  readonly #recovered = new IndexedHeap<RosterEntry>((a, b) => a.usedOrder - b.usedOrder);

  get size(): number {
    return this.#listed + this.#recovered.size;
  }

  has(entry: RosterEntry): boolean {
    return this.#isListed(entry) || this.#recovered.has(entry);
  }

  add(entry: RosterEntry): void {
    if (this.has(entry)) return;
    if (this.#last !== null && this.#last.usedOrder > entry.usedOrder) {
      this.#recovered.add(entry);
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

  /** The one that has rested longest. */
  peek(): RosterEntry | undefined {
    const recovered = this.#recovered.peek();
    if (this.#first === null) return recovered;
    return recovered !== undefined && recovered.usedOrder < this.#first.usedOrder ? recovered : this.#first;
  }

  /** The longest rested one that matches. */
  find(matches: (entry: RosterEntry) => boolean): RosterEntry | undefined {
    let best: RosterEntry | undefined;
    for (let entry = this.#first; entry !== null; entry = entry.next) {
      if (matches(entry)) {
        best = entry;
        break;
      }
    }
    for (const entry of this.#recovered.values()) {
      if ((best === undefined || entry.usedOrder < best.usedOrder) && matches(entry)) best = entry;
    }
    return best;
  }

  #isListed(entry: RosterEntry): boolean {
    return entry.previous !== null || entry === this.#first;
  }
}
