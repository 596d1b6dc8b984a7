// The global of the same name is an accessor, and costs as much again as the reading.
import { performance } from "node:perf_hooks";

/** A pending callback. */
export interface Timer {
  /** Stops the callback. Safe to call twice, or after it ran. */
  cancel(): void;
  /** Makes the pending callback keep the process alive. */
  ref(): void;
  /** Lets the process end before the callback. */
  unref(): void;
}

/**
 * Where the pool gets its time from. Pass your own to drive a pool from a test without sleeping.
 *
 * Waits are measured with {@link Clock.monotonic}, so that a wall clock that jumps neither frees a session early nor
 * keeps it longer; {@link Clock.now} is only read to say and to store an instant.
 */
export interface Clock {
  /** Milliseconds since the epoch by the wall clock. May jump. */
  now(): number;
  /** Milliseconds by a clock that never goes back. Its zero means nothing. */
  monotonic(): number;
  /**
   * Calls `callback` once, `delayMs` from now, unref'd. May be up to a millisecond early, as Node's timers are; any
   * finite delay is valid, also one over 2^31-1 ms.
   */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** The longest delay `setTimeout` takes; anything above fires at once. Source: Node.js documentation of timers. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

class SystemTimer implements Timer {
  #handle: NodeJS.Timeout;
  #isReferenced = false;

  constructor(delayMs: number, callback: () => void) {
    this.#handle = this.#arm(delayMs, callback);
  }

  #arm(delayMs: number, callback: () => void): NodeJS.Timeout {
    const slice = Math.min(delayMs, LONGEST_TIMEOUT_MS);
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

/** The system's own clock: the default. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (delayMs, callback) => new SystemTimer(delayMs, callback),
};
