import { AcquireRequest } from "../acquire/acquire-request.js";
import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { Nesting } from "../acquire/nesting.js";
import type { SessionAcquirer } from "../acquire/session-acquirer.js";
import type { AbortListeners } from "../common/abort-listeners.js";
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
import type { Lease } from "../lease/lease.js";
import type { ActiveLease, LeaseManager } from "../lease/lease-manager.js";
import { trace, USE_CHANNEL, type UseTrace } from "../observability/tracing.js";
import type { RetryPolicy, UseOptions } from "../options/options.js";
import type { PoolContext } from "../pool-context.js";
import { addScope, type CooldownScope } from "../state/cooldowns.js";
import type { Criteria } from "../state/criteria.js";
import { affectsSession, classifyTelegramError } from "../telegram/verdicts.js";

type Work<Client, T> = (client: Client, lease: Lease<Client>) => T | Promise<T>;

/** Work and how it is run. MUST be run once only. */
export interface Job<Client, T> {
  readonly work: Work<Client, T>;
  readonly request: AcquireRequest;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
  /** Ends an attempt that runs, while the signal of the request prevents the next one. */
  readonly attemptSignal: AbortSignal | undefined;
  /** Whether no other session can continue the job. */
  isBound?(): boolean;
  readonly effectWatch?: WriteObserver | undefined;
}

/** The job of `pool.use`. `options` MUST be valid. */
export function createJob<Client, T>(work: Work<Client, T>, options: UseOptions): Job<Client, T> {
  const { retry = "safe", timeoutMs = Number.POSITIVE_INFINITY, maxAttempts, signal } = options;
  return {
    work,
    request: new AcquireRequest(options, timeoutMs, maxAttempts),
    retry,
    timeoutMs,
    attemptSignal: signal,
  };
}

/** `isCut`: ended by the timeout of the attempt or by the caller's signal. */
type Outcome<T> =
  | { readonly isDone: true; readonly value: T }
  | { readonly isDone: false; readonly error: unknown; readonly isCut: boolean };

/** `isExcluded`: the job does not try the session again. */
type Failure =
  | { readonly isFinal: true; readonly error: unknown }
  | { readonly isFinal: false; readonly error: Error; readonly isExcluded: boolean };

/** The timeout of one attempt and the caller's signal. */
interface AttemptLimit {
  isReached: boolean;
  /** The error of the attempt once the limit is reached. May be any value, as it can be the reason of a signal. */
  error: unknown;
  cancel(): void;
}

/** What running jobs is built on. */
export interface JobRunnerParts<Client> {
  readonly leases: LeaseManager<Client>;
  readonly scheduler: LeaseScheduler;
  readonly acquirer: SessionAcquirer<Client>;
  readonly abortListeners: AbortListeners;
  readonly nesting: Nesting;
}

/** Runs a job on one session after another until it is done, as far as its `retry` policy allows. */
export class JobRunner<Client> {
  readonly #context: PoolContext;
  readonly #leases: LeaseManager<Client>;
  readonly #scheduler: LeaseScheduler;
  readonly #acquirer: SessionAcquirer<Client>;
  readonly #abortListeners: AbortListeners;
  readonly #nesting: Nesting;

  constructor(context: PoolContext, parts: JobRunnerParts<Client>) {
    this.#context = context;
    this.#leases = parts.leases;
    this.#scheduler = parts.scheduler;
    this.#acquirer = parts.acquirer;
    this.#abortListeners = parts.abortListeners;
    this.#nesting = parts.nesting;
  }

