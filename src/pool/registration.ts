import { isDeepStrictEqual } from "node:util";
import type { ClientProfile } from "../client-profile.js";
import type { Connections } from "../connections/connections.js";
import {
  DuplicateSessionError,
  InvalidSessionError,
  SessionPoolError,
  StorageCorruptError,
  StorageError,
} from "../errors.js";
import { checkAddArguments, checkChange } from "../option-checks.js";
import type { AddOptions, SessionChange } from "../options.js";
import type { KeyReservations } from "../records/key-reservations.js";
import type { Ledger } from "../records/ledger.js";
import type { Ownership } from "../records/ownership.js";
import type { PeerJournal } from "../records/peer-journal.js";
import type { SessionStorage, StoredRecord } from "../records/storage.js";
import type { StorageDeadline } from "../records/storage-deadline.js";
import type { Roster } from "../roster/roster.js";
import type { SessionInfo } from "../session-info.js";
import { isTelegramAddress } from "../telegram/data-centres.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import { type CredentialSealing, NO_PROFILE } from "./credentials.js";
import type { Departures } from "./departures.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeyedLocks } from "./keyed-locks.js";
import { KnownSession, markChanged, type OwnChange } from "./known-session.js";
import type { Marks } from "./marks.js";
import { keyHeld, rejected, stillLeaving, unknownSession } from "./refusals.js";
import type { SessionBook } from "./session-book.js";
import type { SessionRecords } from "./session-records.js";
import type { TimeLine } from "./time-line.js";

/** What the register of sessions needs. */
export interface RegistrationParts {
  readonly book: SessionBook;
  readonly records: SessionRecords;
  readonly sealing: CredentialSealing;
  readonly ownership: Ownership;
  readonly roster: Roster;
  readonly ledger: Ledger;
  readonly storage: SessionStorage;
  readonly deadline: StorageDeadline;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<unknown>;
  readonly marks: Marks;
  readonly time: TimeLine;
  readonly locks: KeyedLocks;
  readonly keys: KeyReservations;
  readonly departures: Departures;
  readonly peers: PeerJournal;
  readonly trustServers: boolean;
  changed(id: string): void;
  /** A record could not be read. */
  rejected(id: string): void;
  /** Something to be done before the pool is closed. */
  later(work: Promise<unknown>): void;
}

