import { WakeTimer } from "../common/timers.js";
import type { PoolContext } from "../pool-context.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { readAuthorizationLife } from "../telegram/account-answers.js";
import { classifyTelegramError } from "../telegram/verdicts.js";
import type { Connection } from "./connection.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";
import { EXPIRY_LEAD_MS } from "./expiry-watch.js";
import { sendOwnRequest } from "./own-request.js";

const DAY_MS = 86_400_000;
/** Time without use after which a session is asked whose end is not known: the shortest that Telegram offers. */
const UNKNOWN_END_MS = 7 * DAY_MS;
const METHOD = "account.GetAuthorizations";

/**
 * Keeps unused sessions from ending: looks every `probeIntervalMs` for those close to their end, and sends one read over each,
 * one session at a time. The read is a use, and its answer says when the session ends now. Sessions that are disabled,
 * cooling, restricted, dead or in use are left alone, and bots, whose authorization does not end by disuse.
 */
export class ExpiryTouch<Client> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #facts: AccountFacts;
  readonly #connections: ConnectionPool<Client>;
  readonly #timer: WakeTimer;
  /** Sessions that wait for their turn. */
  readonly #waiting = new Set<PooledSession>();
  /** When Telegram last answered a touch, epoch milliseconds: there is at most one a day. */
  readonly #touchedAt = new WeakMap<PooledSession, number>();
  /** Sessions whose answer did not say when they end: they are not asked for that again. */
  readonly #untold = new WeakSet<PooledSession>();
  #queue: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(
    context: PoolContext<Client>,
    registry: SessionRegistry,
    facts: AccountFacts,
    connections: ConnectionPool<Client>,
  ) {
    this.#context = context;
    this.#registry = registry;
    this.#facts = facts;
    this.#connections = connections;
    this.#timer = new WakeTimer(context.clock, () => this.#touchDue());
  }

  /** Starts to look. Has no effect without `probeIntervalMs`. */
  start(): void {
    const { probeIntervalMs } = this.#context.options;
    if (!this.#isEnded && Number.isFinite(probeIntervalMs)) this.#timer.set(probeIntervalMs);
  }

  end(): void {
    this.#isEnded = true;
    this.#timer.cancel();
  }

  #touchDue(): void {
    for (const id of this.#registry.ids()) {
      const known = this.#registry.get(id);
      if (known === undefined || this.#waiting.has(known) || !this.#isDue(known)) continue;
      this.#waiting.add(known);
      this.#queue = this.#queue.then(() => this.#touch(known));
    }
    this.start();
  }

  /** Whether the session may end because it is unused, and can be asked. One that is connected is in use. */
  #isDue(known: PooledSession): boolean {
    if (!known.canEverServe || known.isLeased || known.isForeign || known.connection?.isConnected) return false;
    const { time, options } = this.#context;
    if (known.unavailableUntil > time.now() || known.isBot === true) return false;
    const now = time.wallNow();
    if (now - (this.#touchedAt.get(known) ?? Number.NEGATIVE_INFINITY) < DAY_MS) return false;
    const { expiresAt, authorizationTtlDays: days } = known;
    if (expiresAt !== null) {
      const leadMs = days === null ? EXPIRY_LEAD_MS : Math.min(EXPIRY_LEAD_MS, (days * DAY_MS) / 2);
      return now >= expiresAt - leadMs;
    }
    if (options.client.createRequest === undefined || this.#untold.has(known)) return false;
    return now - Math.max(known.lastUsedAt ?? 0, known.addedAt) >= UNKNOWN_END_MS;
  }

  async #touch(known: PooledSession): Promise<void> {
    this.#waiting.delete(known);
    if (this.#isEnded || this.#registry.get(known.id) !== known || !this.#isDue(known)) return;
    const opening = new Opening(true);
    try {
      const connection = await this.#connections.checkOut(known.id, opening);
      try {
        await this.#ask(known, connection);
      } finally {
        await this.#connections.end(opening, "the session was only kept from ending");
      }
    } catch {
      // The error was applied where it was received; the next look tries again.
    }
  }

  async #ask(known: PooledSession, connection: Connection<Client>): Promise<void> {
    const { fingerprint } = known;
    const life = readAuthorizationLife(await this.#answer(connection));
    if (known.fingerprint !== fingerprint) return;
    const now = this.#context.time.wallNow();
    this.#touchedAt.set(known, now);
    const { authorizationTtlDays: days } = known;
    if (life !== undefined) this.#facts.learn(known, life);
    // An answer without the end was a use all the same.
    else if (days !== null) this.#facts.learn(known, { expiresAt: now + days * DAY_MS });
    else this.#untold.add(known);
  }

  /** What Telegram answers to one read; `undefined` if it refuses the request itself. */
  async #answer(connection: Connection<Client>): Promise<unknown> {
    const { client } = this.#context.options;
    if (client.createRequest === undefined) return connection.handle.probe?.();
    try {
      return await sendOwnRequest(client, connection, METHOD);
    } catch (error) {
      const { kind, code } = classifyTelegramError(error, { method: METHOD });
      if (kind !== "none" || code === "UNKNOWN") throw error;
      return undefined;
    }
  }
}
