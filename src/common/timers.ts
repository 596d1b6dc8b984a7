import type { Clock } from "./clock.js";

/** Resolves after `delayMs`. The timer keeps the process alive only if `isReferenced`. */
export function sleep(clock: Clock, delayMs: number, isReferenced: boolean = false): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(delayMs, resolve);
    if (isReferenced) timer.ref();
  });
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
