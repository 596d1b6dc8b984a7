import { ProgressReporter } from "../common/progress.js";
import { exponentialDelay, WakeTimer } from "../common/timers.js";
import { allLocked } from "../error-factories.js";
import { StorageCorruptError, StorageError } from "../errors.js";
import type { LoadProgress } from "../options/options.js";
import { isReserved } from "../options/validators.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { RateLimiting } from "../rate-limits/rate-limiting.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { ownerAmong } from "../storage/key-reservations.js";
import { decodeRecord } from "../storage/record.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import { asStorageError, LIST_TIMEOUT_FACTOR, StorageTimeout } from "../storage/storage-timeout.js";
import type { RemoteRecords } from "./remote-records.js";
import type { SessionParts } from "./session-parts.js";

/** Consecutive failures of the storage after which a round is aborted. */
const FAILURES_PER_ROUND = 3;
const READS_PER_TTL = 3;
/** Reads of all records that a watch causes without a delay, between two reads in the interval. */
const UNDELAYED_WATCH_READS = 2;
/** The delay of the next one; then twice as long each time. */
const FIRST_WATCH_READ_DELAY_MS = 1_000;

/**
 * Keeps the sessions in step with the storage: loads them at the start, then reads what other processes have written, all
 * records in an interval, single ones when the storage reports them. Only records of another version than the known one
 * are applied.
 */
export class StorageSync {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #storage: SessionStorage;
  readonly #listDeadline: StorageTimeout;
  readonly #registry: SessionRegistry;
  readonly #ownership: Ownership;
  readonly #recordWriter: RecordWriter;
  readonly #remoteRecords: RemoteRecords;
  readonly #rateLimits: RateLimiting | undefined;
  /**
   * Versions of records that cannot be used, so that they are not read repeatedly. Bounded by the records at the
   * last full read, and those reported since.
   */
  readonly #unusable = new Map<string, number>();
  /** Ids to be read. Bounded by the ids that the storage has reported since the current read began. */
  readonly #notifiedIds = new Set<string>();
  #rejectedAtStart: ReturnType<SessionRegistry["rejected"]> = [];
  #isReadingNotified = false;
  #isReadingAll = false;
  /** Whether all records have to be read again, because the current read may have begun too early. */
  #mustReadAgain = false;
  /** Whether that read removes the sessions of missing records. */
  #deletesMissing = false;
  #isStopped = false;
  readonly #timer: WakeTimer;
  /** A delayed read of all records that the watch causes. */
  readonly #watchTimer: WakeTimer;
  /** Reads that the watch has caused since the last read in the interval. */
  #watchReads = 0;
  #watchReadAt = Number.NEGATIVE_INFINITY;
  #stopWatching: () => void = () => {};

  constructor(
    context: PoolContext,
    parts: SessionParts,
    remoteRecords: RemoteRecords,
    rateLimits: RateLimiting | undefined,
  ) {
    const { clock, options, metrics } = context;
    this.#context = context;
    this.#lifecycle = parts.lifecycle;
    this.#storage = options.storage;
    this.#listDeadline = new StorageTimeout(clock, options.storageTimeoutMs, metrics).times(LIST_TIMEOUT_FACTOR);
    this.#registry = parts.registry;
    this.#ownership = parts.ownership;
    this.#recordWriter = parts.recordWriter;
    this.#remoteRecords = remoteRecords;
    this.#rateLimits = rateLimits;
    this.#timer = new WakeTimer(clock, () => this.#readInInterval());
    this.#watchTimer = new WakeTimer(clock, () => this.#readForWatch());
  }

