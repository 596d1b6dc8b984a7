import { KeyedMutex } from "../common/keyed-mutex.js";
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

/** Records that are opened at once by a sealer that takes its time. */
const AT_ONCE = 32;

/** Another session holds the auth key. */
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
  readonly #records: SessionSerializer;
  readonly #locks = new KeyedMutex();
  // One entry for each session, or for each record that was set aside.
  /** Those that leave. The roster forgets them with their last lease; here they stay until client and record are gone. */
  readonly #removing = new Map<string, PooledSession>();
  readonly #idsByKey = new Map<string, string>();
  readonly #rejected = new Map<string, string>();
  /** Records that were set aside for want of the key that opens them. Bound: the records. */
  readonly #locked = new Set<string>();

  constructor(sessionTable: SessionTable<PooledSession>, time: PoolTime, records: SessionSerializer) {
    this.#sessionTable = sessionTable;
    this.#time = time;
    this.#records = records;
  }

  /** Runs a change of the session, and of the auth key if one is given; changes of the same run one after the other. */
  change<T>(id: string, fingerprint: string | undefined, work: () => Promise<T>): Promise<T> {
    const names = fingerprint === undefined ? [`id ${id}`] : [`id ${id}`, `key ${fingerprint}`];
    return this.#locks.runExclusive(names, work);
  }

  /** Runs work on an auth key alone. */
  changeKey<T>(fingerprint: string, work: () => Promise<T>): Promise<T> {
    return this.#locks.runExclusive([`key ${fingerprint}`], work);
  }

  get(id: string): PooledSession | undefined {
    return this.#sessionTable.get(id) ?? this.#removing.get(id);
  }

  ids(): readonly string[] {
    return Array.from(this.#all(), ({ id }) => id);
  }

  /** The session that people see: none that was removed, once its last lease has ended. */
  shown(id: string): PooledSession | undefined {
    return this.#sessionTable.get(id);
  }

  infos(): readonly SessionInfo[] {
    return Array.from(this.#sessionTable.entries(), (known) => this.info(known));
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

  /** How many records were set aside for want of the key that opens them. */
  get lockedCount(): number {
    return this.#locked.size;
  }

  forgetRejected(id: string): void {
    this.#rejected.delete(id);
    this.#locked.delete(id);
  }

  /**
   * Takes in what the storage holds; what cannot be read is set aside. Of those that were removed none is in the book.
   * `holderOf` tells whose an auth key is that two records hold.
   */
  async load(
    records: readonly StoredRecord[],
    holderOf: (fingerprint: string) => string | undefined,
  ): Promise<readonly LoadedSession[]> {
    const loaded: LoadedSession[] = [];
    for (const revived of await this.#reviveAll(records)) {
      const { id, fingerprint } = revived.known;
      try {
        loaded.push(this.#indexed(revived));
      } catch (error) {
        const isRightful = error instanceof KeyTakenError && holderOf(fingerprint) === id;
        this.reject(isRightful ? error.holder : id, isRightful ? new KeyTakenError(id) : error);
        if (!isRightful) continue;
        loaded[loaded.findIndex(({ known }) => known.id === error.holder)] = revived;
        this.#idsByKey.set(fingerprint, id);
      }
    }
    const entered = loaded.map(({ known }) => known).filter(({ isRemoved }) => !isRemoved);
    this.#sessionTable.add(entered, this.#time.now());
    return loaded;
  }

  /** Sets a record aside that cannot be read. */
  reject(id: string, error: unknown): void {
    this.#rejected.set(id, error instanceof Error ? error.message : textOf(error));
    if (error instanceof KeyMissingError) this.#locked.add(id);
    else this.#locked.delete(id);
  }

  /** Takes in a session that was written by somebody else. Rejects as `load` sets aside. */
  async adopt(stored: StoredRecord): Promise<LoadedSession> {
    const revived = this.#indexed(await this.#records.deserialize(stored));
    this.enter(revived.known);
    return revived;
  }

  /** Makes a session available. */
  enter(known: PooledSession): void {
    this.#idsByKey.set(known.fingerprint, known.id);
    this.#sessionTable.add([known], this.#time.now());
  }

  /**
   * Nobody gets or sees the session until it leaves or stays; a lease that runs may end first. It is in the book
   * meanwhile.
   */
  beginRemoval(known: PooledSession): void {
    this.#removing.set(known.id, known);
    this.#sessionTable.remove(known, this.#time.now());
  }

  /** It does not leave after all. */
  cancelRemoval(known: PooledSession, isForeign: boolean): void {
    this.#removing.delete(known.id);
    this.#sessionTable.setRemoving(known, false, this.#time.now());
    if (!known.isEntered) this.enter(known);
    this.#sessionTable.setForeign(known, isForeign, this.#time.now());
  }

  /** Nobody gets the session any more; a lease that runs may end first. It is to be forgotten after that. */
  finishRemoval(known: PooledSession): void {
    this.#removing.set(known.id, known);
    this.#sessionTable.remove(known, this.#time.now());
  }

  /** Other tags for a session. */
  setTags(known: PooledSession, tags: readonly string[]): void {
    this.#sessionTable.setTags(known, Object.freeze([...tags]), this.#time.now());
  }

  /** Another auth key for a session, or another profile. */
  replaceCredentials(known: PooledSession, credentials: Credentials, fingerprint: string): void {
    this.#idsByKey.delete(known.fingerprint);
    known.credentials = credentials;
    known.fingerprint = fingerprint;
    this.#idsByKey.set(fingerprint, known.id);
  }

  /** Forgets a session that has left, and its key. */
  forget(known: PooledSession): void {
    this.#removing.delete(known.id);
    if (this.#idsByKey.get(known.fingerprint) === known.id) this.#idsByKey.delete(known.fingerprint);
  }

  info(known: PooledSession): SessionInfo {
    return toSessionInfo(known, this.#time);
  }

  /** In the order of the records; what cannot be read is set aside. */
  async #reviveAll(records: readonly StoredRecord[]): Promise<readonly LoadedSession[]> {
    const lists = new Map<string, readonly string[]>();
    const revived: (LoadedSession | undefined)[] = [];
    let waiting: Promise<void>[] = [];
    for (const [place, stored] of records.entries()) {
      const session = this.#tryRevive(stored, lists);
      if (session instanceof Promise) {
        waiting.push(
          session.then((opened) => {
            revived[place] = opened;
          }),
        );
      } else revived[place] = session;
      if (waiting.length < AT_ONCE) continue;
      await Promise.all(waiting);
      waiting = [];
    }
    await Promise.all(waiting);
    return revived.filter((session) => session !== undefined);
  }

  #tryRevive(
    stored: StoredRecord,
    lists: Map<string, readonly string[]>,
  ): LoadedSession | Promise<LoadedSession | undefined> | undefined {
    const setAside = (error: unknown): undefined => {
      this.reject(stored.id, error);
      return undefined;
    };
    try {
      const revived = this.#records.deserialize(stored, lists);
      return revived instanceof Promise ? revived.catch(setAside) : revived;
    } catch (error) {
      return setAside(error);
    }
  }

  *#all(): Generator<PooledSession> {
    yield* this.#sessionTable.entries();
    for (const known of this.#removing.values()) if (!known.isEntered) yield known;
  }

  /** One auth key, one session: the first one has it. */
  #indexed(revived: LoadedSession): LoadedSession {
    const { id, fingerprint, isRemoved } = revived.known;
    if (isRemoved) return revived;
    const holder = this.#idsByKey.get(fingerprint);
    if (holder !== undefined) throw new KeyTakenError(holder);
    this.#idsByKey.set(fingerprint, id);
    return revived;
  }
}
