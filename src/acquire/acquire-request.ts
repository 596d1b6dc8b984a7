import { type AttemptTracker, NOOP_TRACKER } from "../connections/attempt.js";
import { CallTimeoutError, ConnectError, NoSessionAvailableError, StorageError } from "../errors.js";
import type { AcquireOptions } from "../options/options.js";
import { ANY, type Criteria } from "../state/criteria.js";
import { PooledSession } from "../state/pooled-session.js";
import { type PeerReference, parsePeerReference } from "../telegram/peers.js";
import { canonicalMethod } from "../telegram/requests.js";
import type { PeerLook } from "./peer-look.js";

const NO_FAILURES: ReadonlyMap<string, Error> = new Map();

/** A caller's request for a lease, and the attempts that were made to fulfill it. */
export class AcquireRequest {
  /** The sessions that can serve the caller. A job narrows them after each attempt: see {@link narrow}. */
  criteria: Criteria;
  /** The criteria without the sessions that have failed for this caller. */
  candidates: Criteria;
  /** Milliseconds left of {@link givenWaitMs}; `Infinity` to wait as long as a session can become available. */
  waitMs: number;
  /** The option `wait` in milliseconds. */
  readonly givenWaitMs: number;
  /** The peer that the session has to know. */
  readonly knows: PeerReference | undefined;
  /** Whether a session that does not know it may serve when none that does can. */
  readonly mayResolve: boolean;
  /** The sessions that know the peer, while no other may serve. */
  holders: PeerLook | undefined = undefined;
  readonly priority: number;
  readonly signal: AbortSignal | undefined;
  /** Timeout for one attempt, connecting included; `Infinity` for none but `connectTimeoutMs`. */
  readonly attemptTimeoutMs: number;
  /** Maximum number of attempts, failed connects included. */
  readonly maxAttempts: number;
  attempts = 0;
  /** Value of `PooledSession.connectFailures` at the start: later failures count for this caller. */
  readonly initialConnectFailures: number = PooledSession.connectFailures;
  /** Milliseconds that the current attempt has spent on connecting. */
  attemptConnectMs = 0;
  /** Milliseconds that all attempts have spent on connecting. */
  totalConnectMs = 0;
  /** The error of a caller that stopped waiting for a connect, at its deadline or by its signal. */
  abandonedWith: unknown = undefined;
  /** Observes the requests of the lease. */
  tracker: AttemptTracker = NOOP_TRACKER;
  /** When the caller, or the current attempt of its job, asked for a lease; on the pool's time line. */
  requestedAt = 0;
  /** When the current session was reserved, on the pool's time line. */
  reservedAt = 0;
  /** Stack of the caller, with `traceLeases`. */
  stack: string | undefined = undefined;
  /** The error that made the caller look for another session. */
  cause: unknown = undefined;
  /** Sessions that have failed for this caller, each with its latest error. */
  failures: ReadonlyMap<string, Error> = NO_FAILURES;
  /** Whether the lease is for reads only. */
  readonly isReadOnly: boolean;
  /** Whether a session has been tried: then a pool that closes does not reject the request at once. */
  isUnderWay = false;
  #firstTriedId = "";
  #otherTriedIds: Set<string> | undefined = undefined;
  #failures: Map<string, Error> | undefined = undefined;
  /** Those among them that this caller does not try again. */
  #permanentFailures: Map<string, Error> | undefined = undefined;

  /** `options` MUST be valid. */
  constructor(
    options: AcquireOptions,
    attemptTimeoutMs: number = Number.POSITIVE_INFINITY,
    maxAttempts: number = Number.POSITIVE_INFINITY,
  ) {
    this.criteria = criteriaOf(options);
    this.candidates = this.criteria;
    this.isReadOnly = options.allowFrozen === true;
    const { wait = true } = options;
    // `false` is 0 milliseconds.
    this.givenWaitMs = wait === true ? Number.POSITIVE_INFINITY : Number(wait);
    this.waitMs = this.givenWaitMs;
    this.knows = options.knows === undefined ? undefined : parsePeerReference(options.knows);
    this.mayResolve = options.resolve === true;
    this.priority = options.priority ?? 0;
    this.signal = options.signal;
    this.attemptTimeoutMs = attemptTimeoutMs;
    this.maxAttempts = maxAttempts;
  }

  /** Every session that was tried: for most requests there is one. */
  get triedIds(): readonly string[] {
    return this.isUnderWay ? [this.#firstTriedId, ...(this.#otherTriedIds ?? [])] : [];
  }

  markTried(id: string): void {
    if (!this.isUnderWay) {
      this.isUnderWay = true;
      this.#firstTriedId = id;
    } else if (id !== this.#firstTriedId) {
      this.#otherTriedIds ??= new Set();
      this.#otherTriedIds.add(id);
    }
  }

  /** Replaces the criteria for the next attempt. */
  narrow(criteria: Criteria): void {
    this.criteria = criteria;
    this.candidates = excluding(criteria, this.failures);
  }

  /** Lets only the sessions serve that know a peer; `undefined` lets all others serve as well. */
  restrict(holders: PeerLook | undefined): void {
    this.holders = holders;
    this.narrow({ ...this.criteria, knows: holders });
  }

  /** Whether a session that does not know the peer may serve, after none that does could. */
  mayResolveAfter(error: unknown): boolean {
    if (!this.mayResolve || error === this.abandonedWith || this.attempts >= this.maxAttempts) return false;
    if (error instanceof NoSessionAvailableError || error instanceof StorageError) return true;
    const isUnreachable = error instanceof ConnectError || error instanceof CallTimeoutError;
    return isUnreachable && this.criteria.id === undefined;
  }

  /** Records that a session failed for this caller. `isTransient`: the caller may try it again once it is available. */
  recordFailure(id: string, error: Error, isTransient: boolean): void {
    this.#failures ??= new Map();
    this.#failures.set(id, error);
    this.failures = this.#failures;
    this.candidates = excluding(this.criteria, this.failures);
    if (isTransient) return;
    this.#permanentFailures ??= new Map();
    this.#permanentFailures.set(id, error);
  }

  /** The criteria of a caller that waits: it also gets sessions whose failure was transient. */
  get waitCriteria(): Criteria {
    return excluding(this.criteria, this.#permanentFailures ?? NO_FAILURES);
  }

  /** Records the duration of a connect, which counts as waiting. */
  recordConnectTime(ms: number): void {
    this.attemptConnectMs += ms;
    this.totalConnectMs += ms;
    this.recordWait(ms);
  }

  /** Records the duration of anything that counts as waiting. */
  recordWait(ms: number): void {
    this.waitMs = Math.max(this.waitMs - ms, 0);
  }

  /** The error, with the reason why another session was needed as its `cause`. */
  withCause(error: Error): Error {
    if (this.cause !== undefined && error.cause === undefined) error.cause = this.cause;
    return error;
  }
}

function criteriaOf({ id, key, tags, account, method, peer, allowFrozen = false }: AcquireOptions): Criteria {
  const isScoped = method !== undefined || peer !== undefined;
  if (id === undefined && key === undefined && tags === undefined && account === undefined && !isScoped)
    return allowFrozen ? { ...ANY, allowFrozen } : ANY;
  return {
    id,
    key,
    tags: tags ?? [],
    account,
    methods: method === undefined ? [] : [canonicalMethod(method)],
    peers: peer === undefined ? [] : [peer],
    allowFrozen,
  };
}

function excluding(criteria: Criteria, excluded: ReadonlyMap<string, Error>): Criteria {
  return excluded.size === 0 ? criteria : { ...criteria, excluded };
}
