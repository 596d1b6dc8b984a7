import type { Timer } from "../common/clock.js";
import { LinkedList, type ListNode } from "../common/linked-list.js";
import type { ProcessRef } from "../common/process-ref.js";
import type { AttemptTracker } from "../connections/attempt.js";
import type { Connection } from "../connections/connection.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { LeaseScope } from "../connections/lease-scope.js";
import { unknownSessionError } from "../error-factories.js";
import { LeaseReleasedError, OptionsError, PoolClosedError } from "../errors.js";
import { checkCoolDown, checkReason } from "../options/validate.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionInfo } from "../session-info.js";
import type { CooldownScope } from "../state/cooldowns.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { SessionTable } from "../state/session-table.js";
import { canonicalMethod } from "../telegram/requests.js";
import { MAX_COOLDOWN_SECONDS } from "../telegram/verdicts.js";
import { type CooldownTarget, createLeaseSignal, type Lease, type LeaseInfo } from "./lease.js";

/** Shortest cooldown that a caller can start, in seconds. */
const MIN_COOLDOWN_SECONDS = 1;

/** Why a lease ends other than by `release()`. */
export interface Revocation {
  /** Reason of the lease's signal, and rejection of the work that runs under the lease. */
  readonly cause: Error;
  /** Reason in the event `disconnected`, if the client is closed. */
  readonly reason: string;
  /** Whether the client is replaced even if none of the lease's requests is unanswered. */
  readonly discardsClient: boolean;
}

/** Values that a lease takes from the request that it was granted for. */
export interface LeaseRequest {
  readonly tracker: AttemptTracker;
  /** When the lease was asked for, on the pool's time line. */
  readonly requestedAt: number;
  /** Stack of the caller, with `traceLeases`. */
  readonly stack: string | undefined;
  /** Whether only known reads are sent under the lease. */
  readonly isReadOnly: boolean;
}

/** One lease as the pool sees it: the scope of its requests, its session and its connection. */
export class ActiveLease<Client> extends LeaseScope implements ListNode<ActiveLease<Client>> {
  isLinked = false;
  previous: ActiveLease<Client> | null = null;
  next: ActiveLease<Client> | null = null;
  readonly entry: PooledSession;
  readonly connection: Connection<Client>;
  /** Start of the lease on the pool's time line. */
  readonly since: number;
  /** Stack of the caller, with `traceLeases`. */
  readonly stack: string | undefined;
  /** The lease for the caller. */
  readonly lease: Lease<Client>;
  /** Ends the lease after `maxLeaseMs`. */
  timer: Timer | undefined = undefined;

  constructor(
    leases: LeaseManager<Client>,
    entry: PooledSession,
    connection: Connection<Client>,
    tracker: AttemptTracker,
    since: number,
    stack: string | undefined,
  ) {
    super(entry.id, tracker);
    this.entry = entry;
    this.connection = connection;
    this.since = since;
    this.stack = stack;
    this.lease = new LeaseHandle(this, leases);
  }
}

/** One lease as its caller sees it. Holds nothing in plain sight: callers log it. */
class LeaseHandle<Client> implements Lease<Client> {
  readonly id: string;
  readonly #active: ActiveLease<Client>;
  readonly #leases: LeaseManager<Client>;
  #client: Client | undefined;
  #signal: AbortSignal | undefined;

  constructor(active: ActiveLease<Client>, leases: LeaseManager<Client>) {
    this.id = active.sessionId;
    this.#active = active;
    this.#leases = leases;
  }

  get client(): Client {
    // Created on first use: leases are also taken for the session alone.
    this.#client ??= this.#active.connection.handle.guard(this.#active);
    return this.#client;
  }

  get session(): SessionInfo {
    return this.#leases.info(this.id);
  }

  get signal(): AbortSignal {
    this.#signal ??= createLeaseSignal(this.#active);
    return this.#signal;
  }

  coolDown(seconds: number, scope: CooldownTarget = {}): void {
    this.#leases.coolDown(this.#active, seconds, scope);
  }

  retire(reason: string): void {
    this.#leases.retire(this.#active, reason);
  }

