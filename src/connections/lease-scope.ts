import { type AttemptTracker, NOOP_TRACKER } from "./attempt.js";

/**
 * The life of one lease as its requests see it: whether it has ended and why, and how many of its requests are still
 * unanswered.
 */
export class LeaseScope {
  readonly sessionId: string;
  readonly tracker: AttemptTracker;
  /** Number of the attempt of a job, from 1; `undefined` for a request of the pool itself. */
  attempt: number | undefined = 1;
  /** Whether only known reads are sent: a frozen account may serve the lease. */
  isReadOnly = false;
  /** Whether the work has returned something that produces its items later. */
  returnedIterator = false;
  #reason: ((scope: LeaseScope) => Error) | undefined;
  #ended: Error | undefined;
  #revoked: Error | undefined;
  #unanswered = 0;
  // Both are created on demand: most leases end without a listener.
  /** Bounded by the requests and listeners of one lease. */
  #endCallbacks: Set<() => void> | undefined;
  #idleCallbacks: (() => void)[] | undefined;

  constructor(sessionId: string, tracker: AttemptTracker = NOOP_TRACKER) {
    this.sessionId = sessionId;
    this.tracker = tracker;
  }

  /** The error of every further call; `undefined` while the lease is active. */
  get ended(): Error | undefined {
    this.#ended ??= this.#reason?.(this);
    return this.#ended;
  }

  /** Why the lease was revoked; `undefined` while it is active and after its release. */
  get revoked(): Error | undefined {
    return this.#revoked;
  }

  /** Whether it has ended in any way. */
  get hasEnded(): boolean {
    return this.#reason !== undefined;
  }

  /** Whether all of its requests are answered. */
  get isIdle(): boolean {
    return this.#unanswered === 0;
  }

  /**
   * Ends the lease; returns whether it had not ended before. `reason` makes the error when it is first needed: most leases
   * end without any further call.
   */
  end(reason: (scope: LeaseScope) => Error, revoked?: Error): boolean {
    if (this.#reason !== undefined) return false;
    this.#reason = reason;
    this.#revoked = revoked;
    if (this.#endCallbacks === undefined) return true;
    for (const callback of this.#endCallbacks) callback();
    this.#endCallbacks.clear();
    return true;
  }

  /** Calls `callback` when the lease ends. Returns a function that removes it. */
  onEnd(callback: () => void): () => void {
    this.#endCallbacks ??= new Set();
    this.#endCallbacks.add(callback);
    return () => this.#endCallbacks?.delete(callback);
  }

  /** The result, or a rejection with {@link ended} when the lease ends first. */
  race<T>(result: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) reject(this.ended);
      const stop = this.onEnd(() => reject(this.ended));
      result.then(resolve, reject).finally(stop);
    });
  }

  /** A request was sent. */
  sent(): void {
    this.#unanswered++;
  }

  /** A request that was sent is settled. */
  answered(): void {
    this.#unanswered--;
    if (this.#unanswered > 0 || this.#idleCallbacks === undefined) return;
    const callbacks = this.#idleCallbacks;
    this.#idleCallbacks = undefined;
    for (const callback of callbacks) callback();
  }

  /** Calls `callback` as soon as all requests are answered: at once when they are. */
  onIdle(callback: () => void): void {
    if (this.#unanswered === 0) callback();
    else {
      this.#idleCallbacks ??= [];
      this.#idleCallbacks.push(callback);
    }
  }
}
