import type { Connections } from "../connections/connections.js";
import type { CooldownScope } from "../cooldown-scope.js";
import { OptionsError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import { checkCoolDown, checkReason } from "../option-checks.js";
import type { ResolvedOptions } from "../options.js";
import { RESERVED_PREFIX } from "../records/key-reservations.js";
import { Ledger } from "../records/ledger.js";
import { PeerJournal } from "../records/peer-journal.js";
import type { StoredRecord } from "../records/storage.js";
import { StorageDeadline } from "../records/storage-deadline.js";
import { Roster } from "../roster/roster.js";
import type { RosterEntry } from "../roster/roster-entry.js";
import type { PoolStatus, SessionInfo } from "../session-info.js";
import { canonicalMethod } from "../telegram/requests.js";
import { Acquisition } from "./acquisition.js";
import { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import type { CoolDownScope } from "./lease.js";
import { Leases } from "./leases.js";
import { Marks } from "./marks.js";
import { unknownSession } from "./refusals.js";
import { Registration } from "./registration.js";
import { Rotation } from "./rotation.js";
import { SessionBook } from "./session-book.js";
import { makeConnections } from "./session-connections.js";
import { SharedSignals } from "./shared-signals.js";
import { Shutdown } from "./shutdown.js";
import { TimeLine } from "./time-line.js";

/** How the parts of a pool tell its listeners something. */
export type Emit = <Name extends keyof SessionPoolEvents>(
  name: Name,
  event: Parameters<SessionPoolEvents[Name]>[0],
) => void;

/** The rooms of a pool that its doors lead to. */
export interface PoolParts<Client> {
  readonly book: SessionBook;
  readonly registration: Registration;
  readonly acquisition: Acquisition<Client>;
  readonly rotation: Rotation<Client>;
  readonly leases: Leases<Client>;
  readonly shutdown: Shutdown;
  readonly keepAlive: KeepAlive;
  /** Takes in what the storage holds. Returns the records that could not be read. */
  load(records: readonly StoredRecord[]): readonly { readonly id: string; readonly reason: string }[];
  /** Starts the timer of the cooldowns that were loaded. */
  begin(): void;
  /** Brings every state up to now. */
  refresh(): void;
  status(): PoolStatus;
}

/** Builds a pool from its options: which part knows which. Nothing here decides anything. */
export function assemble<Client>(
  options: ResolvedOptions<Client>,
  keepAlive: KeepAlive,
  emit: Emit,
): PoolParts<Client> {
  const { clock, storage } = options;
  const deadline = new StorageDeadline(clock, options.storageTimeoutMs);
  const time = new TimeLine(clock);
  const roster = new Roster({ leasesPerSession: options.leasesPerSession, maxLeased: options.maxConnected });
  const book = new SessionBook(roster, time);
  const signals = new SharedSignals();
  const storageFailed = (error: Error): void => {
    options.logger?.error(error.message);
    emit("storageFailed", { error });
  };
  const ledger = new Ledger(storage, {
    clock,
    storageTimeoutMs: options.storageTimeoutMs,
    encode: (id) => book.encodeById(id),
    merge: (record) => {
      book.merge(record);
      dispatcher.worsened();
    },
    gone: (id) => void registration.vanished(id).catch(storageFailed),
    failed: storageFailed,
  });
  const peers = new PeerJournal(storage.peers, {
    clock,
    storageTimeoutMs: options.storageTimeoutMs,
    // A connect must not fail because of them.
    loadTimeoutMs: Math.min(options.storageTimeoutMs, options.connectTimeoutMs / 2),
    failed: storageFailed,
  });
  const dispatcher = new Dispatcher(roster, time, clock, {
    // After its "cooled", which waits for the record, and never in the stack of a caller of the pool.
    recovered: ({ id }) => void ledger.settle(id).then(() => emit("recovered", { id })),
    hopeless: (criteria, outlook) => acquisition.unavailable(criteria, outlook),
  });
  const marks = new Marks({
    roster,
    ledger,
    time,
    dispatcher,
    logger: options.logger,
    cooldownScope: options.cooldownScope,
    restrictedForMs: options.restrictedForMs,
    emit,
    retired: (id) => {
      if (roster.get(id)?.isLeased === false) void connections.close(id, "the session is dead");
    },
  });
  const refresh = (): void => {
    if (roster.nextDueAt <= time.now()) dispatcher.changed();
  };
  const status = (): PoolStatus => {
    refresh();
    const { nextAvailableAt, ...counts } = roster.status(time.now());
    return Object.freeze({
      ...counts,
      waiters: dispatcher.waiting,
      nextAvailableAt: nextAvailableAt === null ? null : time.toWall(nextAvailableAt),
    });
  };
  const made = makeConnections<Client>({ options, book, roster, marks, dispatcher, time, peers, emit });
  const connections: Connections<Client> = made.connections;
  const registration = new Registration({
    book,
    roster,
    ledger,
    storage,
    deadline,
    dispatcher,
    connections,
    marks,
    time,
    peers,
    trustServers: options.trustServers,
    changed: (id) => emit("sessionChanged", { id }),
  });
  const leases: Leases<Client> = new Leases({
    clock,
    time,
    roster,
    dispatcher,
    connections,
    keepAlive,
    maxLeaseMs: options.maxLeaseMs,
    traceLeases: options.traceLeases,
    info: (id) => infoOf(book, id),
    coolDown: (entry, seconds, scope) => coolDown(marks, entry, seconds, scope),
    retire: (entry, reason) => {
      checkReason("retire", reason);
      marks.kill(entry, reason);
    },
    left: (id) => void shutdown.waitFor(registration.left(id)).catch(storageFailed),
    emit,
  });
  const shutdown = new Shutdown({
    clock,
    closeTimeoutMs: options.closeTimeoutMs,
    dispatcher,
    leases,
    connections,
    ledger,
    peers,
    storage,
    deadline,
    keepAlive,
    storageFailed,
  });
  const acquisition: Acquisition<Client> = new Acquisition({
    clock,
    time,
    roster,
    dispatcher,
    connections,
    leases,
    signals,
    keepAlive,
    maxWaiters: options.maxWaiters,
    status,
    closed: () => shutdown.closed(),
    backOff: made.backOff,
    waiting: () => {
      const { waiters, nextAvailableAt } = status();
      queueMicrotask(() => emit("waiting", { waiters, nextAvailableAt }));
    },
  });
  const rotation = new Rotation({ clock, time, roster, ledger, acquisition, signals, keepAlive });
  const load = (records: readonly StoredRecord[]) => {
    const loaded = book.load(records.filter(({ id }) => !id.startsWith(RESERVED_PREFIX)));
    for (const { id, version } of loaded) ledger.track(id, version);
    return book.rejected();
  };
  const begin = (): void => dispatcher.changed();
  return { book, registration, acquisition, rotation, leases, shutdown, keepAlive, load, begin, refresh, status };
}

function infoOf(book: SessionBook, id: string): SessionInfo {
  const known = book.get(id);
  if (known === undefined) throw unknownSession(id);
  return book.info(known);
}

function coolDown(marks: Marks, entry: RosterEntry, seconds: number, scope: CoolDownScope): void {
  checkCoolDown(seconds, scope);
  marks.cool(entry, cooldownScopeOf(scope), Math.min(Math.max(seconds, 1), LONGEST_WAIT_SECONDS), "coolDown");
}

function cooldownScopeOf({ method, peer }: CoolDownScope): CooldownScope {
  if (method !== undefined && peer !== undefined) {
    throw new OptionsError("coolDown: give a method or a peer, not both.");
  }
  if (method !== undefined) return { kind: "method", method: canonicalMethod(method) };
  return peer === undefined ? { kind: "session" } : { kind: "peer", peer };
}

/** A wait is at least a second and at most 365 days. */
const LONGEST_WAIT_SECONDS = 365 * 86_400;
