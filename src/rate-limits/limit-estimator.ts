import type { CallLimit } from "../options/budgets.js";
import type { SlidingWindow } from "./call-counters.js";
import {
  acceptExperiment,
  experimentsOf,
  FEWER_CALLS,
  type FloodObservation,
  firstEstimate,
  isFilledByNext,
  type LimitEstimate,
  lowered,
  type Proof,
  rejectExperiment,
  reopened,
  shortened,
  slowerCalls,
  widen,
} from "./limit-estimate.js";

/** A flood wait. */
export interface Flood {
  readonly account: string;
  readonly waitMs: number;
  readonly now: number;
  /** The same instant in wall-clock time. */
  readonly date: number;
}

/** An account that tries whether a method permits more than the estimate. */
interface Experiment {
  readonly perMs: number;
  /** Number of successful calls that the estimate would not have permitted. */
  overLimitCalls: number;
  /** Number of those in a clearly shorter window than the estimate's. */
  samples: number;
  /** The longest window that they show. */
  shownMs: number;
  lastOverLimitAt: number;
}

/** An account that has used all of the estimate without a flood. */
interface Confirmation {
  readonly account: string;
  readonly at: number;
  /** Until when this shows that a flood of another account is about that account alone. */
  readonly until: number;
}

/** An experiment succeeds after this many full windows. */
const WINDOWS_PER_EXPERIMENT = 1;
/** With the shortest waits, which token buckets have, the reserve of a bucket hides its rate for longer. */
const WINDOWS_AFTER_SHORT_WAITS = 3;
const SHORTEST_WAIT_MS = 1_000;
/** The minimum number of calls in an experiment: with fewer, the reserve of a token bucket would hide its refill rate. */
const MIN_SAMPLES = 8;
/** An experiment ends without a result after this many windows without a call; an account then pauses for as many. */
const EXPERIMENT_TIMEOUT_WINDOWS = 4;
/** The search resumes after this many windows without a change, and this many of the waits that a mistake would cost. */
const QUIET_WINDOWS = 32;
const QUIET_WAITS = 10;
/** The first flood of a method says as long how many calls other accounts may send that are in the same burst. */
const FIRST_BURST_MS = 500;
/**
 * First waits during which experiments begin already. A shorter one says little about the window, as Telegram rounds up to
 * a second; a longer one costs too much.
 */
const EARLY_WAITS_MS = [2_000, 30_000] as const;
/** Share of an untried estimate that accounts use while one of them tries it. */
const FOLLOWERS_SHARE = 0.5;
/** Below this share of the rate a limit is not the same one measured badly, but another one. */
const OTHER_RATE = 0.85;
/** Where limits are known to differ by account, those of an account drop by this factor. */
const FEWER_STEP = 0.9;
/** A call counts in an experiment from this share of the way between the two windows on. */
const CLEAR_SAMPLE = 0.25;
/** The calls of the estimate are dropped after this many windows in which no account has used all of them, but fewer. */
const UNUSED_WINDOWS = 8;
/** For how many windows other accounts' use of the estimate shows that a flood is about one account alone. */
const CONFIRMED_WINDOWS = 3;

/**
 * The estimate that some accounts share for one method, and the search for a better one: a few accounts each try a
 * shorter window, so that a mistake costs them a flood wait and the others nothing. Pure: time is an argument.
 */
