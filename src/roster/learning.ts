import type { CallLimit } from "../budget-options.js";
import {
  confirmed,
  dropped,
  type Estimate,
  firstEstimate,
  forgiven,
  laterOf,
  readingOf,
  refuted,
  trialOf,
} from "./budgets.js";
import type { CallWindow } from "./call-window.js";

/** One session that tries whether a method bears more. */
interface Trial {
  readonly id: string;
  readonly perMs: number;
  /** Calls that the estimate would not have let through, and nobody refused. */
  dared: number;
  daredAt: number;
}

/** What is known of one method. */
interface Lesson {
  estimate: Estimate;
  trial: Trial | undefined;
  /** Who tried last, and until when: the next trial is another session's, if there is one. */
  lastTrier: string | undefined;
  lastTriedAt: number;
  /** Since when nothing is to be found out; `undefined`: it is. */
  settledAt: number | undefined;
}

/** One flood. */
export interface Flood {
  readonly waitMs: number;
  readonly now: number;
  /** The same by the wall clock. */
  readonly date: number;
}

/** A trial has gone well after so many windows full of calls. */
const WINDOWS_PER_TRIAL = 2;
/** And at least so many calls: what a token bucket has saved up would hide that it refills more slowly. */
const CALLS_PER_TRIAL = 8;
/** A trial that nobody carries on for so many windows is over; then the same session may try again. */
const LOST_AFTER_WINDOWS = 4;
/** After so many windows without news the search begins anew. */
const QUIET_WINDOWS = 32;

/**
 * Learns the limits of methods from the floods of all sessions. The estimate is one per method; only one session at a
 * time tries whether a bit more is let through, so that a mistake costs one flood and not one for every session.
 *
 * Pure: time is an argument, on the pool's own time line; what is recorded is dated by the wall clock.
 */
export class Learning {
  readonly #lessons = new Map<string, Lesson>();
  /** What was sent before is not known. */
  readonly #since: number;

  constructor(since: number) {
    this.#since = since;
  }

  /** What every session may send, by method. */
  estimates(): ReadonlyMap<string, Estimate> {
    return new Map(Array.from(this.#lessons, ([method, { estimate }]) => [method, estimate]));
  }

  /** Takes in what is on record, or what others have found out. */
  merge(method: string, estimate: Estimate): void {
    const lesson = this.#lessons.get(method);
    const later = laterOf(lesson?.estimate, estimate);
    if (lesson === undefined) this.#lessons.set(method, lessonOf(later));
    else if (later !== lesson.estimate) Object.assign(lesson, lessonOf(later));
  }

  /** What a session's next call of a method is held against; `undefined`: nothing is known. */
  limitFor(id: string, method: string, window: CallWindow | undefined, now: number): CallLimit | undefined {
    const lesson = this.#lessons.get(method);
    if (lesson === undefined) return undefined;
    const { estimate, trial } = lesson;
    if (trial !== undefined && now - trial.daredAt > LOST_AFTER_WINDOWS * estimate.perMs) endTrial(lesson, now);
    if (lesson.trial === undefined && isFilledByNext(window, estimate, now)) begin(lesson, id, now);
    return lesson.trial?.id === id ? { calls: estimate.calls, perMs: lesson.trial.perMs } : estimate;
  }

  /** A session sends a call that its limit lets through; the call is not in the window yet. Whether that told anything. */
  sent(id: string, method: string, window: CallWindow | undefined, now: number, date: number): boolean {
    const lesson = this.#lessons.get(method);
    if (lesson?.trial === undefined || lesson.trial.id !== id) return false;
    const { estimate, trial } = lesson;
    if ((window?.freeFrom(estimate) ?? 0) <= now) return false;
    trial.daredAt = now;
    if (++trial.dared <= Math.max(CALLS_PER_TRIAL, WINDOWS_PER_TRIAL * estimate.calls)) return false;
    lesson.estimate = confirmed(estimate, trial.perMs, date);
    endTrial(lesson, now);
    return true;
  }

  /** A call was refused, which the window holds as the latest. Whether that told anything. */
  flooded(id: string, method: string, window: CallWindow, { waitMs, now, date }: Flood): boolean {
    window.takeBack();
    // Calls that were on the wire together are refused together.
    if (now < window.restsUntil) return false;
    const since = window.restsUntil;
    window.restsUntil = now + waitMs;
    const reading = readingOf(answered(window, since), now, waitMs);
    const lesson = this.#lessons.get(method);
    if (lesson === undefined) {
      if (reading === undefined) return false;
      this.#lessons.set(method, lessonOf(firstEstimate(reading, date)));
      return true;
    }
    const { estimate, trial } = lesson;
    if (trial?.id === id) {
      lesson.estimate = refuted(estimate, trial.perMs, date);
      endTrial(lesson, now);
      return true;
    }
    if (reading === undefined || !this.#isKept(window, estimate, now)) return false;
    lesson.estimate = dropped(estimate, reading, date);
    endTrial(lesson, now);
    return true;
  }

  /** Whether the session was within the estimate: otherwise the flood is for what it sent before that was known. */
  #isKept(window: CallWindow, { calls, perMs }: Estimate, now: number): boolean {
    if (now - this.#since < perMs) return false;
    let sent = 1;
    for (const one of window.latestFirst()) if (one.at > now - perMs) sent += one.calls;
    return sent <= calls;
  }
}

function lessonOf(estimate: Estimate): Lesson {
  return { estimate, trial: undefined, lastTrier: undefined, lastTriedAt: 0, settledAt: undefined };
}

/** Whether one more call spends the budget: only who uses it up can find out what lies beyond. */
function isFilledByNext(window: CallWindow | undefined, { calls, perMs }: CallLimit, now: number): boolean {
  return calls === 1 || (window?.freeFrom({ calls: calls - 1, perMs }) ?? 0) > now;
}

function begin(lesson: Lesson, id: string, now: number): void {
  const { estimate, lastTrier, lastTriedAt } = lesson;
  const trialMs = trialOf(estimate);
  if (trialMs === undefined) {
    lesson.settledAt ??= now;
    if (now - lesson.settledAt < QUIET_WINDOWS * estimate.perMs) return;
    lesson.estimate = forgiven(estimate, estimate.changedAt);
    lesson.settledAt = undefined;
    return;
  }
  if (id === lastTrier && now - lastTriedAt < LOST_AFTER_WINDOWS * estimate.perMs) return;
  lesson.trial = { id, perMs: trialMs, dared: 0, daredAt: now };
}

function endTrial(lesson: Lesson, now: number): void {
  if (lesson.trial !== undefined) {
    lesson.lastTrier = lesson.trial.id;
    lesson.lastTriedAt = now;
  }
  lesson.trial = undefined;
  lesson.settledAt = undefined;
}

/** The calls since the flood before that Telegram has answered: the latest are still on the wire. */
function* answered(window: CallWindow, since: number): Generator<{ readonly at: number; readonly calls: number }> {
  let pending = window.pending;
  for (const { at, calls } of window.latestFirst()) {
    if (at <= since) return;
    const skipped = Math.min(pending, calls);
    pending -= skipped;
    if (calls > skipped) yield { at, calls: calls - skipped };
  }
}
