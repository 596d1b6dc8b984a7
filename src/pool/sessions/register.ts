import type { ConnectionPool } from "../../connections/connections.js";
import type { PoolClosedError } from "../../errors.js";
import type { SessionPoolEvents } from "../../events.js";
import type { ResolvedOptions } from "../../options.js";
import { KeyReservations } from "../../records/key-reservations.js";
import type { RecordWriter } from "../../records/ledger.js";
import type { Ownership } from "../../records/ownership/ownership.js";
import type { PeerCacheWriter } from "../../records/peers/peer-journal.js";
import type { StoredRecord } from "../../records/storage.js";
import { LISTING_TAKES, type StorageTimeout } from "../../records/storage-deadline.js";
import type { SessionTable } from "../../roster/roster.js";
import type { ConnectBackoff } from "../back-offs.js";
import type { LeaseScheduler } from "../dispatcher.js";
import type { PersistentConnections } from "../keeper.js";
import type { SessionStateManager } from "../marks.js";
import type { HealthProbe } from "../prober.js";
import type { PoolTime } from "../time-line.js";
import type { CredentialEncryption } from "./credentials.js";
import { SessionRemoval } from "./departures.js";
import { RecordDiscovery } from "./discovery.js";
import { Reencryption } from "./key-rotation.js";
import { KeyedMutex } from "./keyed-locks.js";
import type { PooledSession } from "./known-session.js";
import { RecordMerger } from "./merging.js";
import { StorageSync } from "./refresh.js";
import { SessionAdmin } from "./registration.js";
import type { SessionRegistry } from "./session-book.js";
import type { SessionSerializer } from "./session-records.js";

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
