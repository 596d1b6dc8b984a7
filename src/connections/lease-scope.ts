import { type AttemptTracker, NOOP_TRACKER } from "./attempt.js";

/**
 * The life of one lease as its requests see it: whether it has ended and why, and how much of what it sent is still
 * unanswered.
 */
export class LeaseScope {
  readonly sessionId: string;
  readonly tracker: AttemptTracker;
  /** The work has returned something that makes its items later. */
  returnedIterator = false;
  #reason: ((scope: LeaseScope) => Error) | undefined;
  #ended: Error | undefined;
  #revoked: Error | undefined;
  #unanswered = 0;
  /** Made when somebody wants to know: most leases are made, used and over without. */
  /** Bound: the requests and listeners of one lease. */
  #endCallbacks: Set<() => void> | undefined;
  #idleCallbacks: (() => void)[] | undefined;

  constructor(sessionId: string, tracker: AttemptTracker = NOOP_TRACKER) {
    this.sessionId = sessionId;
    this.tracker = tracker;
  }

  /** What every further call rejects with; `undefined` while the lease lives. */
  get ended(): Error | undefined {
    this.#ended ??= this.#reason?.(this);
    return this.#ended;
  }

  /** Why it was taken back; `undefined` while it lives and after it was given back. */
  get revoked(): Error | undefined {
    return this.#revoked;
  }

  get hasEnded(): boolean {
    return this.#reason !== undefined;
  }

  /** Whether something it sent is still to be answered. */
  get isIdle(): boolean {
    return this.#unanswered === 0;
  }

  /** `reason` is made into an error only when somebody needs it: most leases end with nothing left to say. */
  end(reason: (scope: LeaseScope) => Error, revoked?: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#revoked = revoked;
    if (this.#endCallbacks === undefined) return;
    for (const callback of this.#endCallbacks) callback();
    this.#endCallbacks.clear();
  }

  /** Calls back when the lease ends. Returns the function that takes this back. */
  onEnd(callback: () => void): () => void {
    this.#endCallbacks ??= new Set();
    this.#endCallbacks.add(callback);
    return () => this.#endCallbacks?.delete(callback);
  }

  /** The result, or the lease's end, whichever comes first. */
  race<T>(result: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) reject(this.ended);
      const stop = this.onEnd(() => reject(this.ended));
      result.then(resolve, reject).finally(stop);
    });
  }

  sent(): void {
    this.#unanswered++;
  }

  answered(): void {
    this.#unanswered--;
    if (this.#unanswered > 0 || this.#idleCallbacks === undefined) return;
    const callbacks = this.#idleCallbacks;
    this.#idleCallbacks = undefined;
    for (const callback of callbacks) callback();
  }

  /** Calls back as soon as nothing is on the wire. */
  onIdle(callback: () => void): void {
    if (this.#unanswered === 0) callback();
    else {
      this.#idleCallbacks ??= [];
      this.#idleCallbacks.push(callback);
    }
  }
}
