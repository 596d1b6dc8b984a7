import type { CallLimit } from "../options/budgets.js";

/** What is believed of the limit of one method: the same for every session. */
export interface LimitEstimate extends CallLimit {
  /** `calls` in so short a time were refused, as far as anybody has tried; 0: nobody has. */
  readonly refusedMs: number;
  /** The wall clock when it was last changed. */
  readonly changedAt: number;
}

/** What one flood tells. */
export interface FloodObservation extends CallLimit {
  /** The time that the calls took, without the wait. */
  readonly spanMs: number;
}

/** Calls at one instant. */
export interface CallsAt {
  readonly at: number;
  readonly calls: number;
}

/** Waits are told in whole seconds, rounded up. Source: the X of FLOOD_WAIT_X, core.telegram.org/api/errors#420-flood. */
const ROUNDING_MS = 1_000;
/** So much slower after a flood that tells nothing new. */
const BACKOFF_FACTOR = 1.05;
/** So often a step back is doubled at most: the longest is a little more than twice as slow. */
const MOST_DOUBLINGS = 4;
/** The shortest window that a trial may take, of what is believed: where a refusal costs little, and where it costs more. */
const MAX_STEP = 0.6;
const CAREFUL_STEP = 0.85;
/** A refused trial costs its session one wait. Up to so many windows, and so long, that is a fair price. */
const CHEAP_WINDOWS = 10;
const CHEAP_WAIT_MS = 300_000;
/** A gap between what is refused and what is not that is not worth another flood. */
const CONVERGED_GAP = 0.04;
/** When all was quiet for long, so much faster may be right after all: limits change. */
const RETEST_FACTOR = 0.9;

/**
 * What a flood tells: the calls of the run-up, the time they took and the wait make calls per window. Where the run-up
 * begins nobody knows, so that reading is taken which is the least strict: a long idle time before it says nothing.
 *
 * @param latestFirst the calls that were let through since the flood before
 */
export function observe(
  latestFirst: Iterable<CallsAt>,
  floodedAt: number,
  waitMs: number,
): FloodObservation | undefined {
  let best: FloodObservation | undefined;
  let calls = 0;
  for (const one of latestFirst) {
    calls += one.calls;
    const spanMs = floodedAt - one.at;
    const perMs = spanMs + waitMs;
    if (best === undefined || calls * best.perMs > best.calls * perMs) best = { calls, perMs, spanMs };
  }
  return best;
}

/**
 * The first flood on a method. The calls were refused in the time they took; that the wait is what is left of the window
 * is a guess, which trials test where a wait costs little. Where it costs much, the guess is believed.
 */
export function firstEstimate({ calls, perMs, spanMs }: FloodObservation, changedAt: number): LimitEstimate {
  const isCheap = perMs - spanMs <= CHEAP_WAIT_MS;
  return { calls, perMs, refusedMs: isCheap ? spanMs : Math.max(spanMs, perMs - ROUNDING_MS), changedAt };
}

/** What a trial that went well has left behind. */
export interface Proof {
  /** What held until then. */
  readonly held: LimitEstimate | undefined;
  /** Floods since then for which the estimate was taken back. */
  readonly retreats: number;
}

/**
 * A flood although the estimate was kept. Of an estimate that nothing has proven it drops at once to what the flood tells,
 * if that is slower. One that a trial has proven goes back by steps, each twice as far as the one before, and first to
 * what held until the trial: a wait may be far longer than its window, and then tells little.
 */
export function lowered(
  estimate: LimitEstimate,
  reading: FloodObservation | undefined,
  proof: Proof | undefined,
  changedAt: number,
): LimitEstimate {
  const back = (steps: number): LimitEstimate => {
    const perMs = estimate.perMs * BACKOFF_FACTOR ** steps;
    return { ...estimate, perMs, refusedMs: estimate.perMs, changedAt };
  };
  if (reading === undefined || !isSlower(reading, estimate)) return back(1);
  if (proof === undefined) return firstEstimate(reading, changedAt);
  const { held, retreats } = proof;
  const retreat = back(2 ** Math.min(retreats, MOST_DOUBLINGS));
  if (held !== undefined && isSlower(held, estimate) && isSlower(retreat, held))
    return { ...held, refusedMs: Math.max(held.refusedMs, estimate.perMs), changedAt };
  return isSlower(retreat, reading) ? firstEstimate(reading, changedAt) : retreat;
}

function isSlower(one: CallLimit, other: CallLimit): boolean {
  return one.calls * other.perMs < other.calls * one.perMs;
}

/** Where between what is believed and what was refused trials are made, at the same time by different sessions. */
const TRIED_AT: readonly number[] = [1 / 2, 1 / 4, 3 / 4];

/**
 * The shorter times that sessions may try `calls` in; none when the limit is known well enough.
 *
 * @param waitMs what the latest flood cost; `undefined` when none was seen
 */
export function experimentsOf({ perMs, refusedMs }: LimitEstimate, waitMs: number | undefined): readonly number[] {
  const gapMs = perMs - refusedMs;
  if (gapMs <= perMs * CONVERGED_GAP) return [];
  const isCheap = waitMs !== undefined && waitMs <= Math.min(perMs * CHEAP_WINDOWS, CHEAP_WAIT_MS);
  const shortestMs = perMs * (isCheap ? MAX_STEP : CAREFUL_STEP);
  return [...new Set(TRIED_AT.map((share) => Math.max(perMs - gapMs * share, shortestMs)))];
}

/** A trial was refused. */
export function rejectExperiment(estimate: LimitEstimate, trialMs: number, changedAt: number): LimitEstimate {
  return { ...estimate, refusedMs: Math.max(estimate.refusedMs, trialMs), changedAt };
}

/** A trial went well. */
export function acceptExperiment(estimate: LimitEstimate, trialMs: number, changedAt: number): LimitEstimate {
  return { ...estimate, perMs: Math.min(estimate.perMs, trialMs), changedAt };
}

/** All was quiet for long: what was refused once is worth another trial. */
export function widen(estimate: LimitEstimate): LimitEstimate {
  return { ...estimate, refusedMs: Math.min(estimate.refusedMs, estimate.perMs * RETEST_FACTOR) };
}

/** What another process has found out; a date that is still to come, by its clock, is no later news than any other. */
export function receivedAt(estimate: LimitEstimate, date: number): LimitEstimate {
  return estimate.changedAt > date ? { ...estimate, changedAt: date } : estimate;
}

/** Of what two processes believe, what was found out later. */
export function laterOf(one: LimitEstimate | undefined, other: LimitEstimate): LimitEstimate {
  return one === undefined || other.changedAt > one.changedAt ? other : one;
}

/** Calls that a window keeps one by one; more would blur the limit. */
const KEPT_CALLS = 100;
const LONGEST_RUN_UP = 10;

/** For how long calls are remembered: some windows, because the next flood asks for what led to it. */
export function memoryMs({ calls, perMs }: CallLimit): number {
  return perMs * Math.min(Math.max(KEPT_CALLS / calls, 2), LONGEST_RUN_UP);
}
