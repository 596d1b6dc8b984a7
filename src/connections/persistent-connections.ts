import type { Timer } from "../common/clock.js";
import type { ProcessRef } from "../common/process-ref.js";
import type { ResolvedOptions } from "../options/options.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";

/** Delay before a failed connect is retried whose cause does not end with an event. */
const RETRY_MS = 30_000;
/** Minimum time between two connects of a session: a server may end each connection at once. */
const MIN_LIFE_MS = 1_000;

/**
 * Keeps the clients of listening sessions connected, leased or not. A lost one is connected again, after the same back-off
 * and cooldowns as for a lease. As long as there is a listening session, connected or not, the process stays alive.
 */
export class PersistentConnections {
  readonly #context: PoolContext;
  readonly #registry: SessionRegistry;
  readonly #connections: ConnectionPool<unknown>;
  readonly #processRef: ProcessRef;
  // Bounded by the sessions that stay connected, and removed ones whose timer has not fired yet.
  readonly #connecting = new Set<string>();
  readonly #retries = new Map<string, Timer>();
  /** The sessions that keep the process alive. */
  readonly #kept = new Set<string>();
  /** When each was last connected by this class, on the monotonic clock. */
  readonly #connectedAt = new Map<string, number>();
  #isEnded = false;

  constructor(
    context: PoolContext,
    registry: SessionRegistry,
    connections: ConnectionPool<unknown>,
    processRef: ProcessRef,
  ) {
    this.#context = context;
    this.#registry = registry;
    this.#connections = connections;
    this.#processRef = processRef;
    const ensure = (id: string): void => this.ensure(id);
    context.events.on("recovered", ensure);
    context.events.on("unhealthy", ensure);
    context.events.on("discovered", ensure);
    context.events.on("changed", ensure);
  }

  /** Connects the session if it needs a connection. */
  ensure(id: string): void {
    if (this.#isEnded) return;
    const known = this.#registry.get(id);
    const isWanted = known !== undefined && isPersistent(this.#context.options, known) && mayListen(known);
    this.#setKept(id, isWanted);
    if (!this.#kept.has(id) || this.#connecting.has(id) || known?.state !== "free") return;
    if (this.#connections.get(id)?.isConnected) return;
    const { clock } = this.#context;
    const tooSoonMs = (this.#connectedAt.get(id) ?? Number.NEGATIVE_INFINITY) + MIN_LIFE_MS - clock.monotonic();
    if (tooSoonMs > 0) this.#scheduleRetry(id, tooSoonMs);
    else this.#connect(id);
  }

  #connect(id: string): void {
    const { clock } = this.#context;
    const connections = this.#connections;
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
      this.#processRef.ref();
      return;
    }
    this.#kept.delete(id);
    this.#connectedAt.delete(id);
    this.#retries.get(id)?.cancel();
    this.#retries.delete(id);
    this.#processRef.unref();
  }

  ensureAll(): void {
    for (const id of this.#registry.ids()) this.ensure(id);
  }

  end(): void {
    for (const id of [...this.#kept]) this.#setKept(id, false);
    this.#isEnded = true;
    for (const timer of this.#retries.values()) timer.cancel();
    this.#retries.clear();
  }

  /** A session that cools down or is foreign is handled when that ends; for any other one there is no such event. */
  #scheduleRetry(id: string, delayMs: number): void {
    if (!this.#kept.has(id)) return;
    this.#retries.get(id)?.cancel();
    const timer = this.#context.clock.setTimer(delayMs, () => {
      this.#retries.delete(id);
      this.ensure(id);
    });
    this.#retries.set(id, timer);
  }
}

/** Whether it listens now, or will without further action: when a cooldown ends, or another process releases it. */
function mayListen({ isRemoving, disabledReason, deadReason, restriction }: PooledSession): boolean {
  return !isRemoving && disabledReason === null && deadReason === null && restriction?.until !== null;
}

/** Whether the session's client stays connected without a lease. */
export function isPersistent(
  { keepConnected }: Pick<ResolvedOptions<unknown>, "keepConnected">,
  known: PooledSession,
): boolean {
  return keepConnected && known.credentials.profile.keepConnected === true;
}
