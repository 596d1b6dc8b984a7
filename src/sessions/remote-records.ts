import { isDeepStrictEqual } from "node:util";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { Credentials, StoredCredentials } from "../encryption/credentials.js";
import { unreadableRecordError as unreadable } from "../error-factories.js";
import { StorageCorruptError, StorageError } from "../errors.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { RemoteStateMerger } from "../state/remote-state.js";
import { KeyTakenError, type SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { decodeRecord, type SessionRecord } from "../storage/record.js";
import type { RecordDraft, RecordSource, RecordWriter } from "../storage/record-writer.js";
import type { StoredRecord } from "../storage/storage.js";
import type { SessionKeys } from "./session-keys.js";
import type { SessionParts } from "./session-parts.js";
import type { SessionRemoval } from "./session-removal.js";

/**
 * Applies the records that other processes have written: adds unknown sessions, and merges the records of known ones.
 * Unwritten changes of this process take precedence; otherwise the record is authoritative, except that cooldowns only
 * move later.
 */
export class RemoteRecords implements RecordSource {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #registry: SessionRegistry;
  readonly #ownership: Ownership;
  readonly #sessionState: SessionStateManager;
  readonly #recordWriter: RecordWriter;
  readonly #peers: PeerCacheWriter;
  readonly #connections: ConnectionPool<unknown>;
  readonly #backOffs: ConnectBackoff;
  readonly #remoteState: RemoteStateMerger;
  readonly #keys: SessionKeys;
  readonly #removal: SessionRemoval;
  /** The version of each record that could not be read. */
  readonly #refused = new WeakMap<PooledSession, number>();

  constructor(
    context: PoolContext,
    parts: SessionParts,
    remoteState: RemoteStateMerger,
    keys: SessionKeys,
    removal: SessionRemoval,
  ) {
    this.#context = context;
    this.#lifecycle = parts.lifecycle;
    this.#registry = parts.registry;
    this.#ownership = parts.ownership;
    this.#sessionState = parts.sessionState;
    this.#recordWriter = parts.recordWriter;
    this.#peers = parts.peers;
    this.#connections = parts.connections;
    this.#backOffs = parts.backOffs;
    this.#remoteState = remoteState;
    this.#keys = keys;
    this.#removal = removal;
  }

  draft(id: string): RecordDraft | undefined {
    const known = this.#registry.get(id);
    return known && this.#registry.serializer.toDraft(known, this.#ownership.draft(id));
  }

  mayDelete(id: string): boolean {
    return !this.#ownership.isForeign(id);
  }

  onDeleted(id: string): void {
    this.#ownership.forget(id);
    this.#lifecycle.runInBackground(this.#removal.onRemovedElsewhere(id));
    this.#context.events.emit("changed", id);
  }

  /** Throws as reading the record does; nothing has changed then. */
  merge(stored: StoredRecord): void | Promise<void> {
    const known = this.#registry.get(stored.id);
    if (known === undefined) return;
    const record = this.#readable(known, stored, () => decodeRecord(stored.data));
    if (known.pendingChanges.has("credentials") || isDeepStrictEqual(known.credentials.stored, credentialsIn(record))) {
      return this.#applyChanges(known, record, known.credentials);
    }
    const opened = this.#readable(known, stored, () => this.#registry.serializer.encryption.open(stored.id, record));
    if (!(opened instanceof Promise)) return this.#applyChanges(known, record, opened);
    const unreadable = (error: unknown): never => this.#refuse(known, stored, error);
    return opened.catch(unreadable).then((credentials) => {
      if (this.#registry.get(stored.id) !== known) return;
      // They may have been changed here meanwhile.
      this.#applyChanges(known, record, known.pendingChanges.has("credentials") ? known.credentials : credentials);
    });
  }

  /**
   * Handles the record of an unknown session: another process has added it, or has not finished removing it. Resolves with
   * whether that may change without another write of the record.
   */
  async onUnknownRecord(id: string): Promise<boolean> {
    return this.#registry.change(id, undefined, async () => {
      if (this.#registry.get(id) !== undefined) return false;
      const stored = await this.#recordWriter.read(id);
      if (stored === undefined) {
        this.#registry.forgetRejected(id);
        return false;
      }
      return this.#addUnknown(stored);
    });
  }

  /** Adds a session that another process has added. Rejects if its record cannot be read or its key is taken. */
  async adopt(stored: StoredRecord): Promise<PooledSession> {
    // An abandoned write may still be applied after another process has added the key under another id.
    const holder = await this.#keys.reservations.ownerOf(decodeRecord(stored.data).fingerprint);
    if (holder !== undefined && holder !== stored.id) throw new KeyTakenError(holder);
    const { known, owner } = await this.#registry.adopt(stored);
    this.#recordWriter.track(stored.id, stored.version);
    this.#ownership.onRecordRead(stored.id, owner);
    return known;
  }

  /** Resolves as `onUnknownRecord`: a process that is removing it may die, and a taken key may be released. */
  async #addUnknown(stored: StoredRecord): Promise<boolean> {
    const { id } = stored;
    const isNew = this.#registry.rejection(id) === undefined;
    try {
      const state = await this.#removal.finishPendingRemoval(stored);
      if (state === "stays") await this.adopt(stored);
      this.#registry.forgetRejected(id);
      this.#context.events.emit("available");
      return state === "leaving";
    } catch (error) {
      if (error instanceof StorageError && !(error instanceof StorageCorruptError)) throw error;
      this.#registry.reject(id, error);
      if (isNew) {
        this.#context.events.publish("recordRejected", { id, reason: this.#registry.rejection(id) ?? "" });
      }
      return error instanceof KeyTakenError;
    }
  }

  /** Reports a record that another writer has damaged, once. It is never overwritten. */
  #refuse(known: PooledSession, { version }: StoredRecord, error: unknown): never {
    const reason = error instanceof Error ? error.message : "it could not be opened";
    if (this.#refused.get(known) !== version) this.#context.events.publish("recordRejected", { id: known.id, reason });
    this.#refused.set(known, version);
    throw unreadable(known.id, reason);
  }

  #readable<T>(known: PooledSession, stored: StoredRecord, read: () => T): T {
    try {
      return read();
    } catch (error) {
      return this.#refuse(known, stored, error);
    }
  }

  #applyChanges(known: PooledSession, record: SessionRecord, credentials: Credentials): void {
    const hasCredentials = this.#applyCredentials(known, credentials, record.fingerprint);
    const hasTags = !known.pendingChanges.has("tags") && !isDeepStrictEqual(record.tags, known.tags);
    if (hasTags) this.#registry.setTags(known, record.tags);
    for (const cooldown of this.#registry.serializer.cooldownsOf(record))
      this.#remoteState.mergeCooldown(known, cooldown);
    const { deadReason, disabledReason } = record;
    this.#remoteState.mergeState(known, {
      deadReason,
      disabledReason,
      restriction: this.#registry.serializer.restrictionOf(record),
    });
    if (record.fingerprint === known.fingerprint) this.#remoteState.mergeFacts(known, record);
    known.lastUsedAt = latest(known.lastUsedAt, record.lastUsedAt);
    this.#ownership.onRecordRead(known.id, record.owner);
    if (record.isRemoved && !known.isRemoved) {
      known.isRemoved = true;
      this.#lifecycle.runInBackground(this.#removal.onRemovedElsewhere(known.id));
    }
    this.#context.events.emit("availabilityChanged");
    // After the queue was served: a listener that acquires a session queues behind the callers that wait.
    if (hasCredentials || hasTags) this.#context.events.publish("sessionChanged", { id: known.id });
    if (known.disabledReason !== null) this.#closeUnlessLeased(known, "the session was disabled");
    this.#context.events.emit("changed", known.id);
  }

  /** Whether the client has to be replaced: the same credentials may only have been encrypted again. */
  #applyCredentials(known: PooledSession, credentials: Credentials, fingerprint: string): boolean {
    const former = known.credentials;
    if (former === credentials) return false;
    const { id } = known;
    const hasOtherKey = fingerprint !== known.fingerprint;
    if (hasOtherKey) {
      void this.#peers.clear(id);
      const gone = this.#connections.get(id)?.gone ?? Promise.resolve();
      if (this.#ownership.isHeld(id)) this.#keys.releaseWhenGone(id, known.fingerprint, gone);
    }
    this.#registry.replaceCredentials(known, credentials, fingerprint);
    const isSame = former.reveal() === credentials.reveal() && isDeepStrictEqual(former.profile, credentials.profile);
    if (isSame) return false;
    this.#connections.get(id)?.markStale("the session was changed");
    if (hasOtherKey) this.#sessionState.keyReplaced(known);
    if (hasOtherKey || !isDeepStrictEqual(former.profile.proxy, credentials.profile.proxy)) {
      this.#backOffs.causeEnded(known, former.profile);
    }
    this.#closeUnlessLeased(known, "the session was changed");
    return true;
  }

  #closeUnlessLeased(known: PooledSession, reason: string): void {
    if (!known.isLeased) void this.#connections.close(known.id, reason);
  }
}

function credentialsIn({ session, profile }: SessionRecord): StoredCredentials {
  return { session, profile };
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
