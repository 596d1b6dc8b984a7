import type { AbortListeners } from "../acquire/abort-listeners.js";
import type { AcquireRequest } from "../acquire/acquire-request.js";
import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { Nesting } from "../acquire/nesting.js";
import type { SessionAcquirer } from "../acquire/session-acquirer.js";
import type { Clock } from "../common/clock.js";
import type { PoolTime } from "../common/pool-time.js";
import { Attempt, type WriteObserver } from "../connections/attempt.js";
import type { LeaseScope } from "../connections/lease-scope.js";
import { attemptTimeoutError } from "../error-factories.js";
import {
  CallTimeoutError,
  ConnectError,
  NoProgressError,
  OutcomeUnknownError,
  RotationUnsafeError,
} from "../errors.js";
import type { ActiveLease } from "../lease/active-lease.js";
import type { Lease } from "../lease/lease.js";
import type { LeaseManager } from "../lease/lease-manager.js";
import type { RetryPolicy } from "../options/options.js";
import type { CooldownScope } from "../state/cooldowns.js";
import type { Criteria } from "../state/criteria.js";
import { affectsSession, classifyTelegramError } from "../telegram/verdicts.js";

/** What rotation needs. */
export interface JobRunnerDeps<Client> {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly scheduler: LeaseScheduler;
  readonly acquirer: SessionAcquirer<Client>;
  readonly signals: AbortListeners;
  readonly nesting: Nesting;
  /** A pool that closes waits for a caller that is between two leases. */
  readonly leases: Pick<LeaseManager<Client>, "expect" | "expectNoMore">;
}

/** One job, and how it is to be run. */
export interface Job<Client, T> {
  readonly work: (client: Client, lease: Lease<Client>) => T | Promise<T>;
  /** For this run alone. */
  readonly acquireRequest: AcquireRequest;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  /** Ends an attempt that runs. The wish's own signal keeps the next one from starting. */
  readonly attemptSignal: AbortSignal | undefined;
  /** Whether it can go on on its session only. */
  isBound?(): boolean;
  readonly effectWatch?: WriteObserver | undefined;
}

/** How one attempt has ended. */
type Outcome<T> =
  | { readonly isDone: true; readonly value: T }
  /** `isCut`: by the attempt's deadline or the caller's signal. */
  | { readonly isDone: false; readonly error: unknown; readonly isCut: boolean };

/**
 * Runs a job on one session after the other until it is done, as long as that is harmless: see `RetryPolicy`.
 */
export class JobRunner<Client> {
  readonly #parts: JobRunnerDeps<Client>;

  constructor(parts: JobRunnerDeps<Client>) {
    this.#parts = parts;
  }

  async run<T>(job: Job<Client, T>): Promise<T> {
    const { acquirer } = this.#parts;
    const { acquireRequest } = job;
    let isCut = false;
    let restarts: Restarts | undefined;
    try {
      for (;;) {
        const attempt = this.#begin(job);
        acquireRequest.tracker = attempt;
        acquireRequest.connectingMs = 0;
        const granted = await acquirer.acquire(acquireRequest);
        this.#endBetween(acquireRequest);
        const { id } = granted.lease;
        acquireRequest.attempts++;
        const outcome = await this.#attempt(job, granted, attempt);
        if (outcome.isDone) return outcome.value;
        isCut = outcome.isCut;
        if (attempt.hasNoEffects) job.effectWatch?.onNoEffect();
        const failure = this.#decideRetry(job, outcome.error, attempt, id);
        if (failure.isFinal) throw failure.error;
        restarts ??= new Restarts();
        if (restarts.isFutile(id, attempt.grantedCount))
          throw noProgress(id, failure.error, acquireRequest.attempts, restarts.furthest);
        if (failure.isExcluded) acquirer.exclude(acquireRequest, id, failure.error);
        acquireRequest.cause = failure.error;
        acquireRequest.criteria = excludeRefused(acquireRequest.criteria, attempt);
      }
    } finally {
      this.#endBetween(acquireRequest);
      // A deadline and a signal end the job at once; the storage has its own deadline.
      if (!isCut && !acquireRequest.signal?.aborted && !acquirer.isDurable(acquireRequest))
        await acquirer.untilDurable(acquireRequest);
    }
  }

