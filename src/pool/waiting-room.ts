import type { Clock, Timer } from "../clock.js";
import { type Criteria, groupOf } from "../roster/criteria.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import { acquireTimedOut } from "./refusals.js";
import type { KnownSession } from "./sessions/known-session.js";
import type { SharedSignals } from "./shared-signals.js";
import type { TimeLine } from "./time-line.js";
import type { Waiter } from "./waiters.js";
import type { Wish } from "./wish.js";

/** What waiting needs. */
export interface WaitingRoomParts {
  readonly clock: Clock;
  readonly time: TimeLine;
  readonly dispatcher: Dispatcher;
  readonly signals: SharedSignals;
  readonly keepAlive: KeepAlive;
  /** Somebody begins to wait. */
  waiting(): void;
  /** What every session has failed with that could serve the caller, if all have. */
  unreachable(wish: Wish): Error | undefined;
}

/** What is made of a session for a wish, as soon as there is one. */
export type Serve<Result> = (entry: KnownSession, wish: Wish) => Result | Promise<Result>;

/** Where wishes wait for a session: until they are served, out of time, given up by their caller, or in vain. */
export class WaitingRoom {
  readonly #parts: WaitingRoomParts;

  constructor(parts: WaitingRoomParts) {
    this.#parts = parts;
  }

  /** Resolves what `serve` makes of the session, at once in the stack of whoever has given it back. */
  wait<Result>(wish: Wish, criteria: Criteria, deadline: number, serve: Serve<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const { dispatcher, keepAlive, unreachable } = this.#parts;
      const waiter = new QueuedWish(wish, criteria, deadline, { serve, resolve, reject, keepAlive, unreachable });
      waiter.limits = this.#limit(waiter, wish);
      keepAlive.need();
      dispatcher.enqueue(waiter);
      // It may take one now that it was not offered before: one that has failed it, and may be tried again.
      if (wish.failures.size > 0) dispatcher.changed();
      if (waiter.isLinked) this.#parts.waiting();
    });
  }

  /** What ends the wait from outside. */
  #limit<Result>(waiter: QueuedWish<Result>, wish: Wish): Limits | undefined {
    const { signal } = wish;
    const { deadline } = waiter;
    if (signal === undefined && deadline === Number.POSITIVE_INFINITY) return undefined;
    const { dispatcher, clock, time, signals } = this.#parts;
    const leave = (error: () => unknown): (() => void) | undefined =>
      dispatcher.dequeue(waiter) ? () => waiter.giveUp(error()) : undefined;
    const timedOut = (): unknown => acquireTimedOut(wish.givenWaitMs, dispatcher.status(), wish.cause);
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
  readonly serve: Serve<Result>;
  resolve(result: Result | Promise<Result>): void;
  reject(error: unknown): void;
  readonly keepAlive: KeepAlive;
  unreachable(wish: Wish): Error | undefined;
}

/** A wish in the queue. Not a bundle of closures: at a busy pool one waits for every lease. */
class QueuedWish<Result> implements Waiter {
  isLinked = false;
  previous: Waiter | null = null;
  next: Waiter | null = null;
  readonly criteria: Criteria;
  readonly group: string | undefined;
  readonly priority: number;
  readonly deadline: number;
  limits: Limits | undefined = undefined;
  readonly #wish: Wish;
  readonly #outcome: Outcome<Result>;

  constructor(wish: Wish, criteria: Criteria, deadline: number, outcome: Outcome<Result>) {
    this.criteria = criteria;
    this.group = groupOf(criteria);
    this.priority = wish.priority;
    this.deadline = deadline;
    this.#wish = wish;
    this.#outcome = outcome;
  }

  serve(entry: KnownSession, now: number): void {
    const wish = this.#wish;
    wish.takenAt = now;
    wish.waitMs = Math.max(this.deadline - now, 0);
    try {
      this.#outcome.resolve(this.#outcome.serve(entry, wish));
    } catch (error) {
      // A client adapter that fails is its caller's business, not that of whoever gave the session back.
      this.#outcome.reject(error);
    }
    this.#leave();
  }

  fail(error: Error): void {
    this.giveUp(this.#wish.explain(error));
  }

  get began(): number {
    return this.#wish.began;
  }

  failIfUnreachable(): boolean {
    const error = this.#outcome.unreachable(this.#wish);
    if (error !== undefined) this.giveUp(error);
    return error !== undefined;
  }

  giveUp(error: unknown): void {
    this.#outcome.reject(error);
    this.#leave();
  }

  #leave(): void {
    this.limits?.stopListening?.();
    this.limits?.timer?.cancel();
    this.#outcome.keepAlive.done();
  }
}
