import { AsyncResource } from "node:async_hooks";
import type { Clock } from "./clock.js";

/** Created when the module is loaded, outside of any caller's async context. */
const own: AsyncResource = new AsyncResource("SessionPool");

/**
 * Runs a function outside of the caller's async context. For what is created for one caller and outlives the call: a
 * connection, a timer, a handler. In the caller's context it would keep the caller's AsyncLocalStorage stores alive, and
 * later work would appear to belong to a request that has ended.
 */
export function inOwnContext<Result>(run: () => Result): Result {
  return own.runInAsyncScope(run);
}

/** Runs a function in one certain async context. */
export type RunInContext = <Result>(run: () => Result) => Result;

/**
 * Returns how to run functions in the caller's async context, to be called before {@link inOwnContext}: for requests that
 * are sent on the way to what outlives the caller, and that belong to the caller's trace.
 */
export function captureContext(): RunInContext {
  const context = new AsyncResource("SessionPool");
  return (run) => context.runInAsyncScope(run);
}

/** The same clock with timers that run outside of the caller's async context. */
export function inBackground(clock: Clock): Clock {
  return {
    now: clock.now.bind(clock),
    monotonic: clock.monotonic.bind(clock),
    setTimer: (delayMs, callback) => inOwnContext(() => clock.setTimer(delayMs, callback)),
  };
}
