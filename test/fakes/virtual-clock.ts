import type { Clock, Timer } from "../../src/common/clock.js";

/** 2026-01-01T00:00:00Z: where the wall clock of a test begins. */
export const START: number = Date.UTC(2026, 0, 1);

interface PendingTimer {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
  isReferenced: boolean;
}

/** Lets every promise that can settle now settle, however long the chain. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Time that stands still until a test moves it. */
export class VirtualClock implements Clock {
  /** How often a timer was asked for. */
  timersMade = 0;
  #wall = START;
  #monotonic = 1_000;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    if (!Number.isFinite(delayMs)) throw new RangeError(`A timer of ${delayMs} ms.`);
    this.timersMade++;
    const timer: PendingTimer = { at: this.#monotonic + delayMs, order: this.#order++, callback, isReferenced: false };
    this.#timers.add(timer);
    return {
      cancel: () => void this.#timers.delete(timer),
      ref: () => {
        timer.isReferenced = true;
      },
      unref: () => {
        timer.isReferenced = false;
      },
    };
  }

  /** Timers that are still to fire. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Timers that would keep the process alive. */
  get referenced(): number {
    return [...this.#timers].filter((timer) => timer.isReferenced).length;
  }

  /** Moves both clocks on, running what is due in order, and all that follows from it before the next. */
  async advance(ms: number): Promise<void> {
    await settled();
    const target = this.#monotonic + ms;
    for (let timer = this.#next(target); timer !== undefined; timer = this.#next(target)) {
      this.#moveTo(Math.max(timer.at, this.#monotonic));
      this.#timers.delete(timer);
      timer.callback();
      await settled();
    }
    this.#moveTo(target);
    await settled();
  }

  /** Moves both clocks on without running anything, as a busy event loop does. */
  skip(ms: number): void {
    this.#moveTo(this.#monotonic + ms);
  }

  /** Turns the wall clock alone. */
  turnWall(ms: number): void {
    this.#wall += ms;
  }

  #moveTo(monotonic: number): void {
    this.#wall += monotonic - this.#monotonic;
    this.#monotonic = monotonic;
  }

  #next(target: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.at > target) continue;
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
    }
    return next;
  }
}
