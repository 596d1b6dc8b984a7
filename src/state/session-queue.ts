import { IndexedHeap, type Positions } from "../common/indexed-heap.js";
import { ENTRY_POSITIONS, type SessionEntry } from "./session-entry.js";

/** Sessions in the order in which they are selected. */
export interface SessionQueue {
  readonly size: number;
  /** The entry MUST NOT be in the queue. */
  add(entry: SessionEntry, rank: number): void;
  /** Has no effect on an entry that is not in the queue. */
  remove(entry: SessionEntry): void;
  /** The rank of an entry that is in the queue. */
  rankOf(entry: SessionEntry): number;
  /** The first entry that matches. */
  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined;
  /** Whether any entry matches. Has no side effect. */
  some(matches: (entry: SessionEntry) => boolean): boolean;
  /** Visits all entries in no particular order. */
  forEach(visit: (entry: SessionEntry, rank: number) => void): void;
}

/**
 * All available sessions, least recently used first.
 *
 * A released session is the most recently used one and goes to the end of a list in O(1); the entries are its nodes. A
 * session that becomes available later than its last use, as after a cooldown, goes into a heap beside the list, and so
 * does one whose rank is not its order of use. The lower head of the two is next. A heap alone makes a lease of 100,000 sessions ten times as slow here (0.04 to 0.4 µs).
 */
export class LruQueue implements SessionQueue {
  size = 0;
  #listed = 0;
  #first: SessionEntry | null = null;
  #last: SessionEntry | null = null;
  readonly #recovered = new IndexedHeap<SessionEntry>(() => 0, ENTRY_POSITIONS);

  add(entry: SessionEntry, rank: number): void {
    this.size++;
    const { lastUsedSequence } = entry;
    if (rank !== lastUsedSequence || (this.#last !== null && this.#last.lastUsedSequence > lastUsedSequence)) {
      this.#recovered.add(entry, rank);
      return;
    }
    entry.previous = this.#last;
    if (this.#last === null) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#listed++;
  }

  remove(entry: SessionEntry): void {
    const isListed = entry.previous !== null || entry === this.#first;
    if (!isListed) {
      this.#removeRecovered(entry);
      return;
    }
    this.size--;
    this.#listed--;
    if (entry.previous === null) this.#first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === null) this.#last = entry.previous;
    else entry.next.previous = entry.previous;
    entry.previous = null;
    entry.next = null;
  }

  rankOf(entry: SessionEntry): number {
    return this.#recovered.keyOf(entry) ?? entry.lastUsedSequence;
  }

  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined {
    const recovered = this.size > this.#listed ? this.#recovered.find(matches) : undefined;
    const latest = recovered === undefined ? Number.POSITIVE_INFINITY : this.rankOf(recovered);
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

  #removeRecovered(entry: SessionEntry): void {
    this.#recovered.remove(entry);
    this.size = this.#listed + this.#recovered.size;
  }
}

/** Sessions by rank, the lowest first; the least recently used first among equals. */
export class PrioritySessionQueue implements SessionQueue {
  readonly #heap: IndexedHeap<SessionEntry>;

  /** @param positions `ENTRY_POSITIONS` for the queue of all available sessions, none for further queues */
  constructor(positions?: Positions<SessionEntry>) {
    this.#heap = new IndexedHeap((a, b) => a.lastUsedSequence - b.lastUsedSequence, positions);
  }

  get size(): number {
    return this.#heap.size;
  }

  add(entry: SessionEntry, rank: number): void {
    this.#heap.update(entry, rank);
  }

  remove(entry: SessionEntry): void {
    this.#heap.remove(entry);
  }

  rankOf(entry: SessionEntry): number {
    return this.#heap.keyOf(entry) ?? Number.POSITIVE_INFINITY;
  }

  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined {
    return this.#heap.find(matches);
  }

  some(matches: (entry: SessionEntry) => boolean): boolean {
    return this.#heap.find(matches) !== undefined;
  }

  forEach(visit: (entry: SessionEntry, rank: number) => void): void {
    this.#heap.forEach(visit);
  }
}

/** Number of random draws before the matching entries are collected. */
const MAX_DRAWS = 16;

/** Sessions in random order: each draw is uniform over those that match. */
export class RandomSessionBag implements SessionQueue {
  readonly #entries: SessionEntry[] = [];
  readonly #positions = new Map<SessionEntry, number>();
  readonly #draw: (count: number) => number;

  /** @param draw returns an integer from 0 up to, but not including, `count` */
  constructor(draw: (count: number) => number) {
    this.#draw = draw;
  }

  get size(): number {
    return this.#entries.length;
  }

  add(entry: SessionEntry): void {
    this.#positions.set(entry, this.#entries.length);
    this.#entries.push(entry);
  }

  remove(entry: SessionEntry): void {
    const position = this.#positions.get(entry);
    const last = this.#entries.at(-1);
    if (position === undefined || last === undefined) return;
    this.#entries[position] = last;
    this.#positions.set(last, position);
    this.#entries.pop();
    this.#positions.delete(entry);
  }

  rankOf(): number {
    return 0;
  }

  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined {
    if (this.size === 0) return undefined;
    for (let draws = 0; draws < MAX_DRAWS; draws++) {
      const entry = this.#entries[this.#draw(this.size)] as SessionEntry;
      if (matches(entry)) return entry;
    }
    const matching = this.#entries.filter(matches);
    return matching.length === 0 ? undefined : matching[this.#draw(matching.length)];
  }

  some(matches: (entry: SessionEntry) => boolean): boolean {
    return this.#entries.some(matches);
  }

  forEach(visit: (entry: SessionEntry, rank: number) => void): void {
    for (const entry of this.#entries) visit(entry, 0);
  }
}
