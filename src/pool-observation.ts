import type { PoolTime } from "./common/pool-time.js";
import type { BulkRunInfo } from "./jobs/bulk/bulk-run-manager.js";
import type { LeaseInfo } from "./lease/lease.js";
import type { PoolMetrics } from "./observability/pool-metrics.js";
import { type PoolTimeline, Timeline } from "./observability/timeline.js";
import { type ProxyProfile, proxyName } from "./options/proxy.js";
import type { Ownership, SessionHolder } from "./ownership/ownership.js";
import type { PoolStatus, SessionInfo } from "./session-info.js";
import type { PoolParts } from "./shutdown.js";
import type { PooledSession } from "./state/pooled-session.js";
import { isFreeze } from "./telegram/verdicts.js";

/** A cooldown of one method or one peer of a session, and when it ends, epoch milliseconds. */
export type PartialCooldown = readonly [name: string, until: number];

/** A session with everything that an operator may want to know of it. Never holds a secret. */
export interface SessionDetails extends SessionInfo {
  readonly methods: readonly PartialCooldown[];
  readonly peers: readonly PartialCooldown[];
  /** When a restriction is expected to end, epoch milliseconds; `null` if there is none, or it does not end by itself. */
  readonly restrictedUntil: number | null;
  /** Whether Telegram has frozen its account, which then reads and changes nothing; `restrictedUntil` is the end of that. */
  readonly isFrozen: boolean;
  /** The process that has the session connected, or may; `null` if none has. */
  readonly holder: (SessionHolder & { readonly isSelf: boolean }) | null;
  readonly isConnected: boolean;
  /** Kind, host and port of its proxy; `null` without one. */
  readonly proxy: string | null;
}

/** A pool at one moment. */
export interface PoolView {
  /** Epoch milliseconds, by the clock of the pool. */
  readonly readAt: number;
  readonly status: PoolStatus;
  readonly sessions: readonly SessionDetails[];
  readonly rejected: readonly { readonly id: string; readonly reason: string }[];
  readonly leases: readonly LeaseInfo[];
  readonly runs: readonly BulkRunInfo[];
}

/** Observes a pool until it is disposed of. While it is not read it costs nothing but the counts of its timeline. */
export interface PoolObservation extends Disposable {
  /** The pool as it is now. Visits every session. */
  read(): PoolView;
  readonly timeline: PoolTimeline;
  /** Aborts when the pool has been closed. */
  readonly ended: AbortSignal;
}

/** Begins to measure a pool. */
export function measurePool({ context, scheduler, connections }: PoolParts<unknown>): PoolMetrics {
  return context.metrics.start(() => ({
    readAt: context.clock.now(),
    status: scheduler.status(),
    connected: connections.usage(),
  }));
}

/** Begins to observe a pool. */
export function observePool(parts: PoolParts<unknown>): PoolObservation {
  const { context, lifecycle, scheduler } = parts;
  const createTimeline = (): Timeline =>
    new Timeline(
      () => context.clock.now(),
      () => scheduler.waiterCount,
    );
  const { timeline, end } = context.metrics.observe(createTimeline);
  return { read: () => viewOf(parts), timeline, ended: lifecycle.ended, [Symbol.dispose]: end };
}

function viewOf({ context, scheduler, registry, ownership, leases, bulkRuns }: PoolParts<unknown>): PoolView {
  const status = scheduler.status();
  const now = context.time.now();
  const sessions = Array.from(registry.visible(), (known) =>
    detailsOf(known, registry.info(known), ownership, context.time, now),
  );
  return {
    readAt: context.time.toWall(now),
    status,
    sessions,
    rejected: registry.rejected(),
    leases: leases.list(),
    runs: bulkRuns.list(),
  };
}

function detailsOf(
  known: PooledSession,
  info: SessionInfo,
  ownership: Ownership,
  time: PoolTime,
  now: number,
): SessionDetails {
  const { cooldowns, restriction, connection, isUnblocked } = known;
  const { methods, peers } = isUnblocked ? NO_COOLDOWNS : cooldowns.entries(now);
  const toWall = ([name, until]: PartialCooldown): PartialCooldown => [name, time.toWall(until)];
  const isConnected = connection?.isConnected === true;
  const { proxy } = known.credentials.profile;
  const until = restriction?.until ?? null;
  return {
    ...info,
    methods: methods.map(toWall),
    peers: peers.map(toWall),
    restrictedUntil: until === null ? null : time.toWall(until),
    isFrozen: isFreeze(restriction?.reason),
    holder: connection === undefined ? foreignHolder(ownership.holderOf(known.id)) : OWN_PROCESS,
    isConnected,
    proxy: proxy === undefined ? null : nameOf(proxy),
  };
}

const NO_COOLDOWNS: { readonly methods: readonly PartialCooldown[]; readonly peers: readonly PartialCooldown[] } = {
  methods: [],
  peers: [],
};
const OWN_PROCESS: SessionDetails["holder"] = { pid: process.pid, isLocal: true, isSelf: true };

function foreignHolder(holder: SessionHolder | undefined): SessionDetails["holder"] {
  return holder === undefined ? null : { ...holder, isSelf: false };
}

/** Names of proxies, which are computed once: thousands of sessions are read again and again. */
const proxyNames = new WeakMap<ProxyProfile, string>();

function nameOf(proxy: ProxyProfile): string {
  const known = proxyNames.get(proxy) ?? proxyName(proxy);
  proxyNames.set(proxy, known);
  return known;
}
