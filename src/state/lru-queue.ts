import { IndexedHeap } from "../common/indexed-heap.js";
import { IN_ENTRIES, type SessionEntry } from "./session-entry.js";
import type { SessionQueue } from "./session-queue.js";

/**
 * The sessions that can serve, longest rested first.
 *
 * One that is given back is the latest of all, so it goes to the end of a list in O(1). Only one that comes back from
 * a cooldown may have rested longer than others; those wait in a heap beside the list, and the older head of the two
 * is next.
 */
export class LruQueue implements SessionQueue {
  #first: SessionEntry | null = null;
  #last: SessionEntry | null = null;
  #listed = 0;
  readonly #recovered = new IndexedHeap<SessionEntry>(() => 0, IN_ENTRIES);

  get size(): number {
    return this.#listed + this.#recovered.size;
  }

  add(entry: SessionEntry): void {
    if (this.#last !== null && this.#last.lastUsedSequence > entry.lastUsedSequence) {
      this.#recovered.add(entry, entry.lastUsedSequence);
      return;
    }
    entry.previous = this.#last;
    if (this.#last === null) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#listed++;
  }

  remove(entry: SessionEntry): void {
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

  rankOf(entry: SessionEntry): number {
    return entry.lastUsedSequence;
  }

  /** The longest rested one that matches. */
  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined {
    const recovered = this.#recovered.size === 0 ? undefined : this.#recovered.find(matches);
    const latest = recovered?.lastUsedSequence ?? Number.POSITIVE_INFINITY;
    for (let entry = this.#first; entry !== null && entry.lastUsedSequence < latest; entry = entry.next) {
      if (matches(entry)) return entry;
    }
    return recovered;
  }

  some(matches: (entry: SessionEntry) => boolean): boolean {
    return this.find(matches) !== undefined;
  }

  forEach(visit: (entry: SessionEntry, rank: number) => void): void {
    for (let entry = this.#first; entry !== null; entry = entry.next) visit(entry, entry.lastUsedSequence);
    this.#recovered.forEach(visit);
  }

  #isListed(entry: SessionEntry): boolean {
    return entry.previous !== null || entry === this.#first;
  }
}
