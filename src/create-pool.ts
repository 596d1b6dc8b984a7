import { LeaseScheduler } from "./acquire/lease-scheduler.js";
import { Nesting } from "./acquire/nesting.js";
import { PeerKnowledge } from "./acquire/peer-knowledge.js";
import { SessionAcquirer } from "./acquire/session-acquirer.js";
import { AbortListeners } from "./common/abort-listeners.js";
import { inBackground, inOwnContext } from "./common/own-context.js";
import { ProcessRef } from "./common/process-ref.js";
import { ConnectBackoff } from "./connections/connect-backoff.js";
import { ConnectionFactory } from "./connections/connection-factory.js";
import { ConnectionPool } from "./connections/connection-pool.js";
import { ExpiryReader } from "./connections/expiry-reader.js";
import { ExpiryTouch } from "./connections/expiry-touch.js";
import { ExpiryWatch } from "./connections/expiry-watch.js";
import { FreezeReader } from "./connections/freeze-reader.js";
import { HealthProbe } from "./connections/health-probe.js";
import { PersistentConnections } from "./connections/persistent-connections.js";
import { CredentialEncryption } from "./encryption/credentials.js";
import { ownershipLost } from "./error-factories.js";
import { BulkRunManager } from "./jobs/bulk/bulk-run-manager.js";
import { SessionCheck } from "./jobs/check-session.js";
import { JobRunner } from "./jobs/job-runner.js";
import { LeaseManager } from "./lease/lease-manager.js";
import type { ResolvedOptions, SessionPoolOptions } from "./options/options.js";
import { checkPoolOptions } from "./options/validate.js";
import { LocalOwnership } from "./ownership/local-ownership.js";
import type { Ownership } from "./ownership/ownership.js";
import { SharedOwnership } from "./ownership/shared-ownership.js";
import { SingleProcessLock } from "./ownership/single-process-lock.js";
import { createContext, type PoolContext, type Publish, type SubscribedEvents } from "./pool-context.js";
import { PoolLifecycle } from "./pool-lifecycle.js";
import { createRateLimiting } from "./rate-limits/rate-limiting.js";
import { Reencryption } from "./sessions/reencryption.js";
import { RemoteRecords } from "./sessions/remote-records.js";
import { SessionAdmin } from "./sessions/session-admin.js";
import { SessionKeys } from "./sessions/session-keys.js";
import type { SessionParts } from "./sessions/session-parts.js";
import { SessionRemoval } from "./sessions/session-removal.js";
import { StorageSync } from "./sessions/storage-sync.js";
import { type PoolParts, Shutdown } from "./shutdown.js";
import { AccountFacts } from "./state/account-facts.js";
import type { PooledSession } from "./state/pooled-session.js";
import { RemoteStateMerger } from "./state/remote-state.js";
import { createSelectionOrder } from "./state/selection-order.js";
import { toSessionInfo } from "./state/session-entry.js";
import { SessionRegistry } from "./state/session-registry.js";
import { SessionStateManager } from "./state/session-state-manager.js";
import { SessionTable } from "./state/session-table.js";
import { StatePublisher } from "./state/state-publisher.js";
import { checkedStorage } from "./storage/checked-storage.js";
import { isInMemory, memory } from "./storage/memory.js";
import { createPeerCacheWriter } from "./storage/peer-cache-writer.js";
import { RecordWriter } from "./storage/record-writer.js";
import { SessionSerializer } from "./storage/session-serializer.js";
import type { StoredRecord } from "./storage/storage.js";
import { LIST_TIMEOUT_FACTOR, StorageTimeout } from "./storage/storage-timeout.js";

/** Validates the options of `open` and fills in the defaults. Throws `OptionsError`. */
export function resolveOptions<Client>(options: SessionPoolOptions<Client>): ResolvedOptions<Client> {
  return { ...checkPoolOptions(options), storage: checkedStorage(options.storage ?? memory()) };
}

/** An open storage and its records. */
export interface OpenedStorage {
  /** Keeps the process alive while the pool is opened, used and closed. */
  readonly processRef: ProcessRef;
  readonly records: readonly StoredRecord[];
  /** Held while a storage that supports only one process is open. */
  readonly processLock: SingleProcessLock | undefined;
}

