import type { Criteria } from "../roster/criteria.js";
import type { KnownSession } from "./sessions/known-session.js";

/** A caller in the queue. */
export interface Waiter {
  readonly criteria: Criteria;
  readonly priority: number;
  /** On the pool's time line; `Infinity` for one that waits as long as it can help. */
  readonly deadline: number;
  serve(entry: KnownSession): void;
  fail(error: Error): void;
}

/** The queue: higher priority first, strictly; equal ones in order of arrival. Knows no time and no sessions. */
export class Waiters {
  readonly #lines = new Map<number, Set<Waiter>>();
  /** Highest first. */
  #priorities: readonly number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(waiter: Waiter): void {
    const line = this.#lines.get(waiter.priority) ?? this.#open(waiter.priority);
    line.add(waiter);
    this.#size++;
  }

  /** Whether it was still in. */
  remove(waiter: Waiter): boolean {
    const line = this.#lines.get(waiter.priority);
    if (line === undefined || !line.delete(waiter)) return false;
    this.#size--;
    if (line.size === 0) this.#close(waiter.priority);
    return true;
  }

  /** Who is to be served first. */
  get first(): Waiter | undefined {
    const [highest] = this.#priorities;
    if (highest === undefined) return undefined;
    for (const waiter of this.#lines.get(highest) ?? []) return waiter;
    return undefined;
  }

  /** In the order in which they are to be served. Safe against removal of the one at hand. */
  *inOrder(): Generator<Waiter> {
    for (const priority of this.#priorities) yield* this.#lines.get(priority) ?? [];
  }

  #open(priority: number): Set<Waiter> {
    const line = new Set<Waiter>();
    this.#lines.set(priority, line);
    this.#priorities = [...this.#priorities, priority].sort((a, b) => b - a);
    return line;
  }

  #close(priority: number): void {
    this.#lines.delete(priority);
    this.#priorities = this.#priorities.filter((open) => open !== priority);
  }
}