  release(): void {
    this.#leases.end(this.#active);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}

/** What the leases of a pool are built on. */
export interface LeaseManagerParts<Client> {
  readonly sessionTable: SessionTable<PooledSession>;
  readonly registry: SessionRegistry;
  readonly sessionState: SessionStateManager;
  readonly connections: ConnectionPool<Client>;
  readonly processRef: ProcessRef;
  /** Offers the session of an ended lease to the callers that wait. */
  readonly scheduler: { serveWaiters(now: number): void };
}

/** The leases of one pool: grants them, knows who holds what, and ends them. */
export class LeaseManager<Client> {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #registry: SessionRegistry;
  readonly #sessionState: SessionStateManager;
  readonly #connections: ConnectionPool<Client>;
  readonly #processRef: ProcessRef;
  readonly #scheduler: LeaseManagerParts<Client>["scheduler"];
  readonly #active = new LinkedList<ActiveLease<Client>>();
  #idleCallbacks: (() => void)[] = [];
  #pendingCount = 0;

  constructor(context: PoolContext, parts: LeaseManagerParts<Client>) {
    this.#context = context;
    this.#sessionTable = parts.sessionTable;
    this.#registry = parts.registry;
    this.#sessionState = parts.sessionState;
    this.#connections = parts.connections;
    this.#processRef = parts.processRef;
    this.#scheduler = parts.scheduler;
  }

  /** Makes a lease of a reserved session and its connected client. */
  grant(
    entry: PooledSession,
    connection: Connection<Client>,
    request: LeaseRequest,
    since: number,
  ): ActiveLease<Client> {
    const active = new ActiveLease(this, entry, connection, request.tracker, since, request.stack);
    if (request.isReadOnly) active.isReadOnly = true;
    this.#active.add(active);
    this.#processRef.ref();
    // In functions of their own: V8 allocates the context of a closure on entry of the function around it.
    if (this.#context.options.maxLeaseMs !== Number.POSITIVE_INFINITY) this.#limit(active);
    const { recorder } = this.#context.metrics;
    if (recorder !== undefined) recorder.wait.record(since - request.requestedAt);
    if (this.#context.events.subscribed.has("leased")) this.#publishLeased(entry.id, since - request.requestedAt);
    return active;
  }

  /** Makes a reserved session available again that was not leased after all. */
  cancelReservation(entry: PooledSession): void {
    const now = this.#context.time.now();
    this.#sessionTable.cancel(entry, now);
    this.#afterEnd(entry, now);
  }

  /** Ends a lease: without `revocation` as its caller wants it. Has no effect on a lease that has ended. */
  end(active: ActiveLease<Client>, revocation?: Revocation): void {
    if (!active.end(revocation === undefined ? releasedError : revokedError, revocation?.cause)) return;
    active.timer?.cancel();
    this.#active.remove(active);
    const { entry, connection } = active;
    const { time, events, metrics } = this.#context;
    const now = time.now();
    if (metrics.recorder !== undefined) metrics.recorder.lease.record(now - active.since);
    const isIdle = active.isIdle;
    if (isIdle) {
      const reason = revocation?.discardsClient ? revocation.reason : closeReasonOf(entry);
      void this.#connections.checkIn(connection, reason, now);
    }
    this.#sessionTable.release(entry, now, time.wallNow(now), !isIdle);
    if (!isIdle) this.#drain(active, revocation);
    this.#afterEnd(entry, now);
    // After the waiters: a listener that calls acquire() comes after the callers that wait already.
    if (events.subscribed.has("released"))
      events.publish("released", { id: entry.id, heldMs: Math.round(now - active.since) });
    this.#processRef.unref();
  }

  /** Revokes the leases of one session and replaces its client. */
  revoke(id: string, cause: Error, reason: string): void {
    for (const active of this.#active.toArray()) {
      if (active.entry.id === id) this.end(active, { cause, reason, discardsClient: true });
    }
  }

  /** Revokes every lease. With `isLeak` each one is published as `leaked`. */
  revokeAll(causeOf: (id: string) => Error, reason: string, isLeak: boolean): void {
    for (const active of this.#active.toArray()) {
      if (isLeak) this.#publishLeaked(active);
      this.end(active, { cause: causeOf(active.entry.id), reason, discardsClient: true });
    }
  }

  /** Current state of a session. Throws `SessionNotFoundError`. */
  info(id: string): SessionInfo {
    const known = this.#registry.get(id);
    if (known === undefined) throw unknownSessionError(id);
    return this.#registry.info(known);
  }

  /** See {@link Lease.coolDown}. */
  coolDown({ ended, entry }: ActiveLease<Client>, seconds: number, target: CooldownTarget): void {
    if (ended !== undefined) throw ended;
    checkCoolDown(seconds, target);
    const boundedSeconds = Math.min(Math.max(seconds, MIN_COOLDOWN_SECONDS), MAX_COOLDOWN_SECONDS);
    this.#sessionState.startCooldown(entry, cooldownScopeOf(target), boundedSeconds, "coolDown");
  }

  /** See {@link Lease.retire}. */
  retire({ ended, entry, connection }: ActiveLease<Client>, reason: string): void {
    if (ended !== undefined) throw ended;
    checkReason("retire", reason);
    if (connection.hasCurrentKey) this.#sessionState.markDead(entry, reason);
  }

  /** The active leases, in the order in which they were granted. */
  list(): readonly LeaseInfo[] {
    const { time } = this.#context;
    const now = time.now();
    return this.#active.toArray().map(({ entry, since, stack }) => ({
      id: entry.id,
      leasedAt: time.toWall(since),
      heldMs: Math.round(now - since),
      ...(stack === undefined ? {} : { stack }),
    }));
  }

  /** Number of callers that connect a session or are between two leases of one job. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  /** Counts a caller as pending: a pool that closes waits for it. MUST be followed by {@link endPending}. */
  beginPending(): void {
    this.#pendingCount++;
  }

  endPending(): void {
    this.#pendingCount--;
    this.#resolveIfIdle();
  }

  /** Resolves once there are no leases and no pending callers. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idleCallbacks.push(resolve);
      this.#resolveIfIdle();
    });
  }

  #limit(active: ActiveLease<Client>): void {
    const { clock, maxLeaseMs } = this.#context.options;
    active.timer = clock.setTimer(maxLeaseMs, () => {
      const { id } = active.entry;
      this.#publishLeaked(active);
      const cause = new LeaseReleasedError(
        `The lease of session "${id}" was revoked: it was held for longer than ${maxLeaseMs} ms (maxLeaseMs).`,
        { sessionId: id },
      );
      this.end(active, { cause, reason: "a lease was held for longer than maxLeaseMs", discardsClient: true });
    });
  }

  /** Keeps the session from further leases until the requests that are still unanswered have ended. */
  #drain(active: ActiveLease<Client>, revocation: Revocation | undefined): void {
    const { entry, connection } = active;
    active.onIdle(() => {
      void this.#connections.checkIn(connection, revocation?.reason ?? closeReasonOf(entry));
      const now = this.#context.time.now();
      this.#sessionTable.drained(entry, now);
      this.#afterEnd(entry, now);
    });
    if (revocation !== undefined && connection.users === 1) void this.#connections.close(entry.id, revocation.reason);
  }

