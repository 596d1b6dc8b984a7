import type { SessionInfo } from "../options/session-info.js";
import { isThenable, textOf } from "./process-warning.js";

/** What a user's own rule is given and how its errors are told. */
export interface UserCallbackContext {
  info(id: string): SessionInfo;
  failed(message: string): void;
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
