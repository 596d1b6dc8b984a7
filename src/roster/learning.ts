import type { CallLimit } from "../budget-options.js";
import { type CallsAt, type Estimate, firstEstimate, laterOf, readingOf, receivedAt } from "./budgets.js";
import type { CallWindow } from "./call-window.js";
import { type Flood, Lesson } from "./lesson.js";

export type { Flood } from "./lesson.js";

/**
 * Learns the limits of methods from the floods of all sessions: one estimate per method for all of them.
 *
 * Pure: time is an argument, on the pool's own time line; what is recorded is dated by the wall clock.
 */
export class Learning {
  /** One for each method that has met a flood. */
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

  /** Takes in what is on record, or what others have found out. `date`: now, by the wall clock. */
  merge(method: string, recorded: Estimate, date: number): void {
    const estimate = receivedAt(recorded, date);
    const lesson = this.#lessons.get(method);
    if (lesson === undefined) this.#lessons.set(method, new Lesson(estimate));
    else if (laterOf(lesson.estimate, estimate) !== lesson.estimate) lesson.replace(estimate);
  }

  /** What a session's next call of a method is held against; `undefined`: nothing is known. */
  limitFor(id: string, method: string, window: CallWindow | undefined, now: number): CallLimit | undefined {
    return this.#lessons.get(method)?.limitFor(id, window, now);
  }

  /** A session sends a call that its limit lets through; the call is not in the window yet. Whether that told anything. */
  sent(id: string, method: string, window: CallWindow | undefined, now: number, date: number): boolean {
    return this.#lessons.get(method)?.sent(id, window, now, date) ?? false;
  }

  /** Telegram has answered a call of a session, which may have been the last one on the wire. Whether that told anything. */
  granted(id: string, method: string, { pending }: CallWindow, now: number, date: number): boolean {
    return pending === 0 && (this.#lessons.get(method)?.granted(id, now, date) ?? false);
  }

  /** A call was refused, which the window holds as the latest. Whether that told anything. */
  flooded(id: string, method: string, window: CallWindow, flood: Flood): boolean {
    const { waitMs, now, date } = flood;
    window.takeBack();
    // Calls that were on the wire together are refused together.
    if (now < window.restsUntil) return false;
    const since = window.restsUntil;
    window.restsUntil = now + waitMs;
    const reading = readingOf(answered(window, since), now, waitMs);
    const lesson = this.#lessons.get(method);
    if (lesson !== undefined) return lesson.flooded(id, reading, this.#isKept(window, lesson.estimate, now), flood);
    if (reading === undefined) return false;
    this.#lessons.set(method, new Lesson(firstEstimate(reading, date), flood));
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

/** The calls since the flood before that Telegram has answered: the latest are still on the wire. */
function* answered(window: CallWindow, since: number): Generator<CallsAt> {
  let pending = window.pending;
  for (const { at, calls } of window.latestFirst()) {
    if (at <= since) return;
    const skipped = Math.min(pending, calls);
    pending -= skipped;
    if (calls > skipped) yield { at, calls: calls - skipped };
  }
}
