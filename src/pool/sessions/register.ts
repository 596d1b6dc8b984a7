import type { Connections } from "../../connections/connections.js";
import type { PoolClosedError } from "../../errors.js";
import type { SessionPoolEvents } from "../../events.js";
import type { ResolvedOptions } from "../../options.js";
import { KeyReservations } from "../../records/key-reservations.js";
import type { Ledger } from "../../records/ledger.js";
import type { Ownership } from "../../records/ownership/ownership.js";
import type { PeerJournal } from "../../records/peers/peer-journal.js";
import type { StoredRecord } from "../../records/storage.js";
import { LISTING_TAKES, type StorageDeadline } from "../../records/storage-deadline.js";
import type { Roster } from "../../roster/roster.js";
import type { BackOffs } from "../back-offs.js";
import type { Dispatcher } from "../dispatcher.js";
import type { Keeper } from "../keeper.js";
import type { Marks } from "../marks.js";
import type { Prober } from "../prober.js";
import type { TimeLine } from "../time-line.js";
import type { CredentialSealing } from "./credentials.js";
import { Departures } from "./departures.js";
import { Discovery } from "./discovery.js";
import { KeyRotation } from "./key-rotation.js";
import { KeyedLocks } from "./keyed-locks.js";
import type { KnownSession } from "./known-session.js";
import { Merging } from "./merging.js";
import { Refresh } from "./refresh.js";
import { Registration } from "./registration.js";
import type { SessionBook } from "./session-book.js";
import type { SessionRecords } from "./session-records.js";

type RegisterEvents = Pick<SessionPoolEvents, "sessionChanged" | "recordRejected">;

/** What the register is built on. */
export interface RegisterParts {
  readonly options: ResolvedOptions<unknown>;
  readonly book: SessionBook;
  readonly records: SessionRecords;
  readonly sealing: CredentialSealing;
  readonly ownership: Ownership;
  readonly roster: Roster<KnownSession>;
  readonly ledger: Ledger;
  readonly deadline: StorageDeadline;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<unknown>;
  readonly backOffs: BackOffs;
  readonly marks: Marks;
  readonly peers: PeerJournal;
  readonly keeper: Keeper;
  readonly prober: Prober;
  readonly time: TimeLine;
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
export interface Register {
  readonly registration: Registration;
  readonly departures: Departures;
  readonly discovery: Discovery;
  readonly merging: Merging;
  readonly refresh: Refresh;
  readonly keyRotation: KeyRotation;
  /** The record of a session is gone. */
  gone(id: string): void;
}

/** Builds the register: which part of it knows which. */
export function makeRegister(parts: RegisterParts): Register {
  const { options, book, ownership, ledger, deadline, keeper, prober, later, emit } = parts;
  const { clock, storage, trustServers, encryption } = options;
  /** Keys that sessions have given up, until the clients that had them are gone. */
  const formerKeys = new Set<string>();
  const keys = new KeyReservations(storage, deadline, (key, id) => formerKeys.has(key) || ownership.isForeign(id));
  const shared = { ...parts, storage, clock, locks: new KeyedLocks(), keys };
  const departures = new Departures(shared);
  const changed = (id: string): void => emit("sessionChanged", { id });
  // It may be the session's key again by then.
  const giveBack = (id: string, key: string): Promise<void> =>
    shared.locks.hold([`key ${key}`], async () => {
      if (book.holderOf(key) !== id) await keys.release(key, id);
    });
  const keyReplaced = (id: string, former: string, isGone: Promise<void>): void => {
    formerKeys.add(former);
    later(isGone.then(() => giveBack(id, former)).finally(() => formerKeys.delete(former)));
  };
  const gone = (id: string): void => {
    ownership.forget(id);
    later(departures.removedElsewhere(id));
    keeper.look(id);
  };
  const discovery = new Discovery({
    ...shared,
    departures,
    rejected: (id) => emit("recordRejected", { id, reason: book.rejection(id) ?? "" }),
  });
  const registration = new Registration({ ...shared, departures, discovery, trustServers, changed, keyReplaced });
  const merging = new Merging({
    ...parts,
    changed,
    keyReplaced: (id, former, isGone) => {
      if (ownership.isHeld(id)) keyReplaced(id, former, isGone);
    },
    removed: (id) => later(departures.removedElsewhere(id)),
    rejected: (id, reason) => emit("recordRejected", { id, reason }),
  });
  const refresh = new Refresh({
    clock,
    intervalMs: options.ownership.ttlMs / 3,
    storage,
    deadline,
    patientDeadline: deadline.times(LISTING_TAKES),
    ledger,
    discovered: (id) =>
      discovery.discovered(id).finally(() => {
        keeper.look(id);
        prober.look(id);
      }),
    rejected: () => book.rejected().map(({ id }) => id),
    own: parts.own,
    gone,
    failed: parts.lookFailed,
    worked: parts.lookWorked,
  });
  const keyRotation = new KeyRotation({
    ...shared,
    sealer: encryption,
    peers: storage.peers,
    lookAround: async () => {
      if (storage.shared) await refresh.lookAtAll();
    },
  });
  return { registration, departures, discovery, merging, refresh, keyRotation, gone };
}
