import { exponentialDelay } from "../common/timers.js";
import { ConnectError } from "../errors.js";
import type { ResolvedProfile } from "../options/client-profile.js";
import type { ProxyProfile } from "../options/proxy.js";
import type { PoolContext } from "../pool-context.js";
import { type PooledSession, recordConnectFailure } from "../state/pooled-session.js";
import { NO_BACK_OFF } from "../state/session-entry.js";
import type { SessionTable } from "../state/session-table.js";
import type { Verdict } from "../telegram/verdicts.js";

/** A route to Telegram on which connects fail. */
interface FailingRoute {
  /** Consecutive failures of all sessions. */
  failures: number;
  /** The instant until which no session connects on it. */
  until: number;
}

/** The back-off of a session after its first failed connect; doubles each time. */
const FIRST_MS = 1_000;
const MAX_MS = 300_000;
/** Consecutive failures through one proxy, of all sessions, after which the proxy is treated as failed. */
const FAILURES_OF_A_PROXY = 3;
/** Maximum random extension of a proxy's back-off, so that many pools do not reconnect at the same instant. */
const JITTER = 0.2;
const DIRECT = "direct";
/** The reason of the back-off when the proxy has failed. */
const PROXY_FAILED = "proxyFailed";
const CONNECT_FAILED = "connect failed";
/**
 * The server does not know the auth key. Four bytes that nothing authenticates: a proxy or another server may have sent
 * them, so they never end a session. The first one is answered by a new connect, as TDLib, mtcute and Pyrogram do; after
 * that the session is held back for hours, ever longer, and tried again.
 * Source: core.telegram.org/mtproto/mtproto-transports#transport-errors.
 */
const UNKNOWN_KEY = "TRANSPORT_404";
const UNKNOWN_KEY_MS = 3_600_000;
const MAX_UNKNOWN_KEY_MS = 86_400_000;

/** Telegram refuses the application, whatever session connects with it. Source: core.telegram.org/api/errors (400). */
const APPLICATION_REFUSED: ReadonlySet<string> = new Set([
  "API_ID_INVALID",
  "API_ID_PUBLISHED_FLOOD",
  "CONNECTION_API_ID_INVALID",
]);
const NOT_REFUSED: Readonly<FailingRoute> = Object.freeze({ failures: 0, until: 0 });

/**
 * Keeps sessions from connecting for a while after a failed connect: each on its own, and all that share a proxy once the
 * proxy has failed. Then one of them tries first, and the others follow when it has connected. Connected sessions stay
 * connected: the route works for them.
 *
 * Telegram's transport error −429 means too many connections from one address: it stops every connect from there at once,
 * also without a proxy. Source: TDLib, ConnectionCreator.cpp; mtcute.
 */
export class ConnectBackoff {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  /** Number of consecutive failed connects. */
  readonly #failures = new WeakMap<PooledSession, number>();
  readonly #unknownKeys = new WeakMap<PooledSession, number>();
  /** The routes that fail. An entry ends with a connect on the route, or with its last session. */
  readonly #routes = new Map<string, FailingRoute>();

  /** The `apiId` of the client adapter. */
  #application = NOT_REFUSED;

  constructor(context: PoolContext, sessionTable: SessionTable<PooledSession>) {
    this.#context = context;
    this.#sessionTable = sessionTable;
  }

