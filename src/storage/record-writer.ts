import type { Clock, Timer } from "../common/clock.js";
import { StorageError } from "../errors.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import { StorageTimeout } from "./storage-timeout.js";
import { endlessConflict, MAX_CONFLICTS, updateRecord } from "./update-record.js";

/** A record as it is to be written now. */
export interface RecordDraft {
  readonly data: string;
  /** To be called when it is on disk. */
  onWritten(): void;
}

/** What a ledger needs to know and to tell. */
export interface RecordWriterHooks {
  readonly clock: Clock;
  /** Milliseconds for which a caller waits for a write. */
  readonly storageTimeoutMs: number;
  /** Milliseconds after which a failed write is tried again at the latest. */
  readonly longestRetryMs: number;
  /** The record as it is to be written now; `undefined` when the session is gone. */
  draft(id: string): RecordDraft | undefined;
  /** Another writer has changed the record; what it says is to be taken in before the next write. */
  merge(record: StoredRecord): void | Promise<void>;
  /** Whether the record may be deleted, after what was merged. */
  mayDelete(id: string): boolean;
  /** Another writer has deleted the record: it is not written again. */
  onDeleted(id: string): void;
  /** A write failed, or was not acknowledged in time. It goes on. */
  failed(error: Error): void;
  /** Everything that had failed is on disk. */
  recovered(): void;
}

/** Which state of one record is wanted on disk, and which is there. */
interface WriteState {
  version: number;
  requestedSequence: number;
  writtenSequence: number;
  /** The latest state that a caller waits for. */
  awaitedSequence: number;
  isWriting: boolean;
  /** The latest state for which a wait timed out: it is not waited for again. */
  timedOutSequence: number;
  /** Number of writes that failed or were late. */
  failures: number;
  retry: { readonly timer: Timer; readonly again: () => void } | undefined;
  waiting: { readonly target: number; readonly done: () => void }[];
}

const FIRST_RETRY_MS = 100;

/**
 * Writes what has changed: one write in flight per record, what changes meanwhile goes with the next one. Memory is
 * the truth while the storage fails; the write is retried until it succeeds or the ledger is closed.
 */
export class RecordWriter {
  readonly #storage: SessionStorage;
  readonly #policy: RecordWriterHooks;
  readonly #deadline: StorageTimeout;
  /** Of a record that was never written here only its version: there may be very many. */
  readonly #slots = new Map<string, WriteState | number>();
  /** Those with changes that callers wait for: most often none, and then nobody has to look anything up. */
  readonly #awaited = new Set<WriteState>();
  /** Those whose last write failed. Bound: the sessions of the pool. */
  readonly #failing = new Set<WriteState>();
  #isClosed = false;

  constructor(storage: SessionStorage, policy: RecordWriterHooks) {
    this.#storage = storage;
    this.#policy = policy;
    this.#deadline = new StorageTimeout(policy.clock, policy.storageTimeoutMs);
  }

  /** Takes in a record that is on disk at this version. */
  track(id: string, version: number): void {
    this.#slots.set(id, version);
  }

  /** The version that this ledger knows of. */
  versionOf(id: string): number | undefined {
    const slot = this.#slots.get(id);
    return typeof slot === "object" ? slot.version : slot;
  }

  ids(): Iterable<string> {
    return this.#slots.keys();
  }

  /** Takes in a record as it was just read, if another writer has changed it. A write of ours finds that out by itself. */
  async applyRemote(record: StoredRecord): Promise<void> {
    const slot = this.#slotOf(record.id);
    if (slot === undefined || slot.isWriting || record.version <= slot.version) return;
    slot.isWriting = true;
    try {
      await this.#policy.merge(record);
      slot.version = record.version;
    } finally {
      slot.isWriting = false;
      if (slot.writtenSequence < slot.requestedSequence) void this.#write(record.id, slot);
    }
  }

  /** Stops writing the record: it is gone. Whether it was known, and nothing of it is being written. */
  untrack(id: string): boolean {
    const slot = this.#slots.get(id);
    if (slot === undefined || (typeof slot === "object" && slot.isWriting)) return false;
    this.#slots.delete(id);
    return true;
  }

