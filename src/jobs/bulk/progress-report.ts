import { ProgressReporter } from "../../common/progress.js";
import { WakeTimer } from "../../common/timers.js";
import type { MapProgress } from "../../options/options.js";
import type { PoolContext } from "../../pool-context.js";

/** Interval between two reports. */
const INTERVAL_MS = 1_000;

/** Counts the items of a bulk run and reports the progress once a second. */
export class ProgressReport {
  readonly #context: PoolContext;
  readonly #isSubscribed: boolean;
  readonly #total: number | undefined;
  readonly #waitingUntil: () => number | null;
  #done = 0;
  #failed = 0;
  #skipped = 0;
  #startedAt: number | undefined;
  readonly #reporter: ProgressReporter<MapProgress>;
  readonly #timer: WakeTimer;

  /** `waitingUntil` returns when any item can go on, on the pool's time line; `null` if one can, or none ever can. */
  constructor(
    context: PoolContext,
    onProgress: ((progress: MapProgress) => void) | undefined,
    total: number | undefined,
    waitingUntil: () => number | null,
  ) {
    this.#context = context;
    this.#isSubscribed = onProgress !== undefined;
    this.#reporter = new ProgressReporter("onProgress of map", onProgress, context.clock, () => this.read());
    this.#total = total;
    this.#waitingUntil = waitingUntil;
    this.#timer = new WakeTimer(context.options.clock, () => {
      this.#timer.set(INTERVAL_MS);
      this.#reporter.report();
    });
  }

  start(): void {
    this.#startedAt = this.#context.time.now();
    if (this.#isSubscribed) this.#timer.set(INTERVAL_MS);
  }

  /** Counts an item that an earlier run has finished. */
  countSkipped(): void {
    this.#done++;
    this.#skipped++;
  }

  /** Counts an item that has a result. */
  countCompleted(isOk: boolean): void {
    this.#done++;
    if (!isOk) this.#failed++;
  }

  /** Reports for the last time, if it was started. */
  stop(): void {
    this.#timer.cancel();
    if (this.#startedAt !== undefined) this.#reporter.report();
  }

  /** When the run started, epoch milliseconds; `null` before. */
  get startedAt(): number | null {
    return this.#startedAt === undefined ? null : this.#context.time.toWall(this.#startedAt);
  }

  /** The progress at this moment. */
  read(): MapProgress {
    const { time } = this.#context;
    const total = this.#total;
    const now = time.now();
    const completed = this.#done - this.#skipped;
    const seconds = (now - (this.#startedAt ?? now)) / 1_000;
    const perSecond = seconds > 0 ? completed / seconds : 0;
    const waitingUntil = this.#waitingUntil();
    const etaAt = this.#eta(now, perSecond, waitingUntil);
    return {
      done: this.#done,
      ...(total === undefined ? {} : { total }),
      failed: this.#failed,
      skipped: this.#skipped,
      perSecond,
      etaAt: etaAt === null ? null : time.toWall(etaAt),
      waitingUntil: waitingUntil === null ? null : time.toWall(waitingUntil),
    };
  }

  #eta(now: number, perSecond: number, waitingUntil: number | null): number | null {
    const total = this.#total;
    if (total === undefined) return null;
    const left = Math.max(total - this.#done, 0);
    if (left === 0) return now;
    return perSecond > 0 ? Math.max(now + (left / perSecond) * 1_000, waitingUntil ?? 0) : null;
  }
}

/** Number of items, where it is known without iterating. */
export function sizeOf(items: unknown): number | undefined {
  if (Array.isArray(items)) return items.length;
  return items instanceof Set || items instanceof Map ? items.size : undefined;
}
