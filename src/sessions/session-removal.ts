import type { Timer } from "../common/clock.js";
import { exponentialDelay } from "../common/timers.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { writeTimedOutError } from "../error-factories.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { KeyReservations } from "../storage/key-reservations.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { decodeRecord } from "../storage/record.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { StoredRecord } from "../storage/storage.js";
import type { SessionParts } from "./session-parts.js";

/** Delay before the first retry of a failed deletion; doubles each time. */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/**
 * Removes sessions. While a client is connected, here or in another process, the record stays and is marked as removed: the
 * process that holds it lets its lease end, closes the client, and only then deletes the record and releases the auth key
 * for another id.
 */
export class SessionRemoval {
  readonly #context: PoolContext;
  readonly #registry: SessionRegistry;
  readonly #ownership: Ownership;
  readonly #sessionState: SessionStateManager;
  readonly #facts: AccountFacts;
  readonly #recordWriter: RecordWriter;
  readonly #peers: PeerCacheWriter;
  readonly #connections: ConnectionPool<unknown>;
  readonly #backOffs: ConnectBackoff;
  readonly #reservations: KeyReservations;
  /** A timer for each removed session whose record is still to be deleted. */
  readonly #unfinished = new Map<string, Timer>();
  #isEnded = false;
  readonly #reportFailure = (error: Error): void => this.#context.events.emit("storageFailed", error);

  constructor(context: PoolContext, parts: SessionParts, reservations: KeyReservations) {
    this.#context = context;
    this.#registry = parts.registry;
    this.#ownership = parts.ownership;
    this.#sessionState = parts.sessionState;
    this.#facts = parts.facts;
    this.#recordWriter = parts.recordWriter;
    this.#peers = parts.peers;
    this.#connections = parts.connections;
    this.#backOffs = parts.backOffs;
    this.#reservations = reservations;
  }

  /** Removes a session. Resolves with whether it existed. Rejects if the storage fails; then nothing has changed. */
  async remove(id: string): Promise<boolean> {
    return this.#registry.change(id, undefined, async () => {
      const known = this.#registry.get(id);
      if (known === undefined) return this.#removeRejected(id);
      if (known.isRemoving) return false;
      await this.#takeOut(known);
      await this.#leave(known).catch(this.#reportFailure);
      return true;
    });
  }

  /** Finishes the removal of a session whose last lease has ended. */
  async onLastLeaseEnded(id: string): Promise<void> {
    const known = this.#registry.get(id);
    if (known === undefined) return;
    await this.#registry.change(id, undefined, async () => {
      // Its removal may have failed meanwhile.
      if (known.isRemoving) await this.#forget(known);
    });
  }

  /** Removes a session that another process has removed: its record is gone, or marked as removed. */
  async onRemovedElsewhere(id: string): Promise<void> {
    const known = this.#registry.get(id);
    if (known === undefined || known.isRemoving) return;
    this.#registry.beginRemoval(known);
    await this.#registry.change(id, undefined, () => this.#leave(known));
  }

  /**
   * Finishes a removal that another process may have left unfinished: deletes the record of a removed session, unless a
   * client may still be connected.
   */
  async finishPendingRemoval(stored: StoredRecord): Promise<"stays" | "leaving" | "gone"> {
    const { id } = stored;
    const record = decodeRecord(stored.data);
    if (!record.isRemoved) return "stays";
    this.#ownership.onRecordRead(id, record.owner);
    if (this.#ownership.isForeign(id)) return "leaving";
    if (!(await this.#recordWriter.deleteUntracked(stored))) return "leaving";
    this.#ownership.forget(id);
    await this.#forgetTraces(id, record.fingerprint);
    return "gone";
  }

  /** Retries pending deletions one last time; the next process to open the storage does the rest. */
  async end(): Promise<void> {
    this.#isEnded = true;
    const ids = [...this.#unfinished.keys()];
    for (const timer of this.#unfinished.values()) timer.cancel();
    this.#unfinished.clear();
    await Promise.all(ids.map((id) => this.#finish(id, 0)));
  }

  #finishLater(id: string, failures: number): void {
    if (this.#isEnded) return;
    this.#unfinished.get(id)?.cancel();
    const timer = this.#context.clock.setTimer(exponentialDelay(failures, FIRST_RETRY_MS, MAX_RETRY_MS), () => {
      this.#unfinished.delete(id);
      void this.#finish(id, failures + 1);
    });
    this.#unfinished.set(id, timer);
  }

  /** Deletes the record of a removed session, if it still exists and the id was not added again. */
  async #finish(id: string, failures: number): Promise<void> {
    try {
      const state = await this.#registry.change(id, undefined, async () => {
        if (this.#registry.get(id) !== undefined) return "stays";
        const stored = await this.#recordWriter.read(id);
        return stored === undefined ? "gone" : this.finishPendingRemoval(stored);
      });
      if (state === "leaving") this.#finishLater(id, failures);
    } catch (error) {
      this.#reportFailure(error instanceof Error ? error : new Error(String(error)));
      this.#finishLater(id, failures);
    }
  }

  /** Deletes the record, or marks it as removed. */
  async #takeOut(known: PooledSession): Promise<void> {
    const { id } = known;
    await this.#facts.leaveAccount(known);
    this.#registry.beginRemoval(known);
    try {
      const isInUse = this.#connections.get(id) !== undefined || this.#ownership.isForeign(id);
      if (!isInUse && (await this.#recordWriter.delete(id))) return await this.#forgetTraces(id, known.fingerprint);
      known.isRemoved = true;
      // If the record is gone, another process has removed the session at the same time.
      if (!(await this.#recordWriter.save(id)) && this.#recordWriter.versionOf(id) !== undefined)
        throw writeTimedOutError(id);
    } catch (error) {
      known.isRemoved = false;
      this.#registry.cancelRemoval(known, this.#ownership.isForeign(id));
      this.#context.events.emit("available");
      throw error;
    }
  }

  async #leave(known: PooledSession): Promise<void> {
    this.#registry.beginRemoval(known);
    this.#context.events.emit("availabilityChanged");
    if (!known.isLeased) await this.#forget(known);
  }

  /** Closes the client first, then deletes the record, then releases the key. */
  async #forget(known: PooledSession): Promise<void> {
    const { id } = known;
    await this.#connections.close(id, "the session was removed");
    if (this.#registry.get(id) !== known) return;
    this.#registry.forget(known);
    this.#sessionState.clearFatal(id);
    this.#backOffs.left(known.credentials.profile);
    const isOurs = known.isRemoved && !this.#ownership.isForeign(id);
    try {
      if (isOurs && (await this.#recordWriter.delete(id))) await this.#forgetTraces(id, known.fingerprint);
    } catch (error) {
      this.#finishLater(id, 0);
      throw error;
    } finally {
      this.#recordWriter.untrack(id);
      this.#ownership.forget(id);
    }
  }

  /** Deletes everything else of the session; its record MUST be gone, so that the key can be taken over even if this fails. */
  async #forgetTraces(id: string, fingerprint: string): Promise<void> {
    await this.#peers.clear(id);
    await this.#reservations.release(fingerprint, id).catch(this.#reportFailure);
  }

  async #removeRejected(id: string): Promise<boolean> {
    if (this.#registry.rejection(id) === undefined) return false;
    const stored = await this.#recordWriter.read(id);
    if (stored !== undefined && !(await this.#recordWriter.deleteUntracked(stored))) return false;
    this.#registry.forgetRejected(id);
    await this.#peers.clear(id);
    return true;
  }
}
