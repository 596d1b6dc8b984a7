import { LinkedList, type ListNode } from "../common/linked-list.js";
import { type Criteria, groupOf } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { AcquireRequest } from "./acquire-request.js";

/** Turns a session that was reserved for a request into the result that the caller waits for. */
export type ServeRequest<Result> = (entry: PooledSession, request: AcquireRequest) => Result | Promise<Result>;

/** The promise of a waiting caller. */
interface Settle<Result> {
  resolve(result: Result | Promise<Result>): void;
  reject(error: unknown): void;
}

/** A caller in the wait queue. */
export class Waiter<Result = unknown> implements ListNode<Waiter> {
  isLinked = false;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  readonly request: AcquireRequest;
  readonly criteria: Criteria;
  /** Shared by all waiters with the same criteria: see `groupOf`. */
  readonly group: string | undefined;
  readonly priority: number;
  /** Instant on the pool's time line; `Infinity` to wait as long as a session can become available. */
  readonly deadline: number;
  /** Cancels the timer and the abort listener that end the wait. */
  stopLimits: (() => void) | undefined = undefined;
  readonly #serve: ServeRequest<Result>;
  readonly #settle: Settle<Result>;

  constructor(
    request: AcquireRequest,
    criteria: Criteria,
    deadline: number,
    serve: ServeRequest<Result>,
    settle: Settle<Result>,
  ) {
    this.request = request;
    this.criteria = criteria;
    this.group = groupOf(criteria);
    this.priority = request.priority;
    this.deadline = deadline;
    this.#serve = serve;
    this.#settle = settle;
  }

  /** Identifies waiters for which the same session would be selected: a key prefers one of those that match. */
  get selectionGroup(): string | undefined {
    const { group, criteria } = this;
    return group === undefined || criteria.key === undefined ? group : `${group} ${criteria.key}`;
  }

  /** Resolves the wait with a session that was reserved at `now`. */
  serve(entry: PooledSession, now: number): void {
    this.request.reservedAt = now;
    this.request.waitMs = Math.max(this.deadline - now, 0);
    try {
      this.#settle.resolve(this.#serve(entry, this.request));
    } catch (error) {
      // A client adapter that throws must not affect the caller that has released the session.
      this.#settle.reject(error);
    }
    this.stopLimits?.();
  }

  reject(error: unknown): void {
    this.#settle.reject(error);
    this.stopLimits?.();
  }
}

/** Waiting callers: strictly by priority, highest first; those of equal priority in order of arrival. */
export class WaitQueue {
  /** Number of waiters. A field, because every release reads it; MUST be changed by the queue only. */
  size = 0;
  /** Number of waiters that only read, and so may get frozen sessions. */
  readerCount = 0;
  /** One queue for each priority that occurs. */
  readonly #queuesByPriority = new Map<number, LinkedList<Waiter>>();
  /** Highest first. */
  readonly #priorities: number[] = [];

  add(waiter: Waiter): void {
    const queue = this.#queuesByPriority.get(waiter.priority) ?? this.#createQueue(waiter.priority);
    queue.add(waiter);
    this.size++;
    if (waiter.criteria.allowFrozen === true) this.readerCount++;
  }

  /** Returns whether the waiter was still in the queue. */
  remove(waiter: Waiter): boolean {
    const queue = this.#queuesByPriority.get(waiter.priority);
    if (queue === undefined || !waiter.isLinked) return false;
    queue.remove(waiter);
    this.size--;
    if (waiter.criteria.allowFrozen === true) this.readerCount--;
    if (queue.size === 0) this.#deleteQueue(waiter.priority);
    return true;
  }

  /** The waiter that is served next. */
  get first(): Waiter | undefined {
    const [highest] = this.#priorities;
    return highest === undefined ? undefined : this.#queuesByPriority.get(highest)?.first;
  }

  /** The waiters in the order in which they are served. Safe against removal while iterating. */
  *inOrder(): Generator<Waiter> {
    for (const priority of this.#priorities.slice()) yield* this.#queuesByPriority.get(priority) ?? [];
  }

  #createQueue(priority: number): LinkedList<Waiter> {
    const queue = new LinkedList<Waiter>();
    this.#queuesByPriority.set(priority, queue);
    this.#priorities.splice(this.#indexOf(priority), 0, priority);
    return queue;
  }

  #deleteQueue(priority: number): void {
    this.#queuesByPriority.delete(priority);
    this.#priorities.splice(this.#indexOf(priority), 1);
  }

  /** Index of a priority, or where it is to be inserted. By binary search: every caller may have a priority of its own. */
  #indexOf(priority: number): number {
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
