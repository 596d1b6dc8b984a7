import type { StoredRecord } from "../records/storage.js";
import type { Roster } from "../roster/roster.js";
import { RosterEntry } from "../roster/roster-entry.js";
import type { SessionInfo } from "../session-info.js";
import type { Credentials } from "./credentials.js";
import { type KnownSession, UNCHANGED } from "./known-session.js";
import type { RevivedSession, SessionRecords } from "./session-records.js";
import type { TimeLine } from "./time-line.js";

/** What a session begins with. */
export interface NewSession {
  readonly id: string;
  readonly credentials: Credentials;
  readonly fingerprint: string;
  readonly tags: readonly string[];
}

/** A session that was loaded; one that was removed is not in the book. */
export interface LoadedSession extends RevivedSession {
  readonly stored: StoredRecord;
}

/** Records that are opened at once by a sealer that takes its time. */
const AT_ONCE = 32;

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

  ids(): readonly string[] {
    return [...this.#sessions.keys()];
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
  async load(records: readonly StoredRecord[]): Promise<readonly LoadedSession[]> {
    const loaded: LoadedSession[] = [];
    for (const [stored, revived] of await this.#reviveAll(records)) {
      try {
        loaded.push({ stored, ...this.#indexed(revived) });
      } catch (error) {
        this.reject(stored.id, error);
      }
    }
    const entered = loaded.filter(({ known }) => !known.isRemoved);
    this.#roster.orderByLastUse(entered.map(({ known }) => known.entry));
    const now = this.#time.now();
    for (const { known } of entered) this.#enter(known, now);
    return loaded;
  }

  /** Sets a record aside that cannot be read. */
  reject(id: string, error: unknown): void {
    this.#rejected.set(id, error instanceof Error ? error.message : String(error));
  }

  /** A new session, in no roster yet. */
  create({ id, credentials, fingerprint, tags }: NewSession): KnownSession {
    const entry = new RosterEntry(id, Object.freeze([...tags]), this.#time.date());
    return { entry, credentials, fingerprint, isRemoved: false, changing: UNCHANGED };
  }

  /** Takes in a session that was written by somebody else. Rejects as `load` sets aside. */
  async adopt(stored: StoredRecord): Promise<RevivedSession> {
    const revived = this.#indexed(await this.#records.revive(stored));
    this.enter(revived.known);
    return revived;
  }

  /** Makes a session available. */
  enter(known: KnownSession): void {
    this.#roster.orderByLastUse([known.entry]);
    this.#idsByKey.set(known.fingerprint, known.entry.id);
    this.#enter(known, this.#time.now());
  }

  /** Another auth key for a session, or another profile. */
  replaceCredentials(known: KnownSession, credentials: Credentials, fingerprint: string): void {
    this.#idsByKey.delete(known.fingerprint);
    known.credentials = credentials;
    known.fingerprint = fingerprint;
    this.#idsByKey.set(fingerprint, known.entry.id);
  }

  /** Forgets the session and its key. */
  forget(known: KnownSession): void {
    this.#sessions.delete(known.entry.id);
    if (this.#idsByKey.get(known.fingerprint) === known.entry.id) this.#idsByKey.delete(known.fingerprint);
  }

  info({ entry }: KnownSession): SessionInfo {
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

  /** In the order of the records; what cannot be read is set aside. */
  async #reviveAll(records: readonly StoredRecord[]): Promise<readonly (readonly [StoredRecord, RevivedSession])[]> {
    const lists = new Map<string, readonly string[]>();
    const revived: (readonly [StoredRecord, RevivedSession | Promise<RevivedSession | undefined>])[] = [];
    let waiting: Promise<unknown>[] = [];
    for (const stored of records) {
      const session = this.#tryRevive(stored, lists);
      if (session === undefined) continue;
      revived.push([stored, session]);
      if (session instanceof Promise && waiting.push(session) === AT_ONCE) {
        await Promise.all(waiting);
        waiting = [];
      }
    }
    const settled: (readonly [StoredRecord, RevivedSession])[] = [];
    for (const [stored, session] of revived) {
      const opened = session instanceof Promise ? await session : session;
      if (opened !== undefined) settled.push([stored, opened]);
    }
    return settled;
  }

  #tryRevive(
    stored: StoredRecord,
    lists: Map<string, readonly string[]>,
  ): RevivedSession | Promise<RevivedSession | undefined> | undefined {
    const setAside = (error: unknown): undefined => {
      this.reject(stored.id, error);
      return undefined;
    };
    try {
      const revived = this.#records.revive(stored, lists);
      return revived instanceof Promise ? revived.catch(setAside) : revived;
    } catch (error) {
      return setAside(error);
    }
  }

  #enter(known: KnownSession, now: number): void {
    this.#sessions.set(known.entry.id, known);
    this.#roster.add(known.entry, now);
  }

  /** One auth key, one session: the first one has it. */
  #indexed(revived: RevivedSession): RevivedSession {
    const { entry, fingerprint, isRemoved } = revived.known;
    if (isRemoved) return revived;
    const holder = this.#idsByKey.get(fingerprint);
    if (holder !== undefined) throw new Error(`it holds the same auth key as "${holder}"`);
    this.#idsByKey.set(fingerprint, entry.id);
    return revived;
  }
}
