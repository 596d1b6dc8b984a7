import type { Connections } from "../connections/connections.js";
import { ConnectError } from "../errors.js";
import { NO_BACK_OFF } from "../roster/hindrances.js";
import type { Roster } from "../roster/roster.js";
import type { Verdict } from "../telegram/verdicts.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KnownSession } from "./sessions/known-session.js";
import type { TimeLine } from "./time-line.js";

/** What backing off needs. */
export interface BackOffsParts {
  readonly roster: Roster<KnownSession>;
  readonly time: TimeLine;
  readonly dispatcher: Dispatcher;
  readonly connectTimeoutMs: number;
  readonly connections: () => Connections<unknown>;
  /** From 0 to 1. */
  random(): number;
  /** The proxy of a session that could not connect has failed. */
  proxyFailed(id: string, reason: string): void;
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

/**
 * Keeps sessions from connecting for a while after they could not: each by itself, and all that share a proxy together
 * once that is what fails. Then one of them tries first; the others follow when it has connected.
 *
 * Telegram's transport error −429 tells of too many connections from one address: it stops every connect from there at
 * once, also without a proxy. Source: TDLib, ConnectionCreator.cpp; mtcute.
 */
export class BackOffs {
  readonly #parts: BackOffsParts;
  readonly #failures = new Map<string, number>();
  /** By proxy, in a row. */
  readonly #proxyFailures = new Map<string, number>();

  constructor(parts: BackOffsParts) {
    this.#parts = parts;
  }

  /** It has connected, and with it its proxy. */
  connected(known: KnownSession | undefined): void {
    if (known === undefined) return;
    this.#failures.delete(known.id);
    const route = routeOf(known);
    if (!this.#proxyFailures.delete(route)) return;
    const { roster, time, dispatcher } = this.#parts;
    for (const entry of this.#behind(route)) {
      if (entry.backOffReason === PROXY_FAILED) roster.backOff(entry, NO_BACK_OFF, time.now());
    }
    dispatcher.changed();
  }

  /** It could not connect. */
  failed(known: KnownSession | undefined, error: unknown, verdict: Verdict): void {
    if (known === undefined) return;
    const route = routeOf(known);
    const isCrowded = verdict.code === "TRANSPORT_429";
    const isRoute = isCrowded || (route !== DIRECT && (verdict.scope === "proxy" || error instanceof ConnectError));
    const failures = isRoute ? (this.#proxyFailures.get(route) ?? 0) + 1 : 0;
    if (isRoute) this.#proxyFailures.set(route, Math.max(failures, isCrowded ? FAILURES_OF_A_PROXY : 0));
    if (isCrowded || failures >= FAILURES_OF_A_PROXY) this.#stop(route, known, isCrowded);
    else this.backOff(known);
  }

  /** The session alone rests. */
  backOff(known: KnownSession | undefined): void {
    if (known === undefined) return;
    const { roster, time, dispatcher } = this.#parts;
    const count = this.#failures.get(known.id) ?? 0;
    this.#failures.set(known.id, count + 1);
    roster.backOff(known, { until: time.now() + delayOf(count), reason: "connect failed" }, time.now());
    dispatcher.worsened();
  }

  /** Nobody connects by this route for a while; the one that failed tries again first. */
  #stop(route: string, first: KnownSession, isCrowded: boolean): void {
    const { roster, time, dispatcher, connectTimeoutMs, connections, random, proxyFailed } = this.#parts;
    const count = (this.#proxyFailures.get(route) ?? FAILURES_OF_A_PROXY) - FAILURES_OF_A_PROXY;
    // Once, until one of them has connected: it is no news that it still fails.
    if (count === 0) proxyFailed(first.id, PROXY_FAILED);
    const now = time.now();
    const until = now + delayOf(count) * (1 + JITTER * random());
    for (const entry of this.#behind(route)) {
      const delay = entry === first ? 0 : connectTimeoutMs;
      roster.backOff(entry, { until: until + delay, reason: PROXY_FAILED }, now);
      // What is idle behind a proxy that is dead is dead, too; behind a crowded address it is one connection less to make.
      if (!isCrowded && !entry.isLeased) void connections().close(entry.id, PROXY_FAILED);
    }
    dispatcher.worsened();
  }

  *#behind(route: string): Generator<KnownSession> {
    for (const entry of this.#parts.roster.entries()) if (routeOf(entry) === route) yield entry;
  }
}

function routeOf({ credentials }: KnownSession): string {
  const { proxy } = credentials.profile;
  return proxy === undefined ? DIRECT : `${proxy.ip}:${proxy.port}`;
}

function delayOf(count: number): number {
  return Math.min(FIRST_MS * 2 ** count, LONGEST_MS);
}
