import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import { KeyedMutex } from "../common/keyed-mutex.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { HealthProbe } from "../connections/health-probe.js";
import type { PersistentConnections } from "../connections/persistent-connections.js";
import type { CredentialEncryption } from "../encryption/credentials.js";
import type { PoolClosedError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import type { ResolvedOptions } from "../options/options.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state.js";
import type { SessionTable } from "../state/session-table.js";
import { KeyReservations } from "../storage/key-reservations.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionSerializer } from "../storage/session-serializer.js";
import type { StoredRecord } from "../storage/storage.js";
import { LISTING_TAKES, type StorageTimeout } from "../storage/storage-timeout.js";
import { RecordDiscovery } from "./record-discovery.js";
import { RecordMerger } from "./record-merger.js";
import { Reencryption } from "./reencryption.js";
import { SessionAdmin } from "./session-admin.js";
import { SessionRemoval } from "./session-removal.js";
import { StorageSync } from "./storage-sync.js";

type RegisterEvents = Pick<SessionPoolEvents, "sessionChanged" | "recordRejected">;

/** What the register is built on. */
export interface SessionServicesDeps {
  readonly options: ResolvedOptions<unknown>;
  readonly registry: SessionRegistry;
  readonly records: SessionSerializer;
  readonly sealing: CredentialEncryption;
  readonly ownership: Ownership;
  readonly sessionTable: SessionTable<PooledSession>;
  readonly recordWriter: RecordWriter;
  readonly deadline: StorageTimeout;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<unknown>;
  readonly backOffs: ConnectBackoff;
  readonly sessionState: SessionStateManager;
  readonly peers: PeerCacheWriter;
  readonly persistentConnections: PersistentConnections;
  readonly healthProbe: HealthProbe;
  readonly time: PoolTime;
  emit<Name extends keyof RegisterEvents>(name: Name, event: Parameters<RegisterEvents[Name]>[0]): void;
  /** Something to be done before the pool is closed. */
  later(work: Promise<unknown>): void;
  /** One of the pool's own records was seen. */
  own(record: StoredRecord): void;
  failed(error: Error): void;
  /** A look for what other processes have written failed. */
  lookFailed(error: Error): void;
  /** One at all records did not. */
  lookWorked(): void;
  /** What a call gets that comes after the pool was closed. */
  closed(): PoolClosedError | undefined;
}

/** Which sessions there are: how they come, change and go, in this process and in others. */
export interface SessionServices {
  readonly admin: SessionAdmin;
  readonly removal: SessionRemoval;
  readonly discovery: RecordDiscovery;
  readonly merger: RecordMerger;
  readonly refresh: StorageSync;
  readonly reencryption: Reencryption;
  /** The record of a session is gone. */
  gone(id: string): void;
}

/** Builds the register: which part of it knows which. */
export function createSessionServices(parts: SessionServicesDeps): SessionServices {
  const { options, registry, ownership, recordWriter, deadline, persistentConnections, healthProbe, later, emit } =
    parts;
  const { clock, storage, trustServers, encryption } = options;
  /** Keys that sessions have given up, until the clients that had them are gone. */
  const formerKeys = new Set<string>();
  const keys = new KeyReservations(storage, deadline, (key, id) => formerKeys.has(key) || ownership.isForeign(id));
  const shared = { ...parts, storage, clock, locks: new KeyedMutex(), keys };
  const removal = new SessionRemoval(shared);
  const changed = (id: string): void => emit("sessionChanged", { id });
  // It may be the session's key again by then.
  const giveBack = (id: string, key: string): Promise<void> =>
    shared.locks.runExclusive([`key ${key}`], async () => {
      if (registry.holderOf(key) !== id) await keys.release(key, id);
    });
  const keyReplaced = (id: string, former: string, isGone: Promise<void>): void => {
    formerKeys.add(former);
    later(isGone.then(() => giveBack(id, former)).finally(() => formerKeys.delete(former)));
  };
  const gone = (id: string): void => {
    ownership.forget(id);
    later(removal.onRemovedElsewhere(id));
    persistentConnections.ensure(id);
  };
  const discovery = new RecordDiscovery({
    ...shared,
    removal,
    rejected: (id) => emit("recordRejected", { id, reason: registry.rejection(id) ?? "" }),
  });
  const admin = new SessionAdmin({ ...shared, removal, discovery, trustServers, changed, keyReplaced });
  const merger = new RecordMerger({
    ...parts,
    changed,
    keyReplaced: (id, former, isGone) => {
      if (ownership.isHeld(id)) keyReplaced(id, former, isGone);
    },
    removed: (id) => later(removal.onRemovedElsewhere(id)),
    rejected: (id, reason) => emit("recordRejected", { id, reason }),
  });
  const refresh = new StorageSync({
    clock,
    intervalMs: options.ownership.ttlMs / 3,
    storage,
    deadline,
    patientDeadline: deadline.times(LISTING_TAKES),
    recordWriter,
    discovered: (id) =>
      discovery.onUnknownRecord(id).finally(() => {
        persistentConnections.ensure(id);
        healthProbe.schedule(id);
      }),
    rejected: () => registry.rejected().map(({ id }) => id),
    own: parts.own,
    gone,
    failed: parts.lookFailed,
    worked: parts.lookWorked,
  });
  const reencryption = new Reencryption({
    ...shared,
    sealer: encryption,
    peers: storage.peers,
    syncAll: async () => {
      if (storage.shared) await refresh.syncAll();
    },
  });
  return { admin, removal, discovery, merger, refresh, reencryption, gone };
}