/** Loads the client library, opens the storage and reads it. Nothing is left open if a step fails. */
export async function openStorage<Client>(options: ResolvedOptions<Client>): Promise<OpenedStorage> {
  const background = { ...options, clock: inBackground(options.clock) };
  const processRef = new ProcessRef(background.clock);
  try {
    const opened = await processRef.whileRunning(() => inOwnContext(() => openAndList(background)));
    return { ...opened, processRef };
  } catch (error) {
    processRef.end();
    throw error;
  }
}

async function openAndList<Client>(options: ResolvedOptions<Client>): Promise<Omit<OpenedStorage, "processRef">> {
  const { storage, clock, storageTimeoutMs } = options;
  await options.client.open();
  const deadline = new StorageTimeout(clock, storageTimeoutMs);
  const listDeadline = deadline.times(LIST_TIMEOUT_FACTOR);
  const isForOneProcess = !storage.shared && !isInMemory(storage);
  const processLock = isForOneProcess ? new SingleProcessLock(options, deadline) : undefined;
  try {
    await listDeadline.run("be opened", () => storage.open?.());
    await processLock?.claim();
    const records = await listDeadline.run("be listed", () => storage.list());
    return { records, processLock };
  } catch (error) {
    await processLock?.release().catch(() => {});
    await deadline.run("be closed", () => storage.close?.()).catch(() => {});
    throw error;
  }
}

/** The parts of a pool, and its shutdown. */
export interface CreatedPool<Client> extends PoolParts<Client> {
  readonly shutdown: Shutdown;
}

/** Builds a pool from its options, in dependency order. Contains no logic of its own. */
export function createPool<Client>(
  options: ResolvedOptions<Client>,
  { processRef, processLock }: OpenedStorage,
  publish: Publish,
  subscribed: SubscribedEvents,
): CreatedPool<Client> {
  const context = createContext(options, publish, subscribed);
  const lifecycle = new PoolLifecycle(context.events);
  const base = { context, lifecycle, processRef, processLock };
  if (processLock !== undefined) processLock.onOvertaken = (error) => context.events.emit("storageFailed", error);
  const state = createState(context, lifecycle, processRef);
  const connecting = createConnections(context, processRef, state);
  const sessions = createSessions(context, lifecycle, state, connecting);
  const leasing = createLeasing(context, lifecycle, processRef, state, connecting, sessions);
  const parts: PoolParts<Client> = { ...base, ...state, ...connecting, ...sessions, ...leasing };
  return { ...parts, shutdown: new Shutdown(parts) };
}

/** Reports which records could not be loaded, and starts what runs without a caller. */
export function startPool(pool: CreatedPool<unknown>): void {
  const { storageSync, scheduler, persistentConnections, healthProbe, expiryWatch, expiryTouch } = pool;
  storageSync.publishRejected();
  scheduler.serveWaiters();
  persistentConnections.ensureAll();
  healthProbe.scheduleAll();
  expiryWatch.lookAtAll();
  expiryTouch.start();
  storageSync.start();
}

/** Creates the session table, the records and the ownership of sessions. */
function createState<Client>(context: PoolContext<Client>, lifecycle: PoolLifecycle, processRef: ProcessRef) {
  const { clock, time, options, log } = context;
  const { leasesPerSession, maxConnected } = options;
  const order = createSelectionOrder(
    options.selection,
    (entry) => toSessionInfo(entry, time),
    (message) => log.callbackFailed(message),
  );
  const sharesCooldowns = options.floodsBelongTo === "account";
  const sessionTable = new SessionTable<PooledSession>({ leasesPerSession, maxConnected, order, sharesCooldowns });
  const deadline = new StorageTimeout(clock, options.storageTimeoutMs);
  const encryption = new CredentialEncryption(options.encryption, deadline, options.trustServers);
  const serializer = new SessionSerializer(time, encryption);
  const registry = new SessionRegistry(sessionTable, time, serializer);
  const recordWriter = new RecordWriter(context);
  const peers = createPeerCacheWriter(context);
  const ownership: Ownership = options.storage.shared
    ? new SharedOwnership(context, sessionTable, recordWriter, processRef)
    : new LocalOwnership(context, sessionTable, recordWriter);
  const publisher = new StatePublisher(context, registry, recordWriter);
  const sessionState = new SessionStateManager(context, sessionTable, recordWriter, publisher);
  const facts = new AccountFacts(context, sessionTable, recordWriter, sessionState, publisher);
  const remoteState = new RemoteStateMerger(context, sessionTable, sessionState, publisher);
  const rateLimits = createRateLimiting(context, lifecycle, sessionTable, registry);
  return { sessionTable, registry, recordWriter, peers, ownership, sessionState, facts, remoteState, rateLimits };
}

