import type { Clock, Timer } from "../../common/clock.js";
import type { PoolTime } from "../../common/pool-time.js";
import { callSafely, textOf, warn } from "../../common/process-warning.js";
import type { MapProgress } from "../../options/options.js";

/** What telling of progress needs. */
export interface ProgressParts {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly onProgress: ((progress: MapProgress) => void) | undefined;
  readonly total: number | undefined;
  /** Until when nothing can go on, on the pool's time line. */
  waitingUntil(): number | null;
}

const INTERVAL_MS = 1_000;

/** Counts what is over, and tells it once a second. */
export class ProgressReport {
  readonly #parts: ProgressParts;
  #done = 0;
  #failed = 0;
  #skipped = 0;
  #startedAt: number | undefined;
  #timer: Timer | undefined;
  #hasFailed = false;

  constructor(parts: ProgressParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#startedAt = this.#parts.time.now();
    if (this.#parts.onProgress !== undefined) this.#arm();
  }

  skipped(): void {
    this.#done++;
    this.#skipped++;
  }

  completed(isOk: boolean): void {
    this.#done++;
    if (!isOk) this.#failed++;
  }

  /** Tells for the last time, if it was started. */
  stop(): void {
    this.#timer?.cancel();
    if (this.#startedAt !== undefined) this.#tell();
  }

  #arm(): void {
    this.#timer = this.#parts.clock.setTimer(INTERVAL_MS, () => {
      this.#arm();
      this.#tell();
    });
  }

  /** A callback that throws or rejects stops nothing, as a listener of an event. */
  #tell(): void {
    callSafely(
      () => this.#parts.onProgress?.(this.#progress()),
      (error) => {
        if (!this.#hasFailed) warn(`onProgress failed: ${textOf(error)}`);
        this.#hasFailed = true;
      },
    );
  }

  #progress(): MapProgress {
    const { time, total } = this.#parts;
    const now = time.now();
    const worked = this.#done - this.#skipped;
    const seconds = (now - (this.#startedAt ?? now)) / 1_000;
    const perSecond = seconds > 0 ? worked / seconds : 0;
    const waitingUntil = this.#parts.waitingUntil();
    const etaAt = this.#eta(now, perSecond, waitingUntil);
    return Object.freeze({
      done: this.#done,
      ...(total === undefined ? {} : { total }),
      failed: this.#failed,
      skipped: this.#skipped,
      perSecond,
      etaAt: etaAt === null ? null : time.toWall(etaAt),
      waitingUntil: waitingUntil === null ? null : time.toWall(waitingUntil),
    });
  }

  #eta(now: number, perSecond: number, waitingUntil: number | null): number | null {
    const { total } = this.#parts;
    if (total === undefined) return null;
    const left = Math.max(total - this.#done, 0);
    if (left === 0) return now;
    return perSecond > 0 ? Math.max(now + (left / perSecond) * 1_000, waitingUntil ?? 0) : null;
  }
}

/** How many items there are, where that can be told without looking at them. */
export function sizeOf(items: unknown): number | undefined {
  if (Array.isArray(items)) return items.length;
  return items instanceof Set || items instanceof Map ? items.size : undefined;
}