  #begin<T>(job: Job<Client, T>): Attempt {
    const { acquireRequest, retry, effectWatch } = job;
    return new Attempt({
      hasAlternative: (tried, scope) => {
        const mayMove =
          retry !== "none" && acquireRequest.attempts < acquireRequest.maxAttempts && job.isBound?.() !== true;
        return mayMove && this.#parts.scheduler.canServe(excludeRefused(acquireRequest.criteria, tried, scope));
      },
      wouldWait: (waitMs) => retry !== "none" && waitMs <= acquireRequest.waitMs,
      effectWatch,
    });
  }

  #endBetween(acquireRequest: AcquireRequest): void {
    if (!acquireRequest.isBetween) return;
    acquireRequest.isBetween = false;
    this.#parts.leases.expectNoMore();
  }

  /** Runs the work once, until it is over or its deadline or its caller's signal ends it, and gives the session back. */
  async #attempt<T>(job: Job<Client, T>, granted: ActiveLease<Client>, attempt: Attempt): Promise<Outcome<T>> {
    const { lease } = granted;
    const limits = this.#limit(job, granted);
    try {
      const value = await raceRevocation(
        granted,
        (async () => this.#parts.nesting.run(granted, () => job.work(lease.client, lease)))(),
      );
      granted.returnedIterator = isAsyncIterable(value);
      return { isDone: true, value };
    } catch (error) {
      job.acquireRequest.isBetween = true;
      this.#parts.leases.expect();
      if (job.retry === "safe" && !attempt.hasNoEffects && attempt.hadRefusal) await untilIdleOrEnded(granted);
      const isCut = limits.hasExpired();
      return { isDone: false, error: isCut ? limits.reason() : error, isCut };
    } finally {
      limits.dispose();
      lease.release();
    }
  }

  /** Takes the lease back at the attempt's deadline, or when the caller gives up. */
  #limit<T>(job: Job<Client, T>, granted: ActiveLease<Client>): AttemptDeadline {
    const { id } = granted.lease;
    const signal = job.attemptSignal;
    const leftMs = job.timeoutMs - job.acquireRequest.connectingMs;
    if (!Number.isFinite(leftMs) && signal === undefined) return NO_DEADLINE;
    let isReached = false;
    let reason: unknown;
    const end = (cause: unknown, what: string): void => {
      isReached = true;
      reason = cause;
      granted.revoke(asError(cause), what);
    };
    const timer = Number.isFinite(leftMs)
      ? this.#parts.clock.setTimer(Math.max(leftMs, 0), () =>
          end(attemptTimeoutError(id, job.timeoutMs), "an attempt took longer than timeoutMs"),
        )
      : undefined;
    const stopListening = signal && this.#parts.signals.onAbort(signal, () => end(signal.reason, "its caller gave up"));
    return {
      hasExpired: () => isReached,
      reason: () => reason,
      dispose: () => {
        timer?.cancel();
        stopListening?.();
      },
    };
  }

  /** What becomes of a job whose attempt has failed. */
  #decideRetry<T>(job: Job<Client, T>, error: unknown, attempt: Attempt, id: string): Failure {
    const final = { isFinal: true, error } as const;
    if (job.retry === "none") return final;
    const isSessionFault = isFaultOfSession(error, id);
    const verdict = classifyTelegramError(error);
    const isRefusal = attempt.hadRefusal && affectsSession(verdict);
    if (!isRefusal && !isSessionFault) {
      const isUnknown = verdict.kind === "retry" && !attempt.hasNoEffects && attempt.isTelegramError(error);
      return isUnknown ? { isFinal: true, error: outcomeUnknown(id, error) } : final;
    }
    if (job.retry === "safe" && !attempt.hasNoEffects) return { isFinal: true, error: unsafeRetryError(id, error) };
    if (job.acquireRequest.attempts >= job.acquireRequest.maxAttempts) return final;
    // Only a wait is known to end: what was refused for another reason is not tried again by this job.
    return { isFinal: false, error: asError(error), isExcluded: verdict.kind !== "cooldown" };
  }
}

