import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { Clock, Timer } from "../common/clock.js";
import type { KeyedMutex } from "../common/keyed-mutex.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { writeTimedOutError } from "../error-factories.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state.js";
import type { KeyReservations } from "../storage/key-reservations.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { decodeRecord } from "../storage/record.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";

/** What removing needs. */
export interface SessionRemovalDeps {
  readonly registry: SessionRegistry;
  readonly ownership: Ownership;
  readonly recordWriter: RecordWriter;
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly locks: KeyedMutex;
  readonly keys: KeyReservations;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<unknown>;
  readonly backOffs: ConnectBackoff;
  readonly sessionState: SessionStateManager;
  readonly peers: PeerCacheWriter;
  readonly clock: Clock;
  failed(error: Error): void;
}

/** A record that could not be deleted is tried again after so long, twice as long each time. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

/**
 * How sessions leave. While a client is connected, here or in another process, the record stays and says that the session
 * is removed: whoever holds it lets its lease end, closes the client, and only then deletes the record and frees the
 * auth key for another id.
 */
export class SessionRemoval {
  readonly #parts: SessionRemovalDeps;
  /** One timer for each removed session whose record is still to be deleted; it goes with the record. */
  readonly #unfinished = new Map<string, Timer>();
  #isEnded = false;

  constructor(parts: SessionRemovalDeps) {
    this.#parts = parts;
  }

  /** Whether there was one. Rejects when the storage does; nothing has changed then. What is left to do later is no failure. */
  async remove(id: string): Promise<boolean> {
    return this.#parts.locks.runExclusive([`id ${id}`], async () => {
      const known = this.#parts.registry.get(id);
      if (known === undefined) return this.#removeRejected(id);
      if (known.isRemoving) return false;
      await this.#takeOut(known);
      await this.#leave(known).catch(this.#parts.failed);
      return true;
    });
  }

  /** The last lease of a removed session has ended. */
  async onLastLeaseEnded(id: string): Promise<void> {
    const known = this.#parts.registry.get(id);
    if (known === undefined) return;
    await this.#parts.locks.runExclusive([`id ${id}`], async () => {
      // Its removal may have failed meanwhile: then it stays.
      if (known.isRemoving) await this.#forget(known);
    });
  }

  /** Another process has removed the session: its record is gone, or says so. */
  async onRemovedElsewhere(id: string): Promise<void> {
    const { registry } = this.#parts;
    const known = registry.get(id);
    if (known === undefined || known.isRemoving) return;
    registry.beginRemoval(known);
    await this.#parts.locks.runExclusive([`id ${id}`], () => this.#leave(known));
  }

  /**
   * Finishes what another process may have left unfinished: the record of a removed session is deleted, unless a client
   * may still be connected.
   */
  async finishPendingRemoval(stored: StoredRecord): Promise<"stays" | "leaving" | "gone"> {
    const { ownership, storage, deadline } = this.#parts;
    const { id, version } = stored;
    const record = decodeRecord(stored.data);
    if (!record.isRemoved) return "stays";
    ownership.onRecordRead(id, record.owner);
    if (ownership.isForeign(id)) return "leaving";
    const gone = await deadline.run(`delete the record of "${id}"`, () => storage.write(id, version, null));
    if (gone === undefined) return "leaving";
    ownership.forget(id);
    await this.#forgetTraces(id, record.fingerprint);
    return "gone";
  }

  /** Tries once more what is still to be deleted, and then no more: the next process to open the storage does it. */
  async end(): Promise<void> {
    this.#isEnded = true;
    const ids = [...this.#unfinished.keys()];
    for (const timer of this.#unfinished.values()) timer.cancel();
    this.#unfinished.clear();
    await Promise.all(ids.map((id) => this.#finish(id, LONGEST_RETRY_MS)));
  }

  #finishLater(id: string, delayMs: number): void {
    if (this.#isEnded) return;
    this.#unfinished.get(id)?.cancel();
    const timer = this.#parts.clock.setTimer(delayMs, () => {
      this.#unfinished.delete(id);
      void this.#finish(id, Math.min(delayMs * 2, LONGEST_RETRY_MS));
    });
    this.#unfinished.set(id, timer);
  }

  /** Deletes the record of a session that has left here, if it is still there and nobody has added the id again. */
  async #finish(id: string, delayMs: number): Promise<void> {
    const { registry, storage, deadline, locks, failed } = this.#parts;
    try {
      const state = await locks.runExclusive([`id ${id}`], async () => {
        if (registry.get(id) !== undefined) return "stays";
        const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
        return stored === undefined ? "gone" : this.finishPendingRemoval(stored);
      });
      if (state === "leaving") this.#finishLater(id, delayMs);
    } catch (error) {
      failed(error instanceof Error ? error : new Error(String(error)));
      this.#finishLater(id, delayMs);
    }
  }

  /** The record is gone, or says that the session is removed. */
  async #takeOut(known: PooledSession): Promise<void> {
    const { registry, recordWriter, ownership, connections, scheduler } = this.#parts;
    const { id } = known;
    registry.beginRemoval(known);
    try {
      const isInUse = connections.get(id) !== undefined || ownership.isForeign(id);
      if (!isInUse && (await recordWriter.delete(id))) return await this.#forgetTraces(id, known.fingerprint);
      known.isRemoved = true;
      // A record that is gone is one that another process has removed at the same time.
      if (!(await recordWriter.save(id)) && recordWriter.versionOf(id) !== undefined) throw writeTimedOutError(id);
    } catch (error) {
      known.isRemoved = false;
      registry.cancelRemoval(known, ownership.isForeign(id));
      scheduler.serveWaiters();
      throw error;
    }
  }

  async #leave(known: PooledSession): Promise<void> {
    const { registry, scheduler } = this.#parts;
    registry.finishRemoval(known);
    scheduler.rejectHopeless();
    if (!known.isLeased) await this.#forget(known);
  }

  /** The client ends first, then the record, then the reservation of the key. */
  async #forget(known: PooledSession): Promise<void> {
    const { registry, connections, backOffs, sessionState, recordWriter, ownership } = this.#parts;
    const { id } = known;
    await connections.close(id, "the session was removed");
    if (registry.get(id) !== known) return;
    registry.forget(known);
    sessionState.clearFatal(id);
    backOffs.left(known.credentials.profile);
    const isOurs = known.isRemoved && !ownership.isForeign(id);
    try {
      if (isOurs && (await recordWriter.delete(id))) await this.#forgetTraces(id, known.fingerprint);
    } catch (error) {
      this.#finishLater(id, FIRST_RETRY_MS);
      throw error;
    } finally {
      recordWriter.untrack(id);
      ownership.forget(id);
    }
  }

  /** What there is of the session beside its record, which MUST be gone: so the key can be taken, even if that fails. */
  async #forgetTraces(id: string, fingerprint: string): Promise<void> {
    await this.#parts.peers.clear(id);
    await this.#parts.keys.release(fingerprint, id).catch(this.#parts.failed);
  }

  async #removeRejected(id: string): Promise<boolean> {
    const { registry, storage, deadline } = this.#parts;
    if (registry.rejection(id) === undefined) return false;
    const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (stored !== undefined) {
      const gone = await deadline.run(`delete the record of "${id}"`, () => storage.write(id, stored.version, null));
      if (gone === undefined) return false;
    }
    registry.forgetRejected(id);
    await this.#parts.peers.clear(id);
    return true;
  }
}
