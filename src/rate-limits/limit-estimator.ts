import type { CallLimit } from "../options/budgets.js";
import {
  acceptExperiment,
  experimentsOf,
  type FloodObservation,
  type LimitEstimate,
  lowered,
  type Proof,
  rejectExperiment,
  widen,
} from "./limit-estimate.js";
import type { SlidingWindow } from "./sliding-window.js";

/** One flood. */
export interface Flood {
  readonly waitMs: number;
  readonly now: number;
  /** The same by the wall clock. */
  readonly date: number;
}

/** One session that tries whether a method bears more than is believed. */
interface Experiment {
  readonly perMs: number;
  /** Calls that the estimate would not have let through, and nobody refused. */
  overLimitCalls: number;
  lastOverLimitAt: number;
}

/** A trial has gone well after so many windows full of calls. */
const WINDOWS_PER_TRIAL = 1;
/** And at least so many calls: what a token bucket has saved up would hide that it refills more slowly. */
const CALLS_PER_TRIAL = 8;
/** A trial that nobody carries on for so many windows is over; then the same session may try again. */
const LOST_AFTER_WINDOWS = 4;
/** After so many windows without news, and so many of the waits that a mistake would cost, the search begins anew. */
const QUIET_WINDOWS = 32;
const QUIET_WAITS = 10;

/**
 * What is known of one method, and how more is found out: by a few sessions that each try another, shorter window, so
 * that a mistake costs them a flood and the others none. Pure: time is an argument.
 */
export class LimitEstimator {
  estimate: LimitEstimate;
  /** Of a few sessions at a time, each for some windows. */
  readonly #trials = new Map<string, Experiment>();
  /** When a session's last trial ended: the next one is another session's, if there is one. Entries go after some windows. */
  readonly #triedAt = new Map<string, number>();
  /** Of the latest trial that went well: it may turn out to have been too bold. */
  #proof: Proof | undefined;
  /** Since when nothing is to be found out. */
  #settledAt: number | undefined;
  /** What the latest flood cost; not known of an estimate that comes from a record. */
  #waitMs: number | undefined;

  /** Nobody tries more before: in the first window the other sessions still get what is known to be safe. */
  readonly #triesFrom: number;

  /** `first`: the flood that the estimate comes from, unless it comes from a record. */
  constructor(estimate: LimitEstimate, first?: Flood) {
    this.estimate = estimate;
    this.#waitMs = first?.waitMs;
    this.#triesFrom = first === undefined ? Number.NEGATIVE_INFINITY : first.now + estimate.perMs;
  }

  /** Another process knows better. */
  replace(estimate: LimitEstimate): void {
    this.estimate = estimate;
    this.#proof = undefined;
    this.#trials.clear();
    this.#settledAt = undefined;
  }

  /** What a session's next call is held against. */
  limitFor(id: string, window: SlidingWindow | undefined, now: number): CallLimit {
    this.#endLost(now);
    if (!this.#trials.has(id) && isFilledByNext(window, this.estimate, now)) this.#begin(id, now);
    const trial = this.#trials.get(id);
    return trial === undefined ? this.estimate : { calls: this.estimate.calls, perMs: trial.perMs };
  }

  /** A session sends a call, which is not in the window yet. Whether that told anything. */
  onSent(id: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    const trial = this.#trials.get(id);
    if (trial === undefined || (window?.nextAllowedAt(this.estimate) ?? 0) <= now) return false;
    trial.lastOverLimitAt = now;
    // The call itself is not answered yet.
    return ++trial.overLimitCalls > this.#minSamples && this.#confirm(trial, now, date);
  }

  /** All calls of a session are answered, the latest without an error. Whether that told anything. */
  onSuccess(id: string, now: number, date: number): boolean {
    const trial = this.#trials.get(id);
    return trial !== undefined && trial.overLimitCalls >= this.#minSamples && this.#confirm(trial, now, date);
  }

  /** A flood, whatever it is for. `isKept`: the session was within the estimate. Whether that told anything. */
  onFlood(id: string, reading: FloodObservation | undefined, isKept: boolean, { waitMs, now, date }: Flood): boolean {
    this.#waitMs = waitMs;
    const trial = this.#trials.get(id);
    if (trial !== undefined && trial.overLimitCalls > 0) {
      this.estimate = rejectExperiment(this.estimate, trial.perMs, date);
      // Those that try more would meet it, too.
      this.#end(now, ({ perMs }) => perMs <= trial.perMs);
      return true;
    }
    if (reading === undefined || !isKept) return false;
    this.estimate = lowered(this.estimate, reading, this.#proof, date);
    this.#proof = this.#proof && { ...this.#proof, retreats: this.#proof.retreats + 1 };
    if (this.estimate.perMs === reading.perMs) this.#proof = undefined;
    this.#end(now, () => true);
    return true;
  }

  /** Calls that make a trial. */
  get #minSamples(): number {
    return Math.max(CALLS_PER_TRIAL, WINDOWS_PER_TRIAL * this.estimate.calls);
  }

  #confirm(trial: Experiment, now: number, date: number): true {
    this.#proof = { held: this.estimate, retreats: 0 };
    this.estimate = acceptExperiment(this.estimate, trial.perMs, date);
    // Those that try less are answered, too.
    this.#end(now, ({ perMs }) => perMs >= trial.perMs);
    return true;
  }

  #begin(id: string, now: number): void {
    if (now < this.#triesFrom) return;
    const points = experimentsOf(this.estimate, this.#waitMs);
    const { perMs } = this.estimate;
    if (points.length === 0) {
      this.#settledAt ??= now;
      if (now - this.#settledAt < Math.max(QUIET_WINDOWS * perMs, QUIET_WAITS * (this.#waitMs ?? 0))) return;
      this.estimate = widen(this.estimate);
      this.#settledAt = undefined;
      return;
    }
    if (now - (this.#triedAt.get(id) ?? Number.NEGATIVE_INFINITY) < LOST_AFTER_WINDOWS * perMs) return;
    const taken = Array.from(this.#trials.values(), (trial) => trial.perMs);
    const point = points.find((free) => !taken.includes(free));
    if (point !== undefined && taken.length < points.length)
      this.#trials.set(id, { perMs: point, overLimitCalls: 0, lastOverLimitAt: now });
  }

  #endLost(now: number): void {
    if (this.#trials.size === 0) return;
    const lostBefore = now - LOST_AFTER_WINDOWS * this.estimate.perMs;
    this.#end(now, ({ lastOverLimitAt: daredAt }) => daredAt < lostBefore, false);
  }

  #end(now: number, isOver: (trial: Experiment) => boolean, isNews = true): void {
    for (const [id, trial] of this.#trials) {
      if (!isOver(trial)) continue;
      this.#trials.delete(id);
      this.#triedAt.set(id, now);
    }
    if (isNews) this.#settledAt = undefined;
    for (const [id, at] of this.#triedAt) {
      if (now - at >= LOST_AFTER_WINDOWS * this.estimate.perMs) this.#triedAt.delete(id);
    }
  }
}

/** Whether one more call spends the budget: only who uses it up can find out what lies beyond. */
function isFilledByNext(window: SlidingWindow | undefined, { calls, perMs }: CallLimit, now: number): boolean {
  return calls === 1 || (window?.nextAllowedAt({ calls: calls - 1, perMs }) ?? 0) > now;
}