type Failure =
  | { readonly isFinal: true; readonly error: unknown }
  | { readonly isFinal: false; readonly error: Error; readonly isExcluded: boolean };

/** Times that a job may come back to a session it had tried, and not get further than it did before. */
const MOST_FUTILE_RESTARTS = 10;

/** How far the attempts of one job have come. */
class Restarts {
  /** Sessions that this job has tried. */
  readonly #tried = new Set<string>();
  #furthest = 0;
  #futile = 0;

  /** The most requests that Telegram has granted to one attempt. */
  get furthest(): number {
    return this.#furthest;
  }

  /**
   * Whether beginning from the start leads nowhere: the work needs more requests than any session grants at once. What
   * was refused at its first request has lost nothing, and only waits.
   */
  isFutile(id: string, granted: number): boolean {
    if (granted > this.#furthest) {
      this.#furthest = granted;
      this.#futile = 0;
    } else if (granted > 0 && this.#tried.has(id)) this.#futile++;
    this.#tried.add(id);
    return this.#futile >= MOST_FUTILE_RESTARTS;
  }
}

/** The session could not connect, or did not answer a read: another one may do better. */
function isFaultOfSession(error: unknown, id: string): error is Error {
  return (error instanceof ConnectError || error instanceof CallTimeoutError) && error.sessionId === id;
}

function excludeRefused(criteria: Criteria, attempt: Attempt, scope?: CooldownScope): Criteria {
  const methods = new Set([...criteria.methods, ...attempt.refusedMethods]);
  const peers = new Set([...criteria.peers, ...attempt.refusedPeers]);
  if (scope?.kind === "method" || scope?.kind === "budget") methods.add(scope.method);
  if (scope?.kind === "peer") peers.add(scope.peer);
  if (scope?.kind === "budget" && scope.peer !== undefined) peers.add(scope.peer);
  return { ...criteria, methods: [...methods], peers: [...peers] };
}

function unsafeRetryError(id: string, cause: unknown): RotationUnsafeError {
  return new RotationUnsafeError(
    `Session "${id}" was refused after the work had sent a write that may have taken effect, so it is not run again on another session. Do one write per use(), or pass retry: "any" if repeating is harmless.`,
    { cause, sessionId: id },
  );
}

function noProgress(id: string, cause: unknown, attempts: number, furthest: number): NoProgressError {
  return new NoProgressError(
    `The work was begun ${attempts} times, and no attempt got further than ${furthest} requests before its session was refused. Make fewer requests in one use(), or raise inlineWaitMs so that the wait is slept out in the middle of the work.`,
    { cause, sessionId: id },
  );
}

function outcomeUnknown(id: string, cause: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError(
    `Telegram failed while it handled a write of session "${id}": it may have taken effect. It is not repeated; check before you send it again.`,
    "unknown",
    { cause, sessionId: id },
  );
}

/** What ends an attempt from outside. */
interface AttemptDeadline {
  hasExpired(): boolean;
  /** Why it was ended, if it was: whatever an abort signal carries. */
  reason(): unknown;
  dispose(): void;
}

const NO_DEADLINE: AttemptDeadline = { hasExpired: () => false, reason: () => undefined, dispose: () => {} };

/** Whether it makes its items later, with a client that it has no lease of any more. */
function isAsyncIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

/** The work's result, unless the lease is taken away under it. */
function raceRevocation<T>(scope: LeaseScope, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const rejectIfRevoked = (): void => {
      if (scope.revoked !== undefined) reject(scope.revoked);
    };
    // The synchronous part of the work has run: its signal may have been aborted in it.
    rejectIfRevoked();
    const stop = scope.onEnd(rejectIfRevoked);
    work.then(resolve, reject).finally(stop);
  });
}

/** Waits for what is still on the wire: whether it took effect decides whether the work may run elsewhere. */
function untilIdleOrEnded(scope: LeaseScope): Promise<void> {
  if (scope.hasEnded) return Promise.resolve();
  return new Promise((resolve) => {
    scope.onIdle(resolve);
    scope.onEnd(() => resolve());
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
