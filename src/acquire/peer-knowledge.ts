import type { AbortListeners } from "../common/abort-listeners.js";
import { inOwnContext } from "../common/own-context.js";
import type { ProcessRef } from "../common/process-ref.js";
import { WakeTimer } from "../common/timers.js";
import type { Connection } from "../connections/connection.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { peerLookUpTimeoutError } from "../error-factories.js";
import { StorageError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import type { KnownPeer } from "../telegram/peer-cache.js";
import type { PeerReference } from "../telegram/peers.js";
import type { AcquireRequest } from "./acquire-request.js";
import { PeerLook } from "./peer-look.js";

/** Milliseconds for which an answer of the storage serves further callers of the same peer. */
const FRESH_MS = 1_000;
/** Number of holders from which an answer is kept for later callers: to fetch it costs more than all the rest of a lease. */
const MANY_HOLDERS = 100;
/** Maximum number of answers kept for later callers. */
const KEPT_ANSWERS = 100;

/** The part of a caller's request that limits the wait for the storage. */
type LookUpRequest = Pick<AcquireRequest, "waitMs" | "givenWaitMs" | "signal" | "cause" | "recordWait">;

/** What the look-up of peers is built on. */
export interface PeerKnowledgeParts {
  readonly peers: PeerCacheWriter;
  readonly connections: ConnectionPool<unknown>;
  readonly abortListeners: AbortListeners;
  readonly processRef: ProcessRef;
}

/**
 * Which sessions know a peer: as it is stored, as clients of this process have learned since, and, where a client is open, as
 * its cache holds it. Looked up while a caller wants one; only answers with many holders are kept afterwards, for a second.
 */
export class PeerKnowledge {
  readonly #context: PoolContext;
  readonly #peers: PeerCacheWriter;
  readonly #connections: ConnectionPool<unknown>;
  readonly #abortListeners: AbortListeners;
  readonly #processRef: ProcessRef;
  /** By field and value. Bounded by the callers. */
  readonly #looks = new Map<string, PeerLook>();
  /** Answers with many holders that no caller uses any more, the oldest first. Bounded by `KEPT_ANSWERS`. */
  readonly #kept = new Map<string, PeerLook>();
  /** Callers that wait for the storage. */
  readonly #waiting = new Set<() => void>();
  /** Set to when the storage is asked again for callers that wait. */
  readonly #timer: WakeTimer;
  #isEnded = false;
  #isAnnouncing = false;

  constructor(context: PoolContext, parts: PeerKnowledgeParts) {
    this.#context = context;
    this.#peers = parts.peers;
    this.#connections = parts.connections;
    this.#abortListeners = parts.abortListeners;
    this.#processRef = parts.processRef;
    this.#timer = new WakeTimer(context.clock, () => this.#askAgain());
    context.events.on("peerLearned", (id, peer) => this.#learned(id, peer));
    context.events.on("peersCleared", (id) => this.#cleared(id));
  }

  /** The holders of a peer for one more caller, to be given to {@link release}. */
  use(reference: PeerReference): PeerLook {
    const key = keyOf(reference);
    const look = this.#looks.get(key) ?? this.#takeKept(key) ?? new PeerLook(reference);
    this.#looks.set(key, look);
    look.users++;
    if (!this.#timer.isSet) this.#arm();
    return look;
  }

  release(look: PeerLook): void {
    if (--look.users > 0) return;
    const key = keyOf(look.reference);
    this.#looks.delete(key);
    if (look.ids.size >= MANY_HOLDERS && this.#isFresh(look)) this.#keep(key, look);
    if (this.#looks.size === 0) this.#timer.cancel();
  }

  /**
   * Resolves when the holders are known, within the wait of the request. Rejects with `StorageError` if the storage fails and
   * no session of this process knows the peer, `OptionsError`, `AcquireTimeoutError`, or the reason of the signal.
   */
  async find(look: PeerLook, request: LookUpRequest): Promise<void> {
    const { time } = this.#context;
    const startedAt = time.now();
    if (this.#isFresh(look)) return;
    try {
      await this.#processRef.whileRunning(() => this.#within(request, look));
    } finally {
      request.recordWait(time.now() - startedAt);
    }
  }

  /** Whether the client of a connection has the peer, as far as it can tell. A session that has not is no longer a holder. */
  confirm({ reference, ids }: PeerLook, connection: Connection<unknown>): boolean {
    if (connection.handle.knows?.(reference) !== false) return true;
    this.#removeHolder(ids, connection.id);
    return false;
  }

  /** Ends the waits for the storage: the pool is closing. */
  end(): void {
    this.#isEnded = true;
    this.#timer.cancel();
    this.#kept.clear();
    for (const stop of this.#waiting) stop();
  }

  #isFresh({ isAnswered, asking, askedAt }: PeerLook): boolean {
    return isAnswered && asking === undefined && this.#context.time.now() - askedAt < FRESH_MS;
  }

  #keep(key: string, look: PeerLook): void {
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= KEPT_ANSWERS) this.#kept.delete(oldest);
    this.#kept.set(key, look);
  }

  #takeKept(key: string): PeerLook | undefined {
    const look = this.#kept.get(key);
    this.#kept.delete(key);
    return look !== undefined && this.#isFresh(look) ? look : undefined;
  }

  #within({ waitMs, givenWaitMs, signal, cause }: LookUpRequest, look: PeerLook): Promise<void> {
    const answer = this.#ask(look);
    return new Promise((resolve, reject) => {
      const isLimited = Number.isFinite(waitMs) && waitMs > 0;
      const late = (): void => reject(peerLookUpTimeoutError(givenWaitMs, look.peer, cause));
      const timer = isLimited ? this.#context.options.clock.setTimer(waitMs, late) : undefined;
      const stopListening = signal && this.#abortListeners.onAbort(signal, () => reject(signal.reason));
      const end = (): void => {
        this.#waiting.delete(resolve);
        timer?.cancel();
        stopListening?.();
      };
      if (this.#isEnded) resolve();
      this.#waiting.add(resolve);
      answer.then(resolve, reject).finally(end);
    });
  }

  #ask(look: PeerLook): Promise<void> {
    look.asking ??= inOwnContext(() => this.#lookUp(look)).finally(() => {
      look.asking = undefined;
    });
    return look.asking;
  }

  async #lookUp(look: PeerLook): Promise<void> {
    const { reference, news } = look;
    look.askedAt = this.#context.time.now();
    news.clear();
    // Before the storage is asked: what is written meanwhile may be missing in its answer.
    for (const [id, isHolder] of this.#peers.unwritten(reference)) news.set(id, isHolder);
    for (const [id, isHolder] of this.#cached(reference)) news.set(id, isHolder);
    let failure: unknown;
    const stored = await this.#peers.stored(reference).catch((error: unknown) => {
      failure = error;
      return look.ids;
    });
    const holders = new Set(stored);
    for (const [id, isHolder] of [...news, ...this.#cached(reference)]) {
      if (isHolder) holders.add(id);
      else holders.delete(id);
    }
    if (failure !== undefined && (holders.size === 0 || !(failure instanceof StorageError))) throw failure;
    this.#update(look, holders);
  }

  #update(look: PeerLook, holders: ReadonlySet<string>): void {
    const { ids, isAnswered } = look;
    const formerSize = ids.size;
    for (const id of ids) if (!holders.has(id)) ids.delete(id);
    const hasLost = ids.size < formerSize;
    const keptSize = ids.size;
    for (const id of holders) ids.add(id);
    look.isAnswered = true;
    if (!isAnswered) return;
    if (ids.size > keptSize) this.#announce();
    if (hasLost) this.#context.events.emit("availabilityChanged");
  }

  /** What the caches of open clients hold. */
  *#cached(reference: PeerReference): Generator<readonly [sessionId: string, isHolder: boolean]> {
    for (const { id, handle, closing } of this.#connections.all()) {
      const isHolder = closing === undefined ? handle.knows?.(reference) : undefined;
      if (isHolder !== undefined) yield [id, isHolder];
    }
  }

  #learned(sessionId: string, { id, username }: KnownPeer): void {
    if (this.#looks.size === 0 && this.#kept.size === 0) return;
    const names = [{ field: "id", value: id } as const, { field: "username", value: username ?? "" } as const];
    for (const key of names.map(keyOf)) {
      const look = this.#looks.get(key) ?? this.#kept.get(key);
      if (look === undefined) continue;
      look.news.set(sessionId, true);
      if (look.ids.has(sessionId)) continue;
      look.ids.add(sessionId);
      this.#announce();
    }
  }

  #cleared(sessionId: string): void {
    for (const { news, ids } of [...this.#looks.values(), ...this.#kept.values()]) {
      news.set(sessionId, false);
      this.#removeHolder(ids, sessionId);
    }
  }

  /** In a stack of its own: other callers may wait for this session, and be rejected without it. */
  #removeHolder(ids: Set<string>, sessionId: string): void {
    if (ids.delete(sessionId)) queueMicrotask(() => this.#context.events.emit("availabilityChanged"));
  }

  /** Serves waiters, in a stack of its own: peers are learned in the middle of a client's call. */
  #announce(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    queueMicrotask(() => {
      this.#isAnnouncing = false;
      this.#context.events.emit("available");
    });
  }

  #askAgain(): void {
    // A failure is reported by the writer of the peers; the waiters keep what is known.
    for (const look of this.#looks.values()) this.#ask(look).catch(() => {});
    this.#arm();
  }

  /** As often as sessions of other processes are looked at. */
  #arm(): void {
    if (this.#isEnded || this.#looks.size === 0 || !this.#peers.canFind) return;
    this.#timer.set(this.#context.options.ownership.ttlMs / 3);
  }
}

function keyOf({ field, value }: PeerReference): string {
  return `${field} ${value}`;
}