  /** Resolves with the result of the work, or rejects with the error that no other session can help with. */
  run<T>(job: Job<Client, T>): Promise<T> {
    if (!USE_CHANNEL.hasSubscribers) return this.#run(job);
    const message: UseTrace = { attempts: 0 };
    return trace(USE_CHANNEL, message, () => this.#run(job, message));
  }

  async #run<T>(job: Job<Client, T>, message?: UseTrace): Promise<T> {
    const { request } = job;
    const { metrics } = this.#context;
    /** Attempts before the current one, failed connects included: each was followed by another. */
    let rotations = 0;
    let isPending = false;
    let isCut = false;
    let progress: Progress | undefined;
    try {
      for (;;) {
        const attempt = this.#createAttempt(job);
        request.tracker = attempt;
        request.attemptConnectMs = 0;
        const active = await this.#acquirer.acquire(request);
        if (isPending) this.#leases.endPending();
        isPending = false;
        if (metrics.recorder !== undefined) metrics.recorder.rotations += request.attempts - rotations;
        rotations = request.attempts;
        active.attempt = ++request.attempts;
        if (message !== undefined) Object.assign(message, { attempts: request.attempts, sessionId: active.sessionId });
        const outcome = await this.#runAttempt(job, active, attempt);
        if (outcome.isDone) return outcome.value;
        isPending = true;
        isCut = outcome.isCut;
        if (attempt.hasNoEffects) job.effectWatch?.onNoEffect();
        const failure = this.#judge(job, outcome.error, attempt, active.sessionId);
        if (failure.isFinal) throw failure.error;
        progress ??= new Progress();
        progress.assertMade(active.sessionId, attempt.grantedCount, request.attempts, failure.error);
        this.#prepareNext(request, attempt, active.sessionId, failure);
      }
    } finally {
      if (message !== undefined) message.attempts = request.attempts;
      if (isPending) this.#leases.endPending();
      // A timeout and a signal end the job at once; writes to the storage have a timeout of their own.
      if (!isCut && !request.signal?.aborted && !this.#acquirer.isDurable(request))
        await this.#acquirer.untilDurable(request);
    }
  }

  #createAttempt<T>({ request, retry, isBound, effectWatch }: Job<Client, T>): Attempt {
    return new Attempt({
      hasAlternative: (attempt, scope) => {
        const mayRetry = retry !== "none" && request.attempts < request.maxAttempts && isBound?.() !== true;
        return mayRetry && this.#scheduler.canReserve(withoutRefused(request.criteria, attempt, scope));
      },
      wouldWait: (waitMs) => retry !== "none" && waitMs <= request.waitMs,
      effectWatch,
    });
  }

  /** Runs the work once and releases the lease. A failed attempt leaves the job pending in the lease manager. */
  async #runAttempt<T>(job: Job<Client, T>, active: ActiveLease<Client>, attempt: Attempt): Promise<Outcome<T>> {
    const isLimited = job.timeoutMs !== Number.POSITIVE_INFINITY || job.attemptSignal !== undefined;
    const limit = isLimited ? this.#limit(job, active) : undefined;
    try {
      const value = await this.#runWork(job.work, active);
      active.returnedIterator = isAsyncIterable(value);
      return { isDone: true, value };
    } catch (error) {
      this.#leases.beginPending();
      // Whether the unanswered requests took effect decides whether the work can run on another session.
      if (job.retry === "safe" && !attempt.hasNoEffects && attempt.hadRefusal) await untilIdleOrEnded(active);
      return { isDone: false, error: limit?.isReached ? limit.error : error, isCut: limit?.isReached === true };
    } finally {
      limit?.cancel();
      this.#leases.end(active);
    }
  }

  /** The result of the work, or a rejection as soon as its lease is revoked. */
  #runWork<T>(work: Work<Client, T>, active: ActiveLease<Client>): Promise<T> {
    return new Promise((resolve, reject) => {
      const rejectIfRevoked = (): void => {
        if (active.revoked !== undefined) reject(active.revoked);
      };
      rejectIfRevoked();
      active.onEnd(rejectIfRevoked);
      const { lease } = active;
      const result = this.#nesting.run(active, () => work(lease.client, lease));
      Promise.resolve(result).then(resolve, reject);
    });
  }

  /** Revokes the lease at the timeout of the attempt, or when the caller's signal aborts. */
  #limit<T>(job: Job<Client, T>, active: ActiveLease<Client>): AttemptLimit {
    const { timeoutMs, attemptSignal: signal, request } = job;
    const leftMs = timeoutMs - request.attemptConnectMs;
    const end = (error: unknown, reason: string): void => {
      limit.isReached = true;
      limit.error = error;
      this.#leases.end(active, { cause: toError(error), reason, discardsClient: false });
    };
    const timer = Number.isFinite(leftMs)
      ? this.#context.options.clock.setTimer(Math.max(leftMs, 0), () =>
          end(attemptTimeoutError(active.sessionId, timeoutMs), "an attempt took longer than timeoutMs"),
        )
      : undefined;
    const stopListening =
      signal && this.#abortListeners.onAbort(signal, () => end(signal.reason, "the caller's signal aborted"));
    const cancel = (): void => {
      timer?.cancel();
      stopListening?.();
    };
    const limit: AttemptLimit = { isReached: false, error: undefined, cancel };
    return limit;
  }

  /** Decides whether a job whose attempt failed may run on another session. */
  #judge<T>(job: Job<Client, T>, error: unknown, attempt: Attempt, id: string): Failure {
    const { retry, request } = job;
    const final = { isFinal: true, error } as const;
    if (retry === "none") return final;
    const verdict = classifyTelegramError(error);
    const isRefusal = attempt.hadRefusal && affectsSession(verdict);
    if (!isRefusal && !isFaultOfSession(error, id)) {
      const isUnknown = verdict.kind === "retry" && !attempt.hasNoEffects && attempt.isTelegramError(error);
      return isUnknown ? { isFinal: true, error: outcomeUnknownError(id, error) } : final;
    }
    if (retry === "safe" && !attempt.hasNoEffects) return { isFinal: true, error: rotationUnsafeError(id, error) };
    if (request.attempts >= request.maxAttempts) return final;
    // Only a cooldown is known to end: after any other refusal the job does not try the session again.
    return { isFinal: false, error: toError(error), isExcluded: verdict.kind !== "cooldown" };
  }

  #prepareNext(request: AcquireRequest, attempt: Attempt, id: string, failure: Failure & { isFinal: false }): void {
    if (failure.isExcluded) this.#acquirer.exclude(request, id, failure.error);
    request.cause = failure.error;
    request.narrow(withoutRefused(request.criteria, attempt));
  }
}

