import type { Clock, Timer } from "./clock.js";

/** Longer than any process is expected to run. */
const YEAR_MS = 365 * 86_400_000;

/**
 * Keeps the process alive while the pool is in use: while a session is leased or kept connected, a caller waits, or the
 * pool is opening or closing. All sockets and other timers of the pool are unref'd.
 */
export class ProcessRef {
  readonly #timer: Timer;
  #users = 0;

  constructor(clock: Clock) {
    this.#timer = clock.setTimer(YEAR_MS, () => {});
  }

  /** Whether the pool is in use. */
  get isInUse(): boolean {
    return this.#users > 0;
  }

  /** Adds a use. */
  ref(): void {
    if (this.#users++ === 0) this.#timer.ref();
  }

  /** Ends a use. */
  unref(): void {
    if (--this.#users === 0) this.#timer.unref();
  }

  /** Keeps the process alive while the work runs. */
  async whileRunning<T>(work: () => Promise<T>): Promise<T> {
    this.ref();
    try {
      return await work();
    } finally {
      this.unref();
    }
  }

  /** Lets the process exit for good. */
  end(): void {
    this.#timer.cancel();
  }
}
