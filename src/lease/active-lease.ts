import type { Timer } from "../common/clock.js";
import type { ListNode } from "../common/linked-list.js";
import type { AttemptTracker } from "../connections/attempt.js";
import type { Connection } from "../connections/connection.js";
import { LeaseScope } from "../connections/lease-scope.js";
import type { SessionInfo } from "../session-info.js";
import type { SessionEntry } from "../state/session-entry.js";
import { type CooldownTarget, type Lease, LeaseHandle, type LeaseInternals } from "./lease.js";

/** How a lease ends that is not given back. */
export interface Revocation {
  /** Why, for the lease's signal and for whoever runs the work. */
  readonly cause: Error;
  /** For `disconnected`: why the client is closed, if it is. */
  readonly reason: string;
  /** Whether the client is replaced even when nothing of the lease is on the wire. */
  readonly discardsClient: boolean;
}

/** What becomes of a lease. */
export interface LeaseCallbacks<Client> {
  info(id: string): SessionInfo;
  coolDown(entry: SessionEntry, seconds: number, where: CooldownTarget): void;
  /** `isOfItsKey`: whether the session still has the auth key of the lease's client. */
  retire(entry: SessionEntry, reason: string, isOfItsKey: boolean): void;
  /** Gives it back, or takes it back. The second time is a no-op. */
  end(lease: ActiveLease<Client>, revocation?: Revocation): void;
}

/** A session that the roster has counted as leased, on its connected client. */
export interface ActiveLeaseInit<Client> {
  readonly entry: SessionEntry;
  readonly connection: Connection<Client>;
  readonly tracker: AttemptTracker;
  /** When it was connected for this lease. */
  readonly since: number;
  /** Who asked for it, if that is known. */
  readonly stack: string | undefined;
}

/** One lease from the inside: its requests' scope, and all that the pool has to know of it. */
export class ActiveLease<Client> extends LeaseScope implements LeaseInternals<Client>, ListNode<ActiveLease<Client>> {
  isLinked = false;
  previous: ActiveLease<Client> | null = null;
  next: ActiveLease<Client> | null = null;
  readonly entry: SessionEntry;
  readonly connection: Connection<Client>;
  readonly since: number;
  readonly stack: string | undefined;
  readonly lease: Lease<Client>;
  timer: Timer | undefined = undefined;
  readonly #office: LeaseCallbacks<Client>;

  constructor({ entry, connection, tracker, since, stack }: ActiveLeaseInit<Client>, office: LeaseCallbacks<Client>) {
    super(entry.id, tracker);
    this.entry = entry;
    this.connection = connection;
    this.since = since;
    this.stack = stack;
    this.#office = office;
    this.lease = new LeaseHandle(this);
  }

  guard(): Client {
    return this.connection.handle.guard(this);
  }

  info(): SessionInfo {
    return this.#office.info(this.sessionId);
  }

  coolDown(seconds: number, where: CooldownTarget): void {
    if (this.ended !== undefined) throw this.ended;
    this.#office.coolDown(this.entry, seconds, where);
  }

  retire(reason: string): void {
    if (this.ended !== undefined) throw this.ended;
    this.#office.retire(this.entry, reason, this.connection.hasCurrentKey);
  }

  release(): void {
    this.#office.end(this);
  }

  /** Ends the lease because of `cause`. `reason` is for `disconnected`, if the client has to be closed. */
  revoke(cause: Error, reason: string): void {
    this.#office.end(this, { cause, reason, discardsClient: false });
  }
}
