import { WakeTimer } from "../common/timers.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";
import type { ExpiryReader } from "./expiry-reader.js";
import { EXPIRY_LEAD_MS } from "./expiry-watch.js";

const DAY_MS = 86_400_000;
/** Time without use after which a session is asked whose end is not known: the shortest that Telegram offers. */
const UNKNOWN_END_MS = 7 * DAY_MS;

/**
 * Keeps unused sessions from ending: looks every `probeIntervalMs` for those close to their end, and sends one read over each,
 * one session at a time. The read is a use, and its answer says when the session ends now. Sessions that are disabled,
 * cooling, restricted, dead or in use are left alone, and bots, whose authorization does not end by disuse.
 */
export class ExpiryTouch<Client> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #connections: ConnectionPool<Client>;
  readonly #reader: ExpiryReader<Client>;
  readonly #timer: WakeTimer;
  /** Sessions that wait for their turn. */
  readonly #waiting = new Set<PooledSession>();
  /** When Telegram last answered a touch, epoch milliseconds: there is at most one a day. */
  readonly #touchedAt = new WeakMap<PooledSession, number>();
  #queue: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(
    context: PoolContext<Client>,
    registry: SessionRegistry,
    connections: ConnectionPool<Client>,
    reader: ExpiryReader<Client>,
  ) {
    this.#context = context;
    this.#registry = registry;
    this.#connections = connections;
    this.#reader = reader;
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
    const { time } = this.#context;
    if (known.unavailableUntil > time.now() || known.isBot === true) return false;
    const now = time.wallNow();
    if (now - (this.#touchedAt.get(known) ?? Number.NEGATIVE_INFINITY) < DAY_MS) return false;
    const { expiresAt, authorizationTtlDays: days } = known;
    if (expiresAt !== null) {
      const leadMs = days === null ? EXPIRY_LEAD_MS : Math.min(EXPIRY_LEAD_MS, (days * DAY_MS) / 2);
      return now >= expiresAt - leadMs;
    }
    if (!this.#reader.mayLearn(known)) return false;
    return now - Math.max(known.lastUsedAt ?? 0, known.addedAt) >= UNKNOWN_END_MS;
  }

  async #touch(known: PooledSession): Promise<void> {
    this.#waiting.delete(known);
    if (this.#isEnded || this.#registry.get(known.id) !== known || !this.#isDue(known)) return;
    const opening = new Opening(true);
    const { fingerprint, expiresAt } = known;
    try {
      const connection = await this.#connections.checkOut(known.id, opening);
      try {
        // An end that was not known may have been learned when the session connected.
        if (known.expiresAt === expiresAt) await this.#reader.read(known, connection);
        if (known.fingerprint === fingerprint) this.#touchedAt.set(known, this.#context.time.wallNow());
      } finally {
        await this.#connections.end(opening, "the session was only kept from ending");
      }
    } catch {
      // The error was applied where it was received; the next look tries again.
    }
  }
}