  /** Loads the records that the storage contained at the start. Rejects with `StorageCorruptError` if no record can be opened with the given keys. */
  async load(listed: readonly StoredRecord[]): Promise<void> {
    const registry = this.#registry;
    const records = listed.filter(({ id }) => !isReserved(id));
    const holderOf = (fingerprint: string): string | undefined => ownerAmong(fingerprint, listed);
    const progress = this.#loadProgress(records.length);
    const loaded = await registry.load(records, holderOf, progress);
    progress?.report();
    for (const { known, version, owner } of loaded) {
      if (known.isRemoved) this.#lifecycle.runInBackground(this.#remoteRecords.onUnknownRecord(known.id));
      else {
        this.#recordWriter.track(known.id, version);
        this.#ownership.onRecordRead(known.id, owner);
      }
    }
    // After the sessions, some of which may have to wait.
    this.#rateLimits?.load(listed);
    this.#rejectedAtStart = registry.rejected();
    if (registry.lockedCount === 0) return;
    if (loaded.length === 0) throw allLocked(registry.lockedCount, this.#rejectedAtStart[0]?.reason ?? "");
    const text = `${registry.lockedCount} records cannot be opened with the keys of the option "encryption". See rejected().`;
    this.#context.log.write("error", text, { event: "keyMissing", count: registry.lockedCount });
  }

  #loadProgress(total: number): ProgressReporter<LoadProgress> | undefined {
    const { clock, options } = this.#context;
    const { onProgress } = options;
    const state = (done: number): LoadProgress => ({ done, total, rejected: this.#registry.rejectedCount });
    return onProgress && new ProgressReporter("onProgress of open", onProgress, clock, state);
  }

  /** Publishes which records could not be read at the start. */
  publishRejected(): void {
    for (const rejection of this.#rejectedAtStart) this.#context.events.publish("recordRejected", rejection);
  }

  /** Starts applying changes of other processes, if the storage is shared. */
  start(): void {
    if (this.#isStopped || !this.#storage.shared) return;
    try {
      const failed = (error: Error): void => {
        if (!this.#isStopped) this.#reportFailure(asStorageError(error, "watch for changes", undefined));
      };
      const listening = (): void => this.#onListening();
      this.#stopWatching = this.#storage.watch?.((id) => this.#onNotified(id), failed, listening) ?? (() => {});
    } catch (error) {
      this.#reportFailure(new StorageError("The storage could not be watched.", { cause: error }));
    }
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer.cancel();
    this.#watchTimer.cancel();
    try {
      this.#stopWatching();
    } catch (error) {
      this.#reportFailure(new StorageError("The storage could not end its watch.", { cause: error }));
    }
  }

  /** Reads all records of a shared storage now. Rejects as the storage does. */
  async syncAll(): Promise<void> {
    if (this.#storage.shared) await this.#readAll(true);
  }

  #arm(): void {
    if (!this.#isStopped) this.#timer.set(this.#context.options.ownership.ttlMs / READS_PER_TTL);
  }

  /**
   * Reads all records, because what was written before the watch listens is not reported. A connection that is cut again
   * and again does not lead to one read after the other.
   */
  #onListening(): void {
    // A read that has yet to begin includes what was written until now.
    if (this.#isStopped || this.#mustReadAgain) return;
    const delays = this.#watchReads - UNDELAYED_WATCH_READS;
    const delayMs = delays < 0 ? 0 : exponentialDelay(delays, FIRST_WATCH_READ_DELAY_MS, Number.POSITIVE_INFINITY);
    if (delayMs === 0) this.#readForWatch();
    else this.#watchTimer.setBy(this.#watchReadAt + delayMs, this.#context.clock.monotonic());
  }

  #readForWatch(): void {
    this.#watchReads += 1;
    this.#watchReadAt = this.#context.clock.monotonic();
    // A server that has just come back may still be without records that it is about to have again, as after a failover:
    // the next read in the interval decides.
    void this.#readAllInTurn(false);
  }

  #readInInterval(): void {
    this.#watchTimer.cancel();
    this.#watchReads = 0;
    void this.#readAllInTurn(true);
  }

  /** One read at a time. A call during a read leads to one more. */
  async #readAllInTurn(deletesMissing: boolean): Promise<void> {
    this.#mustReadAgain = true;
    this.#deletesMissing ||= deletesMissing;
    if (this.#isReadingAll) return;
    this.#isReadingAll = true;
    while (this.#mustReadAgain && !this.#isStopped) {
      const removes = this.#deletesMissing;
      this.#mustReadAgain = false;
      this.#deletesMissing = false;
      await this.#unlessStopped(() => this.#readAll(removes));
      // A watch that begins again and again must not put the interval off.
      if (removes) this.#arm();
    }
    this.#isReadingAll = false;
  }

  /** `deletesMissing`: whether the session of a missing record is removed. */
  async #readAll(deletesMissing: boolean): Promise<void> {
    const recordWriter = this.#recordWriter;
    const records = await this.#listDeadline.run("be listed", () => this.#storage.list());
    const listed = new Set(records.map(({ id }) => id));
    for (const id of this.#unusable.keys()) if (!listed.has(id)) this.#unusable.delete(id);
    this.#readReserved(records.filter(({ id }) => isReserved(id)));
    const missing = [...recordWriter.ids(), ...this.#registry.rejected().map(({ id }) => id)].filter(
      (id) => !listed.has(id),
    );
    const news = records.filter((record) => this.#isNewer(record));
    const isKnown = ({ id }: StoredRecord): boolean => recordWriter.versionOf(id) !== undefined;
    const changed = news.filter(isKnown);
    const added = news.filter((record) => !isKnown(record) && (deletesMissing || !this.#hasKeyOfOther(record, listed)));
    // Changed and deleted records first: a new session may have the former key of another one.
    const failures = [
      await this.#each(changed, (record) => this.#apply(record)),
      await this.#each(deletesMissing ? missing : [], (id) => this.#readOne(id)),
      await this.#each(added, (record) => this.#apply(record)),
    ];
    for (const failure of failures) if (failure !== undefined) throw failure;
    this.#context.events.emit("storageWorks", "changes");
  }

  /** Whether a known session has the record's key that is not listed: both are left to the read that decides about that one. */
  #hasKeyOfOther({ data }: StoredRecord, listed: ReadonlySet<string>): boolean {
    try {
      const holder = this.#registry.holderOf(decodeRecord(data).fingerprint);
      return holder !== undefined && !listed.has(holder);
    } catch {
      // It is rejected when it is applied.
      return false;
    }
  }

  /** Handles each item even if one of them cannot be read, but not if the storage fails. Resolves with the first failure. */
  async #each<T>(items: readonly T[], handle: (item: T) => Promise<void>): Promise<unknown> {
    let first: unknown;
    let inRow = 0;
    for (const item of items) {
      if (this.#isStopped || inRow === FAILURES_PER_ROUND) break;
      try {
        await handle(item);
        inRow = 0;
      } catch (error) {
        first ??= error;
        inRow = error instanceof StorageError && !(error instanceof StorageCorruptError) ? inRow + 1 : 0;
      }
    }
    return first;
  }

  async #readOne(id: string): Promise<void> {
    const record = await this.#recordWriter.read(id);
    if (record === undefined) {
      this.#unusable.delete(id);
      if (!this.#recordWriter.reportDeleted(id)) await this.#discover(id);
    } else if (this.#isNewer(record)) await this.#apply(record);
  }

  #isNewer({ id, version }: StoredRecord): boolean {
    if (isReserved(id) || this.#isStopped) return false;
    const known = this.#recordWriter.versionOf(id);
    return known === undefined ? this.#unusable.get(id) !== version : version > known;
  }

  /** Handles a record of an unknown session. Resolves with whether it has to be read again even if it is not written again. */
  #discover(id: string): Promise<boolean> {
    return this.#remoteRecords.onUnknownRecord(id).finally(() => this.#context.events.emit("discovered", id));
  }

  /** Handles the records of the pool itself. */
  #readReserved(records: readonly StoredRecord[]): void {
    const before = new Map(this.#registry.rejected().map(({ id, reason }) => [id, reason]));
    this.#rateLimits?.load(records);
    for (const { id } of records) {
      const reason = this.#registry.rejection(id);
      if (reason !== undefined && reason !== before.get(id)) {
        this.#context.events.publish("recordRejected", { id, reason });
      }
    }
  }

  #reportFailure(error: Error): void {
    this.#context.events.emit("storageFailed", error, "changes");
  }

  async #apply(record: StoredRecord): Promise<void> {
    const recordWriter = this.#recordWriter;
    if (recordWriter.versionOf(record.id) !== undefined) return recordWriter.applyRemote(record);
    const isUnsettled = await this.#discover(record.id);
    if (recordWriter.versionOf(record.id) === undefined && !isUnsettled) this.#unusable.set(record.id, record.version);
    else this.#unusable.delete(record.id);
  }

  /** Notifications in quick succession lead to one read, one record after the other. */
  #onNotified(id: string): void {
    if (isReserved(id)) return;
    this.#notifiedIds.add(id);
    if (this.#isReadingNotified) return;
    this.#isReadingNotified = true;
    void this.#readNotified();
  }

  async #readNotified(): Promise<void> {
    for (const id of this.#notifiedIds) {
      this.#notifiedIds.delete(id);
      await this.#unlessStopped(() => this.#readOne(id));
    }
    this.#isReadingNotified = false;
  }

  async #unlessStopped(read: () => Promise<void>): Promise<void> {
    if (this.#isStopped) return;
    try {
      await read();
    } catch (error) {
      if (!this.#isStopped) this.#reportFailure(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
