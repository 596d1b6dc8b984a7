import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { KeyedMutex } from "../common/keyed-mutex.js";
import { StorageCorruptError, StorageError } from "../errors.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PooledSession } from "../state/pooled-session.js";
import { KeyTakenError, type SessionRegistry } from "../state/session-registry.js";
import type { KeyReservations } from "../storage/key-reservations.js";
import { decodeRecord } from "../storage/record.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";
import type { SessionRemoval } from "./session-removal.js";

/** What discovering needs. */
export interface RecordDiscoveryDeps {
  readonly registry: SessionRegistry;
  readonly ownership: Ownership;
  readonly recordWriter: RecordWriter;
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly locks: KeyedMutex;
  readonly keys: KeyReservations;
  readonly removal: SessionRemoval;
  readonly scheduler: LeaseScheduler;
  /** A record could not be read. */
  rejected(id: string): void;
}

/** How sessions come that other processes have added. */
export class RecordDiscovery {
  readonly #parts: RecordDiscoveryDeps;

  constructor(parts: RecordDiscoveryDeps) {
    this.#parts = parts;
  }

  /**
   * There is a record of a session that is not in the book: another process has added it, or has not finished removing it.
   * Resolves whether that may change though nobody writes the record again.
   */
  async onUnknownRecord(id: string): Promise<boolean> {
    const { registry, storage, deadline, locks } = this.#parts;
    return locks.runExclusive([`id ${id}`], async () => {
      if (registry.get(id) !== undefined) return false;
      const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
      if (stored === undefined) {
        registry.forgetRejected(id);
        return false;
      }
      return this.#takeIn(stored);
    });
  }

  /** Takes in a session that another process has added. Throws as loading rejects. */
  async adopt(stored: StoredRecord): Promise<PooledSession> {
    const { registry, recordWriter, ownership, keys } = this.#parts;
    // An addition that was given up may land after somebody else has added the key under another id.
    const holder = await keys.ownerOf(decodeRecord(stored.data).fingerprint);
    if (holder !== undefined && holder !== stored.id) throw new KeyTakenError(holder);
    const { known, owner } = await registry.adopt(stored);
    recordWriter.track(stored.id, stored.version);
    ownership.onRecordRead(stored.id, owner);
    return known;
  }

  /** Resolves as `discovered`: a process that is removing it may die, and a key that is taken may be given up. */
  async #takeIn(stored: StoredRecord): Promise<boolean> {
    const { registry, removal, scheduler } = this.#parts;
    const { id } = stored;
    const isNew = registry.rejection(id) === undefined;
    try {
      const state = await removal.finishPendingRemoval(stored);
      if (state === "stays") await this.adopt(stored);
      registry.forgetRejected(id);
      scheduler.serveWaiters();
      return state === "leaving";
    } catch (error) {
      if (error instanceof StorageError && !(error instanceof StorageCorruptError)) throw error;
      registry.reject(id, error);
      if (isNew) this.#parts.rejected(id);
      return error instanceof KeyTakenError;
    }
  }
}
