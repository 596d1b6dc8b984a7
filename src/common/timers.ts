import type { Clock } from "./clock.js";

/**
 * The result of `work`, or a rejection with `late()` once `timeoutMs` have passed; `work` itself goes on. `toError` maps
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