/** Which sessions there are: adds, changes, switches off and on. One change per session at a time. */
export class Registration {
  readonly #parts: RegistrationParts;
  readonly #locks: KeyedLocks;
  readonly #keys: KeyReservations;
  readonly #departures: Departures;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#locks = parts.locks;
    this.#keys = parts.keys;
    this.#departures = parts.departures;
  }

  async add(id: string, session: string, options: AddOptions): Promise<SessionInfo> {
    checkAddArguments(id, options);
    const fingerprint = this.#fingerprintOf(id, session);
    return this.#locks.hold([`id ${id}`, `key ${fingerprint}`], async () => {
      const rejection = this.#parts.book.rejection(id);
      if (rejection !== undefined) throw rejected(id, rejection);
      const known = this.#parts.book.get(id);
      if (known !== undefined) return this.#addAgain(known, fingerprint, options);
      const holder = this.#parts.book.holderOf(fingerprint);
      if (holder !== undefined) throw keyHeld(id, holder);
      return this.#create(id, session, fingerprint, options);
    });
  }

  async update(id: string, change: SessionChange): Promise<SessionInfo> {
    checkChange(change);
    const fingerprint = change.session === undefined ? undefined : this.#fingerprintOf(id, change.session);
    const names = fingerprint === undefined ? [`id ${id}`] : [`id ${id}`, `key ${fingerprint}`];
    return this.#locks.hold(names, async () => {
      const known = this.#known(id);
      if (change.session !== undefined && fingerprint !== undefined) {
        await this.#changeKey(known, change.session, fingerprint);
      }
      await this.#save(known, ...(await this.#describe(known, change)));
      this.#parts.changed(id);
      return this.#parts.book.info(known);
    });
  }

  /** There is a record of a session that is not in the book: another process has added it, or has not finished removing it. */
  async discovered(id: string): Promise<void> {
    const { book, storage, deadline, dispatcher } = this.#parts;
    await this.#locks.hold([`id ${id}`], async () => {
      if (book.get(id) !== undefined) return;
      const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
      if (stored === undefined) return book.forgetRejected(id);
      const isNew = book.rejection(id) === undefined;
      try {
        if ((await this.#departures.sweep(stored)) === "stays") await this.#enter(stored);
        book.forgetRejected(id);
        dispatcher.changed();
      } catch (error) {
        if (error instanceof StorageError && !(error instanceof StorageCorruptError)) throw error;
        book.reject(id, error);
        if (isNew) this.#parts.rejected(id);
      }
    });
  }

  async disable(id: string, reason: string): Promise<void> {
    const { roster, time, dispatcher, connections } = this.#parts;
    const known = this.#known(id);
    roster.disable(known, reason, time.now());
    dispatcher.worsened();
    if (!known.isLeased) void connections.close(id, "the session was disabled");
    await this.#save(known, "life");
  }

  async enable(id: string): Promise<void> {
    const { roster, time, dispatcher, marks } = this.#parts;
    const known = this.#known(id);
    marks.forgive(id);
    roster.revive(known, time.now());
    dispatcher.changed();
    await this.#save(known, "life");
  }

  #known(id: string): KnownSession {
    const known = this.#parts.book.get(id);
    if (known !== undefined && !known.isLeaving) return known;
    const rejection = this.#parts.book.rejection(id);
    throw rejection === undefined ? unknownSession(id) : rejected(id, rejection);
  }

  async #addAgain(known: KnownSession, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { id } = known;
    if (known.isLeaving) throw stillLeaving(id);
    if (known.fingerprint !== fingerprint) {
      throw new DuplicateSessionError(
        `add: "${id}" holds another auth key already. To give it a new session string use update("${id}", { session }).`,
        { sessionId: id },
      );
    }
    const changes = await this.#describe(known, options);
    if (changes.length > 0) {
      await this.#save(known, ...changes);
      this.#parts.changed(id);
    }
    return this.#parts.book.info(known);
  }

  async #create(id: string, session: string, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { book, records, sealing, ledger, dispatcher, storage, deadline, time } = this.#parts;
    const credentials = await sealing.seal(id, session, frozenProfile(options.profile));
    const holder = await this.#keys.take(fingerprint, id);
    if (holder !== undefined) throw keyHeld(id, holder);
    const tags = Object.freeze([...(options.tags ?? [])]);
    const known = new KnownSession({ id, tags, addedAt: time.date(), credentials, fingerprint });
    const data = records.encode(known, null);
    const version = await deadline.run(`write the record of "${id}"`, () => storage.write(id, 0, data));
    if (version === undefined) return this.#adopt(id, session, fingerprint, options);
    // A session of this id that was removed by a process that did not live to forget its peers.
    void this.#parts.peers.clear(id);
    const faster = await this.#keys.confirm(fingerprint, id);
    ledger.track(id, version);
    if (faster !== undefined) {
      await ledger.delete(id);
      throw keyHeld(id, faster);
    }
    book.enter(known);
    dispatcher.changed();
    return book.info(known);
  }

  /** Another process has added the id in the meantime. */
  async #adopt(id: string, session: string, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { storage, dispatcher, deadline } = this.#parts;
    const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (stored === undefined) throw unknownSession(id);
    let known: KnownSession;
    try {
      const state = await this.#departures.sweep(stored);
      if (state === "leaving") throw stillLeaving(id);
      if (state === "gone") return await this.#create(id, session, fingerprint, options);
      known = await this.#enter(stored);
    } catch (error) {
      if (error instanceof SessionPoolError && !(error instanceof StorageCorruptError)) throw error;
      throw rejected(id, error instanceof Error ? error.message : String(error));
    }
    dispatcher.changed();
    if (known.fingerprint !== fingerprint) await this.#keys.release(fingerprint, id);
    return this.#addAgain(known, fingerprint, options);
  }

  /** Takes in a session that another process has added. Throws as loading rejects. */
  async #enter(stored: StoredRecord): Promise<KnownSession> {
    const { book, ledger, ownership } = this.#parts;
    const { known, owner } = await book.adopt(stored);
    ledger.track(stored.id, stored.version);
    ownership.observe(stored.id, owner);
    return known;
  }

  async #changeKey(known: KnownSession, session: string, fingerprint: string): Promise<void> {
    const { book, connections, ownership, sealing, peers } = this.#parts;
    const { id } = known;
    const former = known.fingerprint;
    const credentials = await sealing.seal(id, session, known.credentials.profile);
    if (former !== fingerprint) {
      const holder =
        book.holderOf(fingerprint) ??
        (await this.#keys.take(fingerprint, id)) ??
        (await this.#keys.confirm(fingerprint, id));
      if (holder !== undefined) throw keyHeld(id, holder);
    }
    const { gone } = connections.get(id) ?? { gone: Promise.resolve() };
    book.replaceCredentials(known, credentials, fingerprint);
    // It may be another account's key, and an access hash is of use to one account alone.
    const forgotten = former === fingerprint ? undefined : peers.clear(id);
    await this.#outdate(known);
    this.#resurrect(known);
    if (former === fingerprint) return;
    await forgotten;
    await this.#save(known, "credentials", "life");
    // While a client is connected with it, the former key stays taken: of another process's client nobody here knows.
    if (!ownership.isForeign(id)) this.#parts.later(gone.then(() => this.#keys.release(former, id)));
  }

  /** A new session string makes a dead session free. */
  #resurrect(known: KnownSession): void {
    const { roster, marks, time, dispatcher } = this.#parts;
    if (known.deadReason === null) return;
    marks.forgive(known.id);
    roster.kill(known, null, time.now());
    dispatcher.changed();
  }

  /** Writes what a person has changed: until it is on disk it wins over what another process wrote. */
  async #save(known: KnownSession, ...changes: readonly OwnChange[]): Promise<void> {
    markChanged(known, ...changes);
    await this.#parts.ledger.save(known.id);
  }

  /** Tags and profile, when given, replace what was there. What has changed by that. */
  async #describe(known: KnownSession, { tags, profile }: AddOptions): Promise<readonly OwnChange[]> {
    const changes: OwnChange[] = [];
    if (tags !== undefined && !isDeepStrictEqual(known.tags, tags)) {
      this.#parts.book.retag(known, tags);
      changes.push("tags");
      this.#parts.dispatcher.worsened();
    }
    if (profile !== undefined && !isDeepStrictEqual(known.credentials.profile, profile)) {
      const session = known.credentials.reveal();
      known.credentials = await this.#parts.sealing.seal(known.id, session, frozenProfile(profile));
      changes.push("credentials");
      await this.#outdate(known);
    }
    return changes;
  }

  /** The next lease gets a new client; one that runs may end with the old one. */
  async #outdate(known: KnownSession): Promise<void> {
    const { connections } = this.#parts;
    connections.get(known.id)?.spoil("the session was changed");
    if (!known.isLeased) await connections.close(known.id, "the session was changed");
  }

  #fingerprintOf(id: string, session: string): string {
    try {
      const parsed = parseSession(session);
      if (!this.#parts.trustServers && !isTelegramAddress(parsed.serverAddress)) {
        throw new InvalidSessionError(
          "The session names a server outside Telegram's published ranges: whoever runs it would get the account. If it is yours (a test server), open the pool with trustServers: true.",
        );
      }
      return authKeyFingerprint(parsed.authKey);
    } catch (error) {
      if (!(error instanceof InvalidSessionError)) throw error;
      throw new InvalidSessionError(`"${id}": ${error.message}`, { sessionId: id });
    }
  }
}

function frozenProfile(profile: ClientProfile | undefined): ClientProfile {
  return profile === undefined ? NO_PROFILE : Object.freeze(structuredClone(profile));
}
