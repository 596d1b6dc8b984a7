import type { Clock } from "../common/clock.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ProcessRef } from "../common/process-ref.js";
import { type Connection, SessionChangedError } from "../connections/connection.js";
import { type ConnectionPool, Opening } from "../connections/connection-pool.js";
import {
  attemptTimeoutError,
  connectTookTooLong,
  notConnectedInTime,
  queueFullError,
  unknownSessionError,
  waitsForItself,
} from "../error-factories.js";
import { ConnectError, type PoolClosedError } from "../errors.js";
import type { ActiveLease } from "../lease/active-lease.js";
import type { Lease } from "../lease/lease.js";
import type { LeaseManager } from "../lease/lease-manager.js";
import type { PoolStatus } from "../session-info.js";
import type { Criteria } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionTable } from "../state/session-table.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { affectsSession, classifyTelegramError } from "../telegram/verdicts.js";
import type { AbortListeners } from "./abort-listeners.js";
import type { AcquireRequest } from "./acquire-request.js";
import type { LeaseScheduler } from "./lease-scheduler.js";
import { isHeldBy, type Nesting } from "./nesting.js";
import type { OnServed, WaitQueueEntrance } from "./wait-queue-entrance.js";

/** What acquiring needs. */
export interface SessionAcquirerDeps<Client> {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly sessionTable: SessionTable<PooledSession>;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<Client>;
  readonly leases: LeaseManager<Client>;
  readonly signals: AbortListeners;
  readonly processRef: ProcessRef;
  readonly recordWriter: RecordWriter;
  readonly nesting: Nesting;
  readonly waitQueueEntrance: WaitQueueEntrance;
  readonly maxWaiters: number;
  readonly connectTimeoutMs: number;
  readonly traceLeases: boolean;
  status(): PoolStatus;
  /** Why nobody gets a lease any more. Callers that are under way may go on for a while when the pool closes. */
  closed(isUnderWay: boolean): PoolClosedError | undefined;
  /** A session has not connected in its caller's time, or not for a reason that would end. */
  backOff(id: string): void;
}

/** When a caller waits for a connect no longer. */
interface ConnectLimit {
  readonly ms: number;
  /** Its attempt's own deadline: the session counts as one that cannot connect. */
  readonly isAttempt: boolean;
  error(): Error;
}

/** Finds a session, waits for one, connects it, tries another when that fails. */
export class SessionAcquirer<Client> {
  readonly #parts: SessionAcquirerDeps<Client>;
  /** Sessions that were not connected the last time, though nothing kept them back then. */
  readonly #refused = new WeakSet<PooledSession>();
  readonly #lease: OnServed<ActiveLease<Client>> = (entry, acquireRequest) =>
    this.#tryLease(entry, acquireRequest) ?? this.#connectAndLease(entry, acquireRequest);

  constructor(parts: SessionAcquirerDeps<Client>) {
    this.#parts = parts;
  }

  /**
   * Leases a session: synchronously when one is available and connected, otherwise as soon as one is. Throws, or rejects,
   * when no session can serve the request.
   */
  acquire(acquireRequest: AcquireRequest): ActiveLease<Client> | Promise<ActiveLease<Client>> {
    const entry = this.#tryReserve(acquireRequest);
    return entry === undefined ? this.#wait(acquireRequest, this.#lease) : this.#lease(entry, acquireRequest);
  }

  /** Like `acquire`, and resolves only when what it changed is durable. An aborted signal ends that wait, too. */
  async acquireDurably(acquireRequest: AcquireRequest): Promise<Lease<Client>> {
    const leased = this.acquire(acquireRequest);
    if (!(leased instanceof Promise) && this.isDurable(acquireRequest)) return leased.lease;
    try {
      return (leased instanceof Promise ? await leased : leased).lease;
    } finally {
      if (!acquireRequest.signal?.aborted && !this.isDurable(acquireRequest)) await this.untilDurable(acquireRequest);
    }
  }

  /** Whether the records of all sessions tried for the request are on disk, or their writes timed out. */
  isDurable(acquireRequest: AcquireRequest): boolean {
    const { recordWriter } = this.#parts;
    return recordWriter.isIdle || acquireRequest.triedIds.every((id) => recordWriter.isSettled(id));
  }

  /** Resolves when `isDurable`. */
  async untilDurable({ triedIds }: AcquireRequest): Promise<void> {
    const { recordWriter, processRef } = this.#parts;
    await processRef.whileRunning(() => Promise.all(triedIds.map((id) => recordWriter.flush(id))));
  }

