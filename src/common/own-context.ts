import { AsyncResource } from "node:async_hooks";
import type { Clock } from "./clock.js";

/** Made when the module is loaded, which is in no caller's async context. */
const own: AsyncResource = new AsyncResource("SessionPool");

/**
 * Makes something that outlives the caller who happened to be the first to need it: a connection, a timer, a handler. In
 * the caller's async context it would keep the caller's AsyncLocalStorage stores alive, and later work would seem to be
 * part of a request that is long over.
 */
export function inOwnContext<Result>(make: () => Result): Result {
  return own.runInAsyncScope(make);
}

/** The same clock, whose timers call back in the pool's own async context. */
export function inBackground(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimer: (delayMs, callback) => inOwnContext(() => clock.setTimer(delayMs, callback)),
  };
}
