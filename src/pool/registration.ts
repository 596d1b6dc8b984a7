import { isDeepStrictEqual } from "node:util";
import type { ClientProfile } from "../client-profile.js";
import type { Connections } from "../connections/connections.js";
import { DuplicateSessionError, InvalidSessionError } from "../errors.js";
import { checkAddArguments, checkChange } from "../option-checks.js";
import type { AddOptions, SessionChange } from "../options.js";
import { KeyReservations } from "../records/key-reservations.js";
import type { Ledger } from "../records/ledger.js";
import type { SessionStorage } from "../records/storage.js";
import type { StorageDeadline } from "../records/storage-deadline.js";
import type { Roster } from "../roster/roster.js";
import type { SessionInfo } from "../session-info.js";
import { isTelegramAddress } from "../telegram/data-centres.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import type { Dispatcher } from "./dispatcher.js";
import { KeyedLocks } from "./keyed-locks.js";
import type { Marks } from "./marks.js";
import { keyHeld, rejected, stillLeaving, unknownSession } from "./refusals.js";
import { type KnownSession, NO_PROFILE, type OwnChange, type SessionBook, UNCHANGED } from "./session-book.js";
import type { TimeLine } from "./time-line.js";

/** What the register of sessions needs. */
export interface RegistrationParts {
  readonly book: SessionBook;
  readonly roster: Roster;
  readonly ledger: Ledger;
  readonly storage: SessionStorage;
  readonly deadline: StorageDeadline;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<unknown>;
  readonly marks: Marks;
  readonly time: TimeLine;
  readonly trustServers: boolean;
  changed(id: string): void;
}

