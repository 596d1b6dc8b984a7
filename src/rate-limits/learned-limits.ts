import type { PoolTime } from "../common/pool-time.js";
import type { OutgoingRequest } from "../connections/client-adapter.js";
import { BUDGETS_ID, type LearnedLimitsRecord } from "../storage/learned-limits-record.js";
import type { StoredRecord } from "../storage/storage.js";
import type { Verdict } from "../telegram/verdicts.js";
import type { AppliedLimit } from "./call-counters.js";
import { memoryMs } from "./limit-estimate.js";
import { LimitLearner } from "./limit-learner.js";
import { decodeEstimates, encodeEstimates } from "./recorded-estimates.js";
import { WindowedLimits } from "./windowed-limits.js";

/** What learning limits needs. */
export interface LearntLimitsParts {
  readonly time: PoolTime;
  readonly record: LearnedLimitsRecord;
  /** Lets `close` wait for it; tells when it fails. */
  later(work: Promise<void>): void;
  /** The record of that id cannot be read. */
  rejected(id: string, reason: string): void;
}

/** Calls of a method without an estimate are remembered for so long, because a flood may ask for them. */
const MEMORY_MS = 3_600_000;

/** Floods that tell how often a method may be called. Others (slow mode, a takeout, a fresh login) are no limits of rate. */
const RATE_FLOODS: ReadonlySet<string> = new Set(["FLOOD_WAIT", "FLOOD_PREMIUM_WAIT"]);

/** The limits that floods have told, in step with their record. */
export class LearnedLimits extends WindowedLimits {
  readonly #parts: LearntLimitsParts;
  readonly #learning: LimitLearner;
  #isSaving = false;
  #isChanged = false;

  constructor(parts: LearntLimitsParts) {
    super();
    this.#parts = parts;
    this.#learning = new LimitLearner(parts.time.now());
  }

  protected override allowances(id: string, { method }: OutgoingRequest, now: number): readonly AppliedLimit[] {
    const limit = this.#learning.limitFor(id, method, this.spending.window(id, method), now);
    if (limit === undefined) {
      return [{ method, peer: undefined, calls: Number.POSITIVE_INFINITY, perMs: MEMORY_MS, retentionMs: MEMORY_MS }];
    }
    const { calls, perMs } = limit;
    return [{ method, peer: undefined, calls, perMs, retentionMs: memoryMs(limit) }];
  }

  protected override sending(id: string, { method }: OutgoingRequest, now: number): void {
    const { time } = this.#parts;
    if (this.#learning.onSent(id, method, this.spending.window(id, method), now, time.wallNow())) this.#save();
  }

  protected override counted(id: string, { method }: OutgoingRequest): void {
    const window = this.spending.window(id, method);
    if (window !== undefined) window.pending++;
  }

  settled(id: string, { method }: OutgoingRequest, isGranted: boolean): void {
    const window = this.spending.window(id, method);
    if (window === undefined) return;
    if (window.pending > 0) window.pending--;
    const { time } = this.#parts;
    if (isGranted && this.#learning.onSuccess(id, method, window, time.now(), time.wallNow())) this.#save();
  }

  refused(id: string, { method }: OutgoingRequest, verdict: Verdict): void {
    const { kind, scope, code, seconds, isGuess } = verdict;
    const window = this.spending.window(id, method);
    // Of scope "method" it is about the number that a code was asked for.
    if (
      kind !== "cooldown" ||
      scope !== "session" ||
      !RATE_FLOODS.has(code) ||
      seconds === null ||
      isGuess ||
      window === undefined
    )
      return;
    const { time } = this.#parts;
    const flood = { waitMs: seconds * 1000, now: time.now(), date: time.wallNow() };
    if (this.#learning.onFlood(id, method, window, flood)) this.#save();
  }

  load(records: readonly StoredRecord[]): void {
    for (const stored of records) {
      const data = this.#parts.record.read(stored);
      if (data !== undefined) this.#merge(data);
    }
  }

  /** Writes what a failed write has left. Rejects as the storage does. */
  async flush(): Promise<void> {
    if (!this.#isSaving) await this.#write();
  }

  #merge(data: string): void {
    const date = this.#parts.time.wallNow();
    try {
      for (const [method, estimate] of decodeEstimates(data)) this.#learning.merge(method, estimate, date);
    } catch (error) {
      this.#parts.record.reject();
      this.#parts.rejected(BUDGETS_ID, error instanceof Error ? error.message : String(error));
    }
  }

  /** One write at a time; what changes meanwhile goes with the next. */
  #save(): void {
    this.#isChanged = true;
    if (this.#isSaving) return;
    this.#isSaving = true;
    const saved = this.#write().finally(() => {
      this.#isSaving = false;
    });
    this.#parts.later(saved);
  }

  async #write(): Promise<void> {
    const { record } = this.#parts;
    while (this.#isChanged) {
      this.#isChanged = false;
      const current = (): string => encodeEstimates(this.#learning.estimates());
      let isWritten = false;
      try {
        isWritten = await record.write(current, (data) => this.#merge(data));
      } finally {
        if (!isWritten) this.#isChanged = true;
      }
      if (!isWritten) return;
    }
  }
}
