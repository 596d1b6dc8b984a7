import type { Clock, Timer } from "../common/clock.js";
import type { PoolTime } from "../common/pool-time.js";
import { type NamedSession, unavailableError } from "../error-factories.js";
import type { NoSessionAvailableError } from "../errors.js";
import type { PoolContext, PoolEvents } from "../pool-context.js";
import type { PoolStatus } from "../session-info.js";
import type { Availability } from "../state/availability.js";
import { ANY, type Criteria, matches } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionEntry } from "../state/session-entry.js";
import type { SessionTable } from "../state/session-table.js";
import { type Waiter, WaitQueue } from "./wait-queue.js";

/** Sessions that are let out in one turn of the event loop: this takes about a millisecond. */
const MAX_PER_TURN = 500;

/**
 * Brings free sessions and waiting callers together: when one is given back, when a cooldown ends, when a session is
 * added; and tells those who wait in vain as soon as that is known. One timer serves all cooldowns.
 */
export class LeaseScheduler {
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #time: PoolTime;
  readonly #clock: Clock;
  readonly #events: PoolEvents;
  readonly #waiters = new WaitQueue();
  #isClosed = false;
  /** More was due than is let out at once: the timer goes on with it. */
  #hasBacklog = false;
  #timer: { readonly at: number; readonly timer: Timer } | undefined;

