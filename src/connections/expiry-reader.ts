import { WakeTimer } from "../common/timers.js";
import type { PoolContext } from "../pool-context.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { readAuthorizationLife } from "../telegram/account-answers.js";
import type { Connection } from "./connection.js";
import { sendOwnRequest } from "./own-request.js";

/** How long a session has to be connected before it is asked: programs that end sooner cost Telegram nothing. */
const DELAY_MS = 30_000;

/**
 * Learns of sessions that stay connected when Telegram terminates them if they stay unused: one `account.getAuthorizations`
 * beside the requests of callers, one session at a time. Once for each auth key, since the record keeps the answer.
 */
export class ExpiryReader<Client> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #facts: AccountFacts;
  readonly #timer: WakeTimer;
  /** Ids of connected sessions, the first connected first, with the instant from which they are asked. */
  readonly #due = new Map<string, number>();
  /** Sessions whose answer did not say when they end, each with its auth key. */
  readonly #untold = new WeakMap<PooledSession, string>();
  #isEnded = false;

  constructor(context: PoolContext<Client>, registry: SessionRegistry, facts: AccountFacts) {
    this.#context = context;
    this.#registry = registry;
    this.#facts = facts;
    this.#timer = new WakeTimer(context.clock, () => void this.#askDue());
    if (context.options.client.createRequest !== undefined)
      context.events.on("connected", (id) => this.#onConnected(id));
  }

  end(): void {
    this.#isEnded = true;
    this.#timer.cancel();
    this.#due.clear();
  }

  #onConnected(id: string): void {
    const known = this.#registry.get(id);
    if (this.#isEnded || known === undefined || !this.#isUnknown(known)) return;
    const now = this.#context.time.now();
    this.#due.delete(id);
    this.#due.set(id, now + DELAY_MS);
    this.#timer.setBy(now + DELAY_MS, now);
  }

  #isUnknown(known: PooledSession): boolean {
    return known.expiresAt === null && known.isBot !== true && this.#untold.get(known) !== known.fingerprint;
  }

  async #askDue(): Promise<void> {
    const { time } = this.#context;
    for (const [id, at] of this.#due) {
      if (at > time.now()) break;
      this.#due.delete(id);
      const known = this.#registry.get(id);
      const connection = known?.connection;
      if (known !== undefined && connection?.isConnected === true && this.#isUnknown(known)) {
        // All connections of sessions are clients of this pool's adapter.
        await this.#ask(known, connection as Connection<Client>);
      }
    }
    const [next] = this.#due.values();
    if (next !== undefined && !this.#isEnded) this.#timer.setBy(next, time.now());
  }

  async #ask(known: PooledSession, connection: Connection<Client>): Promise<void> {
    const { fingerprint } = known;
    try {
      const answer = await sendOwnRequest(this.#context.options.client, connection, "account.GetAuthorizations");
      const life = readAuthorizationLife(answer);
      if (life === undefined) this.#untold.set(known, fingerprint);
      else if (known.fingerprint === fingerprint) this.#facts.learn(known, life);
    } catch {
      // Unknown, as before: the next connection is asked. An error that concerns the session was applied where it came.
    }
  }
}
