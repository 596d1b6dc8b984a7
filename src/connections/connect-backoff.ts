import { ConnectError } from "../errors.js";
import type { ClientProfile, ProxyProfile } from "../options/client-profile.js";
import type { PoolContext } from "../pool-context.js";
import { type PooledSession, recordConnectFailure } from "../state/pooled-session.js";
import { NO_BACK_OFF } from "../state/session-entry.js";
import type { SessionTable } from "../state/session-table.js";
import type { Verdict } from "../telegram/verdicts.js";

/** A way to Telegram by which connecting fails. */
interface FailingRoute {
  /** In a row, by whatever session. */
  failures: number;
  /** Until when nobody connects by it. */
  until: number;
}

/** A session that failed to connect rests, twice as long each time. */
const FIRST_MS = 1_000;
const LONGEST_MS = 300_000;
/** So often in a row connecting through one proxy fails, by whatever session, until the proxy is what failed. */
const FAILURES_OF_A_PROXY = 3;
/** The rest of a proxy is longer by up to so much, so that many pools do not come back in one instant. */
const JITTER = 0.2;
const DIRECT = "direct";
/** Why sessions rest whose proxy failed. */
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
const LONGEST_UNKNOWN_KEY_MS = 86_400_000;

/** Telegram refuses the application, whatever session connects with it. Source: core.telegram.org/api/errors (400). */
const APPLICATION_REFUSED: ReadonlySet<string> = new Set([
  "API_ID_INVALID",
  "API_ID_PUBLISHED_FLOOD",
  "CONNECTION_API_ID_INVALID",
]);
const NOT_REFUSED: Readonly<FailingRoute> = Object.freeze({ failures: 0, until: 0 });

/**
 * Keeps sessions from connecting for a while after they could not: each by itself, and all that share a proxy together
 * once that is what fails. Then one of them tries first; the others follow when it has connected. What is connected
 * already goes on: it is proof that the route works for it.
 *
 * Telegram's transport error −429 tells of too many connections from one address: it stops every connect from there at
 * once, also without a proxy. Source: TDLib, ConnectionCreator.cpp; mtcute.
 */
export class ConnectBackoff {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  /** Failed connects in a row; both live as long as the session. */
  readonly #failures = new WeakMap<PooledSession, number>();
  readonly #unknownKeys = new WeakMap<PooledSession, number>();
  /** One for each route that fails and that a session has; a connect by it, or its last session's leaving, ends it. */
  readonly #routes = new Map<string, FailingRoute>();

  /** The `apiId` of the client adapter. */
  #application = NOT_REFUSED;

  constructor(context: PoolContext, sessionTable: SessionTable<PooledSession>) {
    this.#context = context;
    this.#sessionTable = sessionTable;
  }

