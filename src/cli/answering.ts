/** How long a server may take to be connected, and to answer what is small. */
export const ANSWER_TIMEOUT_MS = 10_000;

/** Limits of {@link answered}. */
export interface AnswerLimits {
  readonly signal: AbortSignal;
  /** @default no limit */
  readonly timeoutMs?: number;
  /** The error after that time. */
  readonly late?: (seconds: number) => Error;
}

/** Resolves as the work does. Rejects with the signal's reason or after the timeout, while the work may still run. */
export function answered<T>(work: Promise<T>, { signal, timeoutMs, late }: AnswerLimits): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    const expire = (ms: number): void => reject((late ?? noAnswer)(ms / 1_000));
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => expire(timeoutMs), timeoutMs);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    work.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  });
}

function noAnswer(seconds: number): Error {
  return new Error(`no answer within ${seconds} s`);
}
