import { AbortListeners } from "./acquire/abort-listeners.js";
import { LeaseScheduler } from "./acquire/lease-scheduler.js";
import { Nesting } from "./acquire/nesting.js";
import { SessionAcquirer } from "./acquire/session-acquirer.js";
import { WaitQueueEntrance } from "./acquire/wait-queue-entrance.js";
import type { ProcessRef } from "./common/process-ref.js";
import { warn } from "./common/process-warning.js";
import type { UserCallbackContext } from "./common/user-callback.js";
import { createConnections, ownershipLost } from "./connections/connection-factory.js";
import type { ConnectionPool } from "./connections/connection-pool.js";
import { HealthProbe } from "./connections/health-probe.js";
import { PersistentConnections } from "./connections/persistent-connections.js";
import { CredentialEncryption } from "./encryption/credentials.js";
import { allLocked, unknownSessionError } from "./error-factories.js";
import { BulkRunManager } from "./jobs/bulk/bulk-run-manager.js";
import { JobRunner } from "./jobs/job-runner.js";
import { coolDown } from "./lease/cool-down.js";
import { LeaseManager } from "./lease/lease-manager.js";
import type { StoragePart } from "./observability/pool-log.js";
import type { ResolvedOptions } from "./options/options.js";
import type { SessionInfo } from "./options/session-info.js";
import { checkReason } from "./options/validate.js";
import { createOwnership } from "./ownership/create-ownership.js";
import type { Ownership } from "./ownership/ownership.js";
import type { SingleProcessLock } from "./ownership/single-process-lock.js";
import { createContext, type IsHeard, type Publish } from "./pool-context.js";
import { PoolLifecycle } from "./pool-lifecycle.js";
import { createRateLimiting } from "./rate-limits/rate-limiting.js";
import type { Reencryption } from "./sessions/reencryption.js";
import type { SessionAdmin } from "./sessions/session-admin.js";
import type { SessionRemoval } from "./sessions/session-removal.js";
import { createSessionServices, type SessionServices } from "./sessions/session-services.js";
import { Shutdown } from "./shutdown.js";
import type { PooledSession } from "./state/pooled-session.js";
import { createSelectionOrder } from "./state/selection-order.js";
import { SessionRegistry } from "./state/session-registry.js";
import { SessionStateManager } from "./state/session-state.js";
import { SessionTable } from "./state/session-table.js";
import { ownerAmong } from "./storage/key-reservations.js";
import { createPeerCacheWriter } from "./storage/peer-cache-writer.js";
import { isReserved } from "./storage/record.js";
import { RecordWriter } from "./storage/record-writer.js";
import { SessionSerializer } from "./storage/session-serializer.js";
import type { StoredRecord } from "./storage/storage.js";
import { StorageTimeout } from "./storage/storage-timeout.js";

/** The rooms of a pool that its doors lead to. */
export interface PoolComponents<Client> {
  readonly registry: SessionRegistry;
  readonly admin: SessionAdmin;
  readonly removal: SessionRemoval;
  readonly reencryption: Reencryption;
  readonly acquirer: SessionAcquirer<Client>;
  readonly jobRunner: JobRunner<Client>;
  readonly leases: LeaseManager<Client>;
  readonly maps: BulkRunManager<Client>;
  readonly lifecycle: PoolLifecycle;
  readonly shutdown: Shutdown;
  readonly processRef: ProcessRef;
  /** Takes in what the storage holds. Rejects with `StorageCorruptError` when none of it can be opened for want of a key. */
  load(records: readonly StoredRecord[]): Promise<void>;
  /** Tells of the records that could not be read, and starts the timers of those that could. */
  begin(): void;
  readonly scheduler: LeaseScheduler;
  readonly persistentConnections: PersistentConnections;
}

/** A claim has to be renewed in time, so that a failed write of a record is soon tried again. */
const RETRIES_PER_TTL = 12;
const LONGEST_RETRY_MS = 30_000;