  /** It has connected, and with it its proxy. */
  connected(known: PooledSession, profile: ClientProfile): void {
    this.#failures.delete(known);
    this.#unknownKeys.delete(known);
    known.connectFailure = undefined;
    if (profile.apiId === undefined) this.#applicationWorks();
    const route = routeOf(profile);
    if (!this.#routes.delete(route)) return;
    const { time, events } = this.#context;
    for (const entry of this.#sessionsVia(route)) {
      if (entry.backOff.reason === PROXY_FAILED) this.#sessionTable.backOff(entry, NO_BACK_OFF, time.now());
    }
    events.emit("available");
  }

  /** It could not connect with this profile; `told` is what its callers get. */
  failed(known: PooledSession, profile: ClientProfile, error: unknown, verdict: Verdict, told: Error): void {
    recordConnectFailure(known, told);
    const route = routeOf(profile);
    const isCrowded = verdict.code === "TRANSPORT_429";
    const isRoute = isCrowded || (route !== DIRECT && (verdict.scope === "proxy" || error instanceof ConnectError));
    if (verdict.code === UNKNOWN_KEY) this.#keyUnknown(known);
    else if (isApplicationRefused(verdict) && profile.apiId === undefined) this.#stopApplication(told, verdict.code);
    else if (isRoute) this.#routeFailed(route, known, isCrowded, told);
    else this.backOff(known);
    this.#context.events.emit("connectFailed");
  }

  /** The session alone rests. */
  backOff(known: PooledSession): void {
    const count = this.#failures.get(known) ?? 0;
    this.#failures.set(known, count + 1);
    this.#rest([known], this.#context.time.now() + delayOf(count), CONNECT_FAILED);
  }

  /** Whether nobody connects by its route just now; the session rests with the others then. */
  isStopped(known: PooledSession): boolean {
    const { time, options } = this.#context;
    const { until = 0 } = this.#routes.get(routeOf(known.credentials.profile)) ?? {};
    if (until <= time.now()) return false;
    this.#rest([known], until + options.connectTimeoutMs, PROXY_FAILED);
    return true;
  }

  /** What it failed for may be over: it has another key or proxy, or a person enables it. It may connect at once. */
  causeEnded(known: PooledSession, former: ClientProfile = known.credentials.profile): void {
    const { time, events } = this.#context;
    this.#failures.delete(known);
    this.#unknownKeys.delete(known);
    const failing = this.#routes.get(routeOf(known.credentials.profile));
    if (failing !== undefined) Object.assign(failing, { failures: 0, until: 0 });
    this.left(former);
    this.#sessionTable.backOff(known, NO_BACK_OFF, time.now());
    events.emit("available");
  }

  /** A session that had this profile has gone, or has another one. */
  left(profile: ClientProfile): void {
    const route = routeOf(profile);
    if (!this.#routes.has(route)) return;
    for (const _ of this.#sessionsVia(route)) return;
    this.#routes.delete(route);
  }

  #routeFailed(route: string, known: PooledSession, isCrowded: boolean, told: Error): void {
    const failing = this.#routes.get(route) ?? { failures: 0, until: 0 };
    this.#routes.set(route, failing);
    failing.failures = Math.max(failing.failures + 1, isCrowded ? FAILURES_OF_A_PROXY : 0);
    if (failing.failures >= FAILURES_OF_A_PROXY) this.#backOffRoute(route, failing, known, told);
    else this.backOff(known);
  }

  #keyUnknown(known: PooledSession): void {
    const count = this.#unknownKeys.get(known) ?? 0;
    this.#unknownKeys.set(known, count + 1);
    const delay = count === 0 ? FIRST_MS : Math.min(UNKNOWN_KEY_MS * 2 ** (count - 1), LONGEST_UNKNOWN_KEY_MS);
    this.#rest([known], this.#context.time.now() + delay, UNKNOWN_KEY);
  }

  /** Nobody connects by this route for a while; the one that failed tries again first. */
  #backOffRoute(route: string, failing: FailingRoute, first: PooledSession, told: Error): void {
    const { time, options, events } = this.#context;
    const count = failing.failures - FAILURES_OF_A_PROXY;
    // Once, until one of them has connected: it is no news that it still fails.
    if (count === 0) events.publish("disconnected", { id: first.id, reason: PROXY_FAILED });
    failing.until = time.now() + delayOf(count) * (1 + JITTER * Math.random());
    this.#rest([first], failing.until, PROXY_FAILED);
    const others = [...this.#sessionsVia(route)].filter(
      (entry) => entry !== first && entry.connection?.isConnected !== true,
    );
    for (const entry of others) recordConnectFailure(entry, told);
    this.#rest(others, failing.until + options.connectTimeoutMs, PROXY_FAILED);
  }

  /** No session can connect that uses the application of the client adapter: none is tried for a while. */
  #stopApplication(told: Error, code: string): void {
    const now = this.#context.time.now();
    const { failures, until } = this.#application;
    // Connects that were under way together fail together: that is one failure.
    if (now >= until) this.#application = { failures: failures + 1, until: now + delayOf(failures) };
    const others = [...this.#sessionTable.entries()].filter(
      ({ credentials, connection }) => credentials.profile.apiId === undefined && connection?.isConnected !== true,
    );
    for (const entry of others) recordConnectFailure(entry, told);
    this.#rest(others, this.#application.until, code);
  }

  /** A session has connected with it: it is not refused any more. */
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

  /** Listeners hear of it in no caller's stack. */
  #rest(sessions: readonly PooledSession[], until: number, reason: string): void {
    const { time, events } = this.#context;
    const longer = sessions.filter((known) => known.isEntered && known.backOff.until < until);
    for (const known of longer) this.#sessionTable.backOff(known, { until, reason }, time.now());
    events.emit("unavailable");
    if (longer.length === 0) return;
    queueMicrotask(() => {
      for (const { id } of longer) events.publish("backedOff", { id, until: time.toWall(until), reason });
    });
  }

  *#sessionsVia(route: string): Generator<PooledSession> {
    for (const entry of this.#sessionTable.entries()) if (routeOf(entry.credentials.profile) === route) yield entry;
  }
}

/** Whether Telegram has refused `apiId` and `apiHash`, not the session. */
export function isApplicationRefused({ code }: Verdict): boolean {
  return APPLICATION_REFUSED.has(code);
}

/** All that tells one way to Telegram from another: one gateway may give each user name an address of its own. */
function routeOf({ proxy }: ClientProfile): string {
  return proxy === undefined ? DIRECT : identityOf(proxy);
}

function identityOf({ ip, port, socksType, username, password, secret }: ProxyProfile): string {
  return JSON.stringify([ip, port, socksType, username, password, secret]);
}

function delayOf(count: number): number {
  return Math.min(FIRST_MS * 2 ** count, LONGEST_MS);
}
