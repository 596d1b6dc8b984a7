import type { CallLimit } from "../options/budgets.js";
import { type CallsAt, firstEstimate, type LimitEstimate, laterOf, observe, receivedAt } from "./limit-estimate.js";
import { type Flood, LimitEstimator } from "./limit-estimator.js";
import type { SlidingWindow } from "./sliding-window.js";

export type { Flood } from "./limit-estimator.js";

/**
 * Learns the limits of methods from the floods of all sessions: one estimate per method for all of them.
 *
 * Pure: time is an argument, on the pool's own time line; what is recorded is dated by the wall clock.
 */
export class LimitLearner {
  /** One for each method that has met a flood. */
  readonly #estimators = new Map<string, LimitEstimator>();
  /** What was sent before is not known. */
  readonly #since: number;

  constructor(since: number) {
    this.#since = since;
  }

  /** What every session may send, by method. */
  estimates(): ReadonlyMap<string, LimitEstimate> {
    return new Map(Array.from(this.#estimators, ([method, { estimate }]) => [method, estimate]));
  }

  /** Takes in what is on record, or what others have found out. `date`: now, by the wall clock. */
  merge(method: string, recorded: LimitEstimate, date: number): void {
    const estimate = receivedAt(recorded, date);
    const estimator = this.#estimators.get(method);
    if (estimator === undefined) this.#estimators.set(method, new LimitEstimator(estimate));
    else if (laterOf(estimator.estimate, estimate) !== estimator.estimate) estimator.replace(estimate);
  }

  /** What a session's next call of a method is held against; `undefined`: nothing is known. */
  limitFor(id: string, method: string, window: SlidingWindow | undefined, now: number): CallLimit | undefined {
    return this.#estimators.get(method)?.limitFor(id, window, now);
  }

  /** A session sends a call that its limit lets through; the call is not in the window yet. Whether that told anything. */
  onSent(id: string, method: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    return this.#estimators.get(method)?.onSent(id, window, now, date) ?? false;
  }

  /** Telegram has answered a call of a session, which may have been the last one on the wire. Whether that told anything. */
  onSuccess(id: string, method: string, { pending }: SlidingWindow, now: number, date: number): boolean {
    return pending === 0 && (this.#estimators.get(method)?.onSuccess(id, now, date) ?? false);
  }

  /** A call was refused, which the window holds as the latest. Whether that told anything. */
  onFlood(id: string, method: string, window: SlidingWindow, flood: Flood): boolean {
    const { waitMs, now, date } = flood;
    window.undoLast();
    // Calls that were on the wire together are refused together.
    if (now < window.restsUntil) return false;
    const since = window.restsUntil;
    window.restsUntil = now + waitMs;
    const reading = observe(answered(window, since), now, waitMs);
    const estimator = this.#estimators.get(method);
    if (estimator !== undefined)
      return estimator.onFlood(id, reading, this.#isKept(window, estimator.estimate, now), flood);
    if (reading === undefined) return false;
    this.#estimators.set(method, new LimitEstimator(firstEstimate(reading, date), flood));
    return true;
  }

  /** Whether the session was within the estimate: otherwise the flood is for what it sent before that was known. */
  #isKept(window: SlidingWindow, { calls, perMs }: LimitEstimate, now: number): boolean {
    if (now - this.#since < perMs) return false;
    let sent = 1;
    for (const one of window.latestFirst()) if (one.at > now - perMs) sent += one.calls;
    return sent <= calls;
  }
}

/** The calls since the flood before that Telegram has answered: the latest are still on the wire. */
function* answered(window: SlidingWindow, since: number): Generator<CallsAt> {
  let pending = window.pending;
  for (const { at, calls } of window.latestFirst()) {
    if (at <= since) return;
    const skipped = Math.min(pending, calls);
    pending -= skipped;
    if (calls > skipped) yield { at, calls: calls - skipped };
  }
}
