import { type RequestTracker, UNTRACKED } from "../connections/attempt.js";
import type { Criteria } from "../roster/criteria.js";

/** What a caller asks for. */
export interface Asked {
  readonly criteria: Criteria;
  readonly waitMs: number;
  readonly priority: number;
  readonly signal: AbortSignal | undefined;
  readonly attemptMs: number;
}

const NO_FAILURES: ReadonlyMap<string, Error> = new Map();

/** One caller's wish, and what has become of it so far. */
export class Wish {
  criteria: Criteria;
  /** Milliseconds that it may still wait in all; `Infinity`: as long as it can help. */
  waitMs: number;
  /** What of it the caller gave: for messages. */
  readonly givenWaitMs: number;
  readonly priority: number;
  readonly signal: AbortSignal | undefined;
  /** Milliseconds that connecting may take; `Infinity`: what `connectTimeoutMs` allows. */
  readonly attemptMs: number;
  /** What the requests are held against of the lease that is wanted. */
  tracker: RequestTracker = UNTRACKED;
  /** When the session was found that it has now. */
  takenAt = 0;
  /** Who asked; only with `traceLeases`. */
  stack: string | undefined = undefined;
  #firstTouched: string | undefined = undefined;
  #othersTouched: Set<string> | undefined = undefined;
  /** Why another session is wanted. */
  cause: unknown = undefined;
  #failures: Map<string, Error> | undefined;

  constructor({ criteria, waitMs, priority, signal, attemptMs }: Asked) {
    this.criteria = criteria;
    this.waitMs = waitMs;
    this.givenWaitMs = waitMs;
    this.priority = priority;
    this.signal = signal;
    this.attemptMs = attemptMs;
  }

  /** Sessions that failed this caller already, and how. */
  get failures(): ReadonlyMap<string, Error> {
    return this.#failures ?? NO_FAILURES;
  }

  failed(id: string, error: Error): void {
    this.#failures ??= new Map();
    this.#failures.set(id, error);
  }

  /** The error, with the reason why another session was wanted. */
  explain(error: Error): Error {
    if (this.cause !== undefined && error.cause === undefined) error.cause = this.cause;
    return error;
  }

  /** Every session that was tried for this caller: for most it is one. */
  get touched(): readonly string[] {
    return this.#firstTouched === undefined ? [] : [this.#firstTouched, ...(this.#othersTouched ?? [])];
  }

  touch(id: string): void {
    this.#firstTouched ??= id;
    if (id === this.#firstTouched) return;
    this.#othersTouched ??= new Set();
    this.#othersTouched.add(id);
  }
}
