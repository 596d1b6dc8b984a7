import { isDeepStrictEqual } from "node:util";
import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { PersistentConnections } from "../connections/persistent-connections.js";
import type { CredentialEncryption, Credentials, StoredCredentials } from "../encryption/credentials.js";
import { unreadableRecordError as unreadable } from "../error-factories.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { decodeRecord, type SessionRecord } from "../storage/record.js";
import type { SessionSerializer } from "../storage/session-serializer.js";
import type { StoredRecord } from "../storage/storage.js";

/** What merging needs. */
export interface RecordMergerDeps {
  readonly registry: SessionRegistry;
  readonly records: SessionSerializer;
  readonly sealing: CredentialEncryption;
  readonly ownership: Ownership;
  readonly sessionState: SessionStateManager;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<unknown>;
  readonly peers: PeerCacheWriter;
  readonly backOffs: ConnectBackoff;
  readonly persistentConnections: Pick<PersistentConnections, "ensure">;
  /** The session has another key, other tags or another profile. */
  changed(id: string): void;
  /** The session has another auth key; `gone` resolves when no client of this process has the former one any more. */
  keyReplaced(id: string, former: string, gone: Promise<void>): void;
  /** The record says that the session is removed. */
  removed(id: string): void;
  /** The record cannot be read any more. */
  rejected(id: string, reason: string): void;
}

/**
 * Takes in what another process has written of a session. What this process has changed and not written yet wins; of
 * everything else the record is the truth, but a cooldown only ever moves later.
 */
export class RecordMerger {
  readonly #parts: RecordMergerDeps;
  /** Of sessions whose record could not be read: which version of it. */
  readonly #refused = new WeakMap<PooledSession, number>();

  constructor(parts: RecordMergerDeps) {
    this.#parts = parts;
  }

  /** Throws as reading the record does; nothing has changed then. */
  apply(stored: StoredRecord): void | Promise<void> {
    const { registry, sealing } = this.#parts;
    const known = registry.get(stored.id);
    if (known === undefined) return;
    const record = this.#readable(known, stored, () => decodeRecord(stored.data));
    if (known.pendingChanges.has("credentials") || isDeepStrictEqual(known.credentials.stored, credentialsIn(record))) {
      return this.#applyChanges(known, record, known.credentials);
    }
    const opened = this.#readable(known, stored, () => sealing.open(stored.id, record));
    if (!(opened instanceof Promise)) return this.#applyChanges(known, record, opened);
    const unreadable = (error: unknown): never => this.#refuse(known, stored, error);
    return opened.catch(unreadable).then((credentials) => {
      if (registry.get(stored.id) !== known) return;
      // They may have been changed here while the record's were opened.
      this.#applyChanges(known, record, known.pendingChanges.has("credentials") ? known.credentials : credentials);
    });
  }

  /** What another writer has left damaged is told once, and stands until somebody repairs it: it is never written over. */
  #refuse(known: PooledSession, { version }: StoredRecord, error: unknown): never {
    const reason = error instanceof Error ? error.message : "it could not be opened";
    if (this.#refused.get(known) !== version) this.#parts.rejected(known.id, reason);
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
    const { registry, records, ownership, sessionState, scheduler } = this.#parts;
    const hasCredentials = this.#applyCredentials(known, credentials, record.fingerprint);
    const hasTags = !known.pendingChanges.has("tags") && !isDeepStrictEqual(record.tags, known.tags);
    if (hasTags) registry.setTags(known, record.tags);
    for (const cooldown of records.cooldownsOf(record)) sessionState.mergeRemoteCooldown(known, cooldown);
    const { deadReason, disabledReason } = record;
    sessionState.mergeRemoteState(known, { deadReason, disabledReason, restriction: records.restrictionOf(record) });
    known.lastUsedAt = latest(known.lastUsedAt, record.lastUsedAt);
    ownership.onRecordRead(known.id, record.owner);
    if (record.isRemoved && !known.isRemoved) {
      known.isRemoved = true;
      this.#parts.removed(known.id);
    }
    scheduler.rejectHopeless();
    // After the queue was served: a listener that asks for a session comes behind the callers who wait.
    if (hasCredentials || hasTags) this.#parts.changed(known.id);
    if (known.disabledReason !== null) this.#closeUnlessLeased(known, "the session was disabled");
    this.#parts.persistentConnections.ensure(known.id);
  }

  /** Whether the client has to be another one now: the same ones may only have been sealed again. */
  #applyCredentials(known: PooledSession, credentials: Credentials, fingerprint: string): boolean {
    const { registry, connections, peers } = this.#parts;
    const former = known.credentials;
    if (former === credentials) return false;
    const { id } = known;
    const hasOtherKey = fingerprint !== known.fingerprint;
    if (hasOtherKey) {
      void peers.clear(id);
      this.#parts.keyReplaced(id, known.fingerprint, connections.get(id)?.gone ?? Promise.resolve());
    }
    registry.replaceCredentials(known, credentials, fingerprint);
    const isSame = former.reveal() === credentials.reveal() && isDeepStrictEqual(former.profile, credentials.profile);
    if (isSame) return false;
    connections.get(id)?.markStale("the session was changed");
    if (hasOtherKey) this.#parts.sessionState.keyReplaced(known);
    if (hasOtherKey || !isDeepStrictEqual(former.profile.proxy, credentials.profile.proxy)) {
      this.#parts.backOffs.causeEnded(known, former.profile);
    }
    this.#closeUnlessLeased(known, "the session was changed");
    return true;
  }

  #closeUnlessLeased(known: PooledSession, reason: string): void {
    if (!known.isLeased) void this.#parts.connections.close(known.id, reason);
  }
}

function credentialsIn({ session, profile }: SessionRecord): StoredCredentials {
  return { session, profile };
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
