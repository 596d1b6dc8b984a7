import type { OutgoingRequest } from "../connections/client-adapter.js";
import { RESERVED_PREFIXES } from "../options/validators.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import { StorageTimeout } from "../storage/storage-timeout.js";
import { updateRecord } from "../storage/update-record.js";
import type { Verdict } from "../telegram/verdicts.js";
import type { AppliedLimit } from "./call-counters.js";
import { memoryMs } from "./limit-estimate.js";
import { LimitLearner } from "./limit-learner.js";
import { decodeEstimates, encodeEstimates } from "./recorded-estimates.js";
import { WindowedLimits } from "./windowed-limits.js";

/** Calls of a method without an estimate are remembered for so long, because a flood may ask for them. */
const MEMORY_MS = 3_600_000;

/** Floods that tell how often a method may be called. Others (slow mode, a takeout, a fresh login) are no limits of rate. */
const RATE_FLOODS: ReadonlySet<string> = new Set(["FLOOD_WAIT", "FLOOD_PREMIUM_WAIT"]);

/** The limits that floods have told, in step with their record. */
export class LearnedLimits extends WindowedLimits {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  readonly #record: LearnedLimitsRecord;
  readonly #learning: LimitLearner;
  #isSaving = false;
  #isChanged = false;

  constructor(context: PoolContext, lifecycle: PoolLifecycle, registry: SessionRegistry) {
    super();
    const { clock, time, options } = context;
    this.#context = context;
    this.#lifecycle = lifecycle;
    this.#registry = registry;
    this.#record = new LearnedLimitsRecord(options.storage, new StorageTimeout(clock, options.storageTimeoutMs));
    this.#learning = new LimitLearner(time.now());
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
    const { time } = this.#context;
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
    const { time } = this.#context;
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
    const { time } = this.#context;
    const flood = { waitMs: seconds * 1000, now: time.now(), date: time.wallNow() };
    if (this.#learning.onFlood(id, method, window, flood)) this.#save();
  }

  load(records: readonly StoredRecord[]): void {
    for (const stored of records) {
      const data = this.#record.read(stored);
      if (data !== undefined) this.#merge(data);
    }
  }

  /** Writes what a failed write has left. Rejects as the storage does. */
  async flush(): Promise<void> {
    if (!this.#isSaving) await this.#write();
  }

  #merge(data: string): void {
    const date = this.#context.time.wallNow();
    try {
      for (const [method, estimate] of decodeEstimates(data)) this.#learning.merge(method, estimate, date);
    } catch (error) {
      this.#record.reject();
      this.#registry.reject(BUDGETS_ID, error);
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
    this.#lifecycle.runInBackground(saved);
  }

  async #write(): Promise<void> {
    while (this.#isChanged) {
      this.#isChanged = false;
      const current = (): string => encodeEstimates(this.#learning.estimates());
      let isWritten = false;
      try {
        isWritten = await this.#record.write(current, (data) => this.#merge(data));
      } finally {
        if (!isWritten) this.#isChanged = true;
      }
      if (!isWritten) return;
    }
  }
}

export const BUDGETS_ID: string = `${RESERVED_PREFIXES.pool}budgets`;

/** The record of learned rate limits, shared by all pools on a storage and written by compare-and-set. */
export class LearnedLimitsRecord {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  #version = 0;
  #isRejected = false;

  constructor(storage: SessionStorage, deadline: StorageTimeout) {
    this.#storage = storage;
    this.#deadline = deadline;
  }

  /** Returns the data if this is the record of learned limits at a new version. */
  read({ id, version, data }: StoredRecord): string | undefined {
    if (id !== BUDGETS_ID || version <= this.#version) return undefined;
    this.#version = version;
    this.#isRejected = false;
    return data;
  }

  /** Marks the last read data as unreadable: it is not overwritten until it is removed or repaired. */
  reject(): void {
    this.#isRejected = true;
  }

  /**
   * Writes the result of `current`, after passing to `merge` what other pools have written meanwhile. Resolves to false
   * if the record was rejected: such a record is not overwritten.
   */
  async write(current: () => string, merge: (data: string) => void): Promise<boolean> {
    if (this.#isRejected) await this.#lookAgain(merge);
    if (this.#isRejected) return false;
    const { version } = await updateRecord(
      {
        id: BUDGETS_ID,
        read: () => this.#lookAgain(merge),
        write: (expected, data) =>
          this.#deadline.run("write the record of budgets", () => this.#storage.write(BUDGETS_ID, expected, data)),
        first: { expected: this.#version, data: current() },
      },
      () => (this.#isRejected ? undefined : current()),
    );
    if (version === undefined) return false;
    this.#version = version;
    return true;
  }

  async #lookAgain(merge: (data: string) => void): Promise<StoredRecord | undefined> {
    const stored = await this.#deadline.run("read a record", () => this.#storage.read(BUDGETS_ID));
    const isNews = stored?.version !== this.#version;
    this.#version = stored?.version ?? 0;
    if (isNews) this.#isRejected = false;
    if (stored !== undefined && isNews) merge(stored.data);
    return stored;
  }
}
