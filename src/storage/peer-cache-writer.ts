import { exponentialDelay, WakeTimer } from "../common/timers.js";
import type { PeerStore } from "../connections/client-adapter.js";
import { encryptedPeerStorage } from "../encryption/encrypted-peers.js";
import { isStorable, toStorable } from "../options/validators.js";
import type { PoolContext } from "../pool-context.js";
import type { PeerStorage, StoredPeer } from "./storage.js";
import { StorageTimeout } from "./storage-timeout.js";

/** Maximum number of peers kept per session. */
const PEERS_KEPT = 10_000;
/** Delay during which new peers are batched. */
const WRITE_AFTER_MS = 2_000;
/** Maximum number of sessions whose peers are written concurrently; session records have priority. */
const AT_ONCE = 4;
/** Consecutive failures after which the rest of a round is postponed. */
const FAILURES_PER_ROUND = 3;
const FIRST_RETRY_MS = 4_000;
const MAX_RETRY_MS = 60_000;

type Task = "load" | "write";

/**
 * Persists the peers that sessions learn, as a bounded write-behind cache. Failures of the storage never fail or delay a
 * caller.
 */
export class PeerCacheWriter {
  readonly #storage: PeerStorage | undefined;
  readonly #context: PoolContext;
  readonly #deadline: StorageTimeout;
  readonly #loadDeadline: StorageTimeout;
  /** By session id. Bounded by the number of sessions, and of removed ones whose peers are not cleared yet. */
  readonly #sessions = new Map<string, SessionPeers>();
  /** Sessions with work to do. Bounded by `#sessions`. */
  #due = new Set<SessionPeers>();
  readonly #timer: WakeTimer;
  #round: Promise<boolean> | undefined;
  #failedRounds = 0;
  /** Bounded by the number of task kinds. */
  readonly #failing = new Set<Task>();
  #isClosed = false;

  /** Without a storage, peers last only as long as their client. */
  constructor(context: PoolContext, storage: PeerStorage | undefined) {
    const { clock, options, metrics } = context;
    this.#storage = storage;
    this.#context = context;
    this.#deadline = new StorageTimeout(clock, options.storageTimeoutMs, metrics);
    // Loading peers must not make a connect fail.
    const loadTimeoutMs = Math.min(options.storageTimeoutMs, options.connectTimeoutMs / 2);
    this.#loadDeadline = new StorageTimeout(clock, loadTimeoutMs, metrics, "the time for a load of peers");
    this.#timer = new WakeTimer(clock, () => void this.#writeDue());
  }

