import type { Clock, Timer } from "../common/clock.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ProcessRef } from "../common/process-ref.js";
import { acquireTimeoutError } from "../error-factories.js";
import { type Criteria, groupOf } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { AbortListeners } from "./abort-listeners.js";
import type { AcquireRequest } from "./acquire-request.js";
import type { LeaseScheduler } from "./lease-scheduler.js";
import type { Waiter } from "./wait-queue.js";

/** What waiting needs. */
export interface WaitQueueEntranceDeps {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly scheduler: LeaseScheduler;
  readonly signals: AbortListeners;
  readonly processRef: ProcessRef;
  /** Somebody begins to wait. */
  waiting(): void;
  /** What every session has failed with that could serve the caller, if all have. */
  unreachable(acquireRequest: AcquireRequest): Error | undefined;
}

/** What is made of a session for a wish, as soon as there is one. */
export type OnServed<Result> = (entry: PooledSession, acquireRequest: AcquireRequest) => Result | Promise<Result>;

/** Where wishes wait for a session: until they are served, out of time, given up by their caller, or in vain. */
export class WaitQueueEntrance {
  readonly #parts: WaitQueueEntranceDeps;

  constructor(parts: WaitQueueEntranceDeps) {
    this.#parts = parts;
  }

  /** Resolves what `serve` makes of the session, at once in the stack of whoever has given it back. */
  wait<Result>(
    acquireRequest: AcquireRequest,
    criteria: Criteria,
    deadline: number,
    serve: OnServed<Result>,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const { scheduler, processRef, unreachable } = this.#parts;
      const waiter = new WaitQueueMember(acquireRequest, criteria, deadline, {
        serve,
        resolve,
        reject,
        processRef,
        unreachable,
      });
      waiter.limits = this.#limit(waiter, acquireRequest);
      processRef.ref();
      scheduler.enqueue(waiter);
      // It may take one now that it was not offered before: one that has failed it, and may be tried again.
      if (acquireRequest.failures.size > 0) scheduler.serveWaiters();
      if (waiter.isLinked) this.#parts.waiting();
    });
  }

  /** What ends the wait from outside. */
  #limit<Result>(waiter: WaitQueueMember<Result>, acquireRequest: AcquireRequest): Limits | undefined {
    const { signal } = acquireRequest;
    const { deadline } = waiter;
    if (signal === undefined && deadline === Number.POSITIVE_INFINITY) return undefined;
    const { scheduler, clock, time, signals } = this.#parts;
    const leave = (error: () => unknown): (() => void) | undefined =>
      scheduler.dequeue(waiter) ? () => waiter.giveUp(error()) : undefined;
    const timedOut = (): unknown =>
      acquireTimeoutError(acquireRequest.givenWaitMs, scheduler.status(), acquireRequest.cause);
    return {
      stopListening: signal && signals.onAbort(signal, () => leave(() => signal.reason)),
      timer: Number.isFinite(deadline)
        ? clock.setTimer(Math.max(deadline - time.now(), 0), () => leave(timedOut)?.())
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