/** Which sessions there are: adds, changes, removes, switches off and on. One change per session at a time. */
export class Registration {
  readonly #parts: RegistrationParts;
  readonly #locks = new KeyedLocks();
  readonly #keys: KeyReservations;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#keys = new KeyReservations(parts.storage, parts.deadline);
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
      await this.#save(known, await this.#describe(known, change));
      this.#parts.changed(id);
      return this.#parts.book.info(known);
    });
  }

  async remove(id: string): Promise<boolean> {
    return this.#locks.hold([`id ${id}`], async () => {
      const known = this.#parts.book.get(id);
      if (known === undefined) return this.#removeRejected(id);
      if (known.entry.isLeaving) return false;
      await this.#parts.ledger.delete(id);
      this.#parts.roster.remove(known.entry, this.#parts.time.now());
      this.#parts.dispatcher.worsened();
      if (!known.entry.isLeased) await this.#forget(known);
      return true;
    });
  }

  /** The last lease of a removed session has ended. */
  async left(id: string): Promise<void> {
    const known = this.#parts.book.get(id);
    if (known !== undefined) await this.#locks.hold([`id ${id}`], () => this.#forget(known));
  }

  /** Another process has removed the session. */
  async vanished(id: string): Promise<void> {
    const { book, roster, time, dispatcher } = this.#parts;
    const known = book.get(id);
    if (known === undefined) return;
    roster.remove(known.entry, time.now());
    dispatcher.worsened();
    if (!known.entry.isLeased) await this.left(id);
  }

  async disable(id: string, reason: string): Promise<void> {
    const { roster, time, dispatcher, connections } = this.#parts;
    const known = this.#known(id);
    const { entry } = known;
    roster.disable(entry, reason, time.now());
    dispatcher.worsened();
    if (!entry.isLeased) void connections.close(id, "the session was disabled");
    await this.#save(known, ["life"]);
  }

  async enable(id: string): Promise<void> {
    const { roster, time, dispatcher, marks } = this.#parts;
    const known = this.#known(id);
    marks.forgive(id);
    roster.revive(known.entry, time.now());
    dispatcher.changed();
    await this.#save(known, ["life"]);
  }

  #known(id: string): KnownSession {
    const known = this.#parts.book.get(id);
    if (known !== undefined && !known.entry.isLeaving) return known;
    const rejection = this.#parts.book.rejection(id);
    throw rejection === undefined ? unknownSession(id) : rejected(id, rejection);
  }

  async #addAgain(known: KnownSession, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { id } = known.entry;
    if (known.entry.isLeaving) throw stillLeaving(id);
    if (known.fingerprint !== fingerprint) {
      throw new DuplicateSessionError(
        `add: "${id}" holds another auth key already. To give it a new session string use update("${id}", { session }).`,
        { sessionId: id },
      );
    }
    const changes = await this.#describe(known, options);
    if (changes.length > 0) {
      await this.#save(known, changes);
      this.#parts.changed(id);
    }
    return this.#parts.book.info(known);
  }

  async #create(id: string, session: string, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { book, ledger, dispatcher, storage, deadline } = this.#parts;
    const holder = await this.#keys.take(fingerprint, id);
    if (holder !== undefined) throw keyHeld(id, holder);
    const profile = frozenProfile(options.profile);
    const known = book.create({ id, session, fingerprint, tags: options.tags ?? [], profile });
    const version = await deadline.run(`write the record of "${id}"`, () => storage.write(id, 0, book.encode(known)));
    if (version === undefined) return this.#adopt(id, fingerprint, options);
    ledger.track(id, version);
    const faster = await this.#keys.confirm(fingerprint, id);
    if (faster !== undefined) {
      await ledger.delete(id);
      throw keyHeld(id, faster);
    }
    book.enter(known);
    dispatcher.changed();
    return book.info(known);
  }

  /** Another process has added the id in the meantime. */
  async #adopt(id: string, fingerprint: string, options: AddOptions): Promise<SessionInfo> {
    const { book, ledger, storage, dispatcher, deadline } = this.#parts;
    const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (stored === undefined) throw unknownSession(id);
    let known: KnownSession;
    try {
      known = book.adopt(stored);
    } catch (error) {
      throw rejected(id, error instanceof Error ? error.message : String(error));
    }
    ledger.track(id, stored.version);
    dispatcher.changed();
    if (known.fingerprint !== fingerprint) await this.#keys.release(fingerprint, id);
    return this.#addAgain(known, fingerprint, options);
  }

  async #changeKey(known: KnownSession, session: string, fingerprint: string): Promise<void> {
    const { book, roster, marks, time, dispatcher } = this.#parts;
    const { id } = known.entry;
    const former = known.fingerprint;
    if (former !== fingerprint) {
      const holder =
        book.holderOf(fingerprint) ??
        (await this.#keys.take(fingerprint, id)) ??
        (await this.#keys.confirm(fingerprint, id));
      if (holder !== undefined) throw keyHeld(id, holder);
    }
    book.replaceKey(known, session, fingerprint);
    await this.#outdate(known);
    if (known.entry.deadReason !== null) {
      marks.forgive(id);
      roster.kill(known.entry, null, time.now());
      dispatcher.changed();
    }
    if (former === fingerprint) return;
    await this.#save(known, ["life"]);
    await this.#keys.release(former, id);
  }

  /** Writes what a person has changed: until it is on disk it wins over what another process wrote. */
  async #save(known: KnownSession, changes: readonly OwnChange[]): Promise<void> {
    known.changing = counted(known.changing, changes, 1);
    await this.#parts.ledger.save(known.entry.id);
    known.changing = counted(known.changing, changes, -1);
  }

  /** Tags and profile, when given, replace what was there. What has changed by that. */
  async #describe(known: KnownSession, { tags, profile }: AddOptions): Promise<readonly OwnChange[]> {
    const changes: OwnChange[] = [];
    if (tags !== undefined && !isDeepStrictEqual(known.entry.tags, tags)) {
      known.entry.tags = Object.freeze([...tags]);
      changes.push("tags");
      this.#parts.dispatcher.worsened();
    }
    if (profile !== undefined && !isDeepStrictEqual(known.profile, profile)) {
      known.profile = frozenProfile(profile);
      changes.push("profile");
      await this.#outdate(known);
    }
    return changes;
  }

  /** The next lease gets a new client; one that runs may end with the old one. */
  async #outdate(known: KnownSession): Promise<void> {
    const { connections } = this.#parts;
    connections.get(known.entry.id)?.spoil("the session was changed");
    if (!known.entry.isLeased) await connections.close(known.entry.id, "the session was changed");
  }

  async #removeRejected(id: string): Promise<boolean> {
    const { book, storage, deadline } = this.#parts;
    if (book.rejection(id) === undefined) return false;
    const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
    if (stored !== undefined) {
      const gone = await deadline.run(`delete the record of "${id}"`, () => storage.write(id, stored.version, null));
      if (gone === undefined) return false;
    }
    book.forgetRejected(id);
    return true;
  }

  async #forget(known: KnownSession): Promise<void> {
    const { book, connections, marks } = this.#parts;
    await connections.close(known.entry.id, "the session was removed");
    if (book.get(known.entry.id) !== known) return;
    book.forget(known);
    marks.forgive(known.entry.id);
    await this.#keys.release(known.fingerprint, known.entry.id);
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

/** How many writes of each change are under way, with one more or one less of these. */
function counted(
  changing: KnownSession["changing"],
  changes: readonly OwnChange[],
  difference: 1 | -1,
): KnownSession["changing"] {
  const counts = new Map(changing);
  for (const change of changes) {
    const count = (counts.get(change) ?? 0) + difference;
    if (count > 0) counts.set(change, count);
    else counts.delete(change);
  }
  return counts.size === 0 ? UNCHANGED : counts;
}
