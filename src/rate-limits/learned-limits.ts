import { isObject, RESERVED_PREFIXES } from "../options/validators.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { newerFormat } from "../storage/record.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import { StorageTimeout } from "../storage/storage-timeout.js";
import { updateRecord } from "../storage/update-record.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import type { Verdict } from "../telegram/verdicts.js";
import type { AppliedLimit, SlidingWindow } from "./call-counters.js";
import { type LimitEstimate, retentionMsOf } from "./limit-estimate.js";
import type { Flood } from "./limit-estimator.js";
import { LimitLearner } from "./limit-learner.js";
import { MethodGroups, methodsOf } from "./method-groups.js";
import { NO_BLOCKS, type RateBlock, WindowedLimits } from "./rate-limits.js";

/** How long calls of a method without an estimate are remembered, in case a flood wait follows. */
const DEFAULT_RETENTION_MS = 3_600_000;

/** Flood waits that limit the rate of calls. Others (slow mode, a takeout, a new login) do not. */
const RATE_FLOODS: ReadonlySet<string> = new Set(["FLOOD_WAIT", "FLOOD_PREMIUM_WAIT"]);

/** Limits learned from flood waits, shared with other processes by a record in the storage. */
export class LearnedLimits extends WindowedLimits {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  readonly #record: LearnedLimitsRecord;
  readonly #learner: LimitLearner;
  readonly #groups = new MethodGroups();
  onRelaxed: ((method: string) => void) | undefined;
  #isSaving = false;
  #isChanged = false;

