import type { CallLimit } from "../options/budgets.js";
import type { CallsAt, SlidingWindow } from "./call-counters.js";
import { type FloodObservation, type LimitEstimate, laterOf, observe, receivedAt } from "./limit-estimate.js";
import { type Flood, LimitEstimator } from "./limit-estimator.js";

/**
 * Learns the rate limits of methods from the flood waits of all accounts.
 *
 * Pure: time is an argument, on the pool's own time line; only the dates of records are wall-clock time.
 */
export class LimitLearner {
  /** By method, for those that have met a flood wait. */
  readonly #methods = new Map<string, MethodLimits>();
  /** Calls before this instant are unknown. */
  readonly #since: number;
  readonly #onRelaxed: (method: string) => void;

  /** @param onRelaxed called when some accounts may send more of a method than before */
  constructor(since: number, onRelaxed: (method: string) => void = () => {}) {
    this.#since = since;
    this.#onRelaxed = onRelaxed;
  }

  /** The estimates by method. */
  estimates(): ReadonlyMap<string, LimitEstimate> {
    return new Map(Array.from(this.#methods, ([method, { estimator }]) => [method, estimator.estimate]));
  }

  /** Merges an estimate from the record. `date`: now, in wall-clock time. */
  merge(method: string, recorded: LimitEstimate, date: number): void {
    const estimate = receivedAt(recorded, date);
    const limits = this.#methods.get(method);
    if (limits === undefined) this.#methods.set(method, new MethodLimits(new LimitEstimator(estimate)));
    else if (laterOf(limits.estimator.estimate, estimate) !== limits.estimator.estimate)
      limits.estimator.replace(estimate);
  }

  /** Methods turn out to share one limit, whose estimate is known from a flood wait. */
  group(keys: readonly string[], group: string, observation: FloodObservation, flood: Flood): void {
    for (const key of keys) this.#methods.delete(key);
    this.#methods.set(group, new MethodLimits(LimitEstimator.after(observation, flood), flood));
  }

  /** The limit for the next call of a method by an account; `undefined` if none is known. */
  limitFor(account: string, method: string, window: SlidingWindow | undefined, now: number): CallLimit | undefined {
    return this.#methods.get(method)?.of(account)?.limitFor(account, window, now);
  }

  /** An account sends a call within its limit; the call is not in the window yet. Returns whether an estimate changed. */
  onSent(account: string, method: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    const limits = this.#methods.get(method);
    return limits?.of(account)?.onSent(account, window, now, date) === true && this.#relaxed(method);
  }

  /** Telegram has answered a call of an account without an error. Returns whether an estimate changed. */
  onSuccess(account: string, method: string, window: SlidingWindow, now: number, date: number): boolean {
    const limits = this.#methods.get(method);
    if (limits === undefined || window.pending > 0) return false;
    limits.refute(account, window, now);
    return limits.of(account)?.onSuccess(account, window, now, date) === true && this.#relaxed(method);
  }

  /** Telegram has refused a call, the latest in the window, with a flood wait. Returns whether an estimate changed. */
  onFlood(method: string, window: SlidingWindow, flood: Flood): boolean {
    const { waitMs, now } = flood;
    window.undoLast();
    // Calls that are in flight together are refused together.
    if (now < window.floodUntil) return false;
    const since = window.floodUntil;
    window.floodUntil = now + waitMs;
    const observation = observe(answeredCalls(window, since), now, waitMs);
    const limits = this.#methods.get(method);
    if (limits !== undefined) {
      const estimate = limits.of(flood.account)?.of(flood.account);
      const wasWithin = estimate === undefined || this.#isWithin(window, estimate, now);
      return limits.onFlood(window, observation, wasWithin, flood);
    }
    if (observation === undefined) return false;
    this.#methods.set(method, new MethodLimits(LimitEstimator.after(observation, flood), flood));
    return true;
  }

  #relaxed(method: string): true {
    this.#onRelaxed(method);
    return true;
  }

  /** Whether the account kept within the estimate; otherwise the flood is due to calls from before it was known. */
  #isWithin(window: SlidingWindow, { calls, perMs }: LimitEstimate, now: number): boolean {
    return now - this.#since >= perMs && 1 + window.countSince(now - perMs) <= calls;
  }
}

/** The estimate for one method, and the accounts that it does not hold for. */
class MethodLimits {
  readonly estimator: LimitEstimator;
  /** Accounts that were permitted more than the estimate says. */
  readonly #free = new Set<string>();
  /** Accounts that were flooded since. */
  readonly #flooded = new Set<string>();
  /** Since when the estimate is known: what was permitted before then may refute it. */
  readonly #knownSince: number;

  constructor(estimator: LimitEstimator, flood?: Flood) {
    this.estimator = estimator;
    this.#knownSince = flood?.now ?? Number.NEGATIVE_INFINITY;
    if (flood !== undefined) this.#flooded.add(flood.account);
  }

  /** The estimator for an account; `undefined` if its limit is not known. */
  of(account: string): LimitEstimator | undefined {
    return this.#free.has(account) ? undefined : this.estimator;
  }

  /** Frees an account from a new estimate that does not hold for it. */
  refute(account: string, window: SlidingWindow, now: number): void {
    const { calls, perMs } = this.estimator.estimate;
    if (now >= this.#knownSince + perMs || this.#flooded.has(account)) return;
    let sent = 0;
    for (const one of window.latestFirst()) if (one.at <= this.#knownSince) sent += one.calls;
    if (sent > calls) this.#free.add(account);
  }

  /** A flood wait. Returns whether an estimate changed. */
  onFlood(window: SlidingWindow, observation: FloodObservation | undefined, wasWithin: boolean, flood: Flood): boolean {
    const { estimator } = this;
    const isFree = this.#free.delete(flood.account);
    if (!isFree) this.#flooded.add(flood.account);
    if (observation !== undefined && !isFree && estimator.shorten(observation, flood)) return true;
    if (!isFree && estimator.rejectExperiment(flood)) return true;
    if (observation === undefined || !wasWithin) return false;
    if (isFree) estimator.raise(observation, flood, this.#flooded);
    else if (!estimator.slow(window, flood)) estimator.lower(observation, flood);
    return true;
  }
}

/** The calls since the previous flood that Telegram has answered; the latest are still in flight. */
function* answeredCalls(window: SlidingWindow, since: number): Generator<CallsAt> {
  let pending = window.pending;
  for (const { at, calls } of window.latestFirst()) {
    if (at <= since) return;
    const skipped = Math.min(pending, calls);
    pending -= skipped;
    if (calls > skipped) yield { at, calls: calls - skipped };
  }
}
