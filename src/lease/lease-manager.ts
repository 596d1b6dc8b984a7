import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { Clock } from "../common/clock.js";
import { LinkedList } from "../common/linked-list.js";
import type { PoolTime } from "../common/pool-time.js";
import type { ProcessRef } from "../common/process-ref.js";
import type { ConnectionPool } from "../connections/connection-pool.js";
import type { LeaseScope } from "../connections/lease-scope.js";
import { LeaseReleasedError, PoolClosedError } from "../errors.js";
import type { SessionPoolEvents } from "../events.js";
import type { SessionInfo } from "../session-info.js";
import type { SessionEntry } from "../state/session-entry.js";
import type { SessionTable } from "../state/session-table.js";
import { ActiveLease, type ActiveLeaseInit, type LeaseCallbacks, type Revocation } from "./active-lease.js";
import type { CooldownTarget, LeaseInfo } from "./lease.js";

type LeaseEvents = Pick<SessionPoolEvents, "leased" | "released" | "leaked">;

/** What giving leases needs. */
export interface LeaseManagerDeps<Client> {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly sessionTable: SessionTable;
  readonly scheduler: LeaseScheduler;
  readonly connections: ConnectionPool<Client>;
  readonly processRef: ProcessRef;
  readonly maxLeaseMs: number;
  info(id: string): SessionInfo;
  coolDown(entry: SessionEntry, seconds: number, scope: CooldownTarget): void;
  retire(entry: SessionEntry, reason: string, isOfItsKey: boolean): void;
  /** The last lease of a session that was removed has ended. */
  onLastLeaseEnded(id: string): void;
  isHeard(name: keyof LeaseEvents): boolean;
  emit<Name extends keyof LeaseEvents>(name: Name, event: Parameters<LeaseEvents[Name]>[0]): void;
}

/** The leases of one pool: who holds what, and how each of them ends. */
export class LeaseManager<Client> {
  readonly #parts: LeaseManagerDeps<Client>;
  readonly #active = new LinkedList<ActiveLease<Client>>();
  readonly #office: LeaseCallbacks<Client>;
  #idleCallbacks: (() => void)[] = [];
  /** Callers that are between two leases, or whose session connects. */
  #expected = 0;

  constructor(parts: LeaseManagerDeps<Client>) {
    this.#parts = parts;
    const { info, coolDown, retire } = parts;
    this.#office = { info, coolDown, retire, end: (active, revocation) => this.#end(active, revocation) };
  }

