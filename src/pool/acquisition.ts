import type { Clock } from "../clock.js";
import { type Connection, SessionChangedError } from "../connections/connection.js";
import { type Connections, Opening } from "../connections/connections.js";
import { CallTimeoutError, ConnectError, type NoSessionAvailableError, type PoolClosedError } from "../errors.js";
import { type Criteria, isMatch } from "../roster/criteria.js";
import type { Outlook } from "../roster/outlook.js";
import type { Roster } from "../roster/roster.js";
import type { PoolStatus } from "../session-info.js";
import { classifyTelegramError, isAboutSession } from "../telegram/verdicts.js";
import type { GrantedLease } from "./active-lease.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import type { Leases } from "./leases.js";
import { isHeldBy, type Nesting } from "./nesting.js";
import {
  attemptTimedOut,
  connectTookTooLong,
  type NamedSession,
  notConnectedInTime,
  queueFull,
  unavailable,
  unknownSession,
  waitsForItself,
} from "./refusals.js";
import {
  type ConnectFailure,
  connectFailureSince,
  connectFailuresSoFar,
  type KnownSession,
} from "./sessions/known-session.js";
import type { SharedSignals } from "./shared-signals.js";
import type { TimeLine } from "./time-line.js";
import type { Serve, WaitingRoom } from "./waiting-room.js";
import type { Wish } from "./wish.js";

/** What acquiring needs. */
export interface AcquisitionParts<Client> {
  readonly clock: Clock;
  readonly time: TimeLine;
  readonly roster: Roster<KnownSession>;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<Client>;
  readonly leases: Leases<Client>;
  readonly signals: SharedSignals;
  readonly keepAlive: KeepAlive;
  readonly nesting: Nesting;
  readonly waitingRoom: WaitingRoom;
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
export class Acquisition<Client> {
  readonly #parts: AcquisitionParts<Client>;
  /** Sessions that were not connected the last time, though nothing kept them back then. */
  readonly #refused = new WeakSet<KnownSession>();
  readonly #begin: Serve<GrantedLease<Client>> = (entry, wish) =>
    this.leaseAtOnce(entry, wish) ?? this.#leaseLater(entry, wish);

  constructor(parts: AcquisitionParts<Client>) {
    this.#parts = parts;
  }

