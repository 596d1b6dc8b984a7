import { exponentialDelay, WakeTimer } from "../common/timers.js";
import type { PeerStore } from "../connections/client-adapter.js";
import { encryptedPeerStorage } from "../encryption/encrypted-peers.js";
import { OptionsError, StorageError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { PeerReference } from "../telegram/peers.js";
import { SessionPeers } from "./session-peers.js";
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

type Task = "load" | "write" | "find";

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
  /** Sessions with peers that are not written, and those whose stored ones are not deleted. Bounded by `#sessions`. */
  readonly #unwritten = new Set<SessionPeers>();
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
    const { events } = this.#context;
    if (peers === undefined) {
      return {
        limit: PEERS_KEPT,
        load: async () => [],
        save: (peer) => events.emit("peerLearned", sessionId, peer),
      };
    }
    const { era } = peers;
    peers.isUsed = true;
    return {
      limit: PEERS_KEPT,
      load: () => this.#load(peers),
      save: (peer) => {
        if (era !== peers.era || this.#isClosed) return;
        this.#put(peers, peer);
        this.#schedule(peers);
      },
    };
  }

  /** Deletes a session's peers. Never rejects: if the storage fails, they are deleted once it works again. */
  async clear(sessionId: string): Promise<void> {
    const peers = this.#of(sessionId);
    this.#context.events.emit("peersCleared", sessionId);
    if (peers === undefined || this.#isClosed) return;
    peers.clear();
    this.#unwritten.add(peers);
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
    for (const peer of known) this.#put(peers, normalized(peer));
    for (let attempt = 0; attempt < 2 && peers.hasWork; attempt++) await this.#write(peers);
    if (peers.hasWork) this.#schedule(peers);
    else this.#drop(peers);
  }

  /** Whether the storage can tell which sessions hold a peer. */
  get canFind(): boolean {
    return this.#storage?.knowing !== undefined;
  }

  /**
   * Returns the sessions that hold a peer as it is stored; none if the storage cannot tell. Rejects with `StorageError`, and
   * with `OptionsError` if the encryption cannot find usernames.
   */
  async stored({ field, value }: PeerReference): Promise<readonly string[]> {
    const storage = this.#storage;
    if (storage?.knowing === undefined) return [];
    try {
      const what = "find the sessions that know a peer";
      const holders = await this.#deadline.run(what, async () => storage.knowing?.(field, [value]));
      this.#works("find");
      return holders ?? [];
    } catch (error) {
      if (error instanceof StorageError && error.cause instanceof OptionsError) throw error.cause;
      this.#failed("find", error as Error);
      throw error;
    }
  }

  /** Yields the sessions for which the storage is not up to date, with whether they hold the peer. */
  *unwritten(peer: PeerReference): Generator<readonly [sessionId: string, isHolder: boolean]> {
    for (const peers of this.#unwritten) {
      const isHolder = peers.holds(peer);
      if (isHolder !== undefined) yield [peers.id, isHolder];
    }
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
    this.#unwritten.clear();
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

  #put(peers: SessionPeers, peer: StoredPeer): void {
    peers.put(peer);
    this.#unwritten.add(peers);
    this.#context.events.emit("peerLearned", peers.id, peer);
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
      if (!peers.hasWork) this.#unwritten.delete(peers);
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

/** Normalizes the peer to the form that client adapters look up. */
function normalized(peer: StoredPeer): StoredPeer {
  const { username, phone } = peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: username.replace(/^@/, "").toLowerCase() }),
    ...(phone === undefined ? {} : { phone: phone.replace(/\D/g, "") }),
  };
}
