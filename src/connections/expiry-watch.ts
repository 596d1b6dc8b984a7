import { WakeTimer } from "../common/timers.js";
import type { PoolContext } from "../pool-context.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";

const DAY_MS = 86_400_000;
/** How long before its end a session is reported as expiring. */
export const EXPIRY_LEAD_MS: number = 30 * DAY_MS;

/**
 * Publishes `expiring` 30 days before Telegram terminates a session that stays unused, once until its end has moved away.
 * Nothing is asked for it: it looks at what is known, once a day at least, and not at all while no end is known.
 */
export class ExpiryWatch {
  readonly #context: PoolContext;
  readonly #registry: SessionRegistry;
  /** Sessions that were reported and still are near their end, each with the key that it had. */
  readonly #reported = new WeakMap<PooledSession, string>();
  readonly #timer: WakeTimer;
  #isEnded = false;

  constructor(context: PoolContext, registry: SessionRegistry) {
    this.#context = context;
    this.#registry = registry;
    this.#timer = new WakeTimer(context.clock, () => this.lookAtAll());
    const lookAt = (id: string): void => this.#lookAt(id);
    context.events.on("expiryLearned", lookAt);
    context.events.on("discovered", lookAt);
  }

  lookAtAll(): void {
    for (const id of this.#registry.ids()) this.#lookAt(id);
  }

  end(): void {
    this.#isEnded = true;
    this.#timer.cancel();
  }

  #lookAt(id: string): void {
    const known = this.#registry.get(id);
    if (this.#isEnded || known === undefined) return;
    const { expiresAt } = known;
    const { time, events } = this.#context;
    const now = time.now();
    if (expiresAt === null || known.deadReason !== null || known.isRemoving) {
      this.#reported.delete(known);
      // It may be enabled, or found alive.
      if (expiresAt !== null && !known.isRemoving) this.#timer.setBy(now + DAY_MS, now);
      return;
    }
    const reportAt = time.fromWall(endIfUnused(known, expiresAt, time.wallNow(now)) - EXPIRY_LEAD_MS);
    if (reportAt > now) this.#reported.delete(known);
    // The process that has it connected reports it.
    else if (!known.isForeign && this.#reported.get(known) !== known.fingerprint) {
      this.#reported.set(known, known.fingerprint);
      events.publish("expiring", { id, expiresAt });
    }
    this.#timer.setBy(reportAt > now ? Math.min(reportAt, now + DAY_MS) : now + DAY_MS, now);
  }
}

/** A connected session is in use. */
function endIfUnused(
  { connection, authorizationTtlDays: days }: PooledSession,
  expiresAt: number,
  now: number,
): number {
  return connection?.isConnected === true && days !== null ? Math.max(expiresAt, now + days * DAY_MS) : expiresAt;
}
