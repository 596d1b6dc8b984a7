import type { Clock, Timer } from "../common/clock.js";
import type { ProcessRef } from "../common/process-ref.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";

/** What keeping clients connected needs. */
export interface PersistentConnectionsDeps {
  readonly clock: Clock;
  readonly registry: SessionRegistry;
  readonly processRef: ProcessRef;
  /** Whether this pool keeps any session connected: the pool's option of that name. */
  readonly keepConnected: boolean;
  readonly connections: () => ConnectionPool<unknown>;
}

/** A connect that failed for no reason that ends by an event is tried again after so long. */
const RETRY_MS = 30_000;
/** A connection that was lost sooner than that is made again only after it: a server may end each one at once. */
const SHORTEST_LIFE_MS = 1_000;

/**
 * Keeps the clients connected of sessions that are to listen, leased or not. One that is lost is connected again, after
 * the same back-off and the same waits as for a lease. A session that listens is work: as long as there is one, connected
 * or not, the process does not end by itself.
 */
export class PersistentConnections {
  readonly #parts: PersistentConnectionsDeps;
  // One entry for each session that is to stay connected; a timer of one that was removed goes when it fires.
  readonly #connecting = new Set<string>();
  readonly #retries = new Map<string, Timer>();
  /** Those that keep the process alive. */
  readonly #kept = new Set<string>();
  /** When each was last connected for its own sake, on the monotonic clock. */
  readonly #connectedAt = new Map<string, number>();
  #isEnded = false;

  constructor(parts: PersistentConnectionsDeps) {
    this.#parts = parts;
  }

  /** Whether the session's client stays connected without a lease. */
  isPersistent(id: string): boolean {
    const { keepConnected, registry } = this.#parts;
    return keepConnected && registry.get(id)?.credentials.profile.keepConnected === true;
  }

  /** The session may have come to need a connection. */
  ensure(id: string): void {
    if (this.#isEnded) return;
    const known = this.#parts.registry.get(id);
    this.#setKept(id, known !== undefined && this.isPersistent(id) && mayListen(known));
    if (!this.#kept.has(id) || this.#connecting.has(id) || known?.state !== "free") return;
    if (this.#parts.connections().get(id)?.isConnected) return;
    const { clock } = this.#parts;
    const tooSoonMs = (this.#connectedAt.get(id) ?? Number.NEGATIVE_INFINITY) + SHORTEST_LIFE_MS - clock.monotonic();
    if (tooSoonMs > 0) this.#scheduleRetry(id, tooSoonMs);
    else this.#connect(id);
  }

  #connect(id: string): void {
    const { clock } = this.#parts;
    const connections = this.#parts.connections();
    this.#connecting.add(id);
    this.#retries.get(id)?.cancel();
    this.#retries.delete(id);
    const opening = new Opening(true);
    void connections
      .checkOut(id, opening)
      .then(async () => {
        if (this.#kept.has(id)) this.#connectedAt.set(id, clock.monotonic());
        await connections.end(opening);
        // A connection lost while this ran could not schedule the next connect itself.
        this.#connecting.delete(id);
        this.ensure(id);
      })
      .catch(() => this.#scheduleRetry(id, RETRY_MS))
      .finally(() => this.#connecting.delete(id));
  }

  #setKept(id: string, isKept: boolean): void {
    if (this.#kept.has(id) === isKept) return;
    if (isKept) {
      this.#kept.add(id);
      this.#parts.processRef.ref();
      return;
    }
    this.#kept.delete(id);
    this.#connectedAt.delete(id);
    this.#retries.get(id)?.cancel();
    this.#retries.delete(id);
    this.#parts.processRef.unref();
  }

  ensureAll(): void {
    for (const id of this.#parts.registry.ids()) this.ensure(id);
  }

  end(): void {
    for (const id of [...this.#kept]) this.#setKept(id, false);
    this.#isEnded = true;
    for (const timer of this.#retries.values()) timer.cancel();
    this.#retries.clear();
  }

  /** A session that rests, or is somebody else's, is looked at when that ends; another one in vain would never be. */
  #scheduleRetry(id: string, delayMs: number): void {
    if (!this.#kept.has(id)) return;
    this.#retries.get(id)?.cancel();
    const timer = this.#parts.clock.setTimer(delayMs, () => {
      this.#retries.delete(id);
      this.ensure(id);
    });
    this.#retries.set(id, timer);
  }
}

/** Whether it listens now, or will by itself: when it has rested, or another process lets go of it. */
function mayListen({ isRemoving, disabledReason, deadReason, restriction }: PooledSession): boolean {
  return !isRemoving && disabledReason === null && deadReason === null && restriction?.until !== null;
}