  grant(grant: ActiveLeaseInit<Client>): ActiveLease<Client> {
    const active = new ActiveLease(grant, this.#office);
    this.#active.add(active);
    this.#parts.processRef.ref();
    // Functions that make others are only called for that: V8 sets up their scope on entry, whatever they do then.
    if (Number.isFinite(this.#parts.maxLeaseMs)) this.#limit(active);
    if (this.#parts.isHeard("leased")) this.#emitLeased(active);
    return active;
  }

  /** Gives a session back that was taken, but not leased after all. */
  cancelReservation(entry: SessionEntry): void {
    const now = this.#parts.time.now();
    this.#parts.sessionTable.cancel(entry, now);
    this.#onLeaseEnded(entry, now);
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

  /** A caller is on its way to a lease. */
  expect(): void {
    this.#expected++;
  }

  /** It has it, or gets none. */
  expectNoMore(): void {
    this.#expected--;
    this.#tellIdle();
  }

  /** How many callers are on their way. */
  get expected(): number {
    return this.#expected;
  }

  get #isIdle(): boolean {
    return this.#active.size === 0 && this.#expected === 0;
  }

  /** Resolves when no lease is left, and nobody is on the way to one. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idleCallbacks.push(resolve));
  }

  /** Takes the leases of one session back. */
  revoke(id: string, cause: Error, reason: string): void {
    for (const active of this.#active.toArray()) {
      if (active.entry.id === id) this.#end(active, { cause, reason, discardsClient: true });
    }
  }

  /** Takes every lease back. With `isLeak` each is told as `leaked`. */
  revokeAll(cause: (id: string) => Error, reason: string, isLeak: boolean): void {
    for (const active of this.#active.toArray()) {
      if (isLeak) this.#emitLeaked(active);
      this.#end(active, { cause: cause(active.entry.id), reason, discardsClient: true });
    }
  }

  #limit(active: ActiveLease<Client>): void {
    const { maxLeaseMs, clock } = this.#parts;
    active.timer = clock.setTimer(maxLeaseMs, () => {
      const { id } = active.entry;
      this.#emitLeaked(active);
      const cause = new LeaseReleasedError(
        `The lease of session "${id}" was held longer than ${maxLeaseMs} ms (maxLeaseMs) and was taken back.`,
        { sessionId: id },
      );
      this.#end(active, { cause, reason: "its lease was held too long", discardsClient: true });
    });
  }

  /** Never in the stack of whoever asked for it, or gave the session back to it. */
  #emitLeased({ sessionId: id }: ActiveLease<Client>): void {
    queueMicrotask(() => this.#parts.emit("leased", { id }));
  }

  #emitLeaked({ entry, since, stack }: ActiveLease<Client>): void {
    const heldMs = Math.round(this.#parts.time.now() - since);
    this.#parts.emit("leaked", { id: entry.id, heldMs, ...(stack === undefined ? {} : { stack }) });
  }

  #end(active: ActiveLease<Client>, revocation?: Revocation): void {
    if (active.hasEnded) return;
    active.end(revocation === undefined ? released : revoked, revocation?.cause);
    const { entry, connection } = active;
    active.timer?.cancel();
    this.#active.remove(active);
    const { sessionTable, time, connections } = this.#parts;
    const now = time.now();
    if (active.isIdle) {
      const reason = closeReason(entry, revocation?.discardsClient ? revocation : undefined);
      void connections.checkIn(connection, reason, time.toMonotonic(now));
      sessionTable.release(entry, now, time.wallNow(now), false);
    } else {
      sessionTable.release(entry, now, time.wallNow(now), true);
      this.#drain(active, revocation);
      if (revocation !== undefined && connection.users === 1) void connections.close(entry.id, revocation.reason);
    }
    const { isHeard, emit, processRef } = this.#parts;
    this.#onLeaseEnded(entry, now);
    // After the queue was served: a listener that asks for a session comes behind the callers who wait.
    if (isHeard("released")) emit("released", { id: entry.id, heldMs: Math.round(now - active.since) });
    processRef.unref();
  }

  #drain(active: ActiveLease<Client>, revocation: Revocation | undefined): void {
    active.onIdle(() => this.#drained(active, revocation));
  }

  #drained({ entry, connection }: ActiveLease<Client>, revocation: Revocation | undefined): void {
    void this.#parts.connections.checkIn(connection, closeReason(entry, revocation));
    const now = this.#parts.time.now();
    this.#parts.sessionTable.drained(entry, now);
    this.#onLeaseEnded(entry, now);
  }

  #onLeaseEnded(entry: SessionEntry, now: number): void {
    this.#parts.scheduler.serveWaiters(now);
    if (entry.isRemoving && !entry.isLeased) this.#parts.onLastLeaseEnded(entry.id);
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#idleCallbacks.length === 0 || !this.#isIdle) return;
    const callbacks = this.#idleCallbacks;
    this.#idleCallbacks = [];
    for (const callback of callbacks) callback();
  }
}

function released({ sessionId: id, returnedIterator: hasLeftIterator }: LeaseScope): LeaseReleasedError {
  const advice = hasLeftIterator
    ? "The function given to use() has returned an iterator, which asks for its items later: iterate by pool.iterate(work, options), which holds the lease until the iteration ends."
    : "Await every call before release() or before the function given to use() returns.";
  return new LeaseReleasedError(
    `The lease of session "${id}" was given back; its client cannot be used any more. ${advice}`,
    { sessionId: id },
  );
}

function revoked({ sessionId: id, revoked: cause }: LeaseScope): LeaseReleasedError {
  if (cause instanceof LeaseReleasedError) return cause;
  const root = cause instanceof PoolClosedError ? (cause.cause ?? cause) : cause;
  return new LeaseReleasedError(`The lease of session "${id}" was taken back: ${cause?.message}`, {
    cause: root,
    sessionId: id,
  });
}

/** Why the client is not to be kept for the next lease, if so. */
function closeReason(entry: SessionEntry, revocation: Revocation | undefined): string | undefined {
  if (revocation !== undefined) return revocation.reason;
  if (entry.isUnblocked) return undefined;
  if (entry.isRemoving) return "the session was removed";
  if (entry.deadReason !== null) return `the session is dead: ${entry.deadReason}`;
  return entry.disabledReason === null ? undefined : "the session was disabled";
}
