import type { Clock, Timer } from "./clock.js";

/** A delay that never passes in the life of a process. */
const A_YEAR_MS = 365 * 86_400_000;

/**
 * Keeps the process alive while the pool is in use. Sockets and timers are all unref'd; this one timer is ref'd
 * as long as a session is leased, a caller waits or the pool is opening or closing.
 */
export class ProcessRef {
  readonly #timer: Timer;
  #needs = 0;

  constructor(clock: Clock) {
    this.#timer = clock.setTimer(A_YEAR_MS, () => {});
  }

  ref(): void {
    if (this.#needs++ === 0) this.#timer.ref();
  }

  unref(): void {
    if (--this.#needs === 0) this.#timer.unref();
  }

  async whileRunning<T>(work: () => Promise<T>): Promise<T> {
    this.ref();
    try {
      return await work();
    } finally {
      this.unref();
    }
  }

  end(): void {
    this.#timer.cancel();
  }
}