type State = ReturnType<typeof createState>;

/** Creates the parts that connect clients. */
function createConnections<Client>(context: PoolContext<Client>, processRef: ProcessRef, state: State) {
  const { sessionTable, registry, sessionState, facts } = state;
  const { events } = context;
  const backOffs = new ConnectBackoff(context, sessionTable);
  const factory = new ConnectionFactory(context, { ...state, backOffs });
  const connections = new ConnectionPool<Client>(context, (id) => factory.create(id));
  const healthProbe = new HealthProbe<Client>(context, registry, sessionState, connections);
  const expiryWatch = new ExpiryWatch(context, registry);
  new FreezeReader<Client>(context, registry, sessionState);
  const expiryReader = new ExpiryReader<Client>(context, registry, facts);
  const expiryTouch = new ExpiryTouch<Client>(context, registry, connections, expiryReader);
  const persistentConnections = new PersistentConnections(context, registry, connections, processRef);
  events.on("dead", (id) => {
    if (sessionTable.get(id)?.isLeased === false) void connections.close(id, "the session is dead");
  });
  return { backOffs, factory, connections, healthProbe, expiryWatch, expiryTouch, expiryReader, persistentConnections };
}

type Connecting<Client> = ReturnType<typeof createConnections<Client>>;

/** Creates the parts that add, change and remove sessions, for changes made by this process and by others. */
function createSessions<Client>(
  context: PoolContext<Client>,
  lifecycle: PoolLifecycle,
  state: State,
  { connections, backOffs, factory }: Connecting<Client>,
) {
  const { registry, recordWriter, remoteState, rateLimits } = state;
  const parts: SessionParts = { lifecycle, ...state, connections, backOffs };
  const keys = new SessionKeys(context, parts);
  factory.settleKey = (known) => keys.settle(known);
  const removal = new SessionRemoval(context, parts, keys.reservations);
  const remoteRecords = new RemoteRecords(context, parts, remoteState, keys, removal);
  recordWriter.attach(remoteRecords);
  const admin = new SessionAdmin(context, parts, keys, removal, remoteRecords);
  const storageSync = new StorageSync(context, parts, remoteRecords, rateLimits);
  const reencryption = new Reencryption(context, lifecycle, registry, recordWriter, storageSync);
  return { removal, admin, storageSync, reencryption };
}

type Sessions = ReturnType<typeof createSessions>;

/** Creates the parts that grant leases and run work with them. */
function createLeasing<Client>(
  context: PoolContext<Client>,
  lifecycle: PoolLifecycle,
  processRef: ProcessRef,
  state: State,
  { connections, backOffs }: Connecting<Client>,
  { removal }: Sessions,
) {
  const { events } = context;
  const { registry, sessionState, facts } = state;
  const abortListeners = new AbortListeners();
  const nesting = new Nesting(context.options.traceLeases);
  const scheduler = new LeaseScheduler(context, state.sessionTable, abortListeners, processRef);
  const base = { ...state, lifecycle, processRef, connections, backOffs, abortListeners, nesting, scheduler };
  const leases = new LeaseManager<Client>(context, base);
  const peerKnowledge = new PeerKnowledge(context, base);
  const acquirer = new SessionAcquirer<Client>(context, { ...base, leases, peerKnowledge });
  const jobRunner = new JobRunner<Client>(context, { ...base, leases, acquirer });
  const sessionCheck = new SessionCheck<Client>(context, jobRunner, registry, sessionState, facts);
  const bulkRuns = new BulkRunManager<Client>(context, { ...base, jobRunner });
  events.on("vacated", (id) => lifecycle.runInBackground(removal.onLastLeaseEnded(id)));
  events.on("ownershipLost", (id) => {
    leases.revoke(id, ownershipLost(id), "its ownership was lost");
    void connections.close(id, "its ownership was lost");
    events.publish("ownershipLost", { id });
  });
  return { scheduler, leases, peerKnowledge, acquirer, jobRunner, sessionCheck, bulkRuns };
}
