import type { Clock, Timer } from "../clock.js";

/** A delay that never passes in the life of a process. */
const A_YEAR_MS = 365 * 86_400_000;

/**
 * Keeps the process alive while somebody needs the pool. Sockets and timers are all unref'd; this one timer is ref'd
 * as long as a session is leased, a caller waits or the pool is opening or closing.
 */
export class KeepAlive {
  readonly #timer: Timer;
  #needs = 0;

  constructor(clock: Clock) {
    this.#timer = clock.setTimer(A_YEAR_MS, () => {});
  }

  need(): void {
    if (this.#needs++ === 0) this.#timer.ref();
  }

  done(): void {
    if (--this.#needs === 0) this.#timer.unref();
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.need();
    try {
      return await work();
    } finally {
      this.done();
    }
  }

  end(): void {
    this.#timer.cancel();
  }
}
