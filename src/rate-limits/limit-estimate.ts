import type { CallLimit } from "../options/budgets.js";
import type { CallsAt, SlidingWindow } from "./call-counters.js";

/** The estimated rate limit of one method, the same for every session. */
export interface LimitEstimate extends CallLimit {
  /** The longest window in which `calls` are known to be refused; 0 if none is. */
  readonly refusedMs: number;
  /** When it was last changed, in wall-clock time. */
  readonly changedAt: number;
}

/** The rate limit that follows from one flood wait. */
export interface FloodObservation extends CallLimit {
  /** The duration of the calls, without the wait. */
  readonly spanMs: number;
}

/** Waits are whole seconds, rounded up. Source: the X of FLOOD_WAIT_X, core.telegram.org/api/errors#420-flood. */
const ROUNDING_MS = 1_000;
/** Factor by which the window grows after a flood wait that does not say by how much. */
const BACKOFF_FACTOR = 1.05;
/** Maximum number of times that a step back is doubled: the longest step is a factor of a little more than two. */
const MAX_DOUBLINGS = 4;
/** The shortest window of an experiment as a share of the estimate's, where a refusal is cheap and where it is not. */
const MAX_STEP = 0.6;
const CAREFUL_STEP = 0.85;
/**
 * The same after a wait that is long, and still cheap: while a window that is far too long is shortened in small steps, all
 * accounts lose more than one of them by a refusal.
 */
const BOLD_STEP = 0.25;
const LONG_WAIT_MS = 5_000;
/** A refused experiment costs its session one wait, which is cheap up to this many windows and milliseconds. */
const CHEAP_WINDOWS = 10;
const CHEAP_WAIT_MS = 300_000;
/** A gap between refused and permitted windows, as a share of the estimate's, that is not worth another flood wait. */
const CONVERGED_GAP = 0.06;
/** The refused window, as a share of the estimate's, when it is not known any more. */
const REOPENED = 0.4;
/** Factor by which a shorter window is tried again after a long time without a change, as limits may have changed. */
const RETEST_FACTOR = 0.9;

/**
 * The rate limit that follows from a flood wait: the calls before it, in their duration plus the wait. How many of the
 * calls count is unknown, so the least strict reading is taken: an idle time before them means nothing.
 *
 * @param latestFirst the calls that were permitted since the previous flood wait
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
 * The estimate after the first flood wait of a method. The calls are known to be refused in their duration; that the wait
 * is the rest of the window is a guess, which experiments test where a wait is cheap, and which is believed where not.
 */
export function firstEstimate({ calls, perMs, spanMs }: FloodObservation, changedAt: number): LimitEstimate {
  const isCheap = perMs - spanMs <= CHEAP_WAIT_MS;
  return { calls, perMs, refusedMs: isCheap ? spanMs : Math.max(spanMs, perMs - ROUNDING_MS), changedAt };
}

/** The latest successful experiment. */
export interface Proof {
  /** The estimate before it. */
  readonly held: LimitEstimate | undefined;
  /** Number of flood waits since then that lowered the estimate. */
  readonly retreats: number;
}

/**
 * The estimate after a flood wait of a session that kept within it. An estimate without a successful experiment is
 * replaced by the observation at once, if that is slower. One with a successful experiment is lowered in steps, each
 * twice the one before, and at first to the estimate before the experiment: a wait may be far longer than the window it
 * is for, and then says little.
 */
export function lowered(
  estimate: LimitEstimate,
  observation: FloodObservation | undefined,
  proof: Proof | undefined,
  changedAt: number,
): LimitEstimate {
  const back = (steps: number): LimitEstimate => {
    const perMs = estimate.perMs * BACKOFF_FACTOR ** steps;
    return { ...estimate, perMs, refusedMs: estimate.perMs, changedAt };
  };
  if (observation === undefined || !isSlower(observation, estimate)) return back(1);
  if (proof === undefined) return firstEstimate(withoutReserve(observation, estimate), changedAt);
  const { held, retreats } = proof;
  const retreat = back(2 ** Math.min(retreats, MAX_DOUBLINGS));
  if (held !== undefined && isSlower(held, estimate) && isSlower(retreat, held))
    return { ...held, refusedMs: Math.max(held.refusedMs, estimate.perMs), changedAt };
  return isSlower(retreat, observation) ? firstEstimate(withoutReserve(observation, estimate), changedAt) : retreat;
}

/** Up to this share of the calls are fewer than the limit of others, not as many at another pace. */
export const FEWER_CALLS = 0.75;
/** A rate of at least this share may be the same, as a wait that is longer than the window makes a rate seem slower. */
const SAME_RATE_AT_LEAST = 0.7;
/** A burst is clearly faster than others by this factor. */
const FASTER_BURST = 1.25;

/**
 * The estimate after a flood wait that came after clearly fewer calls, at about the same rate, and in a faster burst than
 * any before: the window is shorter than it seemed, as calls at a steady pace fit into windows of any length. `undefined`
 * if that is not so.
 *
 * @param burstMs the shortest time in which all calls of the estimate were permitted
 */
export function shortened(
  estimate: LimitEstimate,
  observation: FloodObservation,
  burstMs: number,
  changedAt: number,
): LimitEstimate | undefined {
  if (observation.calls > estimate.calls * FEWER_CALLS || isSlower(observation, estimate, SAME_RATE_AT_LEAST))
    return undefined;
  if (observation.calls * burstMs < estimate.calls * observation.spanMs * FASTER_BURST) return undefined;
  const perMs = Math.max(observation.perMs, (estimate.perMs * observation.calls) / estimate.calls);
  return firstEstimate({ ...observation, perMs }, changedAt);
}

