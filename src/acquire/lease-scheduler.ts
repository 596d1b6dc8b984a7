import type { AbortListeners } from "../common/abort-listeners.js";
import type { ProcessRef } from "../common/process-ref.js";
import { WakeTimer } from "../common/timers.js";
import { acquireTimeoutError, type NamedSession, unavailableError } from "../error-factories.js";
import { type AcquireTimeoutError, CallTimeoutError, ConnectError, type NoSessionAvailableError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolStatus } from "../session-info.js";
import type { Availability } from "../state/availability.js";
import { ANY, type Criteria, canEverServe, isCooling, matches } from "../state/criteria.js";
import { type ConnectFailure, connectFailureSince, PooledSession } from "../state/pooled-session.js";
import type { SessionEntry } from "../state/session-entry.js";
import type { SessionTable } from "../state/session-table.js";
import type { AcquireRequest } from "./acquire-request.js";
import { type ServeRequest, Waiter, WaitQueue } from "./wait-queue.js";

/** Maximum number of sessions whose cooldowns end in one turn of the event loop: about a millisecond. */
const MAX_EXPIRIES_PER_TURN = 500;

/**
 * Reserves sessions for callers, at once or after a wait: when a session is released or added, or when a cooldown ends.
 * Rejects waiters as soon as no session can become available for them in time. One timer serves all cooldowns.
 */
