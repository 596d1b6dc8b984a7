import type { Clock, Timer } from "../clock.js";
import type { RequestTracker } from "../connections/attempt.js";
import type { Connection } from "../connections/connection.js";
import type { Connections } from "../connections/connections.js";
import { LeaseScope } from "../connections/lease-scope.js";
import { LeaseReleasedError, PoolClosedError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import { type Linked, LinkedList } from "../linked-list.js";
import type { Roster } from "../roster/roster.js";
import type { RosterEntry } from "../roster/roster-entry.js";
import type { SessionInfo } from "../session-info.js";
import type { Dispatcher } from "./dispatcher.js";
import type { KeepAlive } from "./keep-alive.js";
import { type CoolDownScope, type Lease, type LeaseActions, type LeaseInfo, PoolLease } from "./lease.js";
import type { TimeLine } from "./time-line.js";

type LeaseEvents = Pick<SessionPoolEvents, "leased" | "released" | "leaked">;

/** What giving leases needs. */
export interface LeasesParts<Client> {
  readonly clock: Clock;
  readonly time: TimeLine;
  readonly roster: Roster;
  readonly dispatcher: Dispatcher;
  readonly connections: Connections<Client>;
  readonly keepAlive: KeepAlive;
  readonly maxLeaseMs: number;
  info(id: string): SessionInfo;
  coolDown(entry: RosterEntry, seconds: number, scope: CoolDownScope): void;
  retire(entry: RosterEntry, reason: string): void;
  /** The last lease of a session that was removed has ended. */
  left(id: string): void;
  emit<Name extends keyof LeaseEvents>(name: Name, event: Parameters<LeaseEvents[Name]>[0]): void;
}

/** How a lease ends that is not given back. */
interface Revocation {
  /** Why, for the lease's signal and for whoever runs the work. */
  readonly cause: Error;
  /** For `disconnected`: why the client is closed, if it is. */
  readonly reason: string;
  /** Whether the client is replaced even when nothing of the lease is on the wire. */
  readonly isDistrusted: boolean;
}

/** What becomes of one lease from the inside. */
interface InsideActions<Client> extends LeaseActions<Client, ActiveLease<Client>> {
  end(active: ActiveLease<Client>, revocation: Revocation): void;
}

/** One lease from the inside. */
class ActiveLease<Client> implements GrantedLease<Client>, Linked<ActiveLease<Client>> {
  isLinked = false;
  previous: ActiveLease<Client> | null = null;
  next: ActiveLease<Client> | null = null;
  readonly entry: RosterEntry;
  readonly connection: Connection<Client>;
  readonly scope: LeaseScope;
  readonly takenAt: number;
  readonly since: number;
  readonly lease: PoolLease<Client, ActiveLease<Client>>;
  readonly stack: string | undefined;
  timer: Timer | undefined = undefined;
  readonly #actions: InsideActions<Client>;

  constructor({ entry, connection, tracker, takenAt, since, stack }: Grant<Client>, actions: InsideActions<Client>) {
    this.entry = entry;
    this.connection = connection;
    this.scope = new LeaseScope(entry.id, tracker);
    this.takenAt = takenAt;
    this.since = since;
    this.stack = stack;
    this.lease = new PoolLease(this, actions);
    this.#actions = actions;
  }

  revoke(cause: Error, reason: string): void {
    this.#actions.end(this, { cause, reason, isDistrusted: false });
  }
}

/** A session that the roster has counted as leased, on its connected client. */
export interface Grant<Client> {
  readonly entry: RosterEntry;
  readonly connection: Connection<Client>;
  readonly tracker: RequestTracker;
  /** When the session was found, and when it was connected. */
  readonly takenAt: number;
  readonly since: number;
  /** Who asked for it, if that is known. */
  readonly stack: string | undefined;
}

/** The leases of one pool: who holds what, and how each of them ends. */
export class Leases<Client> {
  readonly #parts: LeasesParts<Client>;
  readonly #active = new LinkedList<ActiveLease<Client>>();
  readonly #actions: InsideActions<Client>;
  #atIdle: (() => void)[] = [];

  constructor(parts: LeasesParts<Client>) {
    this.#parts = parts;
    this.#actions = {
      guard: ({ connection, scope }) => connection.handle.guard(scope),
      session: ({ entry }) => parts.info(entry.id),
      coolDown: ({ entry }, seconds, where) => parts.coolDown(entry, seconds, where),
      retire: ({ entry, scope }, reason) => {
        if (scope.ended !== undefined) throw scope.ended;
        parts.retire(entry, reason);
      },
      release: (active) => this.#end(active),
      end: (active, revocation) => this.#end(active, revocation),
    };
  }

  grant(grant: Grant<Client>): GrantedLease<Client> {
    const active = new ActiveLease(grant, this.#actions);
    this.#active.add(active);
    this.#parts.keepAlive.need();
    this.#limit(active);
    this.#parts.emit("leased", { id: active.entry.id });
    return active;
  }

  /** Gives a session back that was taken, but not leased after all. */
  giveUp(entry: RosterEntry): void {
    const now = this.#parts.time.now();
    this.#parts.roster.giveBackUnused(entry, now);
    this.#afterEnd(entry, now);
  }

  list(): readonly LeaseInfo[] {
    const now = this.#parts.time.now();
    return this.#active.toArray().map(({ entry, since, stack }) => ({
      id: entry.id,
      leasedAt: this.#parts.time.toWall(since),
      heldMs: Math.round(now - since),
      ...(stack === undefined ? {} : { stack }),
    }));
  }

  /** Resolves when no lease is left. */
  idle(): Promise<void> {
    if (this.#active.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#atIdle.push(resolve));
  }

  /** Takes the leases of one session back. */
  revoke(id: string, cause: Error, reason: string): void {
    for (const active of this.#active.toArray()) {
      if (active.entry.id === id) this.#end(active, { cause, reason, isDistrusted: true });
    }
  }

  /** Takes every lease back. With `isLeak` each is told as `leaked`. */
  revokeAll(cause: (id: string) => Error, reason: string, isLeak: boolean): void {
    for (const active of this.#active.toArray()) {
      if (isLeak) this.#tellLeak(active);
      this.#end(active, { cause: cause(active.entry.id), reason, isDistrusted: true });
    }
  }

  #limit(active: ActiveLease<Client>): void {
    const { maxLeaseMs, clock } = this.#parts;
    if (!Number.isFinite(maxLeaseMs)) return;
    active.timer = clock.setTimer(maxLeaseMs, () => {
      const { id } = active.entry;
      this.#tellLeak(active);
      const cause = new LeaseReleasedError(
        `The lease of session "${id}" was held longer than ${maxLeaseMs} ms (maxLeaseMs) and was taken back.`,
        { sessionId: id },
      );
      this.#end(active, { cause, reason: "its lease was held too long", isDistrusted: true });
    });
  }

  #tellLeak({ entry, since, stack }: ActiveLease<Client>): void {
    const heldMs = Math.round(this.#parts.time.now() - since);
    this.#parts.emit("leaked", { id: entry.id, heldMs, ...(stack === undefined ? {} : { stack }) });
  }

  #end(active: ActiveLease<Client>, revocation?: Revocation): void {
    const { entry, connection, scope } = active;
    if (scope.isOver) return;
    const cause = revocation?.cause;
    scope.end(() => (cause === undefined ? released(scope) : revoked(entry.id, cause)), cause);
    active.timer?.cancel();
    this.#active.remove(active);
    const { roster, time, connections } = this.#parts;
    const now = time.now();
    if (scope.isQuiet) {
      const reason = closeReason(entry, revocation?.isDistrusted ? revocation : undefined);
      void connections.giveBack(connection, reason, time.toMonotonic(now));
      roster.giveBack(entry, now, time.date(now), false);
    } else {
      roster.giveBack(entry, now, time.date(now), true);
      scope.onQuiet(() => this.#drained(active, revocation));
      if (revocation !== undefined && connection.users === 1) void connections.close(entry.id, revocation.reason);
    }
    this.#parts.emit("released", { id: entry.id, heldMs: Math.round(now - active.since) });
    this.#afterEnd(entry, now);
    this.#parts.keepAlive.done();
  }

  #drained({ entry, connection }: ActiveLease<Client>, revocation: Revocation | undefined): void {
    void this.#parts.connections.giveBack(connection, closeReason(entry, revocation));
    const now = this.#parts.time.now();
    this.#parts.roster.drained(entry, now);
    this.#afterEnd(entry, now);
  }

  #afterEnd(entry: RosterEntry, now: number): void {
    this.#parts.dispatcher.changed(now);
    if (entry.isLeaving && !entry.isLeased) this.#parts.left(entry.id);
    if (this.#active.size > 0 || this.#atIdle.length === 0) return;
    const callbacks = this.#atIdle;
    this.#atIdle = [];
    for (const callback of callbacks) callback();
  }
}