  #afterEnd(entry: PooledSession, now: number): void {
    this.#scheduler.serveWaiters(now);
    if (!entry.isUnblocked && entry.isRemoving && !entry.isLeased) this.#context.events.emit("vacated", entry.id);
    if (this.#idleCallbacks.length > 0) this.#resolveIfIdle();
  }

  #resolveIfIdle(): void {
    if (this.#active.size > 0 || this.#pendingCount > 0) return;
    const callbacks = this.#idleCallbacks;
    this.#idleCallbacks = [];
    for (const callback of callbacks) callback();
  }

  /** In a microtask: listeners never run in the stack of the caller, or of the release that served it. */
  #publishLeased(id: string, waitMs: number): void {
    queueMicrotask(() => this.#context.events.publish("leased", { id, waitedMs: Math.round(waitMs) }));
  }

  #publishLeaked({ entry, since, stack }: ActiveLease<Client>): void {
    const { time, events } = this.#context;
    const heldMs = Math.round(time.now() - since);
    events.publish("leaked", { id: entry.id, heldMs, ...(stack === undefined ? {} : { stack }) });
  }
}

function cooldownScopeOf({ method, peer }: CooldownTarget): CooldownScope {
  if (method !== undefined && peer !== undefined) {
    throw new OptionsError("coolDown: pass either method or peer, not both.");
  }
  if (method !== undefined) return { kind: "method", method: canonicalMethod(method) };
  return peer === undefined ? { kind: "session" } : { kind: "peer", peer };
}

function releasedError({ sessionId: id, returnedIterator }: LeaseScope): LeaseReleasedError {
  const advice = returnedIterator
    ? "The function given to use() returned an iterator, whose items are requested later: use pool.iterate(work, options), which holds the lease until the iteration ends."
    : "Await every call before release() or before the function given to use() returns.";
  return new LeaseReleasedError(
    `The lease of session "${id}" has been released, and its client can no longer be used. ${advice}`,
    { sessionId: id },
  );
}

function revokedError({ sessionId: id, revoked: cause }: LeaseScope): LeaseReleasedError {
  if (cause instanceof LeaseReleasedError) return cause;
  const root = cause instanceof PoolClosedError ? (cause.cause ?? cause) : cause;
  return new LeaseReleasedError(`The lease of session "${id}" was revoked: ${cause?.message}`, {
    cause: root,
    sessionId: id,
  });
}

/** Why the client of the session is closed instead of kept for the next lease; `undefined` if it is kept. */
function closeReasonOf(entry: PooledSession): string | undefined {
  if (entry.isUnblocked) return undefined;
  if (entry.isRemoving) return "the session was removed";
  if (entry.deadReason !== null) return `the session is dead: ${entry.deadReason}`;
  return entry.disabledReason === null ? undefined : "the session was disabled";
}
