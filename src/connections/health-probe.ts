import type { Timer } from "../common/clock.js";
import { WakeTimer } from "../common/timers.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { isTelegramErrorCode, type SessionStateManager } from "../state/session-state-manager.js";
import { readAuthorizationLife, readFreeze } from "../telegram/account-answers.js";
import type { Connection } from "./connection.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";
import { EXPIRY_LEAD_MS } from "./expiry-watch.js";
import { sendOwnRequest } from "./own-request.js";

/** Time without use after which a session is asked whose end is not known: the shortest that Telegram offers. */
const UNKNOWN_END_MS = 7 * 86_400_000;
const DAY_MS = 86_400_000;

/**
 * Asks Telegram, every `probeIntervalMs`, about the sessions that need it, one at a time, because many may have died at
 * once. One that Telegram has restricted or called dead becomes free when it is answered again; a frozen one when Telegram
 * names no freeze any more. An unused one is touched by one read before its end, which moves the end and tells it.
 * Sessions that the user has disabled or retired are not asked.
 */
export class HealthProbe<Client = unknown> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #sessionState: SessionStateManager;
  readonly #connections: ConnectionPool<Client>;
  /** By session id. Bounded by the probed sessions, and removed ones whose timer has not fired yet. */
  readonly #timers = new Map<string, Timer>();
  /** Set to the next look for sessions to touch. */
  readonly #touchTimer: WakeTimer;
  /** Sessions that wait to be touched. */
  readonly #touching = new Set<PooledSession>();
  /** Sessions whose answer did not say when they end: they are not asked again. */
  readonly #untold = new WeakSet<PooledSession>();
  #queue: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(
    context: PoolContext<Client>,
    registry: SessionRegistry,
    sessionState: SessionStateManager,
    connections: ConnectionPool<Client>,
  ) {
    this.#context = context;
    this.#touchTimer = new WakeTimer(context.clock, () => this.#touchDue());
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

  /** Schedules the probes of all sessions that need one, and the look for sessions to touch. */
  scheduleAll(): void {
    const { probeIntervalMs } = this.#context.options;
    if (this.#isEnded || !Number.isFinite(probeIntervalMs)) return;
    for (const id of this.#registry.ids()) this.schedule(id);
    this.#touchTimer.set(probeIntervalMs);
  }

  end(): void {
    this.#isEnded = true;
    this.#touchTimer.cancel();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  async #probe(id: string): Promise<void> {
    const known = this.#registry.get(id);
    if (this.#isEnded || known === undefined) return;
    if (isProbeable(known) && this.#mayBeProbed(known)) {
      try {
        await this.#sessionState.whileProbed(id, async () => {
          if ((await this.#isAnswered(known)) && isProbeable(known)) this.#sessionState.markAnswered(known);
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

  #touchDue(): void {
    for (const id of this.#registry.ids()) {
      const known = this.#registry.get(id);
      if (known === undefined || this.#touching.has(known) || !this.#needsTouch(known)) continue;
      this.#touching.add(known);
      this.#queue = this.#queue.then(() => this.#touch(known));
    }
    this.#touchTimer.set(this.#context.options.probeIntervalMs);
  }

  /** Whether the session may end because it is unused, and can be asked. One that is connected is in use. */
  #needsTouch(known: PooledSession): boolean {
    if (!known.canEverServe || known.connection?.isConnected || known.isBot === true) return false;
    if (!this.#mayBeProbed(known)) return false;
    const now = this.#context.time.wallNow();
    const { expiresAt, authorizationTtlDays: days } = known;
    if (expiresAt !== null) {
      const leadMs = days === null ? EXPIRY_LEAD_MS : Math.min(EXPIRY_LEAD_MS, (days * DAY_MS) / 2);
      return now >= expiresAt - leadMs;
    }
    if (this.#context.options.client.createRequest === undefined || this.#untold.has(known)) return false;
    return now - Math.max(known.lastUsedAt ?? 0, known.addedAt) >= UNKNOWN_END_MS;
  }

  async #touch(known: PooledSession): Promise<void> {
    this.#touching.delete(known);
    if (this.#isEnded || this.#registry.get(known.id) !== known || !this.#needsTouch(known)) return;
    const opening = new Opening(true);
    try {
      const connection = await this.#connections.checkOut(known.id, opening);
      try {
        await this.#keepAlive(known, connection);
      } finally {
        await this.#connections.end(opening, "the session was only kept from ending");
      }
    } catch {
      // The error was applied where it was received; the next look tries again.
    }
  }

  /** One read. What it says of the session's end is kept; otherwise the read itself is the use that moves it. */
  async #keepAlive(known: PooledSession, connection: Connection<Client>): Promise<void> {
    const { client } = this.#context.options;
    const { fingerprint } = known;
    const canAsk = client.createRequest !== undefined;
    const answer = canAsk
      ? await sendOwnRequest(client, connection, "account.GetAuthorizations")
      : await connection.handle.probe?.();
    if (known.fingerprint !== fingerprint) return;
    const life = readAuthorizationLife(answer);
    const { authorizationTtlDays: days } = known;
    if (life !== undefined) this.#sessionState.learn(known, life);
    else if (days === null) this.#untold.add(known);
    else this.#sessionState.learn(known, { expiresAt: this.#context.time.wallNow() + days * DAY_MS });
  }
}

/** Returns whether Telegram, not the user, has blocked the session. */
function isProbeable({ isRemoving, restriction, deadReason }: PooledSession): boolean {
  if (isRemoving) return false;
  return deadReason === null ? restriction !== null : isTelegramErrorCode(deadReason);
}
