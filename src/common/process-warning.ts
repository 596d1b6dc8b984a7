/** Emits a process warning about a failure in the user's code, which does not affect the pool. */
export function warn(text: string): void {
  process.emitWarning(text, "SessionPoolWarning");
}

/** Returns the stack or text of a thrown value. Never throws. */
export function textOf(error: unknown): string {
  try {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } catch {
    return "it threw something that cannot be printed";
  }
}

/** Whether a value is a promise or similar. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return typeof Reflect.get(value, "then") === "function";
}

/** Calls a user's callback; errors that it throws or rejects with are passed to `failed`. */
export function callSafely(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (isThenable(result)) Promise.resolve(result).catch(failed);
  } catch (error) {
    failed(error);
  }
}

/** Ignores the rejection of a value that should not be a promise but is: it must not end the process. */
export function ignoreRejection(value: unknown): void {
  if (isThenable(value)) Promise.resolve(value).catch(() => {});
}

/** Calls a user's function. Returns `fallback` if it throws or returns a value of another type. */
export type SafeCall = <Result>(call: () => Result, fallback: Result) => Result;

/**
 * Creates the {@link SafeCall} for a user's functions that are called in the middle of a change, which must not fail
 * half-way. Only the first error is reported, as later ones are usually the same.
 *
 * @param option name of the option that contains the functions
 * @param failed called with a message
 */
export function catchUserErrors(option: string, failed: (message: string) => void): SafeCall {
  let isReported = false;
  const report = (error: unknown): void => {
    if (!isReported) failed(`The user function in the option ${option} failed and is ignored: ${textOf(error)}`);
    isReported = true;
  };
  return (call, fallback) => {
    try {
      const result: unknown = call();
      if (isThenable(result)) Promise.resolve(result).catch(report);
      if (typeof result === typeof fallback) return result as typeof fallback;
      if (fallback !== undefined) report(`it must return a ${typeof fallback}; it returned a ${typeof result}`);
      return fallback;
    } catch (error) {
      report(error);
      return fallback;
    }
  };
}
