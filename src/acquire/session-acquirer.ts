import { AsyncResource } from "node:async_hooks";
import type { ProcessRef } from "../common/process-ref.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import { queueFullError, unknownSessionError, waitsForItself } from "../error-factories.js";
import { ConnectError } from "../errors.js";
import type { Lease } from "../lease/lease.js";
import type { ActiveLease, LeaseManager } from "../lease/lease-manager.js";
import { ACQUIRE_CHANNEL, type AcquireTrace, CONNECT_CHANNEL, trace } from "../observability/tracing.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import { areAllServing, type Criteria } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionTable } from "../state/session-table.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { PeerReference } from "../telegram/peers.js";
import type { AcquireRequest } from "./acquire-request.js";
import type { LeaseScheduler } from "./lease-scheduler.js";
import { isHeldByCaller, type Nesting } from "./nesting.js";
import type { PeerKnowledge } from "./peer-knowledge.js";
import { SessionConnector, type SessionConnectorParts } from "./session-connector.js";
import type { ServeRequest } from "./wait-queue.js";

/** What the way to a lease is built on. */
export interface SessionAcquirerParts<Client> extends SessionConnectorParts<Client> {
  readonly sessionTable: SessionTable<PooledSession>;
  readonly recordWriter: RecordWriter;
  readonly scheduler: LeaseScheduler;
  readonly processRef: ProcessRef;
  readonly nesting: Nesting;
  readonly peerKnowledge: PeerKnowledge;
}

/** Fulfills requests for a lease: reserves a session or waits for one, connects it, and tries another one if that fails. */
export class SessionAcquirer<Client> {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #recordWriter: RecordWriter;
  readonly #connections: ConnectionPool<Client>;
  readonly #leases: LeaseManager<Client>;
  readonly #scheduler: LeaseScheduler;
  readonly #processRef: ProcessRef;
  readonly #nesting: Nesting;
  readonly #peerKnowledge: PeerKnowledge;
  readonly #connector: SessionConnector<Client>;
  readonly #serve: ServeRequest<ActiveLease<Client>> = (entry, request) =>
    this.#leaseConnected(entry, request) ?? this.#connectAndLease(entry, request);

  constructor(context: PoolContext, parts: SessionAcquirerParts<Client>) {
    this.#context = context;
    this.#lifecycle = parts.lifecycle;
    this.#sessionTable = parts.sessionTable;
    this.#recordWriter = parts.recordWriter;
    this.#connections = parts.connections;
    this.#leases = parts.leases;
    this.#scheduler = parts.scheduler;
    this.#processRef = parts.processRef;
    this.#nesting = parts.nesting;
    this.#peerKnowledge = parts.peerKnowledge;
    this.#connector = new SessionConnector(context, parts);
  }

  /**
   * Leases a session: synchronously if one is available and connected, otherwise once one is. Throws or rejects when no
   * session can serve the request.
   */
  acquire(request: AcquireRequest): ActiveLease<Client> | Promise<ActiveLease<Client>> {
    if (ACQUIRE_CHANNEL.hasSubscribers) return this.#acquireTraced(request);
    return request.knows === undefined ? this.#acquire(request) : this.#acquireKnowing(request, request.knows);
  }