/** The same rate for at most as many calls as in the estimate: more of them at once may be more than the limit permits. */
function withoutReserve(observation: FloodObservation, { calls }: CallLimit): FloodObservation {
  if (observation.calls <= calls) return observation;
  const share = calls / observation.calls;
  return { calls, perMs: observation.perMs * share, spanMs: observation.spanMs * share };
}

/** Whether the rate of one limit is below that of the other, or below a share of it. */
function isSlower(one: CallLimit, other: CallLimit, share = 1): boolean {
  return one.calls * other.perMs < other.calls * one.perMs * share;
}

/** Calls in up to this share of a window are one burst. */
const BURST_SHARE = 0.05;
/** The least share of the calls in the latest half of a window that are in its latest burst. */
const MOST_CALLS = 0.75;
/** Up to this share of the calls are the limit of one account, not what a token bucket has left for all of them. */
const CLEARLY_FEWER = 0.65;
/** A smaller step of an experiment may have succeeded by chance, because it was about what the wire varies by. */
const CLEAR_STEP = 1.15;

/**
 * The calls per window that an account is permitted which was flooded within the estimate of others: those of its latest
 * burst, or as many as before the estimate became faster. `undefined` if the flood may be about all of them.
 *
 * @param held the estimate that was replaced lately
 */
export function slowerCalls(
  { calls, perMs }: LimitEstimate,
  held: LimitEstimate | undefined,
  window: SlidingWindow,
  now: number,
): number | undefined {
  const { value: latest } = window.latestFirst().next();
  const sent = window.countSince((latest?.at ?? now) - perMs * BURST_SHARE);
  // At a steady pace, fewer calls are in any part of the window.
  if (window.countSince(now - perMs / 2) * MOST_CALLS > sent) return undefined;
  if (sent >= 1 && sent <= calls * CLEARLY_FEWER) return sent;
  if (held === undefined || held.perMs <= perMs * CLEAR_STEP) return undefined;
  const share = (calls * perMs) / held.perMs;
  return share < 1 ? share : Math.floor(share);
}

/** Positions between the estimate and the refused window that experiments try, at the same time by different sessions. */
const EXPERIMENT_POSITIONS: readonly number[] = [1 / 2, 1 / 4, 3 / 4];

/**
 * The shorter windows that sessions may try; none if the limit is known well enough.
 *
 * @param waitMs the wait of the latest flood; `undefined` if none was seen
 */
export function experimentsOf({ perMs, refusedMs }: LimitEstimate, waitMs: number | undefined): readonly number[] {
  const gapMs = perMs - refusedMs;
  if (gapMs <= perMs * CONVERGED_GAP) return [];
  const shortestMs = perMs * shortestStep(perMs, waitMs);
  return [...new Set(EXPERIMENT_POSITIONS.map((share) => Math.max(perMs - gapMs * share, shortestMs)))];
}

function shortestStep(perMs: number, waitMs: number | undefined): number {
  const isCheap = waitMs !== undefined && waitMs <= Math.min(perMs * CHEAP_WINDOWS, CHEAP_WAIT_MS);
  if (!isCheap) return CAREFUL_STEP;
  return waitMs > LONG_WAIT_MS ? BOLD_STEP : MAX_STEP;
}

/**
 * The estimate after an experiment was refused. If the wait ends with the known window, it may be the rest of the window,
 * known to a second.
 */
export function rejectExperiment(
  estimate: LimitEstimate,
  experimentMs: number,
  waitMs: number,
  changedAt: number,
): LimitEstimate {
  const endMs = experimentMs + waitMs;
  const restMs = endMs <= estimate.perMs + ROUNDING_MS / 10 ? endMs - ROUNDING_MS : 0;
  return { ...estimate, refusedMs: Math.max(estimate.refusedMs, experimentMs, restMs), changedAt };
}

/** The estimate when its latest refusals are void. */
export function reopened(estimate: LimitEstimate): LimitEstimate {
  return { ...estimate, refusedMs: Math.min(estimate.refusedMs, estimate.perMs * REOPENED) };
}

/** The estimate after an experiment has succeeded. */
export function acceptExperiment(estimate: LimitEstimate, experimentMs: number, changedAt: number): LimitEstimate {
  return { ...estimate, perMs: Math.min(estimate.perMs, experimentMs), changedAt };
}

/** The estimate after a long time without a change: what was refused may be tried again. */
export function widen(estimate: LimitEstimate): LimitEstimate {
  return { ...estimate, refusedMs: Math.min(estimate.refusedMs, estimate.perMs * RETEST_FACTOR) };
}

/** An estimate of another process. A date in the future, by the other clock, counts as now. */
export function receivedAt(estimate: LimitEstimate, date: number): LimitEstimate {
  return estimate.changedAt > date ? { ...estimate, changedAt: date } : estimate;
}

/** The later of two estimates. */
export function laterOf(one: LimitEstimate | undefined, other: LimitEstimate): LimitEstimate {
  return one === undefined || other.changedAt > one.changedAt ? other : one;
}

/** Number of calls that a window stores exactly. */
const EXACT_CALLS = 100;
/** Maximum number of the limit's windows for which calls are remembered. */
const MAX_REMEMBERED_WINDOWS = 10;

/** Milliseconds for which calls are remembered: several windows, because the next flood wait depends on the calls before. */
export function retentionMsOf({ calls, perMs }: CallLimit): number {
  return perMs * Math.min(Math.max(EXACT_CALLS / calls, 2), MAX_REMEMBERED_WINDOWS);
}

/** Whether one more call exhausts the limit: only an account that uses all of it can find out what lies beyond. */
export function isFilledByNext(window: SlidingWindow | undefined, { calls, perMs }: CallLimit, now: number): boolean {
  return calls === 1 || (window?.nextAllowedAt({ calls: calls - 1, perMs }) ?? 0) > now;
}
