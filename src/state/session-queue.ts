import { IndexedHeap, type Positions } from "../common/indexed-heap.js";
import type { SessionEntry } from "./session-entry.js";

/** Sessions in the order in which they are to serve. */
export interface SessionQueue {
  readonly size: number;
  /** The entry must not be in. */
  add(entry: SessionEntry, rank: number): void;
  /** Without effect on one that is not in. */
  remove(entry: SessionEntry): void;
  /** The rank of one that is in. */
  rankOf(entry: SessionEntry): number;
  /** The first that matches. */
  find(matches: (entry: SessionEntry) => boolean): SessionEntry | undefined;
  /** Whether any matches. */
  some(matches: (entry: SessionEntry) => boolean): boolean;
  /** In no particular order. */
  forEach(visit: (entry: SessionEntry, rank: number) => void): void;
}

/** The lowest rank first, of equals the longest rested. */
export class PrioritySessionQueue implements SessionQueue {
  readonly #heap: IndexedHeap<SessionEntry>;

  /** `positions` is `IN_ENTRIES` for the one line of all. */
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

/** Draws before every member is looked at. */
const DRAWS = 16;

/** Whoever is drawn, each as likely. */
export class RandomSessionBag implements SessionQueue {
  readonly #entries: SessionEntry[] = [];
  /** One for each entry of the line. */
  readonly #positions = new Map<SessionEntry, number>();
  readonly #draw: (count: number) => number;

  /** `draw` gives a whole number from 0, below `count`. */
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
    for (let draws = 0; draws < DRAWS; draws++) {
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