  /** Leases a session to the caller if one can serve now. Throws when nobody is to have one any more. */
  take(wish: Wish): KnownSession | undefined {
    const closed = this.#parts.closed(wish.isUnderWay);
    if (closed !== undefined) throw wish.explain(closed);
    wish.signal?.throwIfAborted();
    // Here, in the caller's stack: whoever does not await would be in no later one.
    if (this.#parts.traceLeases) wish.stack ??= new Error("leased here").stack;
    wish.takenAt = this.#parts.time.now();
    return this.#parts.dispatcher.take(without(wish.criteria, wish.failures), wish.takenAt);
  }

  /** The lease of the session that was taken, if its client is ready. */
  leaseAtOnce(entry: KnownSession, wish: Wish): GrantedLease<Client> | undefined {
    const { takenAt, tracker, stack } = wish;
    const { connections, time, leases } = this.#parts;
    let connection: Connection<Client> | undefined;
    try {
      connection = connections.take(entry, time.toMonotonic(takenAt));
    } catch (error) {
      // A client adapter that fails fails its caller. Later, for whoever is next may meet the same.
      queueMicrotask(() => leases.giveUp(entry));
      throw error;
    }
    if (connection === undefined) return undefined;
    wish.touch(entry.id);
    return leases.grant({ entry, connection, tracker, since: takenAt, stack });
  }

  /** The lease of the session that was taken, or of another one, as soon as there is one with a client. */
  lease(taken: KnownSession | undefined, wish: Wish): Promise<GrantedLease<Client>> {
    return taken === undefined ? this.#wait(wish, this.#begin) : this.#leaseLater(taken, wish);
  }

  async #leaseLater(taken: KnownSession, wish: Wish): Promise<GrantedLease<Client>> {
    const { leases, time, keepAlive } = this.#parts;
    leases.expect();
    try {
      // Not in the stack of whoever has given the session back.
      await undefined;
      for (let entry = taken; ; entry = this.take(wish) ?? (await this.#wait(wish, itself))) {
        const granted = this.leaseAtOnce(entry, wish);
        if (granted !== undefined) return granted;
        wish.touch(entry.id);
        const connection = await keepAlive.during(() => this.#connect(entry, wish));
        if (connection === undefined) continue;
        const { tracker, stack } = wish;
        return leases.grant({ entry, connection, tracker, since: time.now(), stack });
      }
    } finally {
      leases.expectNoMore();
    }
  }

  /** Waits for a session, as long as that can help and is wanted. */
  #wait<Result>(wish: Wish, serve: Serve<Result>): Promise<Result> {
    const { roster, dispatcher, waitingRoom } = this.#parts;
    const now = wish.takenAt;
    const closed = this.#parts.closed(false);
    if (closed !== undefined) throw wish.explain(closed);
    wish.cause ??= [...wish.failures.values()].at(-1);
    const failure = this.unreachable(wish);
    if (failure !== undefined) throw failure;
    const criteria = without(wish.criteria, wish.lastingFailures);
    const { id } = wish.criteria;
    if (id !== undefined && roster.get(id) === undefined) throw unknownSession(id);
    const deadline = now + wish.waitMs;
    if (wish.waitMs === 0 || !roster.hasHope(criteria, now, deadline)) {
      throw this.unavailable(wish.criteria, roster.outlook(criteria, now), wish.cause);
    }
    this.#assertNotOwn(criteria);
    if (dispatcher.waiting >= this.#parts.maxWaiters) throw queueFull(this.#parts.maxWaiters);
    return waitingRoom.wait(wish, criteria, deadline, serve);
  }

  /** Throws when the caller would wait for itself: only the works around it could give a session back. */
  #assertNotOwn(criteria: Criteria): void {
    const { nesting, roster } = this.#parts;
    const held = nesting.held();
    if (held === undefined || !roster.areAll(criteria, (entry) => isHeldBy(held, entry))) return;
    const { id } = criteria;
    throw waitsForItself([...held.keys()], this.#parts.status(), id);
  }

  /** The connected client of a session that was taken; `undefined` when it cannot be had and another is to be tried. */
  async #connect(entry: KnownSession, wish: Wish): Promise<Connection<Client> | undefined> {
    const { connections, time } = this.#parts;
    const began = time.now();
    let connection: Connection<Client> | undefined;
    try {
      connection = await this.#open(entry, wish);
      wish.signal?.throwIfAborted();
      this.#assertOpen();
      this.#refused.delete(entry);
      return connection;
    } catch (error) {
      if (connection !== undefined) void connections.giveBack(connection);
      this.#letGo(entry, wish, error);
      this.#assertOpen();
      this.#missed(entry, wish, error);
      return undefined;
    } finally {
      wish.spend(time.now() - began);
    }
  }

  #assertOpen(): void {
    const closed = this.#parts.closed(true);
    if (closed !== undefined) throw closed;
  }

  /** Gives a session back that was not connected. One that nothing else keeps back would be taken again at once. */
  #letGo(entry: KnownSession, { ending }: Wish, error: unknown): void {
    const { time, backOff, leases } = this.#parts;
    const isKeptBack = entry.isForeign || !entry.isWorthWaiting || entry.restsUntil > time.now();
    const isRefused = !isKeptBack && error instanceof SessionChangedError;
    const isFailed = !isKeptBack && error instanceof ConnectError && error !== ending;
    if (isFailed || (isRefused && this.#refused.has(entry))) backOff(entry.id);
    if (isRefused) this.#refused.add(entry);
    else this.#refused.delete(entry);
    leases.giveUp(entry);
  }

  /** Takes note of a session that was not connected. Throws what ends the caller's search. */
  #missed(entry: KnownSession, wish: Wish, error: unknown): void {
    if (error === wish.ending || error === wish.signal?.reason) throw error;
    if (error instanceof SessionChangedError) return;
    const isConnectError = error instanceof ConnectError;
    // Telegram's own verdict on connecting has changed the session's state already: another one is next, or none.
    if (!isConnectError && !isAboutSession(classifyTelegramError(error))) throw error;
    wish.attempts++;
    if (wish.attempts >= wish.maxAttempts || (isConnectError && wish.criteria.id !== undefined)) throw error;
    if (isConnectError) wish.failed(entry.id, error, true);
    else wish.cause ??= error;
  }

