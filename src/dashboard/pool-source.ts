import type { Incident, TimelineBucket } from "../observability/timeline.js";
import type { PoolObservation, PoolView, SessionDetails } from "../pool-observation.js";
import type { BucketRow, IncidentRow, LeaseRow, NamedCooldown, RunRow, SessionRow, StatusRow } from "./frames.js";
import type { Management, Reading, Source } from "./source.js";
import { wireId, wireText, wireTextOrNull } from "./wire-text.js";

/** The part of a pool that the dashboard uses: a `SessionPool`. */
export interface ObservedPool extends Management {
  observe(): PoolObservation;
}

/** Leases that are sent, the longest held first. */
const MAX_LEASES = 100;
const MAX_STACK_LENGTH = 2_000;
const MAX_TAGS = 20;
/** Cooldowns of methods, and of peers, that are sent for one session. */
const MAX_COOLDOWNS = 50;

/** A pool of this process. */
export class PoolSource implements Source {
  readonly name: string;
  readonly management: Management;
  readonly #observation: PoolObservation;

  constructor(name: string, pool: ObservedPool) {
    this.name = name;
    this.management = pool;
    this.#observation = pool.observe();
  }

  get ended(): AbortSignal {
    return this.#observation.ended;
  }

  read(): Reading {
    const view = this.#observation.read();
    return {
      at: view.readAt,
      status: toStatusRow(view),
      sessions: view.sessions.map(toSessionRow),
      leases: toLeaseRows(view),
      runs: toRunRows(view),
      rejected: view.rejected.map(({ id, reason }) => ({ id: wireId(id), reason: wireText(reason) })),
    };
  }

  buckets(since: number): readonly BucketRow[] {
    return this.#observation.timeline.buckets(since) satisfies readonly TimelineBucket[];
  }

  incidents(after: number): readonly IncidentRow[] {
    return this.#observation.timeline.incidents(after).map(toIncidentRow);
  }

  close(): void {
    this.#observation[Symbol.dispose]();
  }
}

function toStatusRow({ status, leases }: PoolView): StatusRow {
  const { total, free, leased, cooling, restricted, dead, disabled, foreign, waiters, nextAvailableAt } = status;
  return {
    total,
    free,
    leased,
    cooling,
    restricted,
    dead,
    disabled,
    foreign,
    waiters,
    nextAvailableAt: free > 0 ? null : toSecond(nextAvailableAt),
    leases: leases.length,
  };
}

/** A session as it is sent. */
export function toSessionRow(session: SessionDetails): SessionRow {
  const { id, state, tags, availableAt, reason, addedAt, lastUsedAt, restrictedUntil } = session;
  const { isFrozen, accountId, expiresAt, holder, isConnected, proxy, methods, peers } = session;
  return {
    id: wireId(id),
    state,
    tags: toTagTexts(tags),
    availableAt: toSecond(availableAt),
    reason: wireTextOrNull(reason),
    addedAt,
    lastUsedAt: toSecond(lastUsedAt),
    restrictedUntil: toSecond(restrictedUntil),
    isFrozen,
    accountId,
    expiresAt: toSecond(expiresAt),
    methods: toNamedCooldowns(methods),
    peers: toNamedCooldowns(peers),
    holder,
    isConnected,
    proxy,
  };
}

/**
 * An instant as it is sent, to the second. The wall clock drifts from the time line of the pool: in milliseconds the rows of
 * all cooling sessions would change with each reading.
 */
export function toSecond(instant: number | null): number | null {
  return instant === null ? null : Math.ceil(instant / 1_000) * 1_000;
}

/** Tags as they are sent. */
function toTagTexts(tags: readonly string[]): readonly string[] {
  return tags.length === 0 ? tags : tags.slice(0, MAX_TAGS).map(wireText);
}

/** The cooldowns that end first, in this order. */
function toNamedCooldowns(cooldowns: readonly NamedCooldown[]): readonly NamedCooldown[] {
  if (cooldowns.length === 0) return cooldowns;
  const sorted = cooldowns.toSorted(([, one], [, other]) => one - other);
  return sorted.slice(0, MAX_COOLDOWNS).map(([name, until]) => [wireText(name), toSecond(until) ?? until]);
}

function toLeaseRows({ leases }: PoolView): readonly LeaseRow[] {
  const counts = new Map<string, number>();
  return leases.slice(0, MAX_LEASES).map(({ id, leasedAt, stack }) => {
    const since = toSecond(leasedAt) ?? leasedAt;
    const name = `${since} ${wireId(id)}`;
    const count = counts.get(name) ?? 0;
    counts.set(name, count + 1);
    return {
      key: `${name} ${count}`,
      id: wireId(id),
      leasedAt: since,
      stack: stack === undefined ? null : framesOf(stack),
    };
  });
}

/** The frames of a stack, without its message. */
function framesOf(stack: string): string {
  const frames = stack.split("\n").filter((line) => /^\s*at /.test(line));
  return wireId(frames.join("\n").slice(0, MAX_STACK_LENGTH));
}

function toRunRows({ runs }: PoolView): readonly RunRow[] {
  return runs.map(({ number, name, startedAt, progress, uncertain, uncertainItems, hasEnded }) => ({
    key: `${number}`,
    name: wireTextOrNull(name),
    startedAt,
    done: progress.done,
    total: progress.total ?? null,
    failed: progress.failed,
    skipped: progress.skipped,
    perSecond: Math.round(progress.perSecond * 100) / 100,
    etaAt: hasEnded ? null : progress.etaAt,
    waitingUntil: hasEnded ? null : progress.waitingUntil,
    uncertain,
    uncertainItems: uncertainItems.map(wireText),
    hasKeys: name !== null,
    hasEnded,
  }));
}

function toIncidentRow({ number, at, kind, sessionId, reason, until }: Incident): IncidentRow {
  const id = sessionId === null ? null : wireId(sessionId);
  return { number, at, kind, sessionId: id, reason: wireTextOrNull(reason), until };
}