  constructor({ time, clock, events }: PoolContext, sessionTable: SessionTable<PooledSession>) {
    this.#sessionTable = sessionTable;
    this.#time = time;
    this.#clock = clock;
    this.#events = events;
    events.on("available", () => this.serveWaiters());
    events.on("unavailable", () => this.rejectHopeless());
    events.on("connectFailed", () => this.connectFailed());
    // Without a waiter no timer has to be set either.
    events.on("rateLimited", () => {
      if (this.waiting > 0) this.rejectHopeless();
    });
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** The pool in numbers, as it is now. */
  status(): PoolStatus {
    this.advanceToNow();
    const { nextAvailableAt, ...counts } = this.#sessionTable.status(this.#time.now());
    return Object.freeze({
      ...counts,
      waiters: this.#waiters.size,
      nextAvailableAt: nextAvailableAt === null ? null : this.#time.toWall(nextAvailableAt),
    });
  }

  /** Leases a session to the caller if one can serve now. */
  take(criteria: Criteria, now: number): PooledSession | undefined {
    this.#serveDue(now);
    return this.#sessionTable.reserve(criteria, now);
  }

  /** Whether the caller could be served at once, after those who wait already. */
  canServe(criteria: Criteria): boolean {
    const now = this.#time.now();
    this.#serveDue(now);
    return this.#sessionTable.canServe(criteria, now);
  }

  enqueue(waiter: Waiter): void {
    this.#waiters.add(waiter);
    this.#arm();
  }

  /** Whether the caller was still waiting. */
  dequeue(waiter: Waiter): boolean {
    return this.#waiters.remove(waiter);
  }

  /** A session may have become free. */
  serveWaiters(now: number = this.#time.now()): void {
    // Most often nothing is due, and nobody waits.
    if (!this.#hasBacklog && this.#sessionTable.nextDueAt <= now)
      this.#hasBacklog = !this.#sessionTable.expireDue(now, MAX_PER_TURN);
    if (this.#sessionTable.hasRecovered)
      for (const entry of this.#sessionTable.takeRecovered()) this.#emitRecovered(entry);
    if (this.#waiters.size > 0) this.#serve(now);
    this.#arm();
  }

  /** Brings the state of all sessions, or of one, up to now. */
  advanceToNow(id?: string): void {
    const now = this.#time.now();
    if (this.#sessionTable.nextDueAt > now) return;
    if (id !== undefined) this.#sessionTable.expire(id, now);
    else this.#sessionTable.expireDue(now);
    this.serveWaiters(now);
  }

  /** A session rests longer, or is lost: some may wait in vain now. */
  rejectHopeless(): void {
    if (this.#waiters.size > 0) this.advanceToNow();
    this.serveWaiters();
    if (this.#waiters.size === 0) return;
    const now = this.#time.now();
    const hasAnyone = this.#sessionTable.canServeBy(ANY, now, Number.POSITIVE_INFINITY);
    const hopes = new Hopes(this.#sessionTable, now);
    for (const waiter of this.#waiters.inOrder()) {
      if (hasAnyone && hopes.has(waiter)) continue;
      if (this.#waiters.remove(waiter)) waiter.fail(this.unavailableError(waiter.criteria, hopes.availability(waiter)));
    }
  }

  /** Sessions could not connect, and rest: they may have been the last that a caller could hope for. */
  connectFailed(): void {
    if (this.#waiters.size === 0) return;
    const oldest = new Map<string, number>();
    for (const waiter of this.#waiters.inOrder()) {
      const { group, criteria, began } = waiter;
      if (group !== undefined) {
        const order = oldest.get(group) ?? this.#oldestFailure(criteria);
        oldest.set(group, order);
        if (order <= began) continue;
      }
      if (waiter.failIfUnreachable()) this.#waiters.remove(waiter);
    }
  }

  /** Of the sessions that can serve such a caller, when the first has failed; 0 while one has not. */
  #oldestFailure(criteria: Criteria): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const entry of this.#sessionTable.entries()) {
      if (!entry.canEverServe || !matches(entry, criteria)) continue;
      oldest = Math.min(oldest, entry.connectFailure?.order ?? 0);
      if (oldest === 0) break;
    }
    return oldest;
  }

  /** The error for a caller that no session can serve. */
  unavailableError(criteria: Criteria, availability: Availability, cause?: unknown): NoSessionAvailableError {
    const [time, sessionTable] = [this.#time, this.#sessionTable];
    const { earliest, cooling } = availability;
    return unavailableError(criteria, this.status(), {
      waitingCount: cooling,
      waitMs: earliest === null ? null : Math.max(earliest - time.now(), 0),
      retryAt: earliest === null ? null : time.toWall(earliest),
      isFull: sessionTable.isFull,
      cause,
      named: this.#named(criteria),
    });
  }

  #named({ id, methods, peers }: Criteria): NamedSession | undefined {
    const entry = id === undefined ? undefined : this.#sessionTable.get(id);
    if (entry === undefined) return undefined;
    const now = this.#time.now();
    const { reason } = entry;
    return {
      state: entry.stateAt(now),
      reason,
      isHeld: entry.cooldowns.blockingCooldown(methods, peers, now) !== undefined,
    };
  }

  #emitRecovered(entry: SessionEntry): void {
    const isAnnounced = entry.shouldEmitRecovered;
    entry.shouldEmitRecovered = false;
    this.#events.emit("recovered", entry.id, isAnnounced);
  }

  /** Ends every wait. */
  fail(error: (waiter: Waiter) => Error): void {
    for (const waiter of this.#waiters.inOrder()) if (this.#waiters.remove(waiter)) waiter.fail(error(waiter));
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.timer.cancel();
    this.#timer = undefined;
  }

  /** Gives what is due to the callers who wait, before anybody who comes later can have it. */
  #serveDue(now: number): void {
    if (this.#sessionTable.nextDueAt > now) return;
    if (!this.#hasBacklog) this.serveWaiters(now);
    if (this.#waiters.size === 0 || this.#sessionTable.nextDueAt > now) return;
    // What is left to the timer would be let out for the newcomer alone.
    this.#sessionTable.expireDue(now);
    this.#hasBacklog = false;
    this.serveWaiters(now);
  }

  #serve(now: number): void {
    // Most often there is one session, for the first in the queue.
    while (this.#serveFirst(now)) if (!this.#sessionTable.hasAvailable) return;
    if (this.#waiters.size <= 1 || !this.#sessionTable.hasAvailable) return;
    // Once one of them finds none, none is there for the others who want the same: sessions only go meanwhile.
    const unserved = new Set<string>();
    for (const waiter of this.#waiters.inOrder()) {
      const kind = kindOf(waiter);
      if (kind !== undefined && unserved.has(kind)) continue;
      const entry = this.#sessionTable.reserveAvailable(waiter.criteria, now);
      if (entry === undefined) {
        if (kind !== undefined) unserved.add(kind);
        continue;
      }
      this.#waiters.remove(waiter);
      waiter.serve(entry, now);
      if (!this.#sessionTable.hasAvailable) return;
    }
  }

  /** Whether the first in the queue could be served. */
  #serveFirst(now: number): boolean {
    const waiter = this.#sessionTable.hasAvailable ? this.#waiters.first : undefined;
    const entry = waiter && this.#sessionTable.reserveAvailable(waiter.criteria, now);
    if (waiter === undefined || entry === undefined) return false;
    this.#waiters.remove(waiter);
    waiter.serve(entry, now);
    return true;
  }

  #arm(): void {
    const at = this.#sessionTable.nextDueAt;
    if (this.#isClosed || !Number.isFinite(at) || (this.#timer !== undefined && this.#timer.at <= at)) return;
    this.#setTimer(at);
  }

  #setTimer(at: number): void {
    this.#timer?.timer.cancel();
    const timer = this.#clock.setTimer(Math.max(at - this.#time.now(), 0), () => {
      this.#timer = undefined;
      this.#hasBacklog = false;
      this.serveWaiters();
    });
    this.#timer = { at, timer };
  }
}

/** What decides which session a caller gets: a key prefers one of those that its group could have. */
function kindOf({ group, criteria }: Waiter): string | undefined {
  return group === undefined || criteria.key === undefined ? group : `${group} ${criteria.key}`;
}

/** What callers can hope for at one instant: each group is looked at once, however many callers are in it. */
class Hopes {
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #now: number;
  readonly #isEver = new Map<string, boolean>();
  readonly #outlooks = new Map<string, Availability>();

  constructor(sessionTable: SessionTable<PooledSession>, now: number) {
    this.#sessionTable = sessionTable;
    this.#now = now;
  }

  has(waiter: Waiter): boolean {
    const { group, criteria, deadline } = waiter;
    if (group === undefined) return this.#sessionTable.canServeBy(criteria, this.#now, deadline);
    let isEver = this.#isEver.get(group);
    if (isEver === undefined) {
      isEver = this.#sessionTable.canServeBy(criteria, this.#now, Number.POSITIVE_INFINITY);
      this.#isEver.set(group, isEver);
    }
    if (!isEver || deadline === Number.POSITIVE_INFINITY) return isEver;
    const { earliestPossibleAt } = this.availability(waiter);
    return earliestPossibleAt !== null && earliestPossibleAt <= deadline;
  }

  availability(waiter: Waiter): Availability {
    const kind = kindOf(waiter);
    const known = kind === undefined ? undefined : this.#outlooks.get(kind);
    if (known !== undefined) return known;
    const availability = this.#sessionTable.forecast(waiter.criteria, this.#now);
    if (kind !== undefined) this.#outlooks.set(kind, availability);
    return availability;
  }
}
