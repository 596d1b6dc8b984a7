import { PoolClosedError } from "./errors.js";
import type { PoolEvents } from "./pool-context.js";

/** Whether a pool is open, closing or closed, and the work that closing waits for. */
export class PoolLifecycle {
  readonly #events: PoolEvents;
  /** Work in progress. */
  readonly #pending = new Set<Promise<unknown>>();
  #state: "open" | "closing" | "closed" = "open";
  /** Whether new callers are served. A field, because every request for a lease reads it. */
  isOpen = true;
  #reason: Error | undefined;
  readonly #closing = new AbortController();
  readonly #ended = new AbortController();

  constructor(events: PoolEvents) {
    this.#events = events;
  }

  /**
   * Returns the error for callers that are refused now, if so. A caller in progress (`isUnderWay`) may continue until leases
   * are revoked.
   */
  closedError(isUnderWay = false): PoolClosedError | undefined {
    const mayGoOn = this.#state === "open" || (isUnderWay && this.#state === "closing");
    return mayGoOn ? undefined : this.toClosedError();
  }

  /** Creates the error for leases and callers that are ended by closing the pool. */
  toClosedError(sessionId?: string): PoolClosedError {
    return new PoolClosedError("The pool is closed.", {
      ...(this.#reason === undefined ? {} : { cause: this.#reason }),
      sessionId,
    });
  }

  /** Aborts when the pool begins to close, for work that closing does not wait for. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Aborts when the pool is closed and nothing of it is left. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Nothing of the pool is left. */
  end(): void {
    this.#ended.abort();
  }

  /** Refuses new callers from now on. */
  beginClosing(): void {
    this.isOpen = false;
    if (this.#state === "open") this.#state = "closing";
    this.#closing.abort(this.toClosedError());
  }

  /** Sets the `cause` of every {@link PoolClosedError} from now on. Only the first call has an effect. */
  setReason(reason: Error | undefined): void {
    this.#reason ??= reason;
  }

  /** Also refuses callers in progress from now on. */
  endWaiting(): void {
    this.isOpen = false;
    this.#state = "closed";
  }

  /** Returns the work, which closing waits for. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    const end = (): boolean => this.#pending.delete(work);
    work.then(end, end);
    return work;
  }

  /** Runs work that only closing waits for. Its failure is reported as one of the storage. */
  runInBackground(work: Promise<unknown>): void {
    this.track(work).catch((error: Error) => this.#events.emit("storageFailed", error));
  }

  /** Resolves when no work is left, including work that other work has started. */
  async drain(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}
