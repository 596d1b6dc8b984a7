import type { CallLimit } from "../options/budgets.js";
import type { CallsAt, SlidingWindow } from "./call-counters.js";
import {
  acceptExperiment,
  experimentsOf,
  type FloodObservation,
  firstEstimate,
  type LimitEstimate,
  laterOf,
  lowered,
  observe,
  type Proof,
  receivedAt,
  rejectExperiment,
  widen,
} from "./limit-estimate.js";

/** A flood wait. */
export interface Flood {
  readonly waitMs: number;
  readonly now: number;
  /** The same instant in wall-clock time. */
  readonly date: number;
}

/**
 * Learns the rate limits of methods from the flood waits of all sessions: one estimate per method for all of them.
 *
 * Pure: time is an argument, on the pool's own time line; only the dates of records are wall-clock time.
 */
export class LimitLearner {
  /** By method, for those that have met a flood wait. */
  readonly #estimators = new Map<string, LimitEstimator>();
  /** Calls before this instant are unknown. */
  readonly #since: number;

  constructor(since: number) {
    this.#since = since;
  }

  /** The estimates by method. */
  estimates(): ReadonlyMap<string, LimitEstimate> {
    return new Map(Array.from(this.#estimators, ([method, { estimate }]) => [method, estimate]));
  }

  /** Merges an estimate from the record. `date`: now, in wall-clock time. */
  merge(method: string, recorded: LimitEstimate, date: number): void {
    const estimate = receivedAt(recorded, date);
    const estimator = this.#estimators.get(method);
    if (estimator === undefined) this.#estimators.set(method, new LimitEstimator(estimate));
    else if (laterOf(estimator.estimate, estimate) !== estimator.estimate) estimator.replace(estimate);
  }

  /** The limit for the next call of a method by a session; `undefined` if none is known. */
  limitFor(id: string, method: string, window: SlidingWindow | undefined, now: number): CallLimit | undefined {
    return this.#estimators.get(method)?.limitFor(id, window, now);
  }

  /** A session sends a call within its limit; the call is not in the window yet. Returns whether the estimate changed. */
  onSent(id: string, method: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    return this.#estimators.get(method)?.onSent(id, window, now, date) ?? false;
  }

  /** Telegram has answered a call of a session without an error. Returns whether the estimate changed. */
  onSuccess(id: string, method: string, { pending }: SlidingWindow, now: number, date: number): boolean {
    return pending === 0 && (this.#estimators.get(method)?.onSuccess(id, now, date) ?? false);
  }

  /** Telegram has refused a call, the latest in the window, with a flood wait. Returns whether the estimate changed. */
  onFlood(id: string, method: string, window: SlidingWindow, flood: Flood): boolean {
    const { waitMs, now, date } = flood;
    window.undoLast();
    // Calls that are in flight together are refused together.
    if (now < window.floodUntil) return false;
    const since = window.floodUntil;
    window.floodUntil = now + waitMs;
    const observation = observe(answeredCalls(window, since), now, waitMs);
    const estimator = this.#estimators.get(method);
    if (estimator !== undefined) {
      const wasWithin = this.#isWithin(window, estimator.estimate, now);
      return estimator.onFlood(id, observation, wasWithin, flood);
    }
    if (observation === undefined) return false;
    this.#estimators.set(method, new LimitEstimator(firstEstimate(observation, date), flood));
    return true;
  }

  /** Whether the session kept within the estimate; otherwise the flood is due to calls from before it was known. */
  #isWithin(window: SlidingWindow, { calls, perMs }: LimitEstimate, now: number): boolean {
    if (now - this.#since < perMs) return false;
    let sent = 1;
    for (const one of window.latestFirst()) if (one.at > now - perMs) sent += one.calls;
    return sent <= calls;
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

/** A session that tries whether a method permits more than the estimate. */
interface Experiment {
  readonly perMs: number;
  /** Number of successful calls that the estimate would not have permitted. */
  overLimitCalls: number;
  lastOverLimitAt: number;
}

/** An experiment succeeds after this many full windows. */
const WINDOWS_PER_EXPERIMENT = 1;
/** The minimum number of calls in an experiment: with fewer, the reserve of a token bucket would hide its refill rate. */
const MIN_SAMPLES = 8;
/** An experiment ends without a result after this many windows without a call; a session then pauses for as many. */
const EXPERIMENT_TIMEOUT_WINDOWS = 4;
/** The search resumes after this many windows without a change, and this many of the waits that a mistake would cost. */
const QUIET_WINDOWS = 32;
const QUIET_WAITS = 10;

/**
 * The estimate for one method, and the search for a better one: a few sessions each try a shorter window, so that a
 * mistake costs them a flood wait and the others nothing. Pure: time is an argument.
 */
class LimitEstimator {
  estimate: LimitEstimate;
  /** By session: a few at a time, each for some windows. */
  readonly #experiments = new Map<string, Experiment>();
  /** When a session's last experiment ended: the next one prefers another session. Entries expire after a few windows. */
  readonly #triedAt = new Map<string, number>();
  /** The latest successful experiment, which later floods may refute. */
  #proof: Proof | undefined;
  /** Since when there is nothing left to try. */
  #convergedAt: number | undefined;
  /** The wait of the latest flood; unknown for an estimate from a record. */
  #waitMs: number | undefined;
  /** No experiment starts earlier: in the first window, the other sessions only use what is known to be safe. */
  readonly #experimentsFrom: number;

  /** @param first the flood that the estimate is based on, unless it is from a record */
  constructor(estimate: LimitEstimate, first?: Flood) {
    this.estimate = estimate;
    this.#waitMs = first?.waitMs;
    this.#experimentsFrom = first === undefined ? Number.NEGATIVE_INFINITY : first.now + estimate.perMs;
  }

  /** Replaces the estimate by a later one of another process. */
  replace(estimate: LimitEstimate): void {
    this.estimate = estimate;
    this.#proof = undefined;
    this.#experiments.clear();
    this.#convergedAt = undefined;
  }

  /** The limit for the session's next call. */
  limitFor(id: string, window: SlidingWindow | undefined, now: number): CallLimit {
    this.#endStale(now);
    if (!this.#experiments.has(id) && isFilledByNext(window, this.estimate, now)) this.#begin(id, now);
    const experiment = this.#experiments.get(id);
    return experiment === undefined ? this.estimate : { calls: this.estimate.calls, perMs: experiment.perMs };
  }

  /** See {@link LimitLearner.onSent}. */
  onSent(id: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    const experiment = this.#experiments.get(id);
    if (experiment === undefined || (window?.nextAllowedAt(this.estimate) ?? 0) <= now) return false;
    experiment.lastOverLimitAt = now;
    // The call itself is not answered yet.
    return ++experiment.overLimitCalls > this.#minSamples && this.#accept(experiment, now, date);
  }

  /** All calls of the session are answered, the latest without an error. Returns whether the estimate changed. */
  onSuccess(id: string, now: number, date: number): boolean {
    const experiment = this.#experiments.get(id);
    if (experiment === undefined || experiment.overLimitCalls < this.#minSamples) return false;
    return this.#accept(experiment, now, date);
  }

  /**
   * A flood wait.
   *
   * @param wasWithin whether the session kept within the estimate
   * @returns whether the estimate changed
   */
  onFlood(id: string, observation: FloodObservation | undefined, wasWithin: boolean, flood: Flood): boolean {
    const { waitMs, now, date } = flood;
    this.#waitMs = waitMs;
    const experiment = this.#experiments.get(id);
    if (experiment !== undefined && experiment.overLimitCalls > 0) {
      this.estimate = rejectExperiment(this.estimate, experiment.perMs, date);
      // Bolder experiments would be refused as well.
      this.#end(now, ({ perMs }) => perMs <= experiment.perMs);
      return true;
    }
    if (observation === undefined || !wasWithin) return false;
    this.estimate = lowered(this.estimate, observation, this.#proof, date);
    this.#proof = this.#proof && { ...this.#proof, retreats: this.#proof.retreats + 1 };
    if (this.estimate.perMs === observation.perMs) this.#proof = undefined;
    this.#end(now, () => true);
    return true;
  }

  /** Number of calls that make an experiment. */
  get #minSamples(): number {
    return Math.max(MIN_SAMPLES, WINDOWS_PER_EXPERIMENT * this.estimate.calls);
  }

  #accept(experiment: Experiment, now: number, date: number): true {
    this.#proof = { held: this.estimate, retreats: 0 };
    this.estimate = acceptExperiment(this.estimate, experiment.perMs, date);
    // This result also settles the more cautious experiments.
    this.#end(now, ({ perMs }) => perMs >= experiment.perMs);
    return true;
  }

  #begin(id: string, now: number): void {
    if (now < this.#experimentsFrom) return;
    const candidates = experimentsOf(this.estimate, this.#waitMs);
    const { perMs } = this.estimate;
    if (candidates.length === 0) {
      this.#convergedAt ??= now;
      if (now - this.#convergedAt < Math.max(QUIET_WINDOWS * perMs, QUIET_WAITS * (this.#waitMs ?? 0))) return;
      this.estimate = widen(this.estimate);
      this.#convergedAt = undefined;
      return;
    }
    if (now - (this.#triedAt.get(id) ?? Number.NEGATIVE_INFINITY) < EXPERIMENT_TIMEOUT_WINDOWS * perMs) return;
    const running = Array.from(this.#experiments.values(), (experiment) => experiment.perMs);
    const next = candidates.find((candidate) => !running.includes(candidate));
    if (next !== undefined && running.length < candidates.length)
      this.#experiments.set(id, { perMs: next, overLimitCalls: 0, lastOverLimitAt: now });
  }

  #endStale(now: number): void {
    if (this.#experiments.size === 0) return;
    const staleBefore = now - EXPERIMENT_TIMEOUT_WINDOWS * this.estimate.perMs;
    this.#end(now, ({ lastOverLimitAt }) => lastOverLimitAt < staleBefore, false);
  }

  #end(now: number, isOver: (experiment: Experiment) => boolean, hasResult = true): void {
    for (const [id, experiment] of this.#experiments) {
      if (!isOver(experiment)) continue;
      this.#experiments.delete(id);
      this.#triedAt.set(id, now);
    }
    if (hasResult) this.#convergedAt = undefined;
    for (const [id, at] of this.#triedAt) {
      if (now - at >= EXPERIMENT_TIMEOUT_WINDOWS * this.estimate.perMs) this.#triedAt.delete(id);
    }
  }
}

/** Whether one more call exhausts the limit: only a session that uses all of it can find out what lies beyond. */
function isFilledByNext(window: SlidingWindow | undefined, { calls, perMs }: CallLimit, now: number): boolean {
  return calls === 1 || (window?.nextAllowedAt({ calls: calls - 1, perMs }) ?? 0) > now;
}
