import { Mutex } from "async-mutex";
import type { PoolTime } from "../common/pool-time.js";
import { textOf } from "../common/process-warning.js";
import type { Credentials } from "../encryption/credentials.js";
import { KeyMissingError } from "../encryption/sealer.js";
import type { SessionInfo } from "../session-info.js";
import type { LoadedSession, SessionSerializer } from "../storage/session-serializer.js";
import type { StoredRecord } from "../storage/storage.js";
import type { PooledSession } from "./pooled-session.js";
import { toSessionInfo } from "./session-entry.js";
import type { SessionTable } from "./session-table.js";

/** Number of records that are decrypted concurrently. */
const CONCURRENT_DECRYPTIONS = 32;

/** Another session has the auth key. */
export class KeyTakenError extends Error {
  override readonly name = "KeyTakenError";
  readonly holder: string;

  constructor(holder: string) {
    super(`it holds the same auth key as "${holder}"`);
    this.holder = holder;
  }
}

/** The sessions of one pool, by id and by auth key, and the records that could not be read. No I/O. */
export class SessionRegistry {
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #time: PoolTime;
  readonly serializer: SessionSerializer;
  readonly #locks = new KeyedMutex();
  /** Sessions being removed. They leave the table with their last lease, and this map with their client and record. */
  readonly #removing = new Map<string, PooledSession>();
  readonly #idsByKey = new Map<string, string>();
  readonly #rejected = new Map<string, string>();
  /** Ids of rejected records that no known encryption key decrypts. Bounded by the number of records. */
  readonly #locked = new Set<string>();

  constructor(sessionTable: SessionTable<PooledSession>, time: PoolTime, serializer: SessionSerializer) {
    this.#sessionTable = sessionTable;
    this.#time = time;
    this.serializer = serializer;
  }

  /** Runs a change of a session, and of an auth key if one is given. Changes of the same session or key run in sequence. */
  change<T>(id: string, fingerprint: string | undefined, work: () => Promise<T>): Promise<T> {
    const names = fingerprint === undefined ? [`id ${id}`] : [`id ${id}`, `key ${fingerprint}`];
    return this.#locks.runExclusive(names, work);
  }

  /** Runs a change of an auth key. */
  changeKey<T>(fingerprint: string, work: () => Promise<T>): Promise<T> {
    return this.#locks.runExclusive([`key ${fingerprint}`], work);
  }

  /** The session, including one that is being removed. */
  get(id: string): PooledSession | undefined {
    return this.#sessionTable.get(id) ?? this.#removing.get(id);
  }

