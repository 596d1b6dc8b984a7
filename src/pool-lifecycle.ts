import { PoolClosedError } from "./errors.js";
import type { PoolEvents } from "./pool-context.js";

/** Whether a pool is open, closing or closed, and the work that closing waits for. */
export class PoolLifecycle {
  readonly #events: PoolEvents;
  /** Work under way. */
  readonly #pending = new Set<Promise<unknown>>();
  #state: "open" | "closing" | "closed" = "open";
  /** Whether new callers are served. A field, because every request for a lease reads it. */
  isOpen = true;
  #reason: Error | undefined;
  readonly #closing = new AbortController();

  constructor(events: PoolEvents) {
    this.#events = events;
  }

  /**
   * The error for callers that come too late. A caller that is under way (`isUnderWay`) may go on until leases are not
   * waited for any longer.
   */
  closedError(isUnderWay = false): PoolClosedError | undefined {
    const mayGoOn = this.#state === "open" || (isUnderWay && this.#state === "closing");
    return mayGoOn ? undefined : this.toClosedError();
  }

  /** The error of a lease or a caller that the end of the pool cuts off. */
  toClosedError(sessionId?: string): PoolClosedError {
    return new PoolClosedError("The pool is closed.", {
      ...(this.#reason === undefined ? {} : { cause: this.#reason }),
      sessionId,
    });
  }

  /** Aborts when the pool begins to close, for work that closing is not to wait for. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** New callers are refused from now on. */
  beginClosing(): void {
    this.isOpen = false;
    if (this.#state === "open") this.#state = "closing";
    this.#closing.abort(this.toClosedError());
  }

  /** The cause of every {@link PoolClosedError} from now on; the first one counts. */
  setReason(reason: Error | undefined): void {
    this.#reason ??= reason;
  }

  /** Callers under way are refused, too. */
  endWaiting(): void {
    this.isOpen = false;
    this.#state = "closed";
  }

  /** Lets closing wait for the work, and returns it. */
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

  /** Resolves when no work is left, including what work that ended has left to be done. */
  async drain(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}