export class LeaseScheduler {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #abortListeners: AbortListeners;
  readonly #processRef: ProcessRef;
  readonly #waiters = new WaitQueue();
  #isClosed = false;
  /** Whether more cooldowns have ended than one turn handles: the timer handles the rest. */
  #hasBacklog = false;
  /** Set to the end of the next cooldown. */
  readonly #timer: WakeTimer;

  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    abortListeners: AbortListeners,
    processRef: ProcessRef,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#abortListeners = abortListeners;
    this.#processRef = processRef;
    this.#timer = new WakeTimer(context.clock, () => {
      this.#hasBacklog = false;
      this.serveWaiters();
    });
    const { events } = context;
    events.on("available", () => this.serveWaiters());
    events.on("availabilityChanged", () => this.rejectUnservable());
    events.on("connectFailed", () => this.#rejectUnreachable());
    // No timer has to be set either while there are no waiters.
    events.on("rateLimited", () => {
      if (this.#waiters.size > 0) this.rejectUnservable();
    });
  }

  /** Number of waiters. */
  get waiterCount(): number {
    return this.#waiters.size;
  }

  /** Current status of the pool. */
  status(): PoolStatus {
    this.advanceToNow();
    const { time } = this.#context;
    const { nextAvailableAt, ...counts } = this.#sessionTable.status(time.now());
    return Object.freeze({
      ...counts,
      waiters: this.#waiters.size,
      nextAvailableAt: nextAvailableAt === null ? null : time.toWall(nextAvailableAt),
    });
  }

  /** Reserves an available session that matches, after serving the waiters. Returns `undefined` if there is none. */
  reserve(criteria: Criteria, now: number): PooledSession | undefined {
    if (this.#sessionTable.nextDueAt <= now) this.#expireBefore(now);
    return this.#sessionTable.reserve(criteria, now);
  }

  /** Returns whether {@link reserve} would succeed now. */
  canReserve(criteria: Criteria): boolean {
    const now = this.#context.time.now();
    if (this.#sessionTable.nextDueAt <= now) this.#expireBefore(now);
    return this.#sessionTable.canServe(criteria, now);
  }

  /**
   * Waits until a session is reserved for the request, at most until `deadline` or until the request's signal aborts.
   * `serve` turns the session into the result, synchronously in the stack of the call that made the session available.
   */
  wait<Result>(request: AcquireRequest, deadline: number, serve: ServeRequest<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(request, request.waitCriteria, deadline, serve, { resolve, reject });
      if (request.signal !== undefined || deadline !== Number.POSITIVE_INFINITY) this.#limit(waiter);
      this.#processRef.ref();
      this.#waiters.add(waiter);
      this.#arm();
      // A waiter may get a session that was not offered to it before, because it has failed for this caller.
      if (request.failures.size > 0) this.serveWaiters();
      this.#context.metrics.timeline?.recordWaiters(this.#waiters.size);
      if (waiter.isLinked) this.#publishWaiting();
    });
  }

  /** Offers the available sessions to the waiters, after cooldowns that have ended. */
  serveWaiters(now: number = this.#context.time.now()): void {
    if (!this.#hasBacklog && this.#sessionTable.nextDueAt <= now)
      this.#hasBacklog = !this.#sessionTable.expireDue(now, MAX_EXPIRIES_PER_TURN);
    if (this.#sessionTable.hasRecovered)
      for (const entry of this.#sessionTable.takeRecovered()) this.#emitRecovered(entry);
    if (this.#waiters.size > 0) this.#serve(now);
    if (this.#sessionTable.nextDueAt !== Number.POSITIVE_INFINITY) this.#arm();
  }

  /** Ends the cooldowns of all sessions, or of one, that are over by now. */
  advanceToNow(id?: string): void {
    const now = this.#context.time.now();
    if (this.#sessionTable.nextDueAt > now) return;
    if (id !== undefined) this.#sessionTable.expire(id, now);
    else this.#sessionTable.expireDue(now);
    this.serveWaiters(now);
  }

  /** Rejects the waiters for which no session can become available in time. */
  rejectUnservable(): void {
    if (this.#waiters.size > 0) this.advanceToNow();
    this.serveWaiters();
    if (this.#waiters.size === 0) return;
    const now = this.#context.time.now();
    const canServeAny = this.#sessionTable.canServeBy(ANY, now, Number.POSITIVE_INFINITY);
    const forecasts = new ForecastCache(this.#sessionTable, now);
    for (const waiter of this.#waiters.inOrder()) {
      if ((canServeAny || waiter.criteria.allowFrozen === true) && forecasts.canServe(waiter)) continue;
      if (!this.#waiters.remove(waiter)) continue;
      const error = this.unavailableError(waiter.criteria, forecasts.availabilityFor(waiter));
      this.#reject(waiter, waiter.request.withCause(error));
    }
  }

  /** Rejects every waiter. */
  rejectAll(toError: () => Error): void {
    for (const waiter of this.#waiters.inOrder())
      if (this.#waiters.remove(waiter)) this.#reject(waiter, waiter.request.withCause(toError()));
  }

  /**
   * The error of a caller for which every session has failed that could have served it, in its own attempts or in those of
   * other callers since it began; `undefined` while there is one that has not.
   */
  unreachableError({ criteria, failures, initialConnectFailures }: AcquireRequest): Error | undefined {
    if (failures.size === 0 && PooledSession.connectFailures === initialConnectFailures) return undefined;
    const sessionTable = this.#sessionTable;
    const now = this.#context.time.now();
    const hasFailed = (id: string): boolean =>
      failures.has(id) || connectFailureSince(sessionTable.get(id), initialConnectFailures) !== undefined;
    if (sessionTable.canServeBy({ ...criteria, excluded: { has: hasFailed } }, now, Number.POSITIVE_INFINITY))
      return undefined;
    const last = [...failures.values()].at(-1);
    if (last === undefined) return this.#latestConnectError(criteria, initialConnectFailures);
    if (last instanceof ConnectError || last instanceof CallTimeoutError) return last;
    return this.unavailableError(criteria, sessionTable.forecast(criteria, now), last);
  }

  /** The error of a caller that no session can serve. */
  unavailableError(criteria: Criteria, availability: Availability, cause?: unknown): NoSessionAvailableError {
    const { time } = this.#context;
    const { earliest, cooling } = availability;
    return unavailableError(criteria, this.status(), {
      waitingCount: cooling,
      waitMs: earliest === null ? null : Math.max(earliest - time.now(), 0),
      retryAt: earliest === null ? null : time.toWall(earliest),
      isFull: this.#sessionTable.isFull,
      cause,
      named: this.#describeNamed(criteria),
    });
  }

  /** When a session that matches ends its cooldown, in epoch milliseconds; `null` if none is known to. */
  retryAt(criteria: Criteria): number | null {
    const { time } = this.#context;
    const { earliest } = this.#sessionTable.forecast(criteria, time.now());
    return earliest === null ? null : time.toWall(earliest);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
  }

  /** Ends the wait at its deadline or when the caller's signal aborts. */
  #limit(waiter: Waiter): void {
    const { options, time } = this.#context;
    const { request, deadline } = waiter;
    const { signal } = request;
    const end = (error: () => unknown): (() => void) | undefined =>
      this.#waiters.remove(waiter) ? () => this.#reject(waiter, error()) : undefined;
    const timeoutError = (): unknown => this.#timeoutError(waiter);
    const stopListening = signal && this.#abortListeners.onAbort(signal, () => end(() => signal.reason));
    const timer = Number.isFinite(deadline)
      ? options.clock.setTimer(Math.max(deadline - time.now(), 0), () => end(timeoutError)?.())
      : undefined;
    waiter.stopLimits = () => {
      stopListening?.();
      timer?.cancel();
    };
  }

  #timeoutError({ request, criteria }: Waiter): AcquireTimeoutError {
    return acquireTimeoutError(request.givenWaitMs, criteria, this.status(), {
      retryAt: this.retryAt(criteria),
      isFull: this.#sessionTable.isFull,
      cause: request.cause,
      named: this.#describeNamed(criteria),
    });
  }

  #publishWaiting(): void {
    const { events } = this.#context;
    if (!events.subscribed.has("waiting")) return;
    const { waiters, nextAvailableAt } = this.status();
    queueMicrotask(() => events.publish("waiting", { waiters, nextAvailableAt }));
  }

  #emitRecovered(entry: SessionEntry): void {
    const isAnnounced = entry.shouldEmitRecovered;
    entry.shouldEmitRecovered = false;
    this.#context.events.emit("recovered", entry.id, isAnnounced);
  }

  /** Ends the cooldowns that are over, and serves the waiters before a caller that comes later. */
  #expireBefore(now: number): void {
    if (!this.#hasBacklog) this.serveWaiters(now);
    if (this.#waiters.size === 0 || this.#sessionTable.nextDueAt > now) return;
    // Otherwise the new caller alone would get the sessions of the backlog.
    this.#sessionTable.expireDue(now);
    this.#hasBacklog = false;
    this.serveWaiters(now);
  }

  #serve(now: number): void {
    // The common case: one available session, for the first waiter.
    while (this.#serveFirst(now)) if (!this.#mayServe) return;
    if (this.#waiters.size <= 1 || !this.#mayServe) return;
    // While this loop runs no session becomes available, so one failed selection holds for the whole group.
    const unservedGroups = new Set<string>();
    for (const waiter of this.#waiters.inOrder()) {
      const group = waiter.selectionGroup;
      if (group !== undefined && unservedGroups.has(group)) continue;
      if (!this.#serveOne(waiter, now)) {
        if (group !== undefined) unservedGroups.add(group);
      } else if (!this.#mayServe) return;
    }
  }

  /** Whether there may be a session for a waiter. */
  get #mayServe(): boolean {
    const { hasAvailable, hasFrozen } = this.#sessionTable;
    return hasAvailable || (hasFrozen && this.#waiters.readerCount > 0);
  }

  #serveFirst(now: number): boolean {
    const waiter = this.#mayServe ? this.#waiters.first : undefined;
    return waiter !== undefined && this.#serveOne(waiter, now);
  }

  /** Returns whether there was a session for the waiter. */
  #serveOne(waiter: Waiter, now: number): boolean {
    const entry = this.#sessionTable.reserveAvailable(waiter.criteria, now);
    if (entry === undefined) return false;
    this.#waiters.remove(waiter);
    waiter.serve(entry, now);
    this.#processRef.unref();
    return true;
  }

  /** Rejects a waiter that has been removed from the queue. */
  #reject(waiter: Waiter, error: unknown): void {
    waiter.reject(error);
    this.#processRef.unref();
  }

  /** Rejects the waiters for which every session has failed to connect since they began. */
  #rejectUnreachable(): void {
    if (this.#waiters.size === 0) return;
    const firstFailures = new Map<string, number>();
    for (const waiter of this.#waiters.inOrder()) {
      const { group, criteria, request } = waiter;
      if (group !== undefined) {
        const first = firstFailures.get(group) ?? this.#oldestConnectFailure(criteria);
        firstFailures.set(group, first);
        if (first <= request.initialConnectFailures) continue;
      }
      const error = this.unreachableError(request);
      if (error !== undefined && this.#waiters.remove(waiter)) this.#reject(waiter, error);
    }
  }

  /** Order of the oldest failure among the sessions that match; 0 if one of them has not failed. */
  #oldestConnectFailure(criteria: Criteria): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const entry of this.#sessionTable.candidates(criteria)) {
      if (!matches(entry, criteria) || !canEverServe(entry, criteria)) continue;
      oldest = Math.min(oldest, entry.connectFailure?.order ?? 0);
      if (oldest === 0) break;
    }
    return oldest;
  }

  #latestConnectError(criteria: Criteria, since: number): Error | undefined {
    let latest: ConnectFailure | undefined;
    for (const entry of this.#sessionTable.candidates(criteria)) {
      const isCandidate = matches(entry, criteria) && canEverServe(entry, criteria);
      const failure = isCandidate ? connectFailureSince(entry, since) : undefined;
      if (failure !== undefined && failure.order > (latest?.order ?? 0)) latest = failure;
    }
    return latest?.error;
  }

  #describeNamed(criteria: Criteria): NamedSession | undefined {
    const { id } = criteria;
    const entry = id === undefined ? undefined : this.#sessionTable.get(id);
    if (entry === undefined) return undefined;
    const now = this.#context.time.now();
    return {
      state: entry.stateAt(now),
      reason: entry.reason,
      isHeld: isCooling(entry, criteria, now),
      isMatch: matches(entry, criteria),
    };
  }

  #arm(): void {
    if (!this.#isClosed) this.#timer.setBy(this.#sessionTable.nextDueAt, this.#context.time.now());
  }
}

/** Forecasts for waiters at one instant. Computed once for each group of waiters with the same criteria. */
class ForecastCache {
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #now: number;
  readonly #canServeGroup = new Map<string, boolean>();
  readonly #availabilities = new Map<string, Availability>();

  constructor(sessionTable: SessionTable<PooledSession>, now: number) {
    this.#sessionTable = sessionTable;
    this.#now = now;
  }

  /** Whether a session can become available for the waiter before its deadline. */
  canServe(waiter: Waiter): boolean {
    const { group, criteria, deadline } = waiter;
    if (group === undefined) return this.#sessionTable.canServeBy(criteria, this.#now, deadline);
    let canServe = this.#canServeGroup.get(group);
    if (canServe === undefined) {
      canServe = this.#sessionTable.canServeBy(criteria, this.#now, Number.POSITIVE_INFINITY);
      this.#canServeGroup.set(group, canServe);
    }
    if (!canServe || deadline === Number.POSITIVE_INFINITY) return canServe;
    const { earliestPossibleAt } = this.availabilityFor(waiter);
    return earliestPossibleAt !== null && earliestPossibleAt <= deadline;
  }

  availabilityFor({ criteria, selectionGroup }: Waiter): Availability {
    const cached = selectionGroup === undefined ? undefined : this.#availabilities.get(selectionGroup);
    if (cached !== undefined) return cached;
    const availability = this.#sessionTable.forecast(criteria, this.#now);
    if (selectionGroup !== undefined) this.#availabilities.set(selectionGroup, availability);
    return availability;
  }
}
