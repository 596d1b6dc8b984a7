import type { Criteria } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";
import type { SessionQueue } from "./session-queue.js";

/** A line of those sessions only that meet one condition. */
interface Index {
  readonly line: SessionQueue;
  isMember(entry: SessionEntry, now: number): boolean;
  /** Changes that it was kept in step with since it was last of use. */
  unused: number;
}

/** Kept in step at every lease: few, lest that costs more than searching. */
const MAX_INDEXES = 16;
/** Of conditions without an index. */
const MAX_TRACKED = 1_000;
/** Changes, per session in it, after which an index goes that nobody uses. */
const IDLE_FACTOR = 4;

/**
 * Lines for the conditions that callers search for in vain: sessions that carry a tag, sessions of which a method does
 * not rest. An index is made when the searching has cost as much as making it will, and goes when it is of no use.
 */
export class Indexes {
  readonly #makeLine: () => SessionQueue;
  readonly #indexes = new Map<string, Index>();
  readonly #wasted = new Map<string, number>();

  constructor(makeLine: () => SessionQueue) {
    this.#makeLine = makeLine;
  }

  get size(): number {
    return this.#indexes.size;
  }

  add(entry: SessionEntry, rank: number, now: number): void {
    if (this.#indexes.size === 0) return;
    for (const [name, index] of this.#indexes) {
      if (index.isMember(entry, now)) index.line.add(entry, rank);
      if (++index.unused > IDLE_FACTOR * (index.line.size + MAX_TRACKED)) this.#indexes.delete(name);
    }
  }

  remove(entry: SessionEntry): void {
    if (this.#indexes.size === 0) return;
    for (const { line } of this.#indexes.values()) line.remove(entry);
  }

  /** The shortest line that holds everything the caller can use, if there is one. */
  smallestFor({ tags, methods }: Criteria): SessionQueue | undefined {
    if (this.#indexes.size === 0) return undefined;
    let best: Index | undefined;
    for (const tag of tags) best = shorter(best, this.#indexes.get(nameOfTag(tag)));
    for (const method of methods) best = shorter(best, this.#indexes.get(nameOfMethod(method)));
    if (best !== undefined) best.unused = 0;
    return best?.line;
  }

  /** A search has looked at so many sessions. */
  recordScanCost({ tags, methods }: Criteria, seen: number, all: SessionQueue, now: number): void {
    for (const tag of tags) {
      this.#note(nameOfTag(tag), seen, all, now, (entry) => entry.tags.includes(tag));
    }
    for (const method of methods) {
      this.#note(nameOfMethod(method), seen, all, now, (entry, at) => !entry.cooldowns.isMethodCooling(method, at));
    }
  }

  #note(name: string, seen: number, all: SessionQueue, now: number, isMember: Index["isMember"]): void {
    if (this.#indexes.has(name)) return;
    const wasted = (this.#wasted.get(name) ?? 0) + seen;
    if (this.#wasted.size >= MAX_TRACKED) this.#wasted.clear();
    if (wasted < all.size) {
      this.#wasted.set(name, wasted);
      return;
    }
    this.#wasted.delete(name);
    const [oldest] = this.#indexes.keys();
    if (this.#indexes.size >= MAX_INDEXES && oldest !== undefined) this.#indexes.delete(oldest);
    const line = this.#makeLine();
    all.forEach((entry, rank) => {
      if (isMember(entry, now)) line.add(entry, rank);
    });
    this.#indexes.set(name, { line, isMember, unused: 0 });
  }
}

function nameOfTag(tag: string): string {
  return `tag ${tag}`;
}

function nameOfMethod(method: string): string {
  return `method ${method}`;
}

function shorter(a: Index | undefined, b: Index | undefined): Index | undefined {
  return a === undefined || (b !== undefined && b.line.size < a.line.size) ? b : a;
}