  /** Leases a session that knows the peer; any other one if none that does can serve and the caller permits it. */
  async #acquireKnowing(request: AcquireRequest, peer: PeerReference): Promise<ActiveLease<Client>> {
    this.#assertOpen(request, request.isUnderWay);
    request.signal?.throwIfAborted();
    const requestedAt = this.#context.time.now();
    const look = this.#peerKnowledge.use(peer);
    try {
      await this.#peerKnowledge.find(look, request);
      request.restrict(look);
      return await this.#acquire(request, requestedAt);
    } catch (error) {
      if (!request.mayResolveAfter(error)) throw error;
      request.restrict(undefined);
      return await this.#acquire(request, requestedAt);
    } finally {
      this.#peerKnowledge.release(look);
    }
  }

  #acquire(request: AcquireRequest, requestedAt?: number): ActiveLease<Client> | Promise<ActiveLease<Client>> {
    const entry = this.#reserve(request);
    request.requestedAt = requestedAt ?? request.reservedAt;
    if (entry === undefined) {
      // The caller is served in the stack of a release: its connect would belong to the trace of that one.
      return this.#wait(request, CONNECT_CHANNEL.hasSubscribers ? AsyncResource.bind(this.#serve) : this.#serve);
    }
    return this.#leaseConnected(entry, request) ?? this.#connectAndLease(entry, request);
  }

  #acquireTraced(request: AcquireRequest): Promise<ActiveLease<Client>> {
    const { time } = this.#context;
    const startedAt = time.now();
    const message: AcquireTrace = { attempt: request.attempts + 1, methods: request.criteria.methods };
    return trace(
      ACQUIRE_CHANNEL,
      message,
      async () => {
        try {
          return await (request.knows === undefined
            ? this.#acquire(request)
            : this.#acquireKnowing(request, request.knows));
        } catch (error) {
          message.waitedMs = Math.round(time.now() - startedAt);
          throw error;
        }
      },
      (active) => {
        message.attempt = request.attempts + 1;
        message.sessionId = active.sessionId;
        message.waitedMs = Math.round(active.since - request.requestedAt);
      },
    );
  }

  /**
   * As {@link acquire}, and resolves only once every change of a session's state on the way there is durable. An aborted
   * signal ends that wait as well.
   */
  async acquireDurably(request: AcquireRequest): Promise<Lease<Client>> {
    const leased = this.acquire(request);
    if (!(leased instanceof Promise) && this.#recordWriter.isIdle) return leased.lease;
    try {
      return (leased instanceof Promise ? await leased : leased).lease;
    } finally {
      if (!request.signal?.aborted && !this.isDurable(request)) await this.untilDurable(request);
    }
  }

  /** Whether the records of all sessions that were tried for the request are on disk, or their writes have timed out. */
  isDurable(request: AcquireRequest): boolean {
    return this.#recordWriter.isIdle || request.triedIds.every((id) => this.#recordWriter.isSettled(id));
  }

  /** Resolves when {@link isDurable} is true. */
  async untilDurable({ triedIds }: AcquireRequest): Promise<void> {
    await this.#processRef.whileRunning(() => Promise.all(triedIds.map((id) => this.#recordWriter.flush(id))));
  }

  /** Records that the work of a job failed on a session: the caller needs another one. */
  exclude(request: AcquireRequest, id: string, error: Error): void {
    // A session that is available at once would be tried again at once, and forever.
    const isCooling = (this.#sessionTable.get(id)?.unavailableUntil ?? 0) > this.#context.time.now();
    request.recordFailure(id, error, error instanceof ConnectError && isCooling);
  }

  /** Reserves a session, if one is available. Throws if the pool is closed or the signal has aborted. */
  #reserve(request: AcquireRequest): PooledSession | undefined {
    const { time, options } = this.#context;
    if (!this.#lifecycle.isOpen) this.#assertOpen(request, request.isUnderWay);
    request.signal?.throwIfAborted();
    // Captured synchronously: without `await`, later stacks do not contain the caller.
    if (options.traceLeases) request.stack ??= new Error("leased here").stack;
    request.reservedAt = time.now();
    return this.#scheduler.reserve(request.candidates, request.reservedAt);
  }

  /** Leases the reserved session if its client is connected. */
  #leaseConnected(entry: PooledSession, request: AcquireRequest): ActiveLease<Client> | undefined {
    const { reservedAt, holders } = request;
    const { connection: open } = entry;
    if (holders !== undefined && open !== undefined && !this.#peerKnowledge.confirm(holders, open)) return undefined;
    const connection = this.#connections.tryCheckOut(entry, reservedAt);
    if (connection === undefined) return undefined;
    request.markTried(entry.id);
    return this.#leases.grant(entry, connection, request, reservedAt);
  }

  /** Connects the reserved session and leases it; another session if that fails. */
  async #connectAndLease(reserved: PooledSession, request: AcquireRequest): Promise<ActiveLease<Client>> {
    this.#leases.beginPending();
    try {
      // Leaves the stack of the `release()` that made the session available.
      await undefined;
      let entry = reserved;
      for (;;) {
        const lease = this.#leaseConnected(entry, request) ?? (await this.#leaseAfterConnect(entry, request));
        if (lease !== undefined) return lease;
        entry = this.#reserve(request) ?? (await this.#wait(request, (served) => served));
      }
    } finally {
      this.#leases.endPending();
    }
  }

  /** Connects the reserved session and leases it. Resolves with `undefined` if another session is to be tried. */
  async #leaseAfterConnect(entry: PooledSession, request: AcquireRequest): Promise<ActiveLease<Client> | undefined> {
    request.markTried(entry.id);
    const connection = await this.#processRef.whileRunning(() => this.#connector.connect(entry, request));
    if (connection === undefined) return undefined;
    if (request.holders !== undefined && !this.#peerKnowledge.confirm(request.holders, connection)) {
      void this.#connections.checkIn(connection);
      this.#leases.cancelReservation(entry);
      return undefined;
    }
    return this.#leases.grant(entry, connection, request, this.#context.time.now());
  }

  /** Waits for a session. Throws if no session can become available in time. */
  #wait<Result>(request: AcquireRequest, serve: ServeRequest<Result>): Promise<Result> {
    const sessionTable = this.#sessionTable;
    const scheduler = this.#scheduler;
    const { maxWaiters } = this.#context.options;
    this.#assertOpen(request, false);
    request.cause ??= [...request.failures.values()].at(-1);
    const unreachable = scheduler.unreachableError(request);
    if (unreachable !== undefined) throw unreachable;
    const { id } = request.criteria;
    if (id !== undefined && sessionTable.get(id) === undefined) throw unknownSessionError(id);
    const criteria = request.waitCriteria;
    const now = request.reservedAt;
    const deadline = now + request.waitMs;
    if (request.waitMs === 0 || !sessionTable.canServeBy(criteria, now, deadline)) {
      const abandoned = this.#reserveAbandoned(request);
      if (abandoned !== undefined) return Promise.resolve(serve(abandoned, request));
      throw scheduler.unavailableError(request.criteria, sessionTable.forecast(criteria, now), request.cause);
    }
    this.#assertNotNested(criteria);
    if (scheduler.waiterCount >= maxWaiters) throw queueFullError(maxWaiters, scheduler.retryAt(criteria));
    const served = scheduler.wait(request, deadline, serve);
    this.#context.events.emit("noneAvailable");
    return served;
  }

  /** Reserves a session of another process that is found to have ended just now. */
  #reserveAbandoned({ candidates, reservedAt }: AcquireRequest): PooledSession | undefined {
    this.#context.events.emit("noneAvailable");
    return this.#scheduler.reserve(candidates, reservedAt);
  }

  #assertOpen(request: AcquireRequest, isUnderWay: boolean): void {
    const error = this.#lifecycle.closedError(isUnderWay);
    if (error !== undefined) throw request.withCause(error);
  }

  /** Throws if only the work around this call could release a session, which waits for this call. */
  #assertNotNested(criteria: Criteria): void {
    const held = this.#nesting.heldLeases();
    if (held === undefined) return;
    const candidates = this.#sessionTable.candidates(criteria);
    if (!areAllServing(candidates, criteria, (entry) => isHeldByCaller(held, entry))) return;
    throw waitsForItself([...held.keys()], this.#scheduler.status(), criteria.id);
  }
}
