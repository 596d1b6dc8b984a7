import type { CallLimit } from "../budget-options.js";

/** What is believed of the limit of one method: the same for every session. */
export interface Estimate extends CallLimit {
  /** `calls` in so short a time were refused, as far as anybody has tried; 0: nobody has. */
  readonly refusedMs: number;
  /** The wall clock when it was last changed. */
  readonly changedAt: number;
}

/** What one flood tells. */
export interface Reading extends CallLimit {
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
const RETREAT = 1.05;
/** So much faster a trial may be at most. */
const BOLDEST_STEP = 0.85;
/** A gap between what is refused and what is not that is not worth another flood. */
const SETTLED_GAP = 0.04;
/** When all was quiet for long, so much faster may be right after all: limits change. */
const FORGIVING = 0.9;

/**
 * What a flood tells: the calls of the run-up, the time they took and the wait make calls per window. Where the run-up
 * begins nobody knows, so that reading is taken which is the least strict: a long idle time before it says nothing.
 *
 * @param latestFirst the calls that were let through since the flood before
 */
export function readingOf(latestFirst: Iterable<CallsAt>, floodedAt: number, waitMs: number): Reading | undefined {
  let best: Reading | undefined;
  let calls = 0;
  for (const one of latestFirst) {
    calls += one.calls;
    const spanMs = floodedAt - one.at;
    const perMs = spanMs + waitMs;
    if (best === undefined || calls * best.perMs > best.calls * perMs) best = { calls, perMs, spanMs };
  }
  return best;
}

/** The first flood on a method. */
export function firstEstimate({ calls, perMs, spanMs }: Reading, changedAt: number): Estimate {
  return { calls, perMs, refusedMs: Math.max(spanMs, perMs - ROUNDING_MS), changedAt };
}

/**
 * A flood although the estimate was kept: it drops at once, to what the flood tells if that is slower. Whole seconds tell
 * it roughly: never below what `held` until a trial went further.
 */
export function dropped(
  estimate: Estimate,
  reading: Reading | undefined,
  held: Estimate | undefined,
  changedAt: number,
): Estimate {
  if (reading === undefined || !isSlower(reading, estimate)) {
    return { ...estimate, perMs: estimate.perMs * RETREAT, refusedMs: estimate.perMs, changedAt };
  }
  if (held !== undefined && isSlower(reading, held) && isSlower(held, estimate)) {
    return { ...held, refusedMs: Math.max(held.refusedMs, estimate.perMs), changedAt };
  }
  return firstEstimate(reading, changedAt);
}

function isSlower(one: CallLimit, other: CallLimit): boolean {
  return one.calls * other.perMs < other.calls * one.perMs;
}

/** Where between what is believed and what was refused trials are made, at the same time by different sessions. */
const TRIED_AT: readonly number[] = [1 / 2, 1 / 4, 3 / 4];

/** The shorter times that sessions may try `calls` in; none when the limit is known well enough. */
export function trialsOf({ perMs, refusedMs }: Estimate): readonly number[] {
  const gapMs = perMs - refusedMs;
  if (gapMs <= perMs * SETTLED_GAP) return [];
  return [...new Set(TRIED_AT.map((share) => Math.max(perMs - gapMs * share, perMs * BOLDEST_STEP)))];
}

/** A trial was refused. */
export function refuted(estimate: Estimate, trialMs: number, changedAt: number): Estimate {
  return { ...estimate, refusedMs: Math.max(estimate.refusedMs, trialMs), changedAt };
}

/** A trial went well. */
export function confirmed(estimate: Estimate, trialMs: number, changedAt: number): Estimate {
  return { ...estimate, perMs: Math.min(estimate.perMs, trialMs), changedAt };
}

/** All was quiet for long: what was refused once is worth another trial. */
export function forgiven(estimate: Estimate): Estimate {
  return { ...estimate, refusedMs: Math.min(estimate.refusedMs, estimate.perMs * FORGIVING) };
}

/** Of what two processes believe, what was found out later. */
export function laterOf(one: Estimate | undefined, other: Estimate): Estimate {
  return one === undefined || other.changedAt > one.changedAt ? other : one;
}

/** Calls that a window keeps one by one; more would blur the limit. */
const KEPT_CALLS = 100;
const LONGEST_RUN_UP = 10;

/** For how long calls are remembered: some windows, because the next flood asks for what led to it. */
export function memoryMs({ calls, perMs }: CallLimit): number {
  return perMs * Math.min(Math.max(KEPT_CALLS / calls, 2), LONGEST_RUN_UP);
}
