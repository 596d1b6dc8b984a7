import type { OutgoingRequest } from "../../connections/client-adapter.js";
import { BUDGETS_ID, type BudgetRecord } from "../../records/budget-record.js";
import type { StoredRecord } from "../../records/storage.js";
import { memoryMs } from "../../roster/budgets.js";
import { Learning } from "../../roster/learning.js";
import type { Allowance } from "../../roster/spending.js";
import type { Verdict } from "../../telegram/verdicts.js";
import type { TimeLine } from "../time-line.js";
import { CountedLimits } from "./counted-limits.js";
import { decodeEstimates, encodeEstimates } from "./recorded-estimates.js";

/** What learning limits needs. */
export interface LearntLimitsParts {
  readonly time: TimeLine;
  readonly record: BudgetRecord;
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
export class LearntLimits extends CountedLimits {
  readonly #parts: LearntLimitsParts;
  readonly #learning: Learning;
  #isSaving = false;
  #isChanged = false;

  constructor(parts: LearntLimitsParts) {
    super();
    this.#parts = parts;
    this.#learning = new Learning(parts.time.now());
  }

  protected override allowances(id: string, { method }: OutgoingRequest, now: number): readonly Allowance[] {
    const limit = this.#learning.limitFor(id, method, this.spending.window(id, method), now);
    if (limit === undefined) {
      return [{ method, peer: undefined, calls: Number.POSITIVE_INFINITY, perMs: MEMORY_MS, keepMs: MEMORY_MS }];
    }
    const { calls, perMs } = limit;
    return [{ method, peer: undefined, calls, perMs, keepMs: memoryMs(limit) }];
  }

  protected override sending(id: string, { method }: OutgoingRequest, now: number): void {
    const { time } = this.#parts;
    if (this.#learning.sent(id, method, this.spending.window(id, method), now, time.date())) this.#save();
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
    if (isGranted && this.#learning.granted(id, method, window, time.now(), time.date())) this.#save();
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
    const flood = { waitMs: seconds * 1000, now: time.now(), date: time.date() };
    if (this.#learning.flooded(id, method, window, flood)) this.#save();
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
    const date = this.#parts.time.date();
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