/** A lease with the handles that only the pool has. */
export interface GrantedLease<Client> {
  readonly lease: Lease<Client>;
  readonly scope: LeaseScope;
  /** When the session was found, before it was connected. */
  readonly takenAt: number;
  /** Takes it back because of `cause`; if the client has to be closed, `reason` is what listeners are told. */
  revoke(cause: Error, reason: string): void;
}

function released({ sessionId: id, hasLeftIterator }: LeaseScope): LeaseReleasedError {
  const advice = hasLeftIterator
    ? "The function given to use() has returned an iterator, which asks for its items later: iterate by pool.iterate(work, options), which holds the lease until the iteration ends."
    : "Await every call before release() or before the function given to use() returns.";
  return new LeaseReleasedError(
    `The lease of session "${id}" was given back; its client cannot be used any more. ${advice}`,
    { sessionId: id },
  );
}

function revoked(id: string, cause: Error): LeaseReleasedError {
  if (cause instanceof LeaseReleasedError) return cause;
  const root = cause instanceof PoolClosedError ? (cause.cause ?? cause) : cause;
  return new LeaseReleasedError(`The lease of session "${id}" was taken back: ${cause.message}`, {
    cause: root,
    sessionId: id,
  });
}

/** Why the client is not to be kept for the next lease, if so. */
function closeReason(entry: RosterEntry, revocation: Revocation | undefined): string | undefined {
  if (revocation !== undefined) return revocation.reason;
  if (entry.isLeaving) return "the session was removed";
  if (entry.deadReason !== null) return `the session is dead: ${entry.deadReason}`;
  return entry.disabledReason === null ? undefined : "the session was disabled";
}
