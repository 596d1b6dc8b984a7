import { inOwnContext } from "../common/own-context.js";
import { redactError } from "../common/redact-error.js";
import { withTimeout } from "../common/timers.js";
import { ConnectError } from "../errors.js";
import { type ResolvedProfile, secretsOf } from "../options/client-profile.js";
import { isHost, type ProxyProfile } from "../options/proxy.js";
import type { ClaimHandle } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { AccountFacts } from "../state/account-facts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { PeerCacheWriter } from "../storage/peer-cache-writer.js";
import { type OwnUser, readOwnUser } from "../telegram/account-answers.js";
import { isAccountId } from "../telegram/peers.js";
import { parseSession } from "../telegram/session-string.js";
import { affectsSession, classifyTelegramError, type Verdict } from "../telegram/verdicts.js";
import { type ConnectBackoff, isApplicationRefused } from "./connect-backoff.js";
import { Connection, type ConnectionHooks, SessionChangedError } from "./connection.js";
import { sendRaw } from "./own-request.js";
import { isPersistent } from "./persistent-connections.js";
import { type RequestGateParts, SessionRequestGate } from "./request-gate.js";

/** The values a client was created with. Its errors do not apply to the session once the session has another key. */
interface ClientOrigin {
  readonly known: PooledSession;
  readonly fingerprint: string;
  readonly profile: ResolvedProfile;
  /** The proxy of the profile, else that of the client adapter's options. */
  readonly proxy: ProxyProfile | undefined;
}

/** How long the first lease of a session waits at most for the account to be known. */
const IDENTIFY_WITHIN_MS = 3_000;

/** What the connections of a pool are built on. */
export interface ConnectionFactoryParts extends RequestGateParts {
  readonly registry: SessionRegistry;
  readonly facts: AccountFacts;
  readonly peers: PeerCacheWriter;
  readonly backOffs: ConnectBackoff;
}

/** Creates the connections of a pool: each with its client, its request gate and its back-off. */
export class ConnectionFactory<Client> {
  readonly #context: PoolContext<Client>;
  readonly #parts: ConnectionFactoryParts;
  /** Called for a claimed session before its client connects; resolves once its auth key is its own for good. */
  settleKey: (known: PooledSession) => Promise<unknown> = async () => {};

  constructor(context: PoolContext<Client>, parts: ConnectionFactoryParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Creates a connection of the session without connecting it. Throws as a failed connect does. */
  create(id: string): Connection<Client> {
    const known = this.#parts.registry.get(id);
    if (known === undefined) throw new ConnectError(`Session "${id}" is gone.`, { sessionId: id });
    const { profile } = known.credentials;
    const origin: ClientOrigin = {
      known,
      fingerprint: known.fingerprint,
      profile,
      proxy: profile.proxy ?? this.#context.options.client.proxy,
    };
    try {
      return inOwnContext(() => this.#create(origin));
    } catch (error) {
      throw this.#connectFailed(origin, error);
    }
  }

  #create(origin: ClientOrigin): Connection<Client> {
    const { known, profile } = origin;
    const { id } = known;
    const { clock, options } = this.#context;
    const gate = new SessionRequestGate(this.#context, id, this.#parts);
    const handle = options.client.create({
      id,
      session: parseSession(known.credentials.reveal()),
      profile,
      gate,
      clock,
      peers: this.#parts.peers.for(id),
      connectTimeoutMs: options.connectTimeoutMs,
      onDisconnect: (reason) => connection.lost(reason),
      onOwnUser: (user) => this.#learn(origin, user),
    });
    const connection: Connection<Client> = new Connection(
      this.#context,
      id,
      handle,
      // A change of the profile replaces the connection.
      isPersistent(options, known),
      this.#hooksOf(origin, () => connection),
    );
    // The gate and the client know the connection, and the connection knows the client.
    gate.connection = connection;
    known.connection = connection;
    return connection;
  }

  #hooksOf(origin: ClientOrigin, connection: () => Connection<Client>): ConnectionHooks {
    const { known, profile } = origin;
    const { id } = known;
    const { events, log, metrics } = this.#context;
    // Also needed for a client that was never connected, or whose connection was lost earlier under a lease.
    const changed = (): void => queueMicrotask(() => events.emit("changed", id));
    return {
      hasCurrentKey: () => this.#hasItsKey(origin),
      route: throughProxy(origin.proxy),
      refusal: () => this.#refusal(origin),
      claim: () => this.#claim(known),
      closed: () => {
        if (known.connection === connection()) known.connection = undefined;
        void this.#parts.ownership.release(id);
        changed();
      },
      connected: (durationMs) => {
        metrics.recorder?.connect.record(durationMs);
        this.#parts.backOffs.connected(known, profile);
        this.#setConnected(id, true);
        events.emit("connected", id);
        events.publish("connected", { id });
      },
      identify: async (limitMs) => {
        await this.#identify(origin, connection(), limitMs);
        events.emit("identified", id);
      },
      disconnected: (reason) => {
        this.#setConnected(id, false);
        events.publish("disconnected", { id, reason });
        changed();
      },
      connectFailed: (error) => this.#connectFailed(origin, error),
      closeFailed: (error) => {
        const { message } = withoutSecrets(profile, error);
        const text = `The client of session "${id}" could not be closed, and is treated as closed: ${message}.`;
        log.write("warn", text, { event: "closeFailed", sessionId: id, reason: message });
      },
    };
  }

  /** Returns whether the session still has the auth key that the client was created with. */
  #hasItsKey({ known, fingerprint }: ClientOrigin): boolean {
    return known.fingerprint === fingerprint && this.#parts.registry.get(known.id) === known;
  }

