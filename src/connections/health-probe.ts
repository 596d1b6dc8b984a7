import type { Timer } from "../common/clock.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { isTelegramErrorCode, type SessionStateManager } from "../state/session-state-manager.js";
import { readFreeze } from "../telegram/account-answers.js";
import type { Connection } from "./connection.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";
import { sendOwnRequest } from "./own-request.js";

/**
 * Asks Telegram, every `probeIntervalMs`, about the sessions that need it, one at a time, because many may have died at
 * once. One that Telegram has restricted or called dead becomes free when it is answered again; a frozen one when Telegram
 * names no freeze any more. Sessions that the user has disabled or retired are not asked.
 */
export class HealthProbe<Client = unknown> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #sessionState: SessionStateManager;
  readonly #connections: ConnectionPool<Client>;
  /** By session id. Bounded by the probed sessions, and removed ones whose timer has not fired yet. */
  readonly #timers = new Map<string, Timer>();
  #queue: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(
    context: PoolContext<Client>,
    registry: SessionRegistry,
    sessionState: SessionStateManager,
    connections: ConnectionPool<Client>,
  ) {
    this.#context = context;
    this.#registry = registry;
    this.#sessionState = sessionState;
    this.#connections = connections;
    const schedule = (id: string): void => this.schedule(id);
    context.events.on("unhealthy", schedule);
    context.events.on("discovered", schedule);
  }

  /** Schedules a probe of the session, if it needs one. */
  schedule(id: string): void {
    const { clock, options } = this.#context;
    const { probeIntervalMs } = options;
    const known = this.#registry.get(id);
    if (this.#isEnded || !Number.isFinite(probeIntervalMs) || this.#timers.has(id) || known === undefined) return;
    if (!isProbeable(known)) return;
    const timer = clock.setTimer(probeIntervalMs, () => {
      this.#timers.delete(id);
      this.#queue = this.#queue.then(() => this.#probe(id));
    });
    this.#timers.set(id, timer);
  }

  scheduleAll(): void {
    if (Number.isFinite(this.#context.options.probeIntervalMs))
      for (const id of this.#registry.ids()) this.schedule(id);
  }

  end(): void {
    this.#isEnded = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  async #probe(id: string): Promise<void> {
    const known = this.#registry.get(id);
    if (this.#isEnded || known === undefined) return;
    if (isProbeable(known) && this.#mayBeProbed(known)) {
      try {
        await this.#sessionState.whileProbed(id, async () => {
          if (!(await this.#isAnswered(known)) || !isProbeable(known)) return;
          if (known.isFrozen) this.#sessionState.thaw(known);
          else this.#sessionState.markAnswered(known);
        });
      } catch {
        // The error was applied where it was received: nothing has changed, or the session cools down or backs off.
      }
    }
    this.schedule(id);
  }

  #mayBeProbed(known: PooledSession): boolean {
    if (known.isLeased || known.isForeign || known.disabledReason !== null) return false;
    return known.unavailableUntil <= this.#context.time.now();
  }

  async #isAnswered(known: PooledSession): Promise<boolean> {
    const { client } = this.#context.options;
    if (known.isFrozen && client.createRequest === undefined) return false;
    const connections = this.#connections;
    const opening = new Opening(true);
    const connection = await connections.checkOut(known.id, opening);
    let isAnswered = false;
    try {
      if (known.isFrozen) isAnswered = await this.#isThawed(known, connection);
      else if (connection.handle.probe !== undefined) {
        await connection.handle.probe();
        isAnswered = true;
      }
    } finally {
      await connections.end(opening, isAnswered ? undefined : "the session is still not to be used");
    }
    return isAnswered;
  }

  /** A frozen account is answered, too: only the configuration says that it is not frozen. */
  async #isThawed(known: PooledSession, connection: Connection<Client>): Promise<boolean> {
    const { client } = this.#context.options;
    const freeze = readFreeze(await sendOwnRequest(client, connection, "help.GetAppConfig", { hash: 0 }));
    if (freeze) this.#sessionState.freeze(known, freeze.until);
    return freeze === null;
  }
}

/** Returns whether Telegram, not the user, has blocked the session. */
function isProbeable({ isRemoving, restriction, deadReason }: PooledSession): boolean {
  if (isRemoving) return false;
  return deadReason === null ? restriction !== null : isTelegramErrorCode(deadReason);
}
