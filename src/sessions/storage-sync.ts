import type { Clock, Timer } from "../common/clock.js";
import { StorageCorruptError, StorageError } from "../errors.js";
import { isReserved } from "../storage/record.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import { asStorageError, type StorageTimeout } from "../storage/storage-timeout.js";

/** What looking at the storage needs. */
export interface StorageSyncDeps {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly patientDeadline: StorageTimeout;
  readonly recordWriter: RecordWriter;
  /** There is a record of a session that this pool does not know. Whether it has to be looked at again though nobody writes it. */
  discovered(id: string): Promise<boolean>;
  /** The ids of records that could not be read. */
  rejected(): readonly string[];
  /** One of the pool's own records was seen. */
  own(record: StoredRecord): void;
  /** The record of a known session is gone. */
  gone(id: string): void;
  failed(error: Error): void;
  /** A look at everything has succeeded. */
  worked(): void;
}

/** After so many failures of the storage in a row it is left alone until the next round. */
const FAILURES_PER_ROUND = 3;

/**
 * Looks for what other processes have written: at everything in an interval, at single records when the storage tells.
 * Only records of another version than the known one are read.
 */
export class StorageSync {
  readonly #parts: StorageSyncDeps;
  /**
   * Versions of records that cannot be used, so that they are not looked at again and again. Bound: the records of the
   * storage at the last look at everything, and those reported since.
   */
  readonly #unusable = new Map<string, number>();
  /** Ids that are still to be read. Bound: the ids reported by the storage since the read under way began. */
  readonly #notifiedIds = new Set<string>();
  #isReadingTold = false;
  #isStopped = false;
  #timer: Timer | undefined;
  #stopWatching: () => void = () => {};

  constructor(parts: StorageSyncDeps) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#isStopped) return;
    try {
      const failed = (error: Error): void => {
        if (!this.#isStopped) this.#parts.failed(asStorageError(error, "watch for changes", undefined));
      };
      this.#stopWatching = this.#parts.storage.watch?.((id) => this.#tell(id), failed) ?? (() => {});
    } catch (error) {
      this.#parts.failed(new StorageError("The storage could not be watched.", { cause: error }));
    }
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    try {
      this.#stopWatching();
    } catch (error) {
      this.#parts.failed(new StorageError("The storage could not end its watch.", { cause: error }));
    }
  }

  /** Looks at everything now. Rejects as the storage does. */
  syncAll(): Promise<void> {
    return this.#lookAtAll();
  }

  /** Looks at one record now. Rejects as the storage does. */
  syncOne(id: string): Promise<void> {
    return this.#lookAt(id);
  }

  #arm(): void {
    if (this.#isStopped) return;
    this.#timer = this.#parts.clock.setTimer(this.#parts.intervalMs, () => {
      void this.#unlessStopped(() => this.#lookAtAll()).then(() => this.#arm());
    });
  }

  async #lookAtAll(): Promise<void> {
    const { patientDeadline, storage, recordWriter } = this.#parts;
    const records = await patientDeadline.run("be listed", () => storage.list());
    const listed = new Set(records.map(({ id }) => id));
    for (const id of this.#unusable.keys()) if (!listed.has(id)) this.#unusable.delete(id);
    for (const record of records) if (isReserved(record.id)) this.#parts.own(record);
    const missing = [...recordWriter.ids(), ...this.#parts.rejected()].filter((id) => !listed.has(id));
    const news = records.filter((record) => this.#isNewer(record));
    const isKnown = ({ id }: StoredRecord): boolean => recordWriter.versionOf(id) !== undefined;
    const changed = news.filter(isKnown);
    const added = news.filter((record) => !isKnown(record));
    // First what has changed or is gone: the key that one session has given up may be a new one's.
    const failures = [
      await this.#each(changed, (record) => this.#take(record)),
      await this.#each(missing, (id) => this.#lookAt(id)),
      await this.#each(added, (record) => this.#take(record)),
    ];
    for (const failure of failures) if (failure !== undefined) throw failure;
    this.#parts.worked();
  }

  /** Looks at each, also when one of them cannot be read; not when the storage itself fails. Resolves the first failure. */
  async #each<T>(items: readonly T[], look: (item: T) => Promise<void>): Promise<unknown> {
    let first: unknown;
    let inRow = 0;
    for (const item of items) {
      if (this.#isStopped || inRow === FAILURES_PER_ROUND) break;
      try {
        await look(item);
        inRow = 0;
      } catch (error) {
        first ??= error;
        inRow = error instanceof StorageError && !(error instanceof StorageCorruptError) ? inRow + 1 : 0;
      }
    }
    return first;
  }

  async #lookAt(id: string): Promise<void> {
    const { deadline, storage, recordWriter } = this.#parts;
    const record = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (record === undefined) {
      this.#unusable.delete(id);
      if (recordWriter.untrack(id)) this.#parts.gone(id);
      else await this.#parts.discovered(id);
    } else if (this.#isNewer(record)) await this.#take(record);
  }

  #isNewer({ id, version }: StoredRecord): boolean {
    if (isReserved(id) || this.#isStopped) return false;
    const known = this.#parts.recordWriter.versionOf(id);
    return known === undefined ? this.#unusable.get(id) !== version : version > known;
  }

  async #take(record: StoredRecord): Promise<void> {
    const { recordWriter } = this.#parts;
    if (recordWriter.versionOf(record.id) !== undefined) return recordWriter.applyRemote(record);
    const isUnsettled = await this.#parts.discovered(record.id);
    if (recordWriter.versionOf(record.id) === undefined && !isUnsettled) this.#unusable.set(record.id, record.version);
    else this.#unusable.delete(record.id);
  }

  /** What is told in quick succession is read once, one record after the other. */
  #tell(id: string): void {
    if (isReserved(id)) return;
    this.#notifiedIds.add(id);
    if (this.#isReadingTold) return;
    this.#isReadingTold = true;
    void this.#readTold();
  }

  async #readTold(): Promise<void> {
    for (const id of this.#notifiedIds) {
      this.#notifiedIds.delete(id);
      await this.#unlessStopped(() => this.#lookAt(id));
    }
    this.#isReadingTold = false;
  }

  async #unlessStopped(look: () => Promise<void>): Promise<void> {
    if (this.#isStopped) return;
    try {
      await look();
    } catch (error) {
      if (!this.#isStopped) this.#parts.failed(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