  #open(entry: KnownSession, wish: Wish): Promise<Connection<Client>> {
    const { clock, signals, connections, backOff } = this.#parts;
    const opening = new Opening();
    const opened = connections.open(entry.id, opening);
    const limit = this.#limitOf(entry, wish);
    const { signal } = wish;
    if (limit === undefined && signal === undefined) return opened;
    return new Promise((resolve, reject) => {
      const end = (error: unknown): void => {
        wish.ending = error;
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
  #limitOf(entry: KnownSession, wish: Wish): ConnectLimit | undefined {
    const { attemptMs, connectingMs, allConnectingMs, givenWaitMs, waitMs, cause } = wish;
    const { connectTimeoutMs } = this.#parts;
    const attempt: ConnectLimit = {
      ms: attemptMs - connectingMs,
      isAttempt: true,
      error: () => attemptTimedOut(entry.id, attemptMs),
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
  exclude(wish: Wish, id: string, error: Error): void {
    const { roster, time } = this.#parts;
    // Without a rest it would be tried again at once, and for ever.
    const isResting = (roster.get(id)?.restsUntil ?? 0) > time.now();
    wish.failed(id, error, error instanceof ConnectError && isResting);
  }

  /** What every session has failed with that could serve the caller, whoever has tried it; if all have, since it began. */
  unreachable(wish: Wish): Error | undefined {
    const { failures, began } = wish;
    if (failures.size === 0 && connectFailuresSoFar() === began) return undefined;
    const { roster, time } = this.#parts;
    const failureOf = (id: string) => connectFailureSince(roster.get(id), began);
    const excluded = { has: (id: string) => failures.has(id) || failureOf(id) !== undefined };
    if (roster.hasHope({ ...wish.criteria, excluded }, time.now(), Number.POSITIVE_INFINITY)) return undefined;
    const own = [...failures.values()].at(-1);
    return own === undefined ? this.#lastFailure(wish) : this.#allFailed(wish, own);
  }

  /** Of other callers' connects. */
  #lastFailure({ criteria, began }: Wish): Error | undefined {
    const { roster } = this.#parts;
    let last: ConnectFailure | undefined;
    for (const entry of roster.entries()) {
      const failure = entry.isWorthWaiting && isMatch(entry, criteria) ? connectFailureSince(entry, began) : undefined;
      if (failure !== undefined && failure.order > (last?.order ?? 0)) last = failure;
    }
    return last?.error;
  }

  /** Every session that could have served has failed this caller: what the last one said. */
  #allFailed(wish: Wish, last: Error): Error {
    if (last instanceof ConnectError || last instanceof CallTimeoutError) return last;
    const outlook = this.#parts.roster.outlook(wish.criteria, this.#parts.time.now());
    return this.unavailable(wish.criteria, outlook, last);
  }

  /** Why nobody can serve this caller. */
  unavailable(criteria: Criteria, outlook: Outlook, cause?: unknown): NoSessionAvailableError {
    const { time, roster } = this.#parts;
    const { earliest, cooling } = outlook;
    return unavailable(criteria, this.#parts.status(), {
      waitingCount: cooling,
      waitMs: earliest === null ? null : Math.max(earliest - time.now(), 0),
      retryAt: earliest === null ? null : time.toWall(earliest),
      isFull: roster.isFull,
      cause,
      named: this.#named(criteria),
    });
  }

  #named({ id, methods, peers }: Criteria): NamedSession | undefined {
    const { roster, time } = this.#parts;
    const entry = id === undefined ? undefined : roster.get(id);
    if (entry === undefined) return undefined;
    const now = time.now();
    const { reason } = entry;
    return { state: entry.stateAt(now), reason, isHeld: entry.cooldowns.holds(methods, peers, now) !== undefined };
  }
}

/** The criteria without some sessions. */
function without(criteria: Criteria, excluded: ReadonlyMap<string, Error>): Criteria {
  return excluded.size === 0 ? criteria : { ...criteria, excluded };
}

function itself(entry: KnownSession): KnownSession {
  return entry;
}
