import { exponentialDelay } from "../../src/common/timers.js";
import { toStorageError } from "./to-storage-error.js";

/** Callbacks by which a subscription reports its state. */
export interface WatchSignals {
  /** The subscription receives messages, for the first time or again. */
  works(): void;
  /** The subscription is interrupted; its client reconnects by itself. */
  failing(error: unknown): void;
  /** The subscription has ended and has to be replaced. */
  lost(error: unknown): void;
}

/** Subscribes, and returns the function that ends the subscription, established or not. */
export type Subscribe = (signals: WatchSignals) => () => void | Promise<void>;

// Uses the system's clock: storages have no injected clock, and servers would not follow one.
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** Keeps one subscription alive: replaces a lost one after growing delays, and reports each outage once. */
export class KeptWatch {
  readonly #subscribe: Subscribe;
  readonly #failed: (error: Error) => void;
  readonly #listening: () => void;
  #end: () => void | Promise<void> = () => {};
  #timer: NodeJS.Timeout | undefined;
  #losses = 0;
  #isReported = false;
  #isStopped = false;

  /** `listening`: called when the subscription receives messages, for the first time and after each outage. */
  constructor(subscribe: Subscribe, failed: (error: Error) => void, listening: () => void) {
    this.#subscribe = subscribe;
    this.#failed = failed;
    this.#listening = listening;
  }

  start(): this {
    let isOver = false;
    this.#end = this.#subscribe({
      works: () => {
        if (isOver || this.#isStopped) return;
        this.#losses = 0;
        this.#isReported = false;
        this.#listening();
      },
      failing: (error) => {
        if (!isOver) this.#report(error);
      },
      lost: (error) => {
        if (isOver || this.#isStopped) return;
        isOver = true;
        this.#report(error);
        this.#replace();
      },
    });
    return this;
  }

  /** Resolves when the connection is gone. Never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#finish();
  }

  #replace(): void {
    const waitMs = exponentialDelay(this.#losses, FIRST_RETRY_MS, MAX_RETRY_MS);
    this.#losses += 1;
    this.#timer = setTimeout(() => {
      void this.#finish().then(() => {
        if (!this.#isStopped) this.start();
      });
    }, waitMs).unref();
  }

  async #finish(): Promise<void> {
    const end = this.#end;
    this.#end = () => {};
    try {
      await end();
    } catch {
      // The watch has ended even if the client fails to stop it.
    }
  }

  #report(error: unknown): void {
    if (this.#isReported || this.#isStopped) return;
    this.#isReported = true;
    const sentence = "Writes of other processes are not reported at once: the connection that listens for them failed";
    this.#failed(toStorageError(sentence, error));
  }
}
