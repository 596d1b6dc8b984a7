// The global of the same name is an accessor, which doubles the cost of a reading.
import { performance } from "node:perf_hooks";

/** A scheduled callback. */
export interface Timer {
  /** Cancels the callback. Idempotent; has no effect after the callback has run. */
  cancel(): void;
  /** Keeps the process alive until the callback has run. */
  ref(): void;
  /** Lets the process exit before the callback has run. */
  unref(): void;
}

/**
 * The pool's source of time. With a clock of your own, a test can run a pool without sleeping.
 *
 * Waits are measured with {@link Clock.monotonic}, so that a jump of the wall clock neither shortens nor extends a
 * cooldown; {@link Clock.now} is only used for instants that are shown or stored.
 */
export interface Clock {
  /** Wall-clock time in epoch milliseconds. May jump. */
  now(): number;
  /** Milliseconds of a clock that never goes backwards, from an arbitrary zero. */
  monotonic(): number;
  /**
   * Calls `callback` once after `delayMs`, with a timer that does not keep the process alive. Like timers of Node.js, it
   * may be up to a millisecond early. Any finite delay is valid, even above 2^31-1 ms.
   */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** The maximum delay of `setTimeout`; longer ones fire at once. Source: Node.js documentation of timers. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

class SystemTimer implements Timer {
  #handle: NodeJS.Timeout;
  #isReferenced = false;

  constructor(delayMs: number, callback: () => void) {
    this.#handle = this.#arm(delayMs, callback);
  }

  #arm(delayMs: number, callback: () => void): NodeJS.Timeout {
    const slice = Math.min(delayMs, MAX_TIMEOUT_MS);
    const handle = setTimeout(() => {
      if (delayMs <= slice) callback();
      else this.#handle = this.#arm(delayMs - slice, callback);
    }, slice);
    return this.#isReferenced ? handle : handle.unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  ref(): void {
    this.#isReferenced = true;
    this.#handle.ref();
  }

  unref(): void {
    this.#isReferenced = false;
    this.#handle.unref();
  }
}

/** The system's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (delayMs, callback) => new SystemTimer(delayMs, callback),
};