export class LimitEstimator {
  estimate: LimitEstimate;
  /** By account: a few at a time, each for some windows. */
  readonly #experiments = new Map<string, Experiment>();
  /** When an account's last experiment ended: the next one prefers another account. Entries expire after a few windows. */
  readonly #triedAt = new Map<string, number>();
  /** The latest successful experiment, which later floods may refute. */
  #proof: Proof | undefined;
  /** When the estimate has last become faster. */
  #provenAt = Number.NEGATIVE_INFINITY;
  /** The account of the latest refused experiment. */
  #refusedAccount: string | undefined;
  /** By account, the calls per window of those that are permitted fewer than the estimate says; less than 1 for longer windows. */
  readonly #fewer = new Map<string, number>();
  /** Accounts that were flooded or have sent all of their calls in one burst: their limits are known. */
  readonly #known = new Set<string>();
  /** When an account has last used all calls of the estimate, or when it is first known. */
  #fullyUsedAt: number;
  /** The latest confirmation, and the latest by another account. */
  #confirmed: Confirmation | undefined;
  #confirmedByOther: Confirmation | undefined;
  /** Since when there is nothing left to try. */
  #convergedAt: number | undefined;
  /** The wait of the latest flood; unknown for an estimate from a record. */
  #waitMs: number | undefined;
  /** From when on the first account tries an estimate that only a flood wait is known of; `undefined` once it is tried. */
  #triedFrom: number | undefined;
  /** That account, and until when the others make way for it. */
  #leader: { readonly account: string; readonly until: number } | undefined;
  /** The shortest time in which an account was permitted all calls of the estimate. */
  #burstMs: number;
  /** No experiment starts earlier: in the first window, the other accounts only use what is known to be safe. */
  readonly #experimentsFrom: number;

