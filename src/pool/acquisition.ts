import type { Clock } from "../clock.js";
import { type Connection, SessionChangedError } from "../connections/connection.js";
import type { Connections } from "../connections/connections.js";
import {
  AttemptTimeoutError,
  CallTimeoutError,
  ConnectError,
  type NoSessionAvailableError,
  PoolClosedError,
} from "../errors.js";
import type { Criteria } from "../roster/criteria.js";
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
  type NamedSession,
  queueFull,
  unavailable,
  unknownSession,
  waitsForItself,
} from "./refusals.js";
import type { KnownSession } from "./sessions/known-session.js";
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
  readonly traceLeases: boolean;
  status(): PoolStatus;
  /** Why nobody gets a lease any more. */
  closed(): PoolClosedError | undefined;
  /** A session has not connected in its caller's time. */
  backOff(id: string): void;
}

/** Finds a session, waits for one, connects it, tries another when that fails. */
export class Acquisition<Client> {
  readonly #parts: AcquisitionParts<Client>;
  readonly #begin: Serve<GrantedLease<Client>> = (entry, wish) =>
    this.leaseAtOnce(entry, wish) ?? this.#leaseLater(entry, wish);

  constructor(parts: AcquisitionParts<Client>) {
    this.#parts = parts;
  }

  /** Leases a session to the caller if one can serve now. Throws when nobody is to have one any more. */
  take(wish: Wish): KnownSession | undefined {
    const closed = this.#parts.closed();
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
    const connection = connections.take(entry, time.toMonotonic(takenAt));
    if (connection === undefined) return undefined;
    wish.touch(entry.id);
    return leases.grant({ entry, connection, tracker, since: takenAt, stack });
  }

  /** The lease of the session that was taken, or of another one, as soon as there is one with a client. */
  lease(taken: KnownSession | undefined, wish: Wish): Promise<GrantedLease<Client>> {
    return taken === undefined ? this.#wait(wish, this.#begin) : this.#leaseLater(taken, wish);
  }

  async #leaseLater(taken: KnownSession, wish: Wish): Promise<GrantedLease<Client>> {
    // Not in the stack of whoever has given the session back.
    await undefined;
    for (let entry = taken; ; entry = this.take(wish) ?? (await this.#wait(wish, itself))) {
      const granted = this.leaseAtOnce(entry, wish);
      if (granted !== undefined) return granted;
      wish.touch(entry.id);
      const { leases, time, keepAlive } = this.#parts;
      const connection = await keepAlive.during(() => this.#connect(entry, wish));
      if (connection === undefined) continue;
      const { tracker, stack } = wish;
      return leases.grant({ entry, connection, tracker, since: time.now(), stack });
    }
  }

  /** Waits for a session, as long as that can help and is wanted. */
  #wait<Result>(wish: Wish, serve: Serve<Result>): Promise<Result> {
    const { roster, dispatcher, waitingRoom } = this.#parts;
    const now = wish.takenAt;
    const last = wish.failures.size === 0 ? undefined : [...wish.failures.values()].at(-1);
    wish.cause ??= last;
    if (last !== undefined && !roster.hasHope(without(wish.criteria, wish.failures), now, Number.POSITIVE_INFINITY)) {
      throw this.#allFailed(wish, last);
    }
    const criteria = without(wish.criteria, lasting(wish.failures));
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
    let connection: Connection<Client> | undefined;
    try {
      connection = await this.#open(entry, wish);
      wish.signal?.throwIfAborted();
      const closed = this.#parts.closed();
      if (closed !== undefined) throw closed;
      return connection;
    } catch (error) {
      if (connection !== undefined) void this.#parts.connections.giveBack(connection);
      this.#parts.leases.giveUp(entry);
      const closed = this.#parts.closed();
      if (closed !== undefined) throw closed;
      if (error instanceof SessionChangedError) return undefined;
      if (!(error instanceof ConnectError)) return this.#refused(wish, error);
      if (wish.criteria.id !== undefined) throw error;
      wish.failed(entry.id, error);
      return undefined;
    }
  }

  /** Telegram's own verdict on connecting has changed the session's state already: another one is next, or none. */
  #refused(wish: Wish, error: unknown): undefined {
    const isFinal =
      error === wish.signal?.reason || error instanceof PoolClosedError || error instanceof AttemptTimeoutError;
    if (isFinal || !isAboutSession(classifyTelegramError(error))) throw error;
    wish.cause ??= error;
    return undefined;
  }

  #open(entry: KnownSession, wish: Wish): Promise<Connection<Client>> {
    const opening = this.#parts.connections.open(entry.id);
    if (!Number.isFinite(wish.attemptMs) && wish.signal === undefined) return opening;
    return new Promise((resolve, reject) => {
      let isOver = false;
      const { clock, signals, connections } = this.#parts;
      const giveUp = (error: unknown): void => {
        isOver = true;
        connections.abandon(entry.id);
        reject(error);
      };
      const timer = Number.isFinite(wish.attemptMs)
        ? clock.setTimer(wish.attemptMs, () => {
            this.#parts.backOff(entry.id);
            giveUp(attemptTimedOut(entry.id, wish.attemptMs));
          })
        : undefined;
      const stopListening = wish.signal && signals.onAbort(wish.signal, () => giveUp(wish.signal?.reason));
      opening
        .then(
          (connection) => {
            if (isOver) void this.#parts.connections.giveBack(connection);
            else resolve(connection);
          },
          (error: unknown) => reject(error),
        )
        .finally(() => {
          timer?.cancel();
          stopListening?.();
        });
    });
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

/** Those that are not worth another try by this caller. One that could not connect is, after its back-off. */
function lasting(failures: ReadonlyMap<string, Error>): ReadonlyMap<string, Error> {
  if (failures.size === 0) return failures;
  return new Map([...failures].filter(([, error]) => !(error instanceof ConnectError)));
}

function itself(entry: KnownSession): KnownSession {
  return entry;
}
