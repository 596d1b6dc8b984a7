import type { CallLimit } from "../options/budgets.js";
import type { CallsAt, SlidingWindow } from "./call-counters.js";
import {
  type FloodObservation,
  isSlower,
  type LimitEstimate,
  laterOf,
  observe,
  receivedAt,
  slowerEstimate,
} from "./limit-estimate.js";
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
    return new Map(Array.from(this.#methods, ([method, { common }]) => [method, common.estimate]));
  }

  /** Merges an estimate from the record. `date`: now, in wall-clock time. */
  merge(method: string, recorded: LimitEstimate, date: number): void {
    const estimate = receivedAt(recorded, date);
    const limits = this.#methods.get(method);
    if (limits === undefined) this.#methods.set(method, new MethodLimits(new LimitEstimator(estimate)));
    else if (laterOf(limits.common.estimate, estimate) !== limits.common.estimate) limits.common.replace(estimate);
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
    return limits?.of(account)?.onSent(account, window, now, date) === true && this.#relaxed(method, limits);
  }

  /** Telegram has answered a call of an account without an error. Returns whether an estimate changed. */
  onSuccess(account: string, method: string, window: SlidingWindow, now: number, date: number): boolean {
    const limits = this.#methods.get(method);
    if (limits === undefined || window.pending > 0) return false;
    limits.refute(account, window, now);
    return limits.of(account)?.onSuccess(account, window, now, date) === true && this.#relaxed(method, limits);
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
      const estimate = limits.of(flood.account)?.estimate;
      const wasWithin = estimate === undefined || this.#isWithin(window, estimate, now);
      return limits.onFlood(window, observation, wasWithin, flood);
    }
    if (observation === undefined) return false;
    this.#methods.set(method, new MethodLimits(LimitEstimator.after(observation, flood), flood));
    return true;
  }

  #relaxed(method: string, limits: MethodLimits): true {
    limits.simplify();
    this.#onRelaxed(method);
    return true;
  }

  /** Whether the account kept within the estimate; otherwise the flood is due to calls from before it was known. */
  #isWithin(window: SlidingWindow, { calls, perMs }: LimitEstimate, now: number): boolean {
    return now - this.#since >= perMs && 1 + window.countSince(now - perMs) <= calls;
  }
}

/** Two estimates are the same limit if their rates differ by less than this factor. */
const SAME_RATE = 0.97;
/** Estimates are dropped after this many windows in which no account has used all of them, but one of a slower estimate. */
const UNUSED_WINDOWS = 8;

/**
 * The estimates for one method. Nearly all accounts share one. Those that are flooded while others are not share a slower
 * one, and so on, as limits differ by account.
 */
class MethodLimits {
  /** The fastest first. There is at least one. */
  #tiers: readonly LimitEstimator[];
  /** By account, if it was flooded; `undefined` if it was permitted more than every estimate says. */
  readonly #tierOf = new Map<string, LimitEstimator | undefined>();
  /** Since when the first estimate is known: what was permitted before then may refute it. */
  readonly #knownSince: number;

  constructor(first: LimitEstimator, flood?: Flood) {
    this.#tiers = [first];
    this.#knownSince = flood?.now ?? Number.NEGATIVE_INFINITY;
    if (flood !== undefined) this.#tierOf.set(flood.account, first);
  }

  /** The estimate for accounts of which nothing else is known. */
  get common(): LimitEstimator {
    return this.#tiers[0] as LimitEstimator;
  }

  /** The estimate for an account; `undefined` if it is not known. */
  of(account: string): LimitEstimator | undefined {
    return this.#tierOf.has(account) ? this.#tierOf.get(account) : this.common;
  }

  /** Frees an account from a new estimate that does not hold for it. */
  refute(account: string, window: SlidingWindow, now: number): void {
    const { calls, perMs } = this.common.estimate;
    if (now >= this.#knownSince + perMs || this.#tierOf.has(account)) return;
    let sent = 0;
    for (const one of window.latestFirst()) if (one.at <= this.#knownSince) sent += one.calls;
    if (sent > calls) this.#tierOf.set(account, undefined);
  }

  /** A flood wait. Returns whether an estimate changed. */
  onFlood(window: SlidingWindow, observation: FloodObservation | undefined, wasWithin: boolean, flood: Flood): boolean {
    const { account } = flood;
    const tier = this.of(account);
    // An account keeps the estimate that it was flooded under when a faster one is found for others.
    if (!this.#tierOf.has(account)) this.#tierOf.set(account, tier);
    // Where limits are known to differ by account, fewer calls may be the limit of this one.
    if (this.#tiers.length === 1 && observation !== undefined && tier?.shorten(observation, flood) === true)
      return true;
    if (tier?.rejectExperiment(flood) === true) return true;
    if (observation === undefined || !wasWithin) return false;
    if (tier === undefined) this.#add(account, LimitEstimator.after(observation, flood));
    else if (!this.#slow(tier, window, flood)) tier.lower(observation, flood);
    this.simplify();
    return true;
  }

  /** Removes estimates that no account uses, and those that equal another one. */
  simplify(): void {
    for (let index = this.#tiers.length - 1; index > 0; index--) {
      const slow = this.#tiers[index] as LimitEstimator;
      const fast = this.#tiers[index - 1] as LimitEstimator;
      const unusedMs = UNUSED_WINDOWS * Math.max(slow.estimate.perMs, fast.estimate.perMs);
      if (!isSlower(slow.estimate, fast.estimate, SAME_RATE)) this.#drop(slow, fast);
      else if (slow.confirmedAt - fast.confirmedAt > unusedMs) this.#drop(fast, slow);
    }
  }

  /** Moves the account to a slower estimate if the flood is about that account alone. Returns whether it is. */
  #slow(tier: LimitEstimator, window: SlidingWindow, flood: Flood): boolean {
    const { account, now, date } = flood;
    if (!tier.isConfirmedByOthers(account, now)) return false;
    const calls = window.countSince(now - tier.estimate.perMs / 2);
    const estimate = slowerEstimate(tier.estimate, tier.heldBefore(now), calls, date);
    if (estimate === undefined || (tier.isProven && wasPermittedMore(window, estimate, now))) return false;
    const next = this.#tiers[this.#tiers.indexOf(tier) + 1];
    tier.leave(account, next?.estimate ?? estimate);
    if (next === undefined) this.#add(account, new LimitEstimator(estimate, flood));
    else this.#tierOf.set(account, next);
    return true;
  }

  #add(account: string, tier: LimitEstimator): void {
    this.#tiers = [...this.#tiers, tier].sort((a, b) => (isSlower(a.estimate, b.estimate) ? 1 : -1));
    this.#tierOf.set(account, tier);
  }

  #drop(dropped: LimitEstimator, kept: LimitEstimator): void {
    for (const [account, tier] of this.#tierOf) if (tier === dropped) this.#tierOf.set(account, kept);
    this.#tiers = this.#tiers.filter((tier) => tier !== dropped);
  }
}

/** Whether more calls were permitted lately than at the end of one window and in the next, as after a stall of the wire. */
function wasPermittedMore(window: SlidingWindow, { calls, perMs }: LimitEstimate, now: number): boolean {
  return window.countSince(now - perMs) > 2 * calls;
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
