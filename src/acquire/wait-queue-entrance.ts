import type { Timer } from "../common/clock.js";
import type { ProcessRef } from "../common/process-ref.js";
import { acquireTimeoutError } from "../error-factories.js";
import { CallTimeoutError, ConnectError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import { type Criteria, groupOf, matches } from "../state/criteria.js";
import { type ConnectFailure, connectFailureSince, PooledSession } from "../state/pooled-session.js";
import type { SessionTable } from "../state/session-table.js";
import type { AbortListeners } from "./abort-listeners.js";
import type { AcquireRequest } from "./acquire-request.js";
import type { LeaseScheduler } from "./lease-scheduler.js";
import type { Waiter } from "./wait-queue.js";

/** What is made of a session for a wish, as soon as there is one. */
export type OnServed<Result> = (entry: PooledSession, acquireRequest: AcquireRequest) => Result | Promise<Result>;

/** Where wishes wait for a session: until they are served, out of time, given up by their caller, or in vain. */
export class WaitQueueEntrance {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #scheduler: LeaseScheduler;
  readonly #signals: AbortListeners;
  readonly #processRef: ProcessRef;

  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    scheduler: LeaseScheduler,
    signals: AbortListeners,
    processRef: ProcessRef,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#scheduler = scheduler;
    this.#signals = signals;
    this.#processRef = processRef;
  }

  /** Resolves what `serve` makes of the session, at once in the stack of whoever has given it back. */
  wait<Result>(
    acquireRequest: AcquireRequest,
    criteria: Criteria,
    deadline: number,
    serve: OnServed<Result>,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const scheduler = this.#scheduler;
      const processRef = this.#processRef;
      const waiter = new WaitQueueMember(acquireRequest, criteria, deadline, {
        serve,
        resolve,
        reject,
        processRef,
        unreachable: (request) => this.unreachable(request),
      });
      waiter.limits = this.#limit(waiter, acquireRequest);
      processRef.ref();
      scheduler.enqueue(waiter);
      // It may take one now that it was not offered before: one that has failed it, and may be tried again.
      if (acquireRequest.failures.size > 0) scheduler.serveWaiters();
      if (waiter.isLinked) this.#emitWaiting();
    });
  }

  /** What every session has failed with that could serve the caller, whoever has tried it; if all have, since it began. */
  unreachable(acquireRequest: AcquireRequest): Error | undefined {
    const { failures, began } = acquireRequest;
    if (failures.size === 0 && PooledSession.connectFailures === began) return undefined;
    const sessionTable = this.#sessionTable;
    const { time } = this.#context;
    const failureOf = (id: string) => connectFailureSince(sessionTable.get(id), began);
    const excluded = { has: (id: string) => failures.has(id) || failureOf(id) !== undefined };
    if (sessionTable.canServeBy({ ...acquireRequest.criteria, excluded }, time.now(), Number.POSITIVE_INFINITY))
      return undefined;
    const own = [...failures.values()].at(-1);
    return own === undefined ? this.#lastFailure(acquireRequest) : this.#allFailed(acquireRequest, own);
  }

  /** Of other callers' connects. */
  #lastFailure({ criteria, began }: AcquireRequest): Error | undefined {
    let last: ConnectFailure | undefined;
    for (const entry of this.#sessionTable.entries()) {
      const failure = entry.canEverServe && matches(entry, criteria) ? connectFailureSince(entry, began) : undefined;
      if (failure !== undefined && failure.order > (last?.order ?? 0)) last = failure;
    }
    return last?.error;
  }

  /** Every session that could have served has failed this caller: what the last one said. */
  #allFailed(acquireRequest: AcquireRequest, last: Error): Error {
    if (last instanceof ConnectError || last instanceof CallTimeoutError) return last;
    const availability = this.#sessionTable.forecast(acquireRequest.criteria, this.#context.time.now());
    return this.#scheduler.unavailableError(acquireRequest.criteria, availability, last);
  }

  #emitWaiting(): void {
    const { events } = this.#context;
    if (!events.isHeard("waiting")) return;
    const { waiters, nextAvailableAt } = this.#scheduler.status();
    queueMicrotask(() => events.publish("waiting", { waiters, nextAvailableAt }));
  }

  /** What ends the wait from outside. */
  #limit<Result>(waiter: WaitQueueMember<Result>, acquireRequest: AcquireRequest): Limits | undefined {
    const { signal } = acquireRequest;
    const { deadline } = waiter;
    if (signal === undefined && deadline === Number.POSITIVE_INFINITY) return undefined;
    const { options, time } = this.#context;
    const scheduler = this.#scheduler;
    const leave = (error: () => unknown): (() => void) | undefined =>
      scheduler.dequeue(waiter) ? () => waiter.giveUp(error()) : undefined;
    const timedOut = (): unknown =>
      acquireTimeoutError(acquireRequest.givenWaitMs, scheduler.status(), acquireRequest.cause);
    return {
      stopListening: signal && this.#signals.onAbort(signal, () => leave(() => signal.reason)),
      timer: Number.isFinite(deadline)
        ? options.clock.setTimer(Math.max(deadline - time.now(), 0), () => leave(timedOut)?.())
        : undefined,
    };
  }
}

interface Limits {
  readonly stopListening: (() => void) | undefined;
  readonly timer: Timer | undefined;
}

/** What becomes of a wish in the queue. */
interface Outcome<Result> {
  readonly serve: OnServed<Result>;
  resolve(result: Result | Promise<Result>): void;
  reject(error: unknown): void;
  readonly processRef: ProcessRef;
  unreachable(acquireRequest: AcquireRequest): Error | undefined;
}

/** A wish in the queue. Not a bundle of closures: at a busy pool one waits for every lease. */
class WaitQueueMember<Result> implements Waiter {
  isLinked = false;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  readonly criteria: Criteria;
  readonly group: string | undefined;
  readonly priority: number;
  readonly deadline: number;
  limits: Limits | undefined = undefined;
  readonly #acquireRequest: AcquireRequest;
  readonly #outcome: Outcome<Result>;

  constructor(acquireRequest: AcquireRequest, criteria: Criteria, deadline: number, outcome: Outcome<Result>) {
    this.criteria = criteria;
    this.group = groupOf(criteria);
    this.priority = acquireRequest.priority;
    this.deadline = deadline;
    this.#acquireRequest = acquireRequest;
    this.#outcome = outcome;
  }

  serve(entry: PooledSession, now: number): void {
    const acquireRequest = this.#acquireRequest;
    acquireRequest.reservedAt = now;
    acquireRequest.waitMs = Math.max(this.deadline - now, 0);
    try {
      this.#outcome.resolve(this.#outcome.serve(entry, acquireRequest));
    } catch (error) {
      // A client adapter that fails is its caller's business, not that of whoever gave the session back.
      this.#outcome.reject(error);
    }
    this.#cleanup();
  }

  fail(error: Error): void {
    this.giveUp(this.#acquireRequest.withCause(error));
  }

  get began(): number {
    return this.#acquireRequest.began;
  }

  failIfUnreachable(): boolean {
    const error = this.#outcome.unreachable(this.#acquireRequest);
    if (error !== undefined) this.giveUp(error);
    return error !== undefined;
  }

  giveUp(error: unknown): void {
    this.#outcome.reject(error);
    this.#cleanup();
  }

  #cleanup(): void {
    this.limits?.stopListening?.();
    this.limits?.timer?.cancel();
    this.#outcome.processRef.unref();
  }
}