  /**
   * Asks Telegram for the account of a session whose account is not known, before the first lease: from then on cooldowns of
   * the account hold for the session. A failure leaves it unknown until the next connect, unless it is a verdict.
   */
  async #identify(origin: ClientOrigin, connection: Connection<Client>, limitMs: number): Promise<void> {
    const { known } = origin;
    const { clock, options } = this.#context;
    // A session that is probed is sent the probe alone.
    if (known.accountId !== null || !known.canEverServe || this.#parts.facts.askedIds.has(known.id)) return;
    if (options.client.ownUserRequest === undefined) return;
    const ask = async (): Promise<void> => {
      const request = options.client.ownUserRequest?.();
      const user = request === undefined ? undefined : readOwnUser(await sendRaw(options.client, connection, request));
      if (user !== undefined) this.#learn(origin, user);
    };
    const late = (): Error => new Error("the account was not identified in time");
    await withTimeout(clock, Math.min(limitMs, IDENTIFY_WITHIN_MS), ask(), late).catch(() => {});
  }

  #learn(origin: ClientOrigin, { accountId, isBot }: Pick<OwnUser, "accountId" | "isBot">): void {
    const { known } = origin;
    if (known.accountId === accountId || !isAccountId(accountId) || !this.#hasItsKey(origin)) return;
    this.#parts.facts.learn(known, { accountId, isBot });
  }

  #setConnected(id: string, isConnected: boolean): void {
    const entry = this.#parts.sessionTable.get(id);
    if (entry !== undefined) this.#parts.sessionTable.setConnected(entry, isConnected, this.#context.time.now());
  }

  /**
   * Returns why the session must not connect now, if so: a cooldown, a back-off, a state set by Telegram or the user, or a
   * changed auth key.
   */
  #refusal(origin: ClientOrigin): Error | undefined {
    const { id } = origin.known;
    if (!this.#hasItsKey(origin)) return new SessionChangedError(`Session "${id}" has another auth key now.`);
    const entry = this.#parts.sessionTable.get(id);
    // Only a caller that reads gets a frozen session.
    const isWanted =
      entry?.canEverServe ||
      entry?.canEverServeReads ||
      (this.#parts.sessionState.isProbed(id) && entry?.disabledReason === null);
    if (entry === undefined || !isWanted)
      return new SessionChangedError(`Session "${id}" is disabled, dead, restricted or removed.`);
    const isCooling = entry.unavailableUntil > this.#context.time.now() || this.#parts.backOffs.isStopped(entry);
    return isCooling ? new SessionChangedError(`Session "${id}" is cooling down.`) : undefined;
  }

  async #claim(known: PooledSession): Promise<ClaimHandle> {
    const { id } = known;
    const claim = await this.#parts.ownership.claim(id);
    if (claim !== undefined) {
      await this.settleKey(known);
      return claim;
    }
    // Without a reason in the session table, the session would be reserved again at once, in an endless loop.
    if ((known.canEverServe || known.canEverServeReads) && !known.isForeign) this.#parts.backOffs.backOff(known);
    throw new SessionChangedError(`Session "${id}" is owned by another process.`);
  }

  /**
   * Applies a verdict of Telegram to the session; any other error starts a back-off. Errors of a former auth key are
   * ignored. Returns the error for the callers.
   */
  #connectFailed(origin: ClientOrigin, error: unknown): Error {
    const { known, profile } = origin;
    const { id } = known;
    const verdict = classifyTelegramError(error);
    const isOfItsKey = this.#hasItsKey(origin);
    this.#parts.sessionState.applyVerdict(id, error, verdict, undefined, isOfItsKey);
    if (!isOfItsKey) return new SessionChangedError(`Session "${id}" has another auth key now.`);
    if (affectsSession(verdict) && error instanceof Error) return error;
    const failure = error instanceof ConnectError ? error : connectError(origin, error, verdict);
    this.#parts.backOffs.failed(known, profile, error, verdict, failure);
    return failure;
  }
}

function connectError({ known: { id }, profile, proxy }: ClientOrigin, error: unknown, verdict: Verdict): ConnectError {
  const cause = withoutSecrets(profile, error);
  const whose = profile.apiId === undefined ? "the client adapter" : "the session's profile";
  const why = isApplicationRefused(verdict)
    ? `Telegram refuses the application (${verdict.code}), so no session can connect with it. Check apiId and apiHash of ${whose}, for instance gramjs({ apiId, apiHash }) or teleproto({ apiId, apiHash }): both are from my.telegram.org, and one that is published in other programs may be blocked.`
    : `${cause.message}.`;
  return new ConnectError(`Session "${id}" could not connect${throughProxy(proxy)}: ${why}`, {
    cause,
    sessionId: id,
  });
}

/** Describes the proxy for error messages, without its user name and password. */
function throughProxy(proxy: ProxyProfile | undefined): string {
  // A user may have put a whole URL there, with a password in it.
  if (proxy === undefined || !isHost(proxy.ip)) return proxy === undefined ? "" : " through its proxy";
  return ` through its proxy ${proxy.ip}:${proxy.port}`;
}

function withoutSecrets(profile: ResolvedProfile, error: unknown): Error {
  return redactError(error, secretsOf(profile));
}
