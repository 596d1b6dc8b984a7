import type { PoolContext } from "../pool-context.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { readAuthorizationLife } from "../telegram/account-answers.js";
import { classifyTelegramError } from "../telegram/verdicts.js";
import type { Connection } from "./connection.js";
import { sendOwnRequest } from "./own-request.js";

const DAY_MS = 86_400_000;
/** Time without such a request beside callers after it was refused with a wait, which the callers of the session wait out. */
const PAUSE_AFTER_FLOOD_MS = DAY_MS;
const METHOD = "account.GetAuthorizations";

/**
 * Learns when Telegram terminates a session if it stays unused, by `account.getAuthorizations`: beside the requests of
 * callers as soon as the session has connected and its account is known, which no caller waits for. Once for each auth
 * key, since the record keeps the answer. Bots are not asked: their authorization does not end by disuse.
 */
export class ExpiryReader<Client> {
  readonly #context: PoolContext<Client>;
  readonly #registry: SessionRegistry;
  readonly #facts: AccountFacts;
  /** Requests under way: a second one joins them. */
  readonly #reading = new WeakMap<Connection<Client>, Promise<void>>();
  /** Sessions whose answer did not say when they end, each with its auth key: they are not asked for that again. */
  readonly #untold = new WeakMap<PooledSession, string>();
  /** When Telegram last refused it with a wait, on the pool's time line. */
  readonly #floodedAt = new WeakMap<PooledSession, number>();
  #isEnded = false;

  constructor(context: PoolContext<Client>, registry: SessionRegistry, facts: AccountFacts) {
    this.#context = context;
    this.#registry = registry;
    this.#facts = facts;
    if (context.options.client.createRequest !== undefined)
      context.events.on("identified", (id) => this.#onIdentified(id));
  }

  end(): void {
    this.#isEnded = true;
  }

  /** Whether it is not known when the session ends, and asking may tell. */
  mayLearn(known: PooledSession): boolean {
    if (this.#context.options.client.createRequest === undefined) return false;
    return known.expiresAt === null && known.isBot !== true && this.#untold.get(known) !== known.fingerprint;
  }

  /**
   * Sends one read, which is a use of the session, and applies what its answer says. Resolves once Telegram has answered,
   * also by refusing the request; rejects if the session may not have been used.
   */
  read(known: PooledSession, connection: Connection<Client>): Promise<void> {
    let reading = this.#reading.get(connection);
    if (reading === undefined) {
      reading = this.#read(known, connection).finally(() => this.#reading.delete(connection));
      this.#reading.set(connection, reading);
    }
    return reading;
  }

  #onIdentified(id: string): void {
    const known = this.#registry.get(id);
    const connection = known?.connection;
    if (this.#isEnded || known === undefined || connection?.isConnected !== true) return;
    // A session that is probed is sent the probe alone, and one that is checked is about to be asked.
    if (!known.canEverServe || this.#facts.askedIds.has(id) || !this.mayLearn(known)) return;
    const { time } = this.#context;
    if (time.now() - (this.#floodedAt.get(known) ?? Number.NEGATIVE_INFINITY) < PAUSE_AFTER_FLOOD_MS) return;
    // All connections of sessions are clients of this pool's adapter. What fails is applied where it was received.
    void this.read(known, connection as Connection<Client>).catch((error: unknown) => {
      if (classifyTelegramError(error, { method: METHOD }).kind === "cooldown") this.#floodedAt.set(known, time.now());
    });
  }

  async #read(known: PooledSession, connection: Connection<Client>): Promise<void> {
    const { fingerprint } = known;
    const life = readAuthorizationLife(await this.#answer(connection));
    if (known.fingerprint !== fingerprint) return;
    if (life !== undefined) {
      this.#facts.learn(known, life);
      return;
    }
    this.#untold.set(known, fingerprint);
    const { authorizationTtlDays: days } = known;
    // An answer without the end was a use all the same.
    if (days !== null) this.#facts.learn(known, { expiresAt: this.#context.time.wallNow() + days * DAY_MS });
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
