import { exponentialDelay } from "../common/timers.js";
import { StorageError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import { StorageTimeout } from "./storage-timeout.js";
import { endlessConflict, MAX_CONFLICTS, updateRecord } from "./update-record.js";
import { WriteProgress } from "./write-progress.js";

/** The current data of a record, ready to be written. */
export interface RecordDraft {
  readonly data: string;
  /** Called when the data is on disk. */
  onWritten(): void;
}

/** Supplies the data of records, and handles conflicts with other writers. */
export interface RecordSource {
  /** The current data of the record; `undefined` if the session is gone. */
  draft(id: string): RecordDraft | undefined;
  /** Merges a record that another writer has changed, before the next write. */
  merge(record: StoredRecord): void | Promise<void>;
  /** Whether the record may still be deleted after a merge. */
  mayDelete(id: string): boolean;
  /** Called when another writer has deleted the record. It is not written again. */
  onDeleted(id: string): void;
}

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 30_000;
/** Minimum number of retries within the ttl of a claim, so that a claim can be renewed in time. */
const RETRIES_PER_TTL = 12;

/** Used until a source is attached, while there are no sessions. */
const NO_SOURCE: RecordSource = { draft: () => undefined, merge: () => {}, mayDelete: () => true, onDeleted: () => {} };

/**
 * Writes changed records: one write in flight per record; changes made meanwhile go into the next one. While the
 * storage fails, memory is authoritative, and the write is retried until it succeeds or the writer is closed.
 */
export class RecordWriter {
  readonly #context: PoolContext;
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  /** Maximum delay before a failed write is retried, in milliseconds. */
  readonly #maxRetryMs: number;
  #source = NO_SOURCE;
  /** Records never written by this process are kept as a bare version to save memory. */
  readonly #slots = new Map<string, WriteProgress | number>();
  /** Records a caller is waiting for. Usually empty, which lets the hot path skip the lookup. */
  readonly #awaited = new Set<WriteProgress>();
  /** True if every record is settled. A field, because every lease reads it. */
  isIdle = true;
  /** Records whose last write failed. Bounded by the number of sessions. */
  readonly #failing = new Set<WriteProgress>();
  #isClosed = false;

  constructor(context: PoolContext) {
    const { clock, options, metrics } = context;
    this.#context = context;
    this.#storage = options.storage;
    this.#deadline = new StorageTimeout(clock, options.storageTimeoutMs, metrics);
    this.#maxRetryMs = Math.min(MAX_RETRY_MS, options.ownership.ttlMs / RETRIES_PER_TTL);
  }

  /** Sets the source of the data. MUST be called once, before the first record is tracked. */
  attach(source: RecordSource): void {
    this.#source = source;
  }

  /** Starts tracking a record that is on disk at this version. */
  track(id: string, version: number): void {
    this.#slots.set(id, version);
  }

  /** The last known version of the record. */
  versionOf(id: string): number | undefined {
    const slot = this.#slots.get(id);
    return typeof slot === "object" ? slot.version : slot;
  }

  ids(): Iterable<string> {
    return this.#slots.keys();
  }

  /**
   * Merges a record that was just read, if another writer has changed it. Skipped while a write is in flight: that one
   * will detect the conflict.
   */
  async applyRemote(record: StoredRecord): Promise<void> {
    const slot = this.#slotOf(record.id);
    if (slot === undefined || slot.isWriting || record.version <= slot.version) return;
    slot.isWriting = true;
    try {
      await this.#source.merge(record);
      slot.version = record.version;
    } finally {
      slot.isWriting = false;
      if (slot.hasUnwritten) void this.#write(record.id, slot);
    }
  }

  /** Reads the record as it is stored. Rejects with `StorageError`. */
  read(id: string): Promise<StoredRecord | undefined> {
    return this.#deadline.run(`read the record of "${id}"`, () => this.#storage.read(id));
  }

  /** Creates a record that is not tracked yet. Resolves with its version, or `undefined` if there is one already. */
  create(id: string, data: string): Promise<number | undefined> {
    return this.#deadline.run(`write the record of "${id}"`, () => this.#storage.write(id, 0, data), data);
  }

  /** Deletes a record that is not tracked, if it is still at that version. Resolves with whether it was. */
  async deleteUntracked({ id, version }: Pick<StoredRecord, "id" | "version">): Promise<boolean> {
    return (await this.#erase(id, version)) !== undefined;
  }

  /** Reads the record and merges what another writer has changed. Rejects with `StorageError`. */
  async refresh(id: string): Promise<void> {
    const record = await this.read(id);
    if (record === undefined) this.reportDeleted(id);
    else await this.applyRemote(record);
  }

  /** Stops tracking a record that another writer has deleted. Returns false if it is unknown or being written. */
  reportDeleted(id: string): boolean {
    if (!this.untrack(id)) return false;
    this.#source.onDeleted(id);
    return true;
  }

  /** Stops tracking a deleted record. Returns false if it is unknown or being written. */
  untrack(id: string): boolean {
    const slot = this.#slots.get(id);
    if (slot === undefined || (typeof slot === "object" && slot.isWriting)) return false;
    this.#slots.delete(id);
    return true;
  }

  /** True if there is nothing left to wait for: every change is durable or its wait timed out. */
  isSettled(id: string): boolean {
    const slot = this.#slots.get(id);
    return typeof slot !== "object" || !this.#awaited.has(slot);
  }

  /**
   * Writes the current state of the record. Resolves to true once it is on disk, or to false after `storageTimeoutMs`;
   * then the failure has been reported.
   */
  async save(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot !== undefined && !this.#isClosed) {
      slot.awaitNext();
      this.#awaited.add(slot);
      this.isIdle = false;
    }
    return this.saveOutsideFlush(id);
  }

  /** Writes the record like `save`, but `flush` and `isSettled` disregard this write. */
  async saveOutsideFlush(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot === undefined || this.#isClosed) return false;
    const target = slot.request();
    void this.#write(id, slot);
    await this.#until(id, slot, target);
    return slot.isWritten(target) && this.#isTracked(id, slot);
  }

  /** Resolves when the changes made so far are on disk, or after `storageTimeoutMs`. */
  flush(id: string): Promise<void> {
    const slot = this.#slots.get(id);
    return typeof slot !== "object" || this.isSettled(id) ? Promise.resolve() : this.#until(id, slot, slot.awaited);
  }

  /** Resolves when everything is on disk, or after `storageTimeoutMs`. */
  async flushAll(): Promise<void> {
    const slots = [...this.#written()];
    for (const [, slot] of slots) slot.retryNow();
    const late = slots.filter(([, slot]) => slot.hasUnwritten);
    await Promise.all(late.map(([id, slot]) => this.#until(id, slot, slot.requested)));
  }

  /** Deletes the record. Resolves to false if it was kept because of what another writer had changed. */
  async delete(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot === undefined) return true;
    await this.flush(id);
    this.#slots.delete(id);
    slot.retryNow();
    let isGone = false;
    try {
      isGone = await this.#deleteTracked(id, slot);
      return isGone;
    } finally {
      if (!isGone) {
        this.#slots.set(id, slot);
        slot.request();
        void this.#write(id, slot);
      }
    }
  }

  async #deleteTracked(id: string, slot: WriteProgress): Promise<boolean> {
    const { before, version } = await updateRecord(
      {
        id,
        read: () => this.read(id),
        write: (expected) => this.#erase(id, expected),
        first: { expected: slot.version, data: null },
      },
      async (current) => {
        if (current === undefined) return undefined;
        await this.#source.merge(current);
        slot.version = current.version;
        return this.#source.mayDelete(id) ? null : undefined;
      },
    );
    return version !== undefined || before === undefined;
  }

  #erase(id: string, version: number): Promise<number | undefined> {
    return this.#deadline.run(`delete the record of "${id}"`, () => this.#storage.write(id, version, null));
  }

  /** Stops retrying. */
  close(): void {
    this.#isClosed = true;
    for (const [, slot] of this.#written()) slot.retryNow();
  }

  #slotOf(id: string): WriteProgress | undefined {
    const slot = this.#slots.get(id);
    if (typeof slot !== "number") return slot;
    const made = new WriteProgress(slot);
    this.#slots.set(id, made);
    return made;
  }

  *#written(): Generator<readonly [string, WriteProgress]> {
    for (const [id, slot] of this.#slots) if (typeof slot === "object") yield [id, slot];
  }

  /** Reports one failure of a write, regardless of how many callers await it. */
  #fail(slot: WriteProgress, error: unknown): void {
    slot.failures++;
    this.#failing.add(slot);
    const failure = error instanceof Error ? error : new StorageError("The storage failed.", { cause: error });
    this.#context.events.emit("storageFailed", failure, "records");
  }

  #until(id: string, slot: WriteProgress, target: number): Promise<void> {
    const { clock, options } = this.#context;
    const { failures } = slot;
    return slot.untilWritten(target, clock, options.storageTimeoutMs, () => {
      this.#account(slot);
      if (slot.failures === failures) this.#fail(slot, this.#deadline.late(`write the record of "${id}"`));
    });
  }

  async #write(id: string, slot: WriteProgress): Promise<void> {
    if (slot.isWriting) return;
    slot.isWriting = true;
    for (let failures = 0; slot.hasUnwritten && this.#isTracked(id, slot); ) {
      try {
        slot.onWritten(await this.#writeState(id, slot));
        this.#account(slot);
        this.#works(slot);
        failures = 0;
      } catch (error) {
        this.#fail(slot, error);
        if (this.#isClosed) break;
        await slot.pause(this.#context.clock, exponentialDelay(failures++, FIRST_RETRY_MS, this.#maxRetryMs));
      }
    }
    slot.isWriting = false;
    if (this.#isTracked(id, slot)) return;
    this.#failing.delete(slot);
    slot.onWritten(slot.requested);
    this.#account(slot);
  }

  #works(slot: WriteProgress): void {
    if (this.#failing.delete(slot) && this.#failing.size === 0) this.#context.events.emit("storageWorks", "records");
  }

  #account(slot: WriteProgress): void {
    if (slot.isSettled) this.#awaited.delete(slot);
    this.isIdle = this.#awaited.size === 0;
  }

  #isTracked(id: string, slot: WriteProgress): boolean {
    return this.#slots.get(id) === slot && !this.#isClosed;
  }

  /** Writes the latest state, retrying on conflicts. Resolves with the sequence number of the written state. */
  async #writeState(id: string, slot: WriteProgress): Promise<number> {
    // Not `updateRecord`: the state to write may change, or the record be untracked, during a round.
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const target = slot.requested;
      if (await this.#writeOnce(id, slot)) return target;
    }
    throw endlessConflict(id);
  }

  /** Returns false if another writer was faster and the write has to be retried. */
  async #writeOnce(id: string, slot: WriteProgress): Promise<boolean> {
    const draft = this.#source.draft(id);
    if (draft === undefined) {
      // The session is gone, so its record is no longer written here.
      if (this.#isTracked(id, slot)) this.#slots.delete(id);
      return true;
    }
    const { data } = draft;
    // A hanging write is abandoned and retried. If both are applied, only one of them matches the version.
    const version = await this.#deadline.run(
      `write the record of "${id}"`,
      () => this.#storage.write(id, slot.version, data),
      data,
    );
    if (version !== undefined) {
      slot.version = version;
      draft.onWritten();
      return true;
    }
    const current = await this.read(id);
    // Untracked meanwhile: the record was deleted here, and one with the same id may have been created since.
    if (!this.#isTracked(id, slot)) return true;
    if (current === undefined) {
      this.#slots.delete(id);
      this.#source.onDeleted(id);
      return true;
    }
    if (current.data === data) draft.onWritten();
    else await this.#source.merge(current);
    slot.version = current.version;
    return current.data === data;
  }
}