  constructor(context: PoolContext, lifecycle: PoolLifecycle, registry: SessionRegistry) {
    super();
    const { clock, time, options } = context;
    this.#context = context;
    this.#lifecycle = lifecycle;
    this.#registry = registry;
    this.#record = new LearnedLimitsRecord(options.storage, new StorageTimeout(clock, options.storageTimeoutMs));
    this.#learner = new LimitLearner(time.now(), (key) => {
      for (const method of methodsOf(key)) this.onRelaxed?.(method);
    });
  }

  override blocksOf(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const account = this.#accountOf(id);
    const blocks = super.blocksOf(account, request, now);
    const key = this.#groups.keyOf(request.method);
    if (key === request.method) return blocks;
    // A wait for one method of a group is one for the others.
    const floodUntil = this.counters.window(account, key)?.floodUntil ?? 0;
    const until = Math.max(floodUntil, ...blocks.map((block) => block.until));
    return until > now ? methodsOf(key).map((method) => ({ method, peer: undefined, until })) : NO_BLOCKS;
  }

  override onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const blocks = super.onSent(this.#accountOf(id), request, now);
    return blocks.flatMap(({ method: key, peer, until }) => methodsOf(key).map((method) => ({ method, peer, until })));
  }

  protected override limitsOf(account: string, { method }: OutgoingRequest, now: number): readonly AppliedLimit[] {
    const key = this.#groups.keyOf(method);
    const limit = this.#learner.limitFor(account, key, this.counters.window(account, key), now);
    const { calls, perMs } = limit ?? { calls: Number.POSITIVE_INFINITY, perMs: DEFAULT_RETENTION_MS };
    const retentionMs = limit === undefined ? DEFAULT_RETENTION_MS : retentionMsOf(limit);
    return [{ method: key, peer: undefined, calls, perMs, retentionMs }];
  }

  blockedUntil(id: string, method: string, now: number): number {
    const account = this.#accountOf(id);
    const key = this.#groups.keyOf(method);
    const window = this.counters.window(account, key);
    const limit = this.#learner.limitFor(account, key, window, now);
    return limit === undefined ? 0 : (window?.nextAllowedAt(limit) ?? 0);
  }

  protected override beforeCount(account: string, { method }: OutgoingRequest, now: number): void {
    const key = this.#groups.keyOf(method);
    const date = this.#context.time.wallNow();
    if (this.#learner.onSent(account, key, this.counters.window(account, key), now, date)) this.#save();
  }

  protected override afterCount(account: string, { method }: OutgoingRequest): void {
    const window = this.counters.window(account, this.#groups.keyOf(method));
    if (window !== undefined) window.pending++;
  }

  onCompleted(id: string, { method }: OutgoingRequest, isSuccess: boolean): void {
    const account = this.#accountOf(id);
    const key = this.#groups.keyOf(method);
    const window = this.counters.window(account, key);
    if (window === undefined) return;
    if (window.pending > 0) window.pending--;
    const { time } = this.#context;
    if (isSuccess && this.#learner.onSuccess(account, key, window, time.now(), time.wallNow())) this.#save();
  }

  onRejected(id: string, { method }: OutgoingRequest, verdict: Verdict): void {
    const account = this.#accountOf(id);
    const key = this.#groups.keyOf(method);
    const window = this.counters.window(account, key);
    if (window === undefined || !isRateFlood(verdict)) return;
    const { time } = this.#context;
    const flood = { account, waitMs: verdict.seconds * 1000, now: time.now(), date: time.wallNow() };
    const isRepeated = flood.now < window.floodUntil;
    const isChanged = this.#learner.onFlood(key, window, flood);
    const isGrouped = !isRepeated && this.#group(key, window, flood);
    if (isChanged || isGrouped) this.#save();
  }

  /** Sessions of one account share its limits. */
  #accountOf(id: string): string {
    if (this.#context.options.floodsBelongTo === "session") return id;
    return this.#registry.get(id)?.accountId ?? id;
  }

  /** Looks for methods that share the limit of a flood wait. Returns whether there are any. */
  #group(key: string, window: SlidingWindow, flood: Flood): boolean {
    const { account, waitMs, now } = flood;
    const others = new Map<string, number>();
    const since = now - waitMs;
    for (const other of this.counters.keys(account)) {
      const their = this.counters.window(account, other);
      if (other === key || their === undefined || their.floodUntil > since) continue;
      const calls = their.countSince(since) - their.pending;
      if (calls > 0) others.set(other, calls);
    }
    const calls = window.countSince(since) - window.pending;
    const group = others.size === 0 ? undefined : this.#groups.onFlood(key, calls, others);
    if (group === undefined) return false;
    const keys = [key, ...[...others.keys()].filter((other) => group.includes(other))];
    this.counters.merge(keys, group);
    const merged = this.counters.window(account, group);
    const total = merged === undefined ? calls : merged.countSince(since) - merged.pending;
    const spanMs = now - (merged?.firstSince(since) ?? now);
    this.#learner.group(keys, group, { calls: Math.max(total, 1), perMs: spanMs + waitMs, spanMs }, flood);
    return true;
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
      for (const [key, estimate] of decodeEstimates(data)) {
        this.#groups.restore(key);
        this.#learner.merge(key, estimate, date);
      }
    } catch (error) {
      this.#record.reject();
      this.#registry.reject(BUDGETS_ID, error);
    }
  }

  /** One write at a time; changes made meanwhile are part of the next one. */
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
    const current = (): string => encodeEstimates(this.#learner.estimates());
    while (this.#isChanged) {
      this.#isChanged = false;
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

/** Whether the verdict is an exact wait for the rate of calls. Scope `"method"` would be about a phone number. */
function isRateFlood(verdict: Verdict): verdict is Verdict & { readonly seconds: number } {
  const { kind, scope, code, seconds, isGuess } = verdict;
  return kind === "cooldown" && scope === "session" && RATE_FLOODS.has(code) && seconds !== null && !isGuess;
}

const BUDGETS_ID: string = `${RESERVED_PREFIXES.pool}budgets`;

/** The record of learned rate limits, shared by all pools on a storage and written by compare-and-set. */
class LearnedLimitsRecord {
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
    if (this.#isRejected) await this.#readAgain(merge);
    if (this.#isRejected) return false;
    const { version } = await updateRecord(
      {
        id: BUDGETS_ID,
        read: () => this.#readAgain(merge),
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

  async #readAgain(merge: (data: string) => void): Promise<StoredRecord | undefined> {
    const stored = await this.#deadline.run("read a record", () => this.#storage.read(BUDGETS_ID));
    const isNew = stored?.version !== this.#version;
    this.#version = stored?.version ?? 0;
    if (isNew) this.#isRejected = false;
    if (stored !== undefined && isNew) merge(stored.data);
    return stored;
  }
}

/** Raised when an older version of this package could not read what a newer one writes. */
const FORMAT = 1;

/** The data of the record. */
function encodeEstimates(estimates: ReadonlyMap<string, LimitEstimate>): string {
  return JSON.stringify({ v: FORMAT, methods: Object.fromEntries(estimates) });
}

/**
 * The estimates in the record, by method. Damaged ones are left out, as they can be learned again. Throws an `Error` for
 * data of a newer version of this package, which must not be overwritten.
 */
function decodeEstimates(data: string): ReadonlyMap<string, LimitEstimate> {
  const { v, methods } = parseObject(data);
  const newer = newerFormat(v, FORMAT);
  if (newer !== undefined) throw new Error(newer);
  const entries = Object.entries(isObject(methods) ? methods : {});
  return new Map(entries.filter((entry): entry is [string, LimitEstimate] => isEstimate(entry[1])));
}

function parseObject(data: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(data);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function isEstimate(value: unknown): value is LimitEstimate {
  if (typeof value !== "object" || value === null) return false;
  const { calls, perMs, refusedMs, changedAt } = value as Partial<Record<keyof LimitEstimate, unknown>>;
  const isTime = (number: unknown): boolean => Number.isFinite(number) && Number(number) >= 0;
  const isCount = Number.isSafeInteger(calls) && Number(calls) >= 1;
  return isCount && isTime(perMs) && Number(perMs) > 0 && isTime(refusedMs) && isTime(changedAt);
}