  /** Whether all changes of the record are on disk, or were waited for already. */
  isSettled(id: string): boolean {
    const slot = this.#slots.get(id);
    return typeof slot !== "object" || !this.#awaited.has(slot);
  }

  /** Whether that is so of every record. */
  get isIdle(): boolean {
    return this.#awaited.size === 0;
  }

  /**
   * Writes the record as it is now. Resolves when it is on disk, or after `storageTimeoutMs`, with `failed` told: whether
   * it is on disk.
   */
  async save(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot !== undefined && !this.#isClosed) {
      slot.awaitedSequence = slot.requestedSequence + 1;
      this.#awaited.add(slot);
    }
    return this.saveInBackground(id);
  }

  /** The same for a change that nobody who settles has to wait for. */
  async saveInBackground(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot === undefined || this.#isClosed) return false;
    const target = ++slot.requestedSequence;
    void this.#write(id, slot);
    await this.#until(id, slot, target);
    return slot.writtenSequence >= target && this.#isTracked(id, slot);
  }

  /** Resolves when the changes made so far are on disk, or after `storageTimeoutMs`. */
  flush(id: string): Promise<void> {
    const slot = this.#slots.get(id);
    return typeof slot !== "object" || this.isSettled(id)
      ? Promise.resolve()
      : this.#until(id, slot, slot.awaitedSequence);
  }

  /** Resolves when everything is on disk, or after `storageTimeoutMs`. */
  async flushAll(): Promise<void> {
    const slots = [...this.#written()];
    for (const [, slot] of slots) slot.retry?.again();
    const late = slots.filter(([, slot]) => slot.writtenSequence < slot.requestedSequence);
    await Promise.all(late.map(([id, slot]) => this.#until(id, slot, slot.requestedSequence)));
  }

  /** Deletes the record. Resolves whether it is gone: another writer may have made it one that is to stay. */
  async delete(id: string): Promise<boolean> {
    const slot = this.#slotOf(id);
    if (slot === undefined) return true;
    await this.flush(id);
    this.#slots.delete(id);
    slot.retry?.again();
    let isGone = false;
    try {
      isGone = await this.#erase(id, slot);
      return isGone;
    } finally {
      if (!isGone) {
        this.#slots.set(id, slot);
        slot.requestedSequence++;
        void this.#write(id, slot);
      }
    }
  }

  async #erase(id: string, slot: WriteState): Promise<boolean> {
    const { before, version } = await updateRecord(
      {
        id,
        read: () => this.#deadline.run(`read the record of "${id}"`, () => this.#storage.read(id)),
        write: (expected) =>
          this.#deadline.run(`delete the record of "${id}"`, () => this.#storage.write(id, expected, null)),
        first: { expected: slot.version, data: null },
      },
      async (current) => {
        if (current === undefined) return undefined;
        await this.#policy.merge(current);
        slot.version = current.version;
        return this.#policy.mayDelete(id) ? null : undefined;
      },
    );
    return version !== undefined || before === undefined;
  }

  /** Stops retrying. */
  close(): void {
    this.#isClosed = true;
    for (const [, slot] of this.#written()) slot.retry?.again();
  }

  #slotOf(id: string): WriteState | undefined {
    const slot = this.#slots.get(id);
    if (typeof slot !== "number") return slot;
    const made = writeStateAt(slot);
    this.#slots.set(id, made);
    return made;
  }

  *#written(): Generator<readonly [string, WriteState]> {
    for (const [id, slot] of this.#slots) if (typeof slot === "object") yield [id, slot];
  }

  /** One failure is told once, however many wait for the write. */
  #fail(slot: WriteState, error: unknown): void {
    slot.failures++;
    this.#failing.add(slot);
    this.#policy.failed(error instanceof Error ? error : new StorageError("The storage failed.", { cause: error }));
  }

  #until(id: string, slot: WriteState, target: number): Promise<void> {
    const { failures } = slot;
    return new Promise((resolve) => {
      const timer = this.#policy.clock.setTimer(this.#policy.storageTimeoutMs, () => {
        slot.waiting = slot.waiting.filter((entry) => entry !== waiter);
        slot.timedOutSequence = Math.max(slot.timedOutSequence, target);
        this.#account(slot);
        if (slot.failures === failures) this.#fail(slot, this.#deadline.late(`write the record of "${id}"`));
        resolve();
      });
      const waiter = {
        target,
        done: () => {
          timer.cancel();
          resolve();
        },
      };
      slot.waiting.push(waiter);
    });
  }

  async #write(id: string, slot: WriteState): Promise<void> {
    if (slot.isWriting) return;
    slot.isWriting = true;
    for (let failures = 0; slot.writtenSequence < slot.requestedSequence && this.#isTracked(id, slot); ) {
      try {
        slot.writtenSequence = await this.#writeState(id, slot);
        this.#account(slot);
        this.#works(slot);
        failures = 0;
        releaseWaiting(slot);
      } catch (error) {
        this.#fail(slot, error);
        if (this.#isClosed) break;
        await this.#pause(slot, Math.min(FIRST_RETRY_MS * 2 ** failures++, this.#policy.longestRetryMs));
      }
    }
    slot.isWriting = false;
    if (this.#isTracked(id, slot)) return;
    this.#failing.delete(slot);
    slot.writtenSequence = slot.requestedSequence;
    this.#account(slot);
    releaseWaiting(slot);
  }

  #works(slot: WriteState): void {
    if (this.#failing.delete(slot) && this.#failing.size === 0) this.#policy.recovered();
  }

  #account(slot: WriteState): void {
    if (Math.max(slot.writtenSequence, slot.timedOutSequence) >= slot.awaitedSequence) this.#awaited.delete(slot);
  }

  #isTracked(id: string, slot: WriteState): boolean {
    return this.#slots.get(id) === slot && !this.#isClosed;
  }

  /** Writes what is wanted, over whatever others write meanwhile. Resolves which state that was. */
  async #writeState(id: string, slot: WriteState): Promise<number> {
    // Not `updateRecord`: what is wanted may change, or the record be dropped, while a round is under way.
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const target = slot.requestedSequence;
      if (await this.#writeOnce(id, slot)) return target;
    }
    throw endlessConflict(id);
  }

  /** Whether the record is as wanted now. Otherwise somebody else has written it, and it is to be tried again. */
  async #writeOnce(id: string, slot: WriteState): Promise<boolean> {
    const draft = this.#policy.draft(id);
    if (draft === undefined) {
      // What becomes of its record is not this ledger's business any more.
      if (this.#isTracked(id, slot)) this.#slots.delete(id);
      return true;
    }
    const { data } = draft;
    // A write that hangs is given up and tried again: should it land after all, only one of the two finds its version.
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
    const current = await this.#deadline.run(`read the record of "${id}"`, () => this.#storage.read(id));
    // Whatever is there now is not this slot's: its record was deleted here, and one of that id may have been made since.
    if (!this.#isTracked(id, slot)) return true;
    if (current === undefined) {
      this.#slots.delete(id);
      this.#policy.onDeleted(id);
      return true;
    }
    if (current.data === data) draft.onWritten();
    else await this.#policy.merge(current);
    slot.version = current.version;
    return current.data === data;
  }

  #pause(slot: WriteState, delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const again = (): void => {
        timer.cancel();
        slot.retry = undefined;
        resolve();
      };
      const timer = this.#policy.clock.setTimer(delayMs, again);
      slot.retry = { timer, again };
    });
  }
}

/** State of a record that is on disk at this version. */
function writeStateAt(version: number): WriteState {
  return {
    version,
    requestedSequence: 0,
    writtenSequence: 0,
    awaitedSequence: 0,
    isWriting: false,
    timedOutSequence: 0,
    failures: 0,
    retry: undefined,
    waiting: [],
  };
}

/** Resolves the waits for states that are on disk now. */
function releaseWaiting(slot: WriteState): void {
  const done = slot.waiting.filter((waiter) => waiter.target <= slot.writtenSequence);
  if (done.length === 0) return;
  slot.waiting = slot.waiting.filter((waiter) => waiter.target > slot.writtenSequence);
  for (const waiter of done) waiter.done();
}
