import { type AttemptTracker, NOOP_TRACKER } from "../connections/attempt.js";
import type { Criteria } from "../state/criteria.js";
import { PooledSession } from "../state/pooled-session.js";

/** What a caller asks for. */
export interface AcquireRequestInit {
  readonly criteria: Criteria;
  readonly waitMs: number;
  readonly priority: number;
  readonly signal: AbortSignal | undefined;
  readonly attemptTimeoutMs: number;
  readonly maxAttempts: number;
}

const NO_FAILURES: ReadonlyMap<string, Error> = new Map();

/** One caller's wish, and what has become of it so far. */
export class AcquireRequest {
  criteria: Criteria;
  /** Milliseconds that it may still wait in all; `Infinity`: as long as it can help. */
  waitMs: number;
  /** What of it the caller gave: for messages. */
  readonly givenWaitMs: number;
  readonly priority: number;
  readonly signal: AbortSignal | undefined;
  /** Milliseconds that one attempt may take, connecting included; `Infinity`: what `connectTimeoutMs` allows. */
  readonly attemptTimeoutMs: number;
  /** Connects that fail count as well. */
  readonly maxAttempts: number;
  attempts = 0;
  /** Connects that fail from now on count for this caller. */
  readonly began: number = PooledSession.connectFailures;
  /** Milliseconds spent on connecting, by this attempt and in all. */
  connectingMs = 0;
  allConnectingMs = 0;
  /** Why the caller waits for no connect any more: its time has passed, or its signal has aborted. */
  ending: unknown = undefined;
  /** An attempt has failed, and the next one has no lease yet: a pool that closes waits for it. */
  isBetween = false;
  /** What the requests are held against of the lease that is wanted. */
  tracker: AttemptTracker = NOOP_TRACKER;
  /** When the session was found that it has now. */
  reservedAt = 0;
  /** Who asked; only with `traceLeases`. */
  stack: string | undefined = undefined;
  #firstTried: string | undefined = undefined;
  #othersTried: Set<string> | undefined = undefined;
  /** Why another session is wanted. */
  cause: unknown = undefined;
  #failures: Map<string, Error> | undefined;
  #lastingFailures: Map<string, Error> | undefined;

  constructor({ criteria, waitMs, priority, signal, attemptTimeoutMs, maxAttempts }: AcquireRequestInit) {
    this.criteria = criteria;
    this.waitMs = waitMs;
    this.givenWaitMs = waitMs;
    this.priority = priority;
    this.signal = signal;
    this.attemptTimeoutMs = attemptTimeoutMs;
    this.maxAttempts = maxAttempts;
  }

  /** Sessions that failed this caller already, and how. */
  get failures(): ReadonlyMap<string, Error> {
    return this.#failures ?? NO_FAILURES;
  }

  /** `isPassing`: the session rests for it, and may be tried again by this caller after that. */
  recordFailure(id: string, error: Error, isPassing: boolean): void {
    this.#failures ??= new Map();
    this.#failures.set(id, error);
    if (isPassing) return;
    this.#lastingFailures ??= new Map();
    this.#lastingFailures.set(id, error);
  }

  /** Those among them that are not to be tried again by this caller. */
  get lastingFailures(): ReadonlyMap<string, Error> {
    return this.#lastingFailures ?? NO_FAILURES;
  }

  /** The error, with the reason why another session was wanted. */
  withCause(error: Error): Error {
    if (this.cause !== undefined && error.cause === undefined) error.cause = this.cause;
    return error;
  }

  /** Takes note of time that went into a connect. */
  spend(ms: number): void {
    this.connectingMs += ms;
    this.allConnectingMs += ms;
    this.waitMs = Math.max(this.waitMs - ms, 0);
  }

  /** Whether a session was found for it before: closing the pool does not stop it at once. */
  get isUnderWay(): boolean {
    return this.#firstTried !== undefined;
  }

  /** Every session that was tried for this caller: for most it is one. */
  get triedIds(): readonly string[] {
    return this.#firstTried === undefined ? [] : [this.#firstTried, ...(this.#othersTried ?? [])];
  }

  markTried(id: string): void {
    this.#firstTried ??= id;
    if (id === this.#firstTried) return;
    this.#othersTried ??= new Set();
    this.#othersTried.add(id);
  }
}