  /** Ends the back-offs of the session and of its route after a successful connect. */
  connected(known: PooledSession, profile: ResolvedProfile): void {
    this.#failures.delete(known);
    this.#unknownKeys.delete(known);
    known.connectFailure = undefined;
    if (profile.apiId === undefined) this.#applicationWorks();
    const route = this.#routeOf(profile);
    if (!this.#routes.delete(route)) return;
    const { time, events } = this.#context;
    for (const entry of this.#sessionsVia(route)) {
      if (entry.backOff.reason === PROXY_FAILED) this.#sessionTable.backOff(entry, NO_BACK_OFF, time.now());
    }
    events.emit("available");
  }

  /** Starts the back-off after a failed connect with this profile. `failure` is the error for the callers. */
  failed(known: PooledSession, profile: ResolvedProfile, error: unknown, verdict: Verdict, failure: Error): void {
    recordConnectFailure(known, failure);
    const route = this.#routeOf(profile);
    const isCrowded = verdict.code === "TRANSPORT_429";
    const isRoute = isCrowded || (route !== DIRECT && (verdict.scope === "proxy" || error instanceof ConnectError));
    if (verdict.code === UNKNOWN_KEY) this.#keyUnknown(known);
    else if (isApplicationRefused(verdict) && profile.apiId === undefined) this.#stopApplication(failure, verdict.code);
    else if (isRoute) this.#routeFailed(route, known, isCrowded, failure);
    else this.backOff(known);
    this.#context.events.emit("connectFailed");
  }

  /** Starts or extends the back-off of the session. */
  backOff(known: PooledSession): void {
    const count = this.#failures.get(known) ?? 0;
    this.#failures.set(known, count + 1);
    this.#startBackOff([known], this.#context.time.now() + delayOf(count), CONNECT_FAILED);
  }

  /** Whether no session may connect on its route now; the session then backs off with the others. */
  isStopped(known: PooledSession): boolean {
    const { time, options } = this.#context;
    const { until = 0 } = this.#routes.get(this.#routeOf(known.credentials.profile)) ?? {};
    if (until <= time.now()) return false;
    this.#startBackOff([known], until + options.connectTimeoutMs, PROXY_FAILED);
    return true;
  }

  /** Ends the back-off of a session that has another key or proxy, or was enabled: the cause may be gone. */
  causeEnded(known: PooledSession, former: ResolvedProfile = known.credentials.profile): void {
    const { time, events } = this.#context;
    this.#failures.delete(known);
    this.#unknownKeys.delete(known);
    const failing = this.#routes.get(this.#routeOf(known.credentials.profile));
    if (failing !== undefined) Object.assign(failing, { failures: 0, until: 0 });
    this.left(former);
    this.#sessionTable.backOff(known, NO_BACK_OFF, time.now());
    events.emit("available");
  }

  /** Forgets the route of a profile once no session uses it any more. */
  left(profile: ResolvedProfile): void {
    const route = this.#routeOf(profile);
    if (!this.#routes.has(route)) return;
    for (const _ of this.#sessionsVia(route)) return;
    this.#routes.delete(route);
  }

  #routeFailed(route: string, known: PooledSession, isCrowded: boolean, failure: Error): void {
    const failing = this.#routes.get(route) ?? { failures: 0, until: 0 };
    this.#routes.set(route, failing);
    failing.failures = Math.max(failing.failures + 1, isCrowded ? FAILURES_OF_A_PROXY : 0);
    if (failing.failures >= FAILURES_OF_A_PROXY) this.#backOffRoute(route, failing, known, failure);
    else this.backOff(known);
  }

  #keyUnknown(known: PooledSession): void {
    const count = this.#unknownKeys.get(known) ?? 0;
    this.#unknownKeys.set(known, count + 1);
    const delay = count === 0 ? FIRST_MS : exponentialDelay(count - 1, UNKNOWN_KEY_MS, MAX_UNKNOWN_KEY_MS);
    this.#startBackOff([known], this.#context.time.now() + delay, UNKNOWN_KEY);
  }

  /** Backs off all sessions of a route. The session that failed retries first. */
  #backOffRoute(route: string, failing: FailingRoute, first: PooledSession, failure: Error): void {
    const { time, options, events } = this.#context;
    const count = failing.failures - FAILURES_OF_A_PROXY;
    // Emitted once, until a session has connected on the route.
    if (count === 0) events.publish("disconnected", { id: first.id, reason: PROXY_FAILED });
    failing.until = time.now() + delayOf(count) * (1 + JITTER * Math.random());
    this.#startBackOff([first], failing.until, PROXY_FAILED);
    const sessions = [...this.#sessionsVia(route)];
    // The failures so far were the proxy's: none counts against a session once the proxy works again.
    if (route !== DIRECT) for (const entry of sessions) this.#failures.delete(entry);
    const others = sessions.filter((entry) => entry !== first && entry.connection?.isConnected !== true);
    for (const entry of others) recordConnectFailure(entry, failure);
    this.#startBackOff(others, failing.until + options.connectTimeoutMs, PROXY_FAILED);
  }

  /** Backs off all sessions that use the client adapter's application, which Telegram refuses. */
  #stopApplication(failure: Error, code: string): void {
    const now = this.#context.time.now();
    const { failures, until } = this.#application;
    // Concurrent connects fail together and count as one failure.
    if (now >= until) this.#application = { failures: failures + 1, until: now + delayOf(failures) };
    const others = [...this.#sessionTable.entries()].filter(
      ({ credentials, connection }) => credentials.profile.apiId === undefined && connection?.isConnected !== true,
    );
    for (const entry of others) recordConnectFailure(entry, failure);
    this.#startBackOff(others, this.#application.until, code);
  }

  /** Ends the back-offs caused by a refused application, after a session has connected with it. */
  #applicationWorks(): void {
    if (this.#application === NOT_REFUSED) return;
    this.#application = NOT_REFUSED;
    const { time, events } = this.#context;
    for (const entry of this.#sessionTable.entries()) {
      if (APPLICATION_REFUSED.has(entry.backOff.reason ?? ""))
        this.#sessionTable.backOff(entry, NO_BACK_OFF, time.now());
    }
    events.emit("available");
  }

  /** Starts the back-off of sessions. Events are published in a microtask, not in the stack of the caller. */
  #startBackOff(sessions: readonly PooledSession[], until: number, reason: string): void {
    const { time, events } = this.#context;
    const longer = sessions.filter((known) => known.isEntered && known.backOff.until < until);
    for (const known of longer) this.#sessionTable.backOff(known, { until, reason }, time.now());
    events.emit("availabilityChanged");
    if (longer.length === 0) return;
    queueMicrotask(() => {
      for (const { id } of longer) events.publish("backedOff", { id, until: time.toWall(until), reason });
    });
  }

  /** Identifies the route to Telegram: the session's proxy, else that of the client adapter. */
  #routeOf(profile: ResolvedProfile): string {
    const proxy = profile.proxy ?? this.#context.options.client.proxy;
    return proxy === undefined ? DIRECT : identityOf(proxy);
  }

  *#sessionsVia(route: string): Generator<PooledSession> {
    for (const entry of this.#sessionTable.entries())
      if (this.#routeOf(entry.credentials.profile) === route) yield entry;
  }
}

/** Whether Telegram has refused `apiId` and `apiHash`, not the session. */
export function isApplicationRefused({ code }: Verdict): boolean {
  return APPLICATION_REFUSED.has(code);
}

/** A proxy may give each user name its own address. */
function identityOf({ ip, port, socksType, protocol, username, password, secret }: ProxyProfile): string {
  return JSON.stringify([ip, port, socksType, protocol, username, password, secret]);
}

function delayOf(count: number): number {
  return exponentialDelay(count, FIRST_MS, MAX_MS);
}
