/** One process warning: of a failure in the user's own code, for which nothing of the pool stops. */
export function warn(text: string): void {
  process.emitWarning(text, "SessionPoolWarning");
}

/** The stack or the message of what was thrown, which may not even be printable. */
export function textOf(error: unknown): string {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } catch {
    return "it threw something that cannot be printed";
  }
}

/** Whether it has to be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return typeof Reflect.get(value, "then") === "function";
}

/** Runs a callback of the user's: what it throws, or rejects with, is handed to `failed` and goes no further. */
export function callSafely(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (isThenable(result)) Promise.resolve(result).catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** What should be no promise may be one: nobody waits for it, and its rejection must not end the process. */
export function ignoreRejection(value: unknown): void {
  if (isThenable(value)) Promise.resolve(value).catch(() => {});
}

/** Asks a user's own rule. What it may not be is taken for `fallback`. */
export type SafeCall = <Result>(call: () => Result, fallback: Result) => Result;

/**
 * Runs what must not throw: a lease must not fail half-way. The first error is told, the others are most often the same.
 *
 * @param option which option has brought the rule
 */
export function catchUserErrors(option: string, failed: (message: string) => void): SafeCall {
  let isTold = false;
  const tell = (error: unknown): void => {
    if (!isTold) failed(`What ${option} was given fails, and counts for nothing: ${textOf(error)}`);
    isTold = true;
  };
  return (call, fallback) => {
    try {
      const result: unknown = call();
      if (isThenable(result)) Promise.resolve(result).catch(tell);
      if (typeof result === typeof fallback) return result as typeof fallback;
      if (fallback !== undefined) tell(`a ${typeof fallback} was expected, not a ${typeof result}`);
      return fallback;
    } catch (error) {
      tell(error);
      return fallback;
    }
  };
}