  /** Reserves a session that can serve the request now, if there is one. Throws when the pool is closed or the signal aborted. */
  #tryReserve(acquireRequest: AcquireRequest): PooledSession | undefined {
    const closed = this.#parts.closed(acquireRequest.isUnderWay);
    if (closed !== undefined) throw acquireRequest.withCause(closed);
    acquireRequest.signal?.throwIfAborted();
    // Captured synchronously: without `await`, later stacks no longer contain the caller.
    if (this.#parts.traceLeases) acquireRequest.stack ??= new Error("leased here").stack;
    acquireRequest.reservedAt = this.#parts.time.now();
    return this.#parts.scheduler.take(
      excluding(acquireRequest.criteria, acquireRequest.failures),
      acquireRequest.reservedAt,
    );
  }

  /** Leases the reserved session if its client is connected. */
  #tryLease(entry: PooledSession, acquireRequest: AcquireRequest): ActiveLease<Client> | undefined {
    const { reservedAt, tracker, stack } = acquireRequest;
    const { connections, time, leases } = this.#parts;
    let connection: Connection<Client> | undefined;
    try {
      connection = connections.tryCheckOut(entry, time.toMonotonic(reservedAt));
    } catch (error) {
      // Deferred: the next waiter is served by this, and its client adapter may throw as well.
      queueMicrotask(() => leases.cancelReservation(entry));
      throw error;
    }
    if (connection === undefined) return undefined;
    acquireRequest.markTried(entry.id);
    return leases.grant({ entry, connection, tracker, since: reservedAt, stack });
  }

  /** Connects the reserved session and leases it, or another one when that fails. */
  async #connectAndLease(reserved: PooledSession, acquireRequest: AcquireRequest): Promise<ActiveLease<Client>> {
    const { leases, time, processRef } = this.#parts;
    leases.expect();
    try {
      // Leaves the stack of the `release()` that freed the session.
      await undefined;
      for (
        let entry = reserved;
        ;
        entry = this.#tryReserve(acquireRequest) ?? (await this.#wait(acquireRequest, identity))
      ) {
        const granted = this.#tryLease(entry, acquireRequest);
        if (granted !== undefined) return granted;
        acquireRequest.markTried(entry.id);
        const connection = await processRef.whileRunning(() => this.#connect(entry, acquireRequest));
        if (connection === undefined) continue;
        const { tracker, stack } = acquireRequest;
        return leases.grant({ entry, connection, tracker, since: time.now(), stack });
      }
    } finally {
      leases.expectNoMore();
    }
  }

  /** Waits for a session, as long as that can help and is wanted. */
  #wait<Result>(acquireRequest: AcquireRequest, serve: OnServed<Result>): Promise<Result> {
    const { sessionTable, scheduler, waitQueueEntrance } = this.#parts;
    const now = acquireRequest.reservedAt;
    const closed = this.#parts.closed(false);
    if (closed !== undefined) throw acquireRequest.withCause(closed);
    acquireRequest.cause ??= [...acquireRequest.failures.values()].at(-1);
    const failure = this.#parts.waitQueueEntrance.unreachable(acquireRequest);
    if (failure !== undefined) throw failure;
    const criteria = excluding(acquireRequest.criteria, acquireRequest.lastingFailures);
    const { id } = acquireRequest.criteria;
    if (id !== undefined && sessionTable.get(id) === undefined) throw unknownSessionError(id);
    const deadline = now + acquireRequest.waitMs;
    if (acquireRequest.waitMs === 0 || !sessionTable.canServeBy(criteria, now, deadline)) {
      throw this.#parts.scheduler.unavailableError(
        acquireRequest.criteria,
        sessionTable.forecast(criteria, now),
        acquireRequest.cause,
      );
    }
    this.#assertNotOwn(criteria);
    if (scheduler.waiting >= this.#parts.maxWaiters) throw queueFullError(this.#parts.maxWaiters);
    return waitQueueEntrance.wait(acquireRequest, criteria, deadline, serve);
  }

  /** Throws when the caller would wait for itself: only the works around it could give a session back. */
  #assertNotOwn(criteria: Criteria): void {
    const { nesting, sessionTable } = this.#parts;
    const held = nesting.held();
    if (held === undefined || !sessionTable.areAll(criteria, (entry) => isHeldBy(held, entry))) return;
    const { id } = criteria;
    throw waitsForItself([...held.keys()], this.#parts.status(), id);
  }

  /** The connected client of a session that was taken; `undefined` when it cannot be had and another is to be tried. */
  async #connect(entry: PooledSession, acquireRequest: AcquireRequest): Promise<Connection<Client> | undefined> {
    const { connections, time } = this.#parts;
    const began = time.now();
    let connection: Connection<Client> | undefined;
    try {
      connection = await this.#open(entry, acquireRequest);
      acquireRequest.signal?.throwIfAborted();
      this.#assertOpen();
      this.#refused.delete(entry);
      return connection;
    } catch (error) {
      if (connection !== undefined) void connections.checkIn(connection);
      this.#letGo(entry, acquireRequest, error);
      this.#assertOpen();
      this.#missed(entry, acquireRequest, error);
      return undefined;
    } finally {
      acquireRequest.spend(time.now() - began);
    }
  }

  #assertOpen(): void {
    const closed = this.#parts.closed(true);
    if (closed !== undefined) throw closed;
  }

  /** Gives a session back that was not connected. One that nothing else keeps back would be taken again at once. */
  #letGo(entry: PooledSession, { ending }: AcquireRequest, error: unknown): void {
    const { time, backOff, leases } = this.#parts;
    const isKeptBack = entry.isForeign || !entry.canEverServe || entry.unavailableUntil > time.now();
    const isRefused = !isKeptBack && error instanceof SessionChangedError;
    const isFailed = !isKeptBack && error instanceof ConnectError && error !== ending;
    if (isFailed || (isRefused && this.#refused.has(entry))) backOff(entry.id);
    if (isRefused) this.#refused.add(entry);
    else this.#refused.delete(entry);
    leases.cancelReservation(entry);
  }

  /** Takes note of a session that was not connected. Throws what ends the caller's search. */
  #missed(entry: PooledSession, acquireRequest: AcquireRequest, error: unknown): void {
    if (error === acquireRequest.ending || error === acquireRequest.signal?.reason) throw error;
    if (error instanceof SessionChangedError) return;
    const isConnectError = error instanceof ConnectError;
    // Telegram's own verdict on connecting has changed the session's state already: another one is next, or none.
    if (!isConnectError && !affectsSession(classifyTelegramError(error))) throw error;
    acquireRequest.attempts++;
    if (
      acquireRequest.attempts >= acquireRequest.maxAttempts ||
      (isConnectError && acquireRequest.criteria.id !== undefined)
    )
      throw error;
    if (isConnectError) acquireRequest.recordFailure(entry.id, error, true);
    else acquireRequest.cause ??= error;
  }

  #open(entry: PooledSession, acquireRequest: AcquireRequest): Promise<Connection<Client>> {
    const { clock, signals, connections, backOff } = this.#parts;
    const opening = new Opening();
    const opened = connections.checkOut(entry.id, opening);
    const limit = this.#limitOf(entry, acquireRequest);
    const { signal } = acquireRequest;
    if (limit === undefined && signal === undefined) return opened;
    return new Promise((resolve, reject) => {
      const end = (error: unknown): void => {
        acquireRequest.ending = error;
        reject(error);
      };
      const timer =
        limit &&
        clock.setTimer(Math.max(limit.ms, 0), () => {
          if (limit.isAttempt) {
            backOff(entry.id);
            connections.giveUp(opening);
          } else connections.leave(opening);
          end(limit.error());
        });
      const atAbort = (): void => {
        connections.giveUp(opening);
        end(signal?.reason);
      };
      const stopListening = signal && signals.onAbort(signal, atAbort);
      const settled = (): void => {
        timer?.cancel();
        stopListening?.();
      };
      opened
        .then((connection) => {
          if (opening.isGivenUp) void connections.end(opening);
          else resolve(connection);
        }, reject)
        .finally(settled);
    });
  }

  /** What ends the caller's wait for a connect first, besides the connect's own limit. */
  #limitOf(entry: PooledSession, acquireRequest: AcquireRequest): ConnectLimit | undefined {
    const { attemptTimeoutMs, connectingMs, allConnectingMs, givenWaitMs, waitMs, cause } = acquireRequest;
    const { connectTimeoutMs } = this.#parts;
    const attempt: ConnectLimit = {
      ms: attemptTimeoutMs - connectingMs,
      isAttempt: true,
      error: () => attemptTimeoutError(entry.id, attemptTimeoutMs),
    };
    const wait: ConnectLimit =
      givenWaitMs === 0
        ? {
            ms: connectTimeoutMs - allConnectingMs,
            isAttempt: false,
            error: () => notConnectedInTime(entry.id, connectTimeoutMs, cause),
          }
        : { ms: waitMs, isAttempt: false, error: () => connectTookTooLong(entry.id, givenWaitMs, cause) };
    const first = attempt.ms <= wait.ms ? attempt : wait;
    return Number.isFinite(first.ms) ? first : undefined;
  }

  /** A session failed the work that was done with it: the caller wants another one. */
  exclude(acquireRequest: AcquireRequest, id: string, error: Error): void {
    const { sessionTable, time } = this.#parts;
    // Without a rest it would be tried again at once, and for ever.
    const isResting = (sessionTable.get(id)?.unavailableUntil ?? 0) > time.now();
    acquireRequest.recordFailure(id, error, error instanceof ConnectError && isResting);
  }
}

/** The criteria without some sessions. */
function excluding(criteria: Criteria, excluded: ReadonlyMap<string, Error>): Criteria {
  return excluded.size === 0 ? criteria : { ...criteria, excluded };
}

function identity(entry: PooledSession): PooledSession {
  return entry;
}