  ids(): readonly string[] {
    return Array.from(this.#all(), ({ id }) => id);
  }

  /** Returns the session as users see it: a removed session is visible while it is leased. */
  getVisible(id: string): PooledSession | undefined {
    return this.#sessionTable.get(id);
  }

  /** The sessions that users see. */
  visible(): Iterable<PooledSession> {
    return this.#sessionTable.entries();
  }

  infos(): readonly SessionInfo[] {
    return Array.from(this.#sessionTable.entries(), (known) => this.info(known));
  }

  /** The id of the session that has an auth key. */
  holderOf(fingerprint: string): string | undefined {
    return this.#idsByKey.get(fingerprint);
  }

  /** Why the record of a session was rejected. */
  rejection(id: string): string | undefined {
    return this.#rejected.get(id);
  }

  rejected(): readonly { readonly id: string; readonly reason: string }[] {
    return [...this.#rejected].map(([id, reason]) => ({ id, reason }));
  }

  get rejectedCount(): number {
    return this.#rejected.size;
  }

  /** Number of rejected records that no known encryption key decrypts. */
  get lockedCount(): number {
    return this.#locked.size;
  }

  forgetRejected(id: string): void {
    this.#rejected.delete(id);
    this.#locked.delete(id);
  }

  /**
   * Adds the sessions of the records; records that cannot be read are rejected, and removed sessions are not added.
   * `progress` advances by each record.
   *
   * @param holderOf returns the id of the session that owns an auth key, if two records contain it
   */
  async load(
    records: readonly StoredRecord[],
    holderOf: (fingerprint: string) => string | undefined,
    progress: { advance(): void } | undefined,
  ): Promise<readonly LoadedSession[]> {
    const loaded: LoadedSession[] = [];
    for (const session of await this.#deserializeAll(records, progress)) {
      const { id, fingerprint } = session.known;
      try {
        loaded.push(this.#indexed(session));
      } catch (error) {
        const isRightful = error instanceof KeyTakenError && holderOf(fingerprint) === id;
        this.reject(isRightful ? error.holder : id, isRightful ? new KeyTakenError(id) : error);
        if (!isRightful) continue;
        loaded[loaded.findIndex(({ known }) => known.id === error.holder)] = session;
        this.#idsByKey.set(fingerprint, id);
      }
    }
    const entered = loaded.map(({ known }) => known).filter(({ isRemoved }) => !isRemoved);
    this.#sessionTable.add(entered, this.#time.now());
    return loaded;
  }

  /** Rejects a record that cannot be read. */
  reject(id: string, error: unknown): void {
    this.#rejected.set(id, error instanceof Error ? error.message : textOf(error));
    if (error instanceof KeyMissingError) this.#locked.add(id);
    else this.#locked.delete(id);
  }

  /** Adds a session whose record another process has written. Rejects where {@link load} would reject the record. */
  async adopt(stored: StoredRecord): Promise<LoadedSession> {
    const loaded = this.#indexed(await this.serializer.deserialize(stored));
    this.enter(loaded.known);
    return loaded;
  }

  /** Adds a session. */
  enter(known: PooledSession): void {
    this.#idsByKey.set(known.fingerprint, known.id);
    this.#sessionTable.add([known], this.#time.now());
  }

  /**
   * Excludes the session from leases and from what users see. It leaves the table with its last lease; {@link forget} it
   * once its client and record are gone, or {@link cancelRemoval}.
   */
  beginRemoval(known: PooledSession): void {
    this.#removing.set(known.id, known);
    this.#sessionTable.remove(known, this.#time.now());
  }

  /** Includes a session again whose removal was begun. */
  cancelRemoval(known: PooledSession, isForeign: boolean): void {
    this.#removing.delete(known.id);
    this.#sessionTable.setRemoving(known, false, this.#time.now());
    if (!known.isEntered) this.enter(known);
    this.#sessionTable.setForeign(known, isForeign, this.#time.now());
  }

  setTags(known: PooledSession, tags: readonly string[]): void {
    this.#sessionTable.setTags(known, Object.freeze([...tags]), this.#time.now());
  }

  replaceCredentials(known: PooledSession, credentials: Credentials, fingerprint: string): void {
    this.#idsByKey.delete(known.fingerprint);
    // Another key may be another account's.
    if (fingerprint !== known.fingerprint) this.#sessionTable.clearFacts(known, this.#time.now());
    known.credentials = credentials;
    known.fingerprint = fingerprint;
    this.#idsByKey.set(fingerprint, known.id);
  }

  /** Forgets a removed session and its auth key. */
  forget(known: PooledSession): void {
    this.#removing.delete(known.id);
    if (this.#idsByKey.get(known.fingerprint) === known.id) this.#idsByKey.delete(known.fingerprint);
  }

  info(known: PooledSession): SessionInfo {
    return toSessionInfo(known, this.#time);
  }

  /** Reads the records in order; those that cannot be read are rejected. */
  async #deserializeAll(
    records: readonly StoredRecord[],
    progress: { advance(): void } | undefined,
  ): Promise<readonly LoadedSession[]> {
    const tagLists = new Map<string, readonly string[]>();
    const loaded: (LoadedSession | undefined)[] = [];
    let waiting: Promise<void>[] = [];
    for (const [place, stored] of records.entries()) {
      const session = this.#tryDeserialize(stored, tagLists);
      if (session instanceof Promise) {
        waiting.push(
          session.then((opened) => {
            loaded[place] = opened;
            progress?.advance();
          }),
        );
      } else {
        loaded[place] = session;
        progress?.advance();
      }
      if (waiting.length < CONCURRENT_DECRYPTIONS) continue;
      await Promise.all(waiting);
      waiting = [];
    }
    await Promise.all(waiting);
    return loaded.filter((session) => session !== undefined);
  }

  #tryDeserialize(
    stored: StoredRecord,
    tagLists: Map<string, readonly string[]>,
  ): LoadedSession | Promise<LoadedSession | undefined> | undefined {
    const reject = (error: unknown): undefined => {
      this.reject(stored.id, error);
      return undefined;
    };
    try {
      const session = this.serializer.deserialize(stored, tagLists);
      return session instanceof Promise ? session.catch(reject) : session;
    } catch (error) {
      return reject(error);
    }
  }

  *#all(): Generator<PooledSession> {
    yield* this.#sessionTable.entries();
    for (const known of this.#removing.values()) if (!known.isEntered) yield known;
  }

  /** Indexes the session by its auth key. Throws if another session has the key. */
  #indexed(loaded: LoadedSession): LoadedSession {
    const { id, fingerprint, isRemoved } = loaded.known;
    if (isRemoved) return loaded;
    const holder = this.#idsByKey.get(fingerprint);
    if (holder !== undefined) throw new KeyTakenError(holder);
    this.#idsByKey.set(fingerprint, id);
    return loaded;
  }
}

/** One mutex per name: work under the same name runs sequentially, other work concurrently. */
export class KeyedMutex {
  /** Mutexes of the names that are held or waited for. */
  readonly #locks = new Map<string, { readonly mutex: Mutex; users: number }>();

  /** Runs the work while holding all of the names, which are locked in the given order. */
  async runExclusive<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const [name, ...rest] = names;
    if (name === undefined) return work();
    const lock = this.#locks.get(name) ?? { mutex: new Mutex(), users: 0 };
    this.#locks.set(name, lock);
    lock.users++;
    try {
      return await lock.mutex.runExclusive(() => this.runExclusive(rest, work));
    } finally {
      if (--lock.users === 0) this.#locks.delete(name);
    }
  }
}