/** Builds a pool from its options: which part knows which. Nothing here decides anything. */
export function createPool<Client>(
  given: ResolvedOptions<Client>,
  processRef: ProcessRef,
  processLock: SingleProcessLock | undefined,
  publish: Publish,
  isHeard: IsHeard,
): PoolComponents<Client> {
  // What a caller waits for is timed in the caller's async context, everything else in the pool's own.
  const context = createContext(given, publish, isHeard);
  const { clock, time, log, events } = context;
  const options: ResolvedOptions<Client> = { ...given, clock };
  const { clock: callersClock } = given;
  const { storage, leasesPerSession, maxConnected: maxLeased } = options;
  const lifecycle = new PoolLifecycle(events);
  const deadline = new StorageTimeout(clock, options.storageTimeoutMs);
  const emit = events.publish;
  const ruleFailed = (text: string): void => {
    warn(text);
    log.write("error", text, { event: "ruleFailed" });
  };
  const rules: UserCallbackContext = { info: (id) => infoOf(registry, id), failed: ruleFailed };
  const order = createSelectionOrder(options.selection, rules);
  const sessionTable = new SessionTable<PooledSession>({ leasesPerSession, maxLeased, order });
  const sealing = new CredentialEncryption(options.encryption, deadline, options.trustServers);
  const records = new SessionSerializer(time, sealing);
  const registry = new SessionRegistry(sessionTable, time, records);
  const signals = new AbortListeners();
  const storageFailed = (error: Error): void => events.emit("storageFailed", error);
  const failedIn = (part: StoragePart) => (error: Error) => events.emit("storageFailed", error, part);
  const recordWriter: RecordWriter = new RecordWriter(storage, {
    clock,
    storageTimeoutMs: options.storageTimeoutMs,
    longestRetryMs: Math.min(LONGEST_RETRY_MS, options.ownership.ttlMs / RETRIES_PER_TTL),
    draft: (id) => {
      const known = registry.get(id);
      return known && records.toDraft(known, ownership.draft(id));
    },
    merge: (record) => register.merger.apply(record),
    mayDelete: (id) => !ownership.isForeign(id),
    onDeleted: (id) => register.gone(id),
    failed: failedIn("records"),
    recovered: () => events.emit("storageWorks", "records"),
  });
  const later = (work: Promise<unknown>): void => lifecycle.runInBackground(work);
  const ownership: Ownership = createOwnership({
    options,
    sessionTable,
    time,
    recordWriter: () => recordWriter,
    scheduler: () => scheduler,
    look: (id) => register.refresh.syncOne(id),
    freed: (id) => persistentConnections.ensure(id),
    lost: (id) => {
      leases.revoke(id, ownershipLost(id), "its ownership was lost");
      void connections.close(id, "its ownership was lost");
      emit("ownershipLost", { id });
    },
  });
  const peers = createPeerCacheWriter(options, failedIn("peers"), () => events.emit("storageWorks", "peers"));
  if (processLock !== undefined) processLock.onOvertaken = storageFailed;
  const persistentConnections = new PersistentConnections({
    clock,
    registry,
    processRef,
    keepConnected: options.keepConnected,
    connections: () => connections,
  });
  const scheduler: LeaseScheduler = new LeaseScheduler(sessionTable, time, clock, {
    // After its "cooled", which waits for the record, and never in the stack of a caller of the pool.
    recovered: (entry) => {
      const { id } = entry;
      if (entry.owesNews) void recordWriter.flush(id).then(() => emit("recovered", { id }));
      entry.owesNews = false;
      persistentConnections.ensure(id);
    },
    unavailableError: (criteria, availability) => acquirer.unavailable(criteria, availability),
  });
  events.on("available", () => scheduler.serveWaiters());
  events.on("unavailable", () => scheduler.rejectHopeless());
  events.on("connectFailed", () => scheduler.connectFailed());
  const sessionState: SessionStateManager = new SessionStateManager({
    sessionTable,
    registry,
    recordWriter,
    time,
    scheduler,
    log,
    cooldownScope: options.cooldownScope,
    restrictedForMs: options.restrictedForMs,
    emit,
    onDead: (id) => {
      if (sessionTable.get(id)?.isLeased === false) void connections.close(id, "the session is dead");
    },
    onUnhealthy: (id) => {
      healthProbe.schedule(id);
      persistentConnections.ensure(id);
    },
  });
  const healthProbe = new HealthProbe({
    clock,
    time,
    probeIntervalMs: options.probeIntervalMs,
    registry,
    sessionTable,
    recordWriter,
    scheduler,
    sessionState,
    connections: () => connections,
  });
  const rejected = (id: string, reason: string): void => registry.reject(id, new Error(reason));
  const budgets = createRateLimiting({ options, sessionTable, time, scheduler, deadline, later, rejected, ...rules });
  const common = {
    options,
    log,
    registry,
    ownership,
    sessionTable,
    sessionState,
    scheduler,
    time,
    peers,
    persistentConnections,
    healthProbe,
    emit,
  };
  const made = createConnections<Client>({
    ...common,
    context,
    budgets,
    settleKey: (known) => register.admin.settleKey(known),
  });
  const connections: ConnectionPool<Client> = made.connections;
  const register: SessionServices = createSessionServices({
    ...common,
    records,
    sealing,
    recordWriter,
    deadline,
    connections,
    backOffs: made.backOffs,
    later,
    own: (record) => {
      const before = registry.rejection(record.id);
      budgets?.load([record]);
      const reason = registry.rejection(record.id);
      if (reason !== undefined && reason !== before) emit("recordRejected", { id: record.id, reason });
    },
    closed: () => lifecycle.closedError(),
    failed: storageFailed,
    lookFailed: failedIn("changes"),
    lookWorked: () => events.emit("storageWorks", "changes"),
  });
  const { admin, removal, discovery, refresh, reencryption } = register;
  const leases: LeaseManager<Client> = new LeaseManager({
    clock: callersClock,
    time,
    sessionTable,
    scheduler,
    connections,
    processRef,
    maxLeaseMs: options.maxLeaseMs,
    info: (id) => infoOf(registry, id),
    coolDown: (entry, seconds, scope) => coolDown(sessionState, entry, seconds, scope),
    retire: (entry, reason, isOfItsKey) => {
      checkReason("retire", reason);
      if (isOfItsKey) sessionState.markDead(entry, reason);
    },
    onLastLeaseEnded: (id) => later(removal.onLastLeaseEnded(id)),
    isHeard,
    emit,
  });
  const shutdown = new Shutdown({
    lifecycle,
    clock,
    closeTimeoutMs: options.closeTimeoutMs,
    scheduler,
    leases,
    connections,
    recordWriter,
    ownership,
    refresh,
    removal,
    peers,
    budgets,
    persistentConnections,
    healthProbe,
    processLock,
    storage,
    deadline,
    processRef,
    maps: { end: (error) => maps.end(error), close: () => maps.close() },
    storageFailed,
    log,
  });
  const waitQueueEntrance = new WaitQueueEntrance({
    clock: callersClock,
    time,
    scheduler,
    signals,
    processRef,
    waiting: () => {
      if (!isHeard("waiting")) return;
      const { waiters, nextAvailableAt } = scheduler.status();
      queueMicrotask(() => emit("waiting", { waiters, nextAvailableAt }));
    },
    unreachable: (acquireRequest) => acquirer.unreachable(acquireRequest),
  });
  const nesting = new Nesting(options.traceLeases);
  const acquirer: SessionAcquirer<Client> = new SessionAcquirer({
    clock: callersClock,
    time,
    sessionTable,
    scheduler,
    connections,
    leases,
    signals,
    processRef,
    recordWriter,
    nesting,
    waitQueueEntrance,
    maxWaiters: options.maxWaiters,
    connectTimeoutMs: options.connectTimeoutMs,
    traceLeases: options.traceLeases,
    status: () => scheduler.status(),
    closed: (isUnderWay) => lifecycle.closedError(isUnderWay),
    backOff: made.backOff,
  });
  const jobRunner = new JobRunner({
    clock: callersClock,
    time,
    scheduler,
    acquirer,
    signals,
    nesting,
    leases,
  });
  const maps: BulkRunManager<Client> = new BulkRunManager({
    options: given,
    time,
    sessionTable,
    jobRunner,
    signals,
    processRef,
    deadline,
    status: () => scheduler.status(),
    closed: () => lifecycle.closedError(),
  });
  let rejections: ReturnType<SessionRegistry["rejected"]> = [];
  const load = async (listed: readonly StoredRecord[]): Promise<void> => {
    budgets?.load(listed);
    const loaded = await registry.load(
      listed.filter(({ id }) => !isReserved(id)),
      (fingerprint) => ownerAmong(fingerprint, listed),
    );
    for (const { known, version, owner } of loaded) {
      if (known.isRemoved) later(discovery.onUnknownRecord(known.id));
      else recordWriter.track(known.id, version);
      if (!known.isRemoved) ownership.onRecordRead(known.id, owner);
    }
    rejections = registry.rejected();
    if (registry.lockedCount === 0) return;
    if (loaded.length === 0) throw allLocked(registry.lockedCount, rejections[0]?.reason ?? "");
    const text = `${registry.lockedCount} records cannot be opened with the keys of the option "encryption". See rejected().`;
    log.write("error", text, { event: "keyMissing", count: registry.lockedCount });
  };
  const begin = (): void => {
    for (const rejection of rejections) emit("recordRejected", rejection);
    scheduler.serveWaiters();
    persistentConnections.ensureAll();
    healthProbe.scheduleAll();
    if (storage.shared) refresh.start();
  };
  return {
    registry,
    admin,
    removal,
    reencryption,
    acquirer,
    jobRunner,
    leases,
    maps,
    lifecycle,
    shutdown,
    processRef,
    load,
    begin,
    scheduler,
    persistentConnections,
  };
}

function infoOf(registry: SessionRegistry, id: string): SessionInfo {
  const known = registry.get(id);
  if (known === undefined) throw unknownSessionError(id);
  return registry.info(known);
}