/** Maximum number of attempts on a session tried before that get no further than the attempts before them. */
const MAX_FUTILE_ATTEMPTS = 10;

/** How many requests the attempts of one job have got through. */
class Progress {
  readonly #triedIds = new Set<string>();
  /** The most requests that Telegram has granted to one attempt. */
  #furthest = 0;
  #futileAttempts = 0;

  /**
   * Throws `NoProgressError` if starting again leads nowhere, because the work needs more requests than any session is
   * granted at once. An attempt that was refused at its first request counts as neither: it only waited.
   */
  assertMade(id: string, granted: number, attempts: number, error: Error): void {
    if (granted > this.#furthest) {
      this.#furthest = granted;
      this.#futileAttempts = 0;
    } else if (granted > 0 && this.#triedIds.has(id)) this.#futileAttempts++;
    this.#triedIds.add(id);
    if (this.#futileAttempts < MAX_FUTILE_ATTEMPTS) return;
    throw new NoProgressError(
      `The work was started ${attempts} times, and no attempt got further than ${this.#furthest} requests before its session was refused. Send fewer requests in one use(), or raise inlineWaitMs so that the pool waits in the middle of the work.`,
      { cause: error, sessionId: id },
    );
  }
}

/** Whether the session could not connect or did not answer a read: another session may succeed. */
function isFaultOfSession(error: unknown, id: string): boolean {
  return (error instanceof ConnectError || error instanceof CallTimeoutError) && error.sessionId === id;
}

/** The criteria without sessions that would refuse the same methods and peers as the attempt's. */
function withoutRefused(criteria: Criteria, attempt: Attempt, scope?: CooldownScope): Criteria {
  const methods = new Set([...criteria.methods, ...attempt.refusedMethods]);
  const peers = new Set([...criteria.peers, ...attempt.refusedPeers]);
  if (scope !== undefined) addScope(scope, methods, peers);
  return { ...criteria, methods: [...methods], peers: [...peers] };
}

function rotationUnsafeError(id: string, cause: unknown): RotationUnsafeError {
  return new RotationUnsafeError(
    `Session "${id}" was refused after the work had sent a write that may have taken effect, so the work is not run again on another session. Send one write per use(), or pass retry: "any" if repeating it is harmless.`,
    { cause, sessionId: id },
  );
}

function outcomeUnknownError(id: string, cause: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError(
    `Telegram failed while it handled a write of session "${id}", which may have taken effect. It is not repeated: check before you send it again.`,
    "unknown",
    { cause, sessionId: id },
  );
}

/** Whether the value requests its items later, after the lease of the work has ended. */
function isAsyncIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

/** Resolves when no request of the lease is unanswered, or when the lease has ended. */
function untilIdleOrEnded(scope: LeaseScope): Promise<void> {
  if (scope.hasEnded) return Promise.resolve();
  return new Promise((resolve) => {
    scope.onIdle(resolve);
    scope.onEnd(() => resolve());
  });
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
