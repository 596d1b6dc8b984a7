import { LinkedList, type ListNode } from "../common/linked-list.js";
import type { Criteria } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";

/** A caller in the queue. */
export interface Waiter extends ListNode<Waiter> {
  readonly criteria: Criteria;
  /** Of its criteria: see `groupOf`. */
  readonly group: string | undefined;
  readonly priority: number;
  /** On the pool's time line; `Infinity` for one that waits as long as it can help. */
  readonly deadline: number;
  /** Connects that fail after that count for it: see `PooledSession.connectFailures`. */
  readonly began: number;
  /** The session is its own from `now` on. */
  serve(entry: PooledSession, now: number): void;
  fail(error: Error): void;
  /** Rejects with what every session that could serve it has failed with, if so. Whether it did. */
  failIfUnreachable(): boolean;
}

/** The queue: higher priority first, strictly; equal ones in order of arrival. Knows no time and no sessions. */
export class WaitQueue {
  /** Bound: the priorities of the callers that wait. */
  readonly #queuesByPriority = new Map<number, LinkedList<Waiter>>();
  /** Highest first. */
  readonly #priorities: number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(waiter: Waiter): void {
    const line = this.#queuesByPriority.get(waiter.priority) ?? this.#open(waiter.priority);
    line.add(waiter);
    this.#size++;
  }

  /** Whether it was still in. */
  remove(waiter: Waiter): boolean {
    const line = this.#queuesByPriority.get(waiter.priority);
    if (line === undefined || !waiter.isLinked) return false;
    line.remove(waiter);
    this.#size--;
    if (line.size === 0) this.#close(waiter.priority);
    return true;
  }

  /** Who is to be served first. */
  get first(): Waiter | undefined {
    const [highest] = this.#priorities;
    return highest === undefined ? undefined : this.#queuesByPriority.get(highest)?.first;
  }

  /** In the order in which they are to be served. Any may be removed meanwhile. */
  *inOrder(): Generator<Waiter> {
    for (const priority of this.#priorities.slice()) yield* this.#queuesByPriority.get(priority) ?? [];
  }

  #open(priority: number): LinkedList<Waiter> {
    const line = new LinkedList<Waiter>();
    this.#queuesByPriority.set(priority, line);
    this.#priorities.splice(this.#placeOf(priority), 0, priority);
    return line;
  }

  #close(priority: number): void {
    this.#queuesByPriority.delete(priority);
    this.#priorities.splice(this.#placeOf(priority), 1);
  }

  /** Where a priority stands, or belongs: there may be as many as callers. */
  #placeOf(priority: number): number {
    let low = 0;
    let high = this.#priorities.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#priorities[middle] ?? priority) > priority) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
