import type { Connections } from "../connections/connections.js";
import type { SessionPoolEvents } from "../events.js";
import { checkReason } from "../option-checks.js";
import type { ResolvedOptions } from "../options.js";
import { inBackground } from "../own-context.js";
import { warn } from "../process-warning.js";
import { listedHolderOf } from "../records/key-reservations.js";
import { Ledger } from "../records/ledger.js";
import type { Ownership } from "../records/ownership/ownership.js";
import type { SoleUse } from "../records/ownership/sole-use.js";
import { isReserved } from "../records/reserved-ids.js";
import type { StoredRecord } from "../records/storage.js";
import { StorageDeadline } from "../records/storage-deadline.js";
import { Roster } from "../roster/roster.js";
import type { SessionInfo } from "../session-info.js";
import { Acquisition } from "./acquisition.js";
import { makeBudgeting } from "./budgets/budgeting.js";
import { coolDown } from "./cool-down.js";
import { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import { Keeper } from "./keeper.js";
import { Leases } from "./leases.js";
import { Maps } from "./map/maps.js";
import { Marks } from "./marks.js";
import { Nesting } from "./nesting.js";
import { makePeers } from "./peers.js";
import { PoolLog, type StoragePart } from "./pool-log.js";
import { Prober } from "./prober.js";
import { allLocked, unknownSession } from "./refusals.js";
import { Rotation } from "./rotation.js";
import { orderOf } from "./selection-order.js";
import { makeConnections, ownershipLost } from "./session-connections.js";
import { makeOwnership } from "./session-ownership.js";
import { CredentialSealing } from "./sessions/credentials.js";
import type { Departures } from "./sessions/departures.js";
import type { KeyRotation } from "./sessions/key-rotation.js";
import type { KnownSession } from "./sessions/known-session.js";
import { makeRegister, type Register } from "./sessions/register.js";
import type { Registration } from "./sessions/registration.js";
import { SessionBook } from "./sessions/session-book.js";
import { SessionRecords } from "./sessions/session-records.js";
import { SharedSignals } from "./shared-signals.js";
import { Shutdown } from "./shutdown.js";
import { TimeLine } from "./time-line.js";
import type { RuleSurroundings } from "./user-rule.js";
import { WaitingRoom } from "./waiting-room.js";

/** How the parts of a pool tell its listeners something. */
export type Emit = <Name extends keyof SessionPoolEvents>(
  name: Name,
  event: Parameters<SessionPoolEvents[Name]>[0],
) => void;

/** The rooms of a pool that its doors lead to. */
export interface PoolParts<Client> {
  readonly book: SessionBook;
  readonly registration: Registration;
  readonly departures: Departures;
  readonly keyRotation: KeyRotation;
  readonly acquisition: Acquisition<Client>;
  readonly rotation: Rotation<Client>;
  readonly leases: Leases<Client>;
  readonly maps: Maps<Client>;
  readonly shutdown: Shutdown;
  readonly keepAlive: KeepAlive;
  /** Takes in what the storage holds. Rejects with `StorageCorruptError` when none of it can be opened for want of a key. */
  load(records: readonly StoredRecord[]): Promise<void>;
  /** Tells of the records that could not be read, and starts the timers of those that could. */
  begin(): void;
  readonly dispatcher: Dispatcher;
  readonly keeper: Keeper;
}

/** A claim has to be renewed in time, so that a failed write of a record is soon tried again. */
const RETRIES_PER_TTL = 12;
const LONGEST_RETRY_MS = 30_000;

/** Builds a pool from its options: which part knows which. Nothing here decides anything. */
export function assemble<Client>(
  given: ResolvedOptions<Client>,
  keepAlive: KeepAlive,
  soleUse: SoleUse | undefined,
  tellListeners: Emit,
  isHeard: (name: keyof SessionPoolEvents) => boolean,
): PoolParts<Client> {
  // What a caller waits for is timed in the caller's async context, everything else in the pool's own.
  const options: ResolvedOptions<Client> = { ...given, clock: inBackground(given.clock) };
  const { clock: callersClock } = given;
  const { clock, storage, leasesPerSession, maxConnected: maxLeased } = options;
  const deadline = new StorageDeadline(clock, options.storageTimeoutMs);
  const time = new TimeLine(clock);
  const log = new PoolLog(options.logger, clock);
  const emit: Emit = (name, event) => {
    log.event(name, event);
    tellListeners(name, event);
  };
  const ruleFailed = (text: string): void => {
    warn(text);
    log.write("error", text, { event: "ruleFailed" });
  };
  const rules: RuleSurroundings = { info: (id) => infoOf(book, id), failed: ruleFailed };
  const order = orderOf(options.selection, rules);
  const roster = new Roster<KnownSession>({ leasesPerSession, maxLeased, order });
  const sealing = new CredentialSealing(options.encryption, deadline, options.trustServers);
  const records = new SessionRecords(time, sealing);
  const book = new SessionBook(roster, time, records);
  const signals = new SharedSignals();
  const storageFailed = (error: Error): void => {
    log.write("error", error.message, { event: "storageFailed", reason: error.message });
    emit("storageFailed", { error });
  };
  const failedIn =
    (part: StoragePart) =>
    (error: Error): void => {
      log.storageFailed(part, error);
      emit("storageFailed", { error });
    };
  const ledger: Ledger = new Ledger(storage, {
    clock,
    storageTimeoutMs: options.storageTimeoutMs,
    longestRetryMs: Math.min(LONGEST_RETRY_MS, options.ownership.ttlMs / RETRIES_PER_TTL),
    draft: (id) => {
      const known = book.get(id);
      return known && records.draft(known, ownership.draft(id));
    },
    merge: (record) => register.merging.merge(record),
    mayDelete: (id) => !ownership.isForeign(id),
    gone: (id) => register.gone(id),
    failed: failedIn("records"),
    recovered: () => log.storageWorks("records"),
  });
  const later = (work: Promise<unknown>): void => void shutdown.waitFor(work).catch(storageFailed);
  const ownership: Ownership = makeOwnership({
    options,
    roster,
    time,
    ledger: () => ledger,
    dispatcher: () => dispatcher,
    look: (id) => register.refresh.look(id),
    freed: (id) => keeper.look(id),
    lost: (id) => {
      leases.revoke(id, ownershipLost(id), "its ownership was lost");
      void connections.close(id, "its ownership was lost");
      emit("ownershipLost", { id });
    },
  });
  const peers = makePeers(options, failedIn("peers"), () => log.storageWorks("peers"));
  if (soleUse !== undefined) soleUse.onOvertaken = storageFailed;
  const keeper = new Keeper({ clock, book, keepAlive, connections: () => connections });
  const dispatcher: Dispatcher = new Dispatcher(roster, time, clock, {
    // After its "cooled", which waits for the record, and never in the stack of a caller of the pool.
    recovered: (entry) => {
      const { id } = entry;
      if (entry.owesNews) void ledger.settle(id).then(() => emit("recovered", { id }));
      entry.owesNews = false;
      keeper.look(id);
    },
    hopeless: (criteria, outlook) => acquisition.unavailable(criteria, outlook),
  });
  const marks: Marks = new Marks({
    roster,
    book,
    ledger,
    time,
    dispatcher,
    log,
    cooldownScope: options.cooldownScope,
    restrictedForMs: options.restrictedForMs,
    emit,
    retired: (id) => {
      if (roster.get(id)?.isLeased === false) void connections.close(id, "the session is dead");
    },
    fell: (id) => {
      prober.look(id);
      keeper.look(id);
    },
  });
  const prober = new Prober({
    clock,
    time,
    probeMs: options.probeMs,
    book,
    roster,
    ledger,
    dispatcher,
    marks,
    connections: () => connections,
  });
  const rejected = (id: string, reason: string): void => book.reject(id, new Error(reason));
  const budgets = makeBudgeting({ options, roster, time, dispatcher, deadline, later, rejected, ...rules });
  const common = { options, log, book, ownership, roster, marks, dispatcher, time, peers, keeper, prober, emit };
  const made = makeConnections<Client>({
    ...common,
    budgets,
    settleKey: (known) => register.registration.settleKey(known),
  });
  const connections: Connections<Client> = made.connections;
  const register: Register = makeRegister({
    ...common,
    records,
    sealing,
    ledger,
    deadline,
    connections,
    backOffs: made.backOffs,
    later,
    own: (record) => {
      const before = book.rejection(record.id);
      budgets?.load([record]);
      const reason = book.rejection(record.id);
      if (reason !== undefined && reason !== before) emit("recordRejected", { id: record.id, reason });
    },
    closed: () => shutdown.closed(),
    failed: storageFailed,
    lookFailed: failedIn("changes"),
    lookWorked: () => log.storageWorks("changes"),
  });
  const { registration, departures, discovery, refresh, keyRotation } = register;
  const leases: Leases<Client> = new Leases({
    clock: callersClock,
    time,
    roster,
    dispatcher,
    connections,
    keepAlive,
    maxLeaseMs: options.maxLeaseMs,
    info: (id) => infoOf(book, id),
    coolDown: (entry, seconds, scope) => coolDown(marks, entry, seconds, scope),
    retire: (entry, reason) => {
      checkReason("retire", reason);
      marks.kill(entry, reason);
    },
    left: (id) => later(departures.left(id)),
    isHeard,
    emit,
  });
  const shutdown = new Shutdown({
    clock,
    closeTimeoutMs: options.closeTimeoutMs,
    dispatcher,
    leases,
    connections,
    ledger,
    ownership,
    refresh,
    departures,
    peers,
    budgets,
    keeper,
    prober,
    soleUse,
    storage,
    deadline,
    keepAlive,
    maps: { end: (error) => maps.end(error), close: () => maps.close() },
    storageFailed,
    log,
  });
  const waitingRoom = new WaitingRoom({
    clock: callersClock,
    time,
    dispatcher,
    signals,
    keepAlive,
    waiting: () => {
      if (!isHeard("waiting")) return;
      const { waiters, nextAvailableAt } = dispatcher.status();
      queueMicrotask(() => emit("waiting", { waiters, nextAvailableAt }));
    },
    unreachable: (wish) => acquisition.unreachable(wish),
  });
  const nesting = new Nesting(options.traceLeases);
  const acquisition: Acquisition<Client> = new Acquisition({
    clock: callersClock,
    time,
    roster,
    dispatcher,
    connections,
    leases,
    signals,
    keepAlive,
    nesting,
    waitingRoom,
    maxWaiters: options.maxWaiters,
    connectTimeoutMs: options.connectTimeoutMs,
    traceLeases: options.traceLeases,
    status: () => dispatcher.status(),
    closed: (isUnderWay) => shutdown.closed(isUnderWay),
    backOff: made.backOff,
  });
  const rotation = new Rotation({
    clock: callersClock,
    time,
    dispatcher,
    ledger,
    acquisition,
    signals,
    keepAlive,
    nesting,
    leases,
  });
  const maps: Maps<Client> = new Maps({
    options: given,
    time,
    roster,
    rotation,
    signals,
    keepAlive,
    deadline,
    status: () => dispatcher.status(),
    closed: () => shutdown.closed(),
  });
  let rejections: ReturnType<SessionBook["rejected"]> = [];
  const load = async (listed: readonly StoredRecord[]): Promise<void> => {
    budgets?.load(listed);
    const loaded = await book.load(
      listed.filter(({ id }) => !isReserved(id)),
      (fingerprint) => listedHolderOf(fingerprint, listed),
    );
    for (const { known, version, owner } of loaded) {
      if (known.isRemoved) later(discovery.discovered(known.id));
      else ledger.track(known.id, version);
      if (!known.isRemoved) ownership.observe(known.id, owner);
    }
    rejections = book.rejected();
    if (book.lockedCount === 0) return;
    if (loaded.length === 0) throw allLocked(book.lockedCount, rejections[0]?.reason ?? "");
    const text = `${book.lockedCount} records cannot be opened with the keys of the option "encryption". See rejected().`;
    log.write("error", text, { event: "keyMissing", count: book.lockedCount });
  };
  const begin = (): void => {
    for (const rejection of rejections) emit("recordRejected", rejection);
    dispatcher.changed();
    keeper.lookAtAll();
    prober.lookAtAll();
    if (storage.shared) refresh.start();
  };
  return {
    book,
    registration,
    departures,
    keyRotation,
    acquisition,
    rotation,
    leases,
    maps,
    shutdown,
    keepAlive,
    load,
    begin,
    dispatcher,
    keeper,
  };
}

function infoOf(book: SessionBook, id: string): SessionInfo {
  const known = book.get(id);
  if (known === undefined) throw unknownSession(id);
  return book.info(known);
}