  /** Returns the peer store of one client of the session. After `clear`, peers that this client learns are ignored. */
  for(sessionId: string): PeerStore {
    const peers = this.#of(sessionId);
    if (peers === undefined) return { limit: PEERS_KEPT, load: async () => [], save: () => {} };
    const { era } = peers;
    peers.isUsed = true;
    return {
      limit: PEERS_KEPT,
      load: () => this.#load(peers),
      save: (peer) => {
        if (era !== peers.era || this.#isClosed) return;
        peers.put(peer);
        this.#schedule(peers);
      },
    };
  }

  /** Deletes a session's peers. Never rejects: if the storage fails, they are deleted once it works again. */
  async clear(sessionId: string): Promise<void> {
    const peers = this.#of(sessionId);
    if (peers === undefined || this.#isClosed) return;
    peers.clear();
    // A write in progress is awaited first; a second one does the rest.
    for (let attempt = 0; attempt < 2 && peers.hasWork; attempt++) await this.#write(peers);
    if (peers.hasWork) this.#schedule(peers);
    else this.#drop(peers);
  }

  /**
   * Adds peers known from elsewhere. They are available to clients at once. Resolves when they are written, or scheduled
   * to be written once the storage works again. Never rejects.
   */
  async seed(sessionId: string, known: readonly StoredPeer[]): Promise<void> {
    const peers = this.#of(sessionId);
    if (peers === undefined || this.#isClosed) return;
    for (const peer of known) peers.put(normalized(peer));
    for (let attempt = 0; attempt < 2 && peers.hasWork; attempt++) await this.#write(peers);
    if (peers.hasWork) this.#schedule(peers);
    else this.#drop(peers);
  }

  /** Writes all pending peers. Resolves when they are written, the storage fails, or after `storageTimeoutMs`. */
  async flush(): Promise<void> {
    const written = async (): Promise<void> => {
      while (this.#round !== undefined || this.#due.size > 0) if (!(await this.#writeDue())) return;
    };
    if (this.#round === undefined && this.#due.size === 0) return;
    await this.#deadline.run("write all peers", written).catch((error: Error) => this.#failed("write", error));
  }

  /** Drops all pending writes and stops writing. */
  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#due.clear();
    for (const peers of this.#sessions.values()) peers.discard();
    this.#sessions.clear();
  }

  #of(sessionId: string): SessionPeers | undefined {
    const known = this.#sessions.get(sessionId);
    if (known !== undefined || this.#storage === undefined) return known;
    const peers = new SessionPeers(sessionId, this.#storage, PEERS_KEPT);
    this.#sessions.set(sessionId, peers);
    return peers;
  }

  async #load(peers: SessionPeers): Promise<readonly StoredPeer[]> {
    try {
      const { era } = peers;
      const loaded = await peers.load(this.#loadDeadline);
      this.#works("load");
      if (peers.hasWork) this.#schedule(peers);
      return era === peers.era ? loaded : [];
    } catch (error) {
      this.#failed("load", error as Error);
      return [];
    }
  }

  #schedule(peers: SessionPeers): void {
    this.#keepDue(peers);
    this.#arm();
  }

  #arm(): void {
    if (this.#timer.isSet || this.#round !== undefined || this.#isClosed || this.#due.size === 0) return;
    const retryMs = exponentialDelay(this.#failedRounds - 1, FIRST_RETRY_MS, MAX_RETRY_MS);
    this.#timer.set(this.#failedRounds === 0 ? WRITE_AFTER_MS : retryMs);
  }

  /** Runs one round over the due sessions. Resolves with whether all of them were written. */
  #writeDue(): Promise<boolean> {
    this.#timer.cancel();
    this.#round ??= this.#runRound().finally(() => {
      this.#round = undefined;
      this.#arm();
    });
    return this.#round;
  }

  async #runRound(): Promise<boolean> {
    const due = this.#due;
    this.#due = new Set();
    const queue = due.values();
    let failures = 0;
    let successes = 0;
    let inRow = 0;
    const worker = async (): Promise<void> => {
      for (const peers of queue) {
        const isWritten = inRow < FAILURES_PER_ROUND && (await this.#write(peers));
        inRow = isWritten ? 0 : inRow + 1;
        if (isWritten) successes++;
        else failures++;
        if (!isWritten || peers.hasWork) this.#keepDue(peers);
        else this.#drop(peers);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    this.#failedRounds = failures > 0 && successes === 0 ? this.#failedRounds + 1 : 0;
    if (failures === 0) this.#works("write");
    return failures === 0;
  }

  #keepDue(peers: SessionPeers): void {
    if (!this.#isClosed) this.#due.add(peers);
  }

  /** Drops the state of a removed session once its peers are deleted. */
  #drop(peers: SessionPeers): void {
    if (!peers.isUsed && !peers.isBusy && this.#sessions.get(peers.id) === peers) this.#sessions.delete(peers.id);
  }

  async #write(peers: SessionPeers): Promise<boolean> {
    if (peers.isBusy) return false;
    try {
      await peers.write(this.#deadline);
      return true;
    } catch (error) {
      this.#failed("write", error as Error);
      return false;
    }
  }

  #works(task: Task): void {
    if (this.#failing.delete(task) && this.#failing.size === 0) this.#context.events.emit("storageWorks", "peers");
  }

  #failed(task: Task, error: Error): void {
    if (this.#failing.has(task) || this.#isClosed) return;
    this.#failing.add(task);
    this.#context.events.emit("storageFailed", error, "peers");
  }
}

/** Creates the peer cache of a pool; peers are encrypted if the session records are. */
export function createPeerCacheWriter(context: PoolContext): PeerCacheWriter {
  const { storage, encryption } = context.options;
  const peers = encryption && storage.peers ? encryptedPeerStorage(storage.peers, encryption) : storage.peers;
  return new PeerCacheWriter(context, peers);
}

/** Maximum number of peers per storage call. */
const BATCH = 500;

/** The pending peers of one session. */
export class SessionPeers {
  readonly id: string;
  /** Whether a client has used it since the last `clear`. */
  isUsed = false;
  readonly #storage: PeerStorage;
  readonly #limit: number;
  /** Unwritten peers, latest last. Bounded by `#limit`. */
  readonly #pending = new Map<string, StoredPeer>();
  #mustClear = false;
  /** Calls that the storage has not answered, including those that timed out. */
  #unanswered = 0;
  #writing: Promise<void> | undefined;
  #savedSinceLook = 0;
  #era = 0;

  constructor(id: string, storage: PeerStorage, limit: number) {
    this.id = id;
    this.#storage = storage;
    this.#limit = limit;
  }

  /** Incremented by each `clear`: peers of an earlier era no longer belong to the session. */
  get era(): number {
    return this.#era;
  }

  get hasWork(): boolean {
    return this.#mustClear || this.#pending.size > 0;
  }

  /** Whether an abandoned write may still be applied, and could overtake a new one. */
  get isBusy(): boolean {
    return this.#unanswered > 0 && this.#writing === undefined;
  }

  /** Adds a peer to be written. Beyond the limit, the oldest is dropped. */
  put(peer: StoredPeer): void {
    this.#pending.delete(peer.id);
    this.#pending.set(peer.id, peer);
    if (this.#pending.size <= this.#limit) return;
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined) this.#pending.delete(oldest);
  }

  /** Drops pending peers and schedules the deletion of stored ones. */
  clear(): void {
    this.#era++;
    this.isUsed = false;
    this.#pending.clear();
    this.#mustClear = true;
  }

  /** Drops pending peers. */
  discard(): void {
    this.#pending.clear();
    this.#mustClear = false;
  }

  /** Resolves with all peers, stored and pending, latest last. Rejects if the storage fails. */
  async load(deadline: StorageTimeout): Promise<readonly StoredPeer[]> {
    const latest = new Map<string, StoredPeer>();
    const before = [...this.#pending.values()];
    const stored = this.#mustClear ? [] : await this.#look(deadline);
    for (const peer of [...stored, ...before, ...this.#pending.values()]) {
      latest.delete(peer.id);
      latest.set(peer.id, peer);
    }
    return [...latest.values()].slice(-this.#limit);
  }

  /** Writes the peers pending now; later ones are left to the next write. Only one write runs at a time. */
  write(deadline: StorageTimeout): Promise<void> {
    this.#writing ??= this.#write(deadline).finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(deadline: StorageTimeout): Promise<void> {
    let left = this.#pending.size;
    while (this.#mustClear || (left > 0 && this.#pending.size > 0)) {
      if (this.#mustClear) await this.#clear(deadline);
      else left -= await this.#save(deadline, left);
    }
    if (this.#savedSinceLook >= this.#limit) await this.#look(deadline);
  }

  async #clear(deadline: StorageTimeout): Promise<void> {
    await this.#call(deadline, `clear the peers of "${this.id}"`, () => this.#storage.clear(this.id));
    this.#mustClear = false;
  }

  async #save(deadline: StorageTimeout, most: number): Promise<number> {
    const batch: StoredPeer[] = [];
    for (const peer of this.#pending.values()) if (batch.push(peer) >= Math.min(BATCH, most)) break;
    await this.#call(deadline, `save peers of "${this.id}"`, () =>
      this.#storage.save(this.id, batch.map(storablePeer)),
    );
    for (const peer of batch) if (this.#pending.get(peer.id) === peer) this.#pending.delete(peer.id);
    this.#savedSinceLook += batch.length;
    return batch.length;
  }

  /** Loads the stored peers. If there are more than twice the limit, they are replaced by the latest ones. */
  async #look(deadline: StorageTimeout): Promise<readonly StoredPeer[]> {
    const era = this.#era;
    const loaded = await deadline.run(`load the peers of "${this.id}"`, () => this.#storage.load(this.id));
    const stored = loaded.filter(isUsable);
    if (era !== this.#era) return [];
    this.#savedSinceLook = 0;
    if (stored.length <= 2 * this.#limit) return stored;
    const newer = [...this.#pending.values()];
    this.#pending.clear();
    this.#mustClear = true;
    for (const peer of [...stored.slice(-this.#limit), ...newer]) this.put(peer);
    return [...this.#pending.values()];
  }

  async #call(deadline: StorageTimeout, what: string, operation: () => Promise<void>): Promise<void> {
    const answer = (async () => operation())();
    const answered = (): void => {
      this.#unanswered--;
    };
    this.#unanswered++;
    answer.then(answered, answered);
    await deadline.run(what, () => answer);
  }
}

/**
 * Returns whether a stored peer is usable. A driver that renames columns yields "undefined" as access hash, and Telegram
 * would refuse every request with it.
 */
function isUsable(peer: StoredPeer | null | undefined): boolean {
  return typeof peer?.id === "string" && /^-?\d+$/.test(String(peer.accessHash));
}

/** Normalizes the peer to the form that client adapters look up. */
function normalized(peer: StoredPeer): StoredPeer {
  const { username, phone } = peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: username.replace(/^@/, "").toLowerCase() }),
    ...(phone === undefined ? {} : { phone: phone.replace(/\D/g, "") }),
  };
}

/** Replaces characters that storages reject in a peer's names: users choose them, and one must not fail a whole batch. */
export function storablePeer(peer: StoredPeer): StoredPeer {
  const { username, phone, name } = peer;
  if ([username, phone, name].every((text) => text === undefined || isStorable(text))) return peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: toStorable(username) }),
    ...(phone === undefined ? {} : { phone: toStorable(phone) }),
    ...(name === undefined ? {} : { name: toStorable(name) }),
  };
}