  /** @param first the flood that the estimate is based on, unless it is from a record */
  constructor(estimate: LimitEstimate, first?: Flood) {
    this.estimate = estimate;
    this.#waitMs = first?.waitMs;
    this.#fullyUsedAt = first?.now ?? Number.NEGATIVE_INFINITY;
    if (first !== undefined) this.#known.add(first.account);
    this.#burstMs = first === undefined ? estimate.perMs : Math.max(estimate.perMs - first.waitMs, 1);
    this.#triedFrom = first && first.now + first.waitMs;
    const isEarly = first === undefined || (first.waitMs >= EARLY_WAITS_MS[0] && first.waitMs <= EARLY_WAITS_MS[1]);
    this.#experimentsFrom = isEarly ? Number.NEGATIVE_INFINITY : first.now + estimate.perMs;
    // The calls of the first account were permitted; what its wait says of the window is not known yet.
    if (first !== undefined)
      this.#confirmed = {
        account: first.account,
        at: first.now,
        until: first.now + Math.min(first.waitMs, FIRST_BURST_MS),
      };
  }

  /** The estimate after the first flood wait of a method. */
  static after(observation: FloodObservation, flood: Flood): LimitEstimator {
    return new LimitEstimator(firstEstimate(observation, flood.date), flood);
  }

  /** The estimate for an account. */
  of(account: string): LimitEstimate {
    const calls = this.#fewer.get(account);
    if (calls === undefined) return this.estimate;
    const { perMs } = this.estimate;
    return calls < 1 ? { ...this.estimate, calls: 1, perMs: perMs / calls } : { ...this.estimate, calls };
  }

  /** Replaces the estimate by a later one of another process. */
  replace(estimate: LimitEstimate): void {
    this.estimate = estimate;
    this.#proof = undefined;
    this.#experiments.clear();
    this.#fewer.clear();
    this.#convergedAt = undefined;
    this.#burstMs = estimate.perMs;
  }

  /** The limit for the account's next call. */
  limitFor(account: string, window: SlidingWindow | undefined, now: number): CallLimit {
    this.#endStale(now);
    const own = this.of(account);
    const { calls, perMs } = own;
    if (this.#triedFrom !== undefined && now >= this.#triedFrom && !this.#isLeader(account, now))
      return { calls: Math.ceil(calls * FOLLOWERS_SHARE), perMs };
    if (!this.#experiments.has(account) && isFilledByNext(window, own, now)) this.#begin(account, now);
    const experiment = this.#experiments.get(account);
    return experiment === undefined ? own : { calls, perMs: experiment.perMs };
  }

  /** A call is sent, and is not in the window yet. Returns whether the estimate became faster. */
  onSent(account: string, window: SlidingWindow | undefined, now: number, date: number): boolean {
    const experiment = this.#experiments.get(account);
    if (experiment === undefined) return false;
    const own = this.of(account);
    const freeAt = window?.nextAllowedAt(own) ?? 0;
    if (freeAt <= now) return false;
    experiment.lastOverLimitAt = now;
    experiment.overLimitCalls++;
    const shownMs = now - freeAt + own.perMs;
    if (shownMs > own.perMs - (own.perMs - experiment.perMs) * CLEAR_SAMPLE) return false;
    experiment.shownMs = Math.max(experiment.shownMs, shownMs);
    // The call itself is not answered yet.
    return ++experiment.samples > this.#minSamples(account) && this.#accept(account, experiment, now, date);
  }

  /** All calls of the account are answered, the latest without an error. Returns whether the estimate became faster. */
  onSuccess(account: string, window: SlidingWindow, now: number, date: number): boolean {
    const experiment = this.#experiments.get(account);
    if (experiment !== undefined && experiment.samples >= this.#minSamples(account))
      return this.#accept(account, experiment, now, date);
    const own = this.of(account);
    const freeAt = window.nextAllowedAt(own);
    if (freeAt > now) this.#onFullyUsed(account, Math.max(now - (freeAt - own.perMs), 1), now);
    // The reserve of a token bucket permits all calls once.
    if (window.countSince(now - 2 * own.perMs) >= 2 * own.calls) this.#confirm(account, now);
    if (this.#triedFrom === undefined || this.#leader?.account !== account) return false;
    if (window.countSince(this.#triedFrom - 1) < this.#windows * own.calls) return false;
    this.#triedFrom = undefined;
    return true;
  }

  /** Returns whether the flood refutes an experiment of the account. */
  rejectExperiment({ account, waitMs, now, date }: Flood): boolean {
    const experiment = this.#experiments.get(account);
    if (experiment === undefined || experiment.overLimitCalls === 0) return false;
    this.#waitMs = waitMs;
    this.#refusedAccount = account;
    this.estimate = rejectExperiment(this.estimate, experiment.perMs, waitMs, date);
    // Bolder experiments would be refused as well.
    this.#end(now, ({ perMs }) => perMs <= experiment.perMs);
    return true;
  }

  /** An account that was permitted more than the estimate says was flooded: those that were flooded before have lower limits. */
  raise(observation: FloodObservation, { account, waitMs, date, now }: Flood, flooded: ReadonlySet<string>): void {
    const { calls } = this.estimate;
    // Calls at a steady pace are another reading of the same limit, as they fit into windows of any length.
    if (calls <= observation.calls * FEWER_CALLS && observation.spanMs <= waitMs) {
      this.#known.clear();
      for (const one of flooded) {
        this.#known.add(one);
        if (!this.#fewer.has(one)) this.#fewer.set(one, calls);
      }
      for (const one of this.#experiments.keys()) if (!this.#known.has(one)) this.#experiments.delete(one);
      this.estimate = firstEstimate(observation, date);
      this.#burstMs = observation.spanMs;
      this.#fullyUsedAt = now;
    }
    this.#known.add(account);
  }

  /** Gives an account a lower limit than the others' if the flood is about that account alone. Returns whether it is. */
  slow(window: SlidingWindow, flood: Flood): boolean {
    const { account } = flood;
    const calls = this.#fewerCalls(window, flood);
    if (calls === undefined) return false;
    this.#fewer.set(account, calls);
    this.#known.add(account);
    this.#experiments.delete(account);
    this.#triedAt.delete(account);
    // A refusal that the account has met says nothing about the others.
    if (this.#refusedAccount === account && calls < this.estimate.calls * OTHER_RATE) {
      this.#refusedAccount = undefined;
      this.estimate = reopened(this.estimate);
      this.#convergedAt = undefined;
    }
    return true;
  }

  /** Returns whether the flood shows that the limit is one for fewer calls in a shorter window. */
  shorten(observation: FloodObservation, { waitMs, now, date }: Flood): boolean {
    // Where limits are known to differ by account, fewer calls may be the limit of this one.
    if (this.#fewer.size > 0) return false;
    const estimate = shortened(this.estimate, observation, this.#burstMs, date);
    if (estimate === undefined) return false;
    this.#waitMs = waitMs;
    this.estimate = estimate;
    this.#burstMs = observation.spanMs;
    this.#proof = undefined;
    this.#end(now, () => true);
    return true;
  }

  /** An account was flooded although it kept within the estimate. */
  lower(observation: FloodObservation, { waitMs, now, date }: Flood): void {
    this.#waitMs = waitMs;
    const { calls } = this.estimate;
    this.estimate = lowered(this.estimate, observation, this.#proof, date);
    if (this.estimate.calls !== calls) {
      this.#burstMs = observation.spanMs;
      this.#fewer.clear();
    }
    this.#proof = this.#proof && { ...this.#proof, retreats: this.#proof.retreats + 1 };
    if (this.#proof === undefined || this.estimate.perMs === observation.perMs) {
      this.#proof = undefined;
      this.#triedFrom = now;
      this.#leader = undefined;
    }
    this.#confirmed = undefined;
    this.#confirmedByOther = undefined;
    this.#end(now, () => true);
  }

  /** Whether the account is the one that tries the estimate before the others use all of it. */
  #isLeader(account: string, now: number): boolean {
    if (this.#leader === undefined || now >= this.#leader.until)
      this.#leader = { account, until: now + (1 + this.#windows) * this.estimate.perMs };
    return this.#leader.account === account;
  }

  /** The calls per window of an account whose limit is lower than the others'; `undefined` if the flood may be about all of them. */
  #fewerCalls(window: SlidingWindow, { account, waitMs, now }: Flood): number | undefined {
    const { calls, perMs } = this.of(account);
    if (!this.#isKnown(account)) {
      const lower = [...this.#fewer.values()].filter((fewer) => fewer < calls);
      if (lower.length > 0) return Math.max(...lower);
    }
    const fewer = this.#fewer.get(account);
    // After the shortest wait, the calls before it may be what is left of a bucket's reserve.
    const slower =
      waitMs > SHORTEST_WAIT_MS && fewer === undefined
        ? slowerCalls(this.estimate, this.#heldBefore(now), window, now)
        : undefined;
    const isLikeOther = slower !== undefined && Array.from(this.#fewer.values()).includes(slower);
    if (!isLikeOther && !this.#isConfirmedByOthers(account, now)) return undefined;
    if (fewer !== undefined) return fewer > 1 ? Math.max(Math.floor(fewer * FEWER_STEP), 1) : fewer * FEWER_STEP;
    // More of them were permitted lately than at the end of one window and in the next, as after a stall of the wire.
    const hadMore = slower !== undefined && this.#proof !== undefined && window.countSince(now - perMs) > 2 * slower;
    return hadMore && !isLikeOther ? undefined : slower;
  }

  /** The estimate before the latest successful experiment, for accounts that meet the faster one now. */
  #heldBefore(now: number): LimitEstimate | undefined {
    return now - this.#provenAt < 2 * this.estimate.perMs ? this.#proof?.held : undefined;
  }

  /** Whether other accounts have used all of their limits lately: a flood within them is then about this account alone. */
  #isConfirmedByOthers(account: string, now: number): boolean {
    if (this.#triedFrom !== undefined && now >= this.#triedFrom) return false;
    const by = this.#confirmed?.account === account ? this.#confirmedByOther : this.#confirmed;
    return by !== undefined && now < by.until;
  }

  /** Whether the limit of the account is known, where limits differ by account. */
  #isKnown(account: string): boolean {
    return this.#fewer.size === 0 || this.#known.has(account);
  }

  /** An account has used all of its limit without a flood: the calls of one window within `spanMs`. */
  #onFullyUsed(account: string, spanMs: number, now: number): void {
    if (spanMs <= Math.max(2 * this.#burstMs, this.estimate.refusedMs)) this.#known.add(account);
    if (this.#fewer.has(account)) this.#dropUnused(now);
    else {
      this.#burstMs = Math.min(this.#burstMs, spanMs);
      this.#fullyUsedAt = now;
    }
  }

  /** If no account has used all calls of the estimate lately, drops them: the limits of most accounts are lower. */
  #dropUnused(now: number): void {
    if (now - this.#fullyUsedAt <= UNUSED_WINDOWS * this.estimate.perMs) return;
    const calls = Math.max(...this.#fewer.values());
    if (calls < 1) return;
    this.estimate = { ...this.estimate, calls };
    for (const [account, fewer] of this.#fewer) if (fewer === calls) this.#fewer.delete(account);
  }

  /** Number of calls that make an experiment. */
  #minSamples(account: string): number {
    return Math.max(MIN_SAMPLES, this.#windows * this.of(account).calls);
  }

  /** Number of full windows after which an experiment succeeds. */
  get #windows(): number {
    const isShort = this.#waitMs !== undefined && this.#waitMs <= SHORTEST_WAIT_MS;
    return isShort ? WINDOWS_AFTER_SHORT_WAITS : WINDOWS_PER_EXPERIMENT;
  }

  #confirm(account: string, at: number): void {
    if (this.#confirmed !== undefined && this.#confirmed.account !== account) this.#confirmedByOther = this.#confirmed;
    this.#confirmed = { account, at, until: at + CONFIRMED_WINDOWS * this.estimate.perMs };
  }

  #accept(account: string, experiment: Experiment, now: number, date: number): true {
    this.#proof = { held: this.estimate, retreats: 0 };
    this.#triedFrom = undefined;
    this.#provenAt = now;
    this.estimate = acceptExperiment(this.estimate, Math.max(experiment.perMs, experiment.shownMs), date);
    this.#confirmed = undefined;
    this.#confirm(account, now);
    // This result also settles the more cautious experiments.
    this.#end(now, ({ perMs }) => perMs >= experiment.perMs);
    return true;
  }

  #begin(account: string, now: number): void {
    if (now < this.#experimentsFrom || !this.#isKnown(account)) return;
    const candidates = experimentsOf(this.estimate, this.#waitMs);
    const { perMs } = this.estimate;
    if (candidates.length === 0) {
      this.#convergedAt ??= now;
      if (now - this.#convergedAt < Math.max(QUIET_WINDOWS * perMs, QUIET_WAITS * (this.#waitMs ?? 0))) return;
      this.estimate = widen(this.estimate);
      // Limits change: one account at a time tries those of the others again.
      for (const [slower] of this.#fewer) {
        this.#fewer.delete(slower);
        break;
      }
      this.#convergedAt = undefined;
      return;
    }
    if (now - (this.#triedAt.get(account) ?? Number.NEGATIVE_INFINITY) < EXPERIMENT_TIMEOUT_WINDOWS * perMs) return;
    const running = Array.from(this.#experiments.values(), (experiment) => experiment.perMs);
    const next = candidates.find((candidate) => !running.includes(candidate));
    if (next !== undefined && running.length < candidates.length)
      this.#experiments.set(account, { perMs: next, overLimitCalls: 0, samples: 0, shownMs: 0, lastOverLimitAt: now });
  }

  #endStale(now: number): void {
    if (this.#experiments.size === 0) return;
    const staleBefore = now - EXPERIMENT_TIMEOUT_WINDOWS * this.estimate.perMs;
    this.#end(now, ({ lastOverLimitAt }) => lastOverLimitAt < staleBefore, false);
  }

  #end(now: number, isOver: (experiment: Experiment) => boolean, hasResult = true): void {
    for (const [account, experiment] of this.#experiments) {
      if (!isOver(experiment)) continue;
      this.#experiments.delete(account);
      this.#triedAt.set(account, now);
    }
    if (hasResult) this.#convergedAt = undefined;
    for (const [account, at] of this.#triedAt) {
      if (now - at >= EXPERIMENT_TIMEOUT_WINDOWS * this.estimate.perMs) this.#triedAt.delete(account);
    }
  }
}
