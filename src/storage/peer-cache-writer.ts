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
 * Writes behind what the sessions of a pool learn of their peers. Peers are a cache: whatever the storage does, no
 * caller fails or waits longer for it, and what waits to be written is bounded.
 */
export class PeerCacheWriter {
  readonly #storage: PeerStorage | undefined;
  readonly #context: PoolContext;
  readonly #deadline: StorageTimeout;
  readonly #loadDeadline: StorageTimeout;
  /** Bound: the sessions of the pool, and removed ones whose peers cannot be cleared yet. */
  readonly #sessions = new Map<string, SessionPeers>();
  /** Bound: those of `#sessions`. */
  #due = new Set<SessionPeers>();
  readonly #timer: WakeTimer;
  #round: Promise<boolean> | undefined;
  #failedRounds = 0;
  /** Bound: the kinds of task. */
  readonly #failing = new Set<Task>();
  #isClosed = false;

  /** Without a storage everything is forgotten with the client. */
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

  /** For one client of the session. After `clear`, peers that this client learns are ignored. */
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

  /** Forgets a session's peers. Never rejects: what cannot be cleared now is cleared when the storage works again. */
  async clear(sessionId: string): Promise<void> {
    const peers = this.#of(sessionId);
    if (peers === undefined || this.#isClosed) return;
    peers.clear();
    // A write that is under way is waited for; what it leaves is done by a second one.
    for (let attempt = 0; attempt < 2 && peers.hasWork; attempt++) await this.#write(peers);
    if (peers.hasWork) this.#schedule(peers);
    else this.#drop(peers);
  }

  /**
   * Takes in peers that were known before a client was given the session's cache. They count at once; resolves when they
   * are written, or are to be written when the storage works again. Never rejects.
   */
  async seed(sessionId: string, known: readonly StoredPeer[]): Promise<void> {
    const peers = this.#of(sessionId);
    if (peers === undefined || this.#isClosed) return;
    for (const peer of known) peers.put(normalized(peer));
    for (let attempt = 0; attempt < 2 && peers.hasWork; attempt++) await this.#write(peers);
    if (peers.hasWork) this.#schedule(peers);
    else this.#drop(peers);
  }

  /** Writes everything now. Resolves when that is done, the storage has failed, or `storageTimeoutMs` has passed. */
  async flush(): Promise<void> {
    const written = async (): Promise<void> => {
      while (this.#round !== undefined || this.#due.size > 0) if (!(await this.#writeDue())) return;
    };
    if (this.#round === undefined && this.#due.size === 0) return;
    await this.#deadline.run("write all peers", written).catch((error: Error) => this.#failed("write", error));
  }

  /** Nothing is written any more. */
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

  /** One round over what is due. Whether all of it was written. */
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

  /** A session that was removed leaves nothing behind. */
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

/** Peers that go to the storage in one call. */
const BATCH = 500;

/** The peers of one session that are to be written. */
export class SessionPeers {
  readonly id: string;
  /** Whether a client uses it since it was last cleared. */
  isUsed = false;
  readonly #storage: PeerStorage;
  readonly #limit: number;
  /** Not written yet, the latest last. Bound: `#limit`. */
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

  /** Grows with each `clear`: peers of a former era do not belong to the session any more. */
  get era(): number {
    return this.#era;
  }

  get hasWork(): boolean {
    return this.#mustClear || this.#pending.size > 0;
  }

  /** Whether an earlier write may still be applied: it could overtake another one. */
  get isBusy(): boolean {
    return this.#unanswered > 0 && this.#writing === undefined;
  }

  /** To be written. Beyond the limit the oldest is dropped. */
  put(peer: StoredPeer): void {
    this.#pending.delete(peer.id);
    this.#pending.set(peer.id, peer);
    if (this.#pending.size <= this.#limit) return;
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined) this.#pending.delete(oldest);
  }

  /** Drops what is not written yet, and schedules the deletion of what is. */
  clear(): void {
    this.#era++;
    this.isUsed = false;
    this.#pending.clear();
    this.#mustClear = true;
  }

  /** Drops what is not written yet. */
  discard(): void {
    this.#pending.clear();
    this.#mustClear = false;
  }

  /** All peers, written or not, the latest last. Rejects as the storage does. */
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

  /** Writes the current peers; those learned meanwhile are left to the next write. One write at a time. */
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

  /** The stored peers. If there are more than twice the limit, they are replaced by the latest ones. */
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
 * Whether a stored peer can be asked for by what is stored of it: a driver that renames columns gives "undefined" for an
 * access hash, with which every request about the peer would be refused.
 */
function isUsable(peer: StoredPeer | null | undefined): boolean {
  return typeof peer?.id === "string" && /^-?\d+$/.test(String(peer.accessHash));
}

/** The peer as client adapters look for it. */
function normalized(peer: StoredPeer): StoredPeer {
  const { username, phone } = peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: username.replace(/^@/, "").toLowerCase() }),
    ...(phone === undefined ? {} : { phone: phone.replace(/\D/g, "") }),
  };
}

/** The peer with what no storage keeps replaced in its names: people choose them, and one must not fail a whole batch. */
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
