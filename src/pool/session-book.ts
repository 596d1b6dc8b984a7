import type { ClientProfile } from "../client-profile.js";
import { Secret } from "../records/secret.js";
import type { StoredRecord } from "../records/storage.js";
import type { Roster } from "../roster/roster.js";
import { RosterEntry } from "../roster/roster-entry.js";
import type { SessionInfo } from "../session-info.js";
import type { KnownSession } from "./known-session.js";
import type { RevivedSession, SessionRecords } from "./session-records.js";
import type { TimeLine } from "./time-line.js";

/** What a session begins with. */
export interface NewSession {
  readonly id: string;
  readonly session: string;
  readonly fingerprint: string;
  readonly tags: readonly string[];
  readonly profile: ClientProfile;
}

/** A session that was loaded; one that was removed is not in the book. */
export interface LoadedSession extends RevivedSession {
  readonly stored: StoredRecord;
}

/** The sessions of one pool, by id and by auth key. No I/O. */
export class SessionBook {
  readonly #roster: Roster;
  readonly #time: TimeLine;
  readonly #records: SessionRecords;
  readonly #sessions = new Map<string, KnownSession>();
  readonly #idsByKey = new Map<string, string>();
  readonly #rejected = new Map<string, string>();

  constructor(roster: Roster, time: TimeLine, records: SessionRecords) {
    this.#roster = roster;
    this.#time = time;
    this.#records = records;
  }

  get(id: string): KnownSession | undefined {
    return this.#sessions.get(id);
  }

  infos(): readonly SessionInfo[] {
    return Array.from(this.#sessions.values(), (known) => this.info(known));
  }

  /** The id that holds an auth key. */
  holderOf(fingerprint: string): string | undefined {
    return this.#idsByKey.get(fingerprint);
  }

  /** Why a record was set aside. */
  rejection(id: string): string | undefined {
    return this.#rejected.get(id);
  }

  rejected(): readonly { readonly id: string; readonly reason: string }[] {
    return [...this.#rejected].map(([id, reason]) => ({ id, reason }));
  }

  forgetRejected(id: string): void {
    this.#rejected.delete(id);
  }

  /** Takes in what the storage holds; what cannot be read is set aside. */
  load(records: readonly StoredRecord[]): readonly LoadedSession[] {
    const loaded: LoadedSession[] = [];
    for (const stored of records) {
      try {
        loaded.push({ stored, ...this.#revive(stored) });
      } catch (error) {
        this.reject(stored.id, error);
      }
    }
    const entered = loaded.filter(({ known }) => !known.isRemoved);
    this.#roster.orderByLastUse(entered.map(({ known }) => known.entry));
    for (const { known } of entered) this.#enter(known);
    return loaded;
  }

  /** Sets a record aside that cannot be read. */
  reject(id: string, error: unknown): void {
    this.#rejected.set(id, error instanceof Error ? error.message : String(error));
  }

  /** A new session, in no roster yet. */
  create(session: NewSession): KnownSession {
    const secret = new Secret(session.session);
    return {
      entry: new RosterEntry(session.id, Object.freeze([...session.tags]), this.#time.date()),
      secret,
      stored: secret,
      fingerprint: session.fingerprint,
      profile: session.profile,
      isRemoved: false,
      changing: new Map(),
    };
  }

  /** Takes in a session that was written by somebody else. Throws as `load` rejects. */
  adopt(stored: StoredRecord): RevivedSession {
    const revived = this.#revive(stored);
    this.enter(revived.known);
    return revived;
  }

  /** Makes a session available. */
  enter(known: KnownSession): void {
    this.#roster.orderByLastUse([known.entry]);
    this.#enter(known);
  }

  /** Another auth key for a session. */
  replaceKey(known: KnownSession, secret: Secret, stored: Secret, fingerprint: string): void {
    this.#idsByKey.delete(known.fingerprint);
    known.secret = secret;
    known.stored = stored;
    known.fingerprint = fingerprint;
    this.#idsByKey.set(fingerprint, known.entry.id);
  }

  /** Forgets the session and its key. */
  forget(known: KnownSession): void {
    this.#sessions.delete(known.entry.id);
    if (this.#idsByKey.get(known.fingerprint) === known.entry.id) this.#idsByKey.delete(known.fingerprint);
  }

  info(known: KnownSession): SessionInfo {
    const { entry } = known;
    return Object.freeze({
      id: entry.id,
      state: entry.state,
      tags: entry.tags,
      availableAt: entry.state === "cooling" ? this.#time.toWall(entry.restsUntil) : null,
      reason: entry.reason,
      addedAt: entry.addedAt,
      lastUsedAt: entry.lastUsedAt,
    });
  }

  #enter(known: KnownSession): void {
    this.#sessions.set(known.entry.id, known);
    this.#idsByKey.set(known.fingerprint, known.entry.id);
    this.#roster.add(known.entry, this.#time.now());
  }

  #revive(stored: StoredRecord): RevivedSession {
    const revived = this.#records.revive(stored);
    const { fingerprint, isRemoved } = revived.known;
    if (isRemoved) return revived;
    const holder = this.#idsByKey.get(fingerprint);
    if (holder !== undefined) throw new Error(`it holds the same auth key as "${holder}"`);
    this.#idsByKey.set(fingerprint, stored.id);
    return revived;
  }
}
