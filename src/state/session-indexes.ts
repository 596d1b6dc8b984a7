import type { Criteria } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";
import type { SessionQueue } from "./session-queue.js";

/** A queue of the available sessions that meet one condition. */
interface SessionIndex {
  readonly queue: SessionQueue;
  isMember(entry: SessionEntry, now: number): boolean;
  /** Number of updates since the index was last used. */
  unusedUpdates: number;
}

/** Every lease updates all indexes: with more of them, that would cost more than the searches they avoid. */
const MAX_INDEXES = 16;
/** Maximum number of conditions without an index for which search costs are counted. */
const MAX_TRACKED = 1_000;
/** An unused index is dropped after this many updates per session in it. */
const IDLE_FACTOR = 4;

/**
 * Indexes of the available sessions by tag, and by method not cooling, for selections that skip many sessions. An index
 * is built once searching for its condition has visited as many entries as building it will, and dropped when it is no
 * longer used.
 *
 * Selecting the 1 % of 100,000 sessions that are not cooling for a method takes 0.7 µs with an index, and almost a
 * millisecond without (`bench/session-table.ts`).
 */
export class SessionIndexes {
  readonly #createQueue: () => SessionQueue;
  readonly #indexes = new Map<string, SessionIndex>();
  /** Entries visited in searches for conditions without an index. */
  readonly #searchCosts = new Map<string, number>();

  constructor(createQueue: () => SessionQueue) {
    this.#createQueue = createQueue;
  }

  get size(): number {
    return this.#indexes.size;
  }

  /** Adds an entry that has become available. */
  add(entry: SessionEntry, rank: number, now: number): void {
    for (const [condition, index] of this.#indexes) {
      if (index.isMember(entry, now)) index.queue.add(entry, rank);
      if (++index.unusedUpdates > IDLE_FACTOR * (index.queue.size + MAX_TRACKED)) this.#indexes.delete(condition);
    }
  }

  remove(entry: SessionEntry): void {
    for (const { queue } of this.#indexes.values()) queue.remove(entry);
  }

  /** The smallest queue that contains every session the criteria match, if there is one. */
  smallestFor({ tags, methods }: Criteria): SessionQueue | undefined {
    if (this.#indexes.size === 0) return undefined;
    let smallest: SessionIndex | undefined;
    for (const condition of [...tags.map(tagCondition), ...methods.map(methodCondition)]) {
      const index = this.#indexes.get(condition);
      if (index !== undefined && (smallest === undefined || index.queue.size < smallest.queue.size)) smallest = index;
    }
    if (smallest !== undefined) smallest.unusedUpdates = 0;
    return smallest?.queue;
  }

  /** Records the number of entries that a search has visited; builds an index once it pays off. */
  recordSearch({ tags, methods }: Criteria, visited: number, all: SessionQueue, now: number): void {
    for (const tag of tags) this.#record(tagCondition(tag), visited, all, now, (entry) => entry.tags.includes(tag));
    for (const method of methods) {
      const isMember = (entry: SessionEntry, at: number): boolean => !entry.cooldowns.isMethodCooling(method, at);
      this.#record(methodCondition(method), visited, all, now, isMember);
    }
  }

  #record(
    condition: string,
    visited: number,
    all: SessionQueue,
    now: number,
    isMember: SessionIndex["isMember"],
  ): void {
    if (this.#indexes.has(condition)) return;
    const cost = (this.#searchCosts.get(condition) ?? 0) + visited;
    if (this.#searchCosts.size >= MAX_TRACKED) this.#searchCosts.clear();
    if (cost < all.size) this.#searchCosts.set(condition, cost);
    else this.#build(condition, all, now, isMember);
  }

  #build(condition: string, all: SessionQueue, now: number, isMember: SessionIndex["isMember"]): void {
    this.#searchCosts.delete(condition);
    const [oldest] = this.#indexes.keys();
    if (this.#indexes.size >= MAX_INDEXES && oldest !== undefined) this.#indexes.delete(oldest);
    const queue = this.#createQueue();
    all.forEach((entry, rank) => {
      if (isMember(entry, now)) queue.add(entry, rank);
    });
    this.#indexes.set(condition, { queue, isMember, unusedUpdates: 0 });
  }
}

function tagCondition(tag: string): string {
  return `tag ${tag}`;
}

function methodCondition(method: string): string {
  return `method ${method}`;
}
