import type { Clock, Timer } from "./clock.js";

/** Resolves after `delayMs`. The timer keeps the process alive only if `isReferenced`. */
export function sleep(clock: Clock, delayMs: number, isReferenced: boolean = false): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(delayMs, resolve);
    if (isReferenced) timer.ref();
  });
}

/**
 * Returns the delay before a retry: `firstMs` after the first failure (`failures` 0), then twice as long each time, up to
 * `longestMs`.
 */
export function exponentialDelay(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** failures, longestMs);
}

/**
 * Resolves with the result of `work`, or rejects with `late()` after `timeoutMs`; `work` itself continues. `toError` maps
 * the rejection of `work`. The timer does not keep the process alive.
 */
export function withTimeout<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  late: () => Error,
  toError: (error: unknown) => unknown = (error) => error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(timeoutMs, () => reject(late()));
    work.then(resolve, (error: unknown) => reject(toError(error))).finally(() => timer.cancel());
  });
}

/** A timer for one callback that is set again and again. It does not keep the process alive. */
export class WakeTimer {
  /** Whether it is set; no longer when the callback runs. A field: every lease reads one. */
  isSet = false;
  readonly #clock: Clock;
  readonly #wake: () => void;
  #timer: Timer | undefined;
  /** The instant that it is set for; `-Infinity` if it was set for a delay. */
  #at = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Calls back once after `delayMs`, instead of at any time that it was set for. */
  set(delayMs: number): void {
    this.cancel();
    this.isSet = true;
    this.#timer = this.#clock.setTimer(Math.max(delayMs, 0), () => {
      this.isSet = false;
      this.#wake();
    });
  }

  /** Calls back once at the instant `at`, unless it is set for an earlier one; never for `Infinity`. */
  setBy(at: number, now: number): void {
    if (at === Number.POSITIVE_INFINITY || (this.isSet && this.#at <= at)) return;
    this.set(at - now);
    this.#at = at;
  }

  cancel(): void {
    this.#timer?.cancel();
    this.isSet = false;
    this.#at = Number.NEGATIVE_INFINITY;
  }
}
