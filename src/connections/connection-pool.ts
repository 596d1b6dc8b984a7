import { LinkedList } from "../common/linked-list.js";
import { WakeTimer } from "../common/timers.js";
import { ConnectError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import { Connection, SessionChangedError } from "./connection.js";

/** One request for a connection, and its state. */
export class Opening {
  /** Whether it serves the pool itself, or a caller that stopped waiting: it yields its place to a lease. */
  isAside: boolean;
  /** Whether its caller has stopped waiting. */
  isGivenUp = false;
  /** The connection that it uses, until that is checked in. */
  connection: Connection<unknown> | undefined = undefined;

  constructor(isAside = false) {
    this.isAside = isAside;
  }
}

/** The part of a session that concerns its connection. */
interface Connectable {
  /** The open connection, whatever its state. */
  readonly connection: Connection<unknown> | undefined;
}

/**
 * The connections of the sessions: created lazily, one at a time per session, kept open between leases, closed after
 * `idleTimeoutMs` without one, and at most `maxConnected` of them.
 */
export class ConnectionPool<Client> {
  readonly #context: PoolContext;
  readonly #create: (id: string) => Connection<Client>;
  /** Bounded by the number of sessions. */
  readonly #open = new Map<string, Connection<Client>>();
  /** Connections without a lease, the longest idle first. */
  readonly #idle = new LinkedList<Connection<Client>>();
  /** Callers that wait for a place, in order. */
  readonly #roomWaiters = new Set<() => void>();
  /** Number of callers whose connection is not found or created yet. */
  #pendingLeases = 0;
  /** Milliseconds without a lease after which a client is closed. */
  readonly #idleTimeoutMs: number;
  /** Set to when the longest idle connection is to be closed. */
  readonly #sweep: WakeTimer;
  #isClosed = false;

  /** `create` makes a connection of a session. */
  constructor(context: PoolContext, create: (id: string) => Connection<Client>) {
    this.#context = context;
    this.#idleTimeoutMs = context.options.idleTimeoutMs;
    this.#create = create;
    this.#sweep = new WakeTimer(context.clock, () => {
      this.#closeIdle();
      this.#armSweep();
    });
  }

  /** Number of connected clients with and without a caller. Visits each: for a reader of metrics. */
  usage(): { readonly idle: number; readonly used: number } {
    const counts = { idle: 0, used: 0 };
    for (const connection of this.#open.values()) {
      if (connection.isConnected) counts[connection.users > connection.asides ? "used" : "idle"]++;
    }
    return counts;
  }

  /** The open connections, whatever their state. */
  all(): Iterable<Connection<Client>> {
    return this.#open.values();
  }

  get(id: string): Connection<Client> | undefined {
    return this.#open.get(id);
  }

  /**
   * The connection for one more lease, if it is ready at once.
   *
   * Without a look-up by id: with many sessions the cost of a lease is the memory that it touches.
   */
  tryCheckOut({ connection }: Connectable, now: number): Connection<Client> | undefined {
    if (connection === undefined || !connection.isConnected || connection.staleReasonAt(now) !== undefined)
      return undefined;
    // All connections of sessions are created here.
    return this.#use(connection as Connection<Client>);
  }

  /**
   * The session's connection for one more lease, connected. Rejects as its connect does; with `SessionChangedError` when
   * it was closed meanwhile.
   */
  async checkOut(id: string, opening: Opening = new Opening()): Promise<Connection<Client>> {
    const connection = await this.#find(id, opening);
    try {
      await connection.ensure();
      if (opening.connection !== undefined) return connection;
    } catch (error) {
      const wasClosed = connection.closing !== undefined && !this.#isClosed;
      await this.end(opening, connection.staleReasonAt(this.#context.time.now()) ?? "connect failed");
      if (!wasClosed) throw error;
    }
    throw new SessionChangedError(`The connection of "${id}" was closed while it was being opened.`);
  }

  /** Ends the use of a connection that was opened, unless it has ended. `reason` as for {@link checkIn}. */
  end(opening: Opening, reason?: string): Promise<void> | undefined {
    const { connection } = opening;
    if (connection === undefined) return undefined;
    opening.connection = undefined;
    if (opening.isAside) connection.asides--;
    // All connections of sessions are created here.
    return this.checkIn(connection as Connection<Client>, reason);
  }

  /** The caller stops waiting: unless others wait, the connect is aborted, and its place is free for another session. */
  giveUp(opening: Opening): void {
    opening.isGivenUp = true;
    const isReady = opening.connection?.isConnected === true;
    void this.end(opening, isReady ? undefined : "the connect is no longer needed");
    this.#notifyRoomWaiters();
  }

  /** The caller stops waiting, but a connect under way continues: the next caller may find it ready. */
  leave(opening: Opening): void {
    opening.isGivenUp = true;
    if (opening.connection !== undefined && !opening.isAside) {
      opening.isAside = true;
      opening.connection.asides++;
    }
    this.#notifyRoomWaiters();
  }

  /**
   * Ends one lease's use. With `reason`, or when it is stale or lost, the client is closed now if it has no other user.
   */
  checkIn(
    connection: Connection<Client>,
    reason?: string,
    now: number = this.#context.time.now(),
  ): Promise<void> | undefined {
    connection.users--;
    if (connection.users > 0 || connection.closing !== undefined) {
      if (this.#roomWaiters.size > 0) this.#notifyRoomWaiters();
      return connection.closing;
    }
    const cause = reason ?? connection.staleReasonAt(now);
    if (cause !== undefined || !connection.isConnected || this.#isClosed) {
      return this.close(connection.id, cause ?? "idle");
    }
    if (this.#roomWaiters.size > 0) this.#notifyRoomWaiters();
    if (connection.isPersistent) return undefined;
    if (this.#idleTimeoutMs === 0) return this.close(connection.id, "idle");
    this.#idle.add(connection);
    if (this.#idleTimeoutMs === Number.POSITIVE_INFINITY) return undefined;
    connection.idleSince = now;
    if (!this.#sweep.isSet) this.#armSweep();
    return undefined;
  }

  /** Closes the session's client even if it is in use; resolves when it is gone. */
  close(id: string, reason: string): Promise<void> {
    const connection = this.#open.get(id);
    if (connection === undefined) return Promise.resolve();
    this.#idle.remove(connection);
    if (connection.closing !== undefined) return connection.closing;
    return connection.close(reason).then(() => this.#forget(connection));
  }

  /** Closes every client, and opens no more. */
  async closeAll(reason: string): Promise<void> {
    this.#isClosed = true;
    this.#sweep.cancel();
    this.#notifyRoomWaiters();
    await Promise.all([...this.#open.keys()].map((id) => this.close(id, reason)));
  }

  #use(connection: Connection<Client>): Connection<Client> {
    this.#idle.remove(connection);
    connection.users++;
    return connection;
  }

  /** The open connection, or a new one as soon as there is room; `opening` is one of its users from then on. */
  async #find(id: string, opening: Opening): Promise<Connection<Client>> {
    if (!opening.isAside) this.#pendingLeases++;
    try {
      for (;;) {
        const found = this.#tryFind(id, opening);
        if (found instanceof Connection) return this.#useFor(opening, found);
        await found;
      }
    } finally {
      if (!opening.isAside) this.#pendingLeases--;
    }
  }

  /** The connection, or a promise to wait for before the next attempt. */
  #tryFind(id: string, opening: Opening): Connection<Client> | Promise<void> {
    if (this.#isClosed) throw new ConnectError("The pool is closed.", { sessionId: id });
    if (opening.isGivenUp) throw new SessionChangedError(`No caller waits for "${id}" any more.`);
    const connection = this.#open.get(id);
    if (connection?.closing !== undefined) return this.#gone(connection);
    const flaw = connection?.staleReasonAt(this.#context.time.now());
    if (connection !== undefined && flaw !== undefined && connection.users === 0) return this.close(id, flaw);
    if (connection !== undefined) return connection;
    if (this.#open.size < this.#context.options.maxConnected && this.#mayTakePlace(opening)) return this.#make(id);
    return this.#roomFor(id, opening);
  }

  /** To be called before anything is awaited: a connection without users may be closed for another session. */
  #useFor(opening: Opening, connection: Connection<Client>): Connection<Client> {
    opening.connection = connection;
    if (opening.isAside) connection.asides++;
    return this.#use(connection);
  }

  #make(id: string): Connection<Client> {
    const made = this.#create(id);
    this.#open.set(id, made);
    return made;
  }

  /** Leases take precedence for a place that becomes free. */
  #mayTakePlace({ isAside }: Opening): boolean {
    return !isAside || this.#pendingLeases === 0;
  }

  /** Resolves when it is worth another attempt. */
  #roomFor(id: string, opening: Opening): Promise<void> {
    if (!this.#mayTakePlace(opening)) throw noRoom(id);
    const spare = this.#idle.first ?? (opening.isAside ? undefined : this.#yielding());
    if (spare !== undefined) return this.close(spare.id, "another session needs its place");
    if (opening.isAside && !this.#isAnyClosing()) throw noRoom(id);
    return this.#room(id);
  }

  #isAnyClosing(): boolean {
    for (const { closing } of this.#open.values()) if (closing !== undefined) return true;
    return false;
  }

  /** Returns a connection without a lease that only the pool uses, to be closed for a lease. */
  #yielding(): Connection<Client> | undefined {
    let inUse: Connection<Client> | undefined;
    for (const connection of this.#open.values()) {
      if (connection.users > connection.asides || connection.closing !== undefined) continue;
      if (connection.users === 0) return connection;
      inUse ??= connection;
    }
    return inUse;
  }

  /** Resolves when there may be room. Leases that have it are counted before, so it never takes long. */
  #room(id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const { clock, options } = this.#context;
      const notify = (): void => {
        timer.cancel();
        this.#roomWaiters.delete(notify);
        resolve();
      };
      const timer = clock.setTimer(options.connectTimeoutMs, () => {
        this.#roomWaiters.delete(notify);
        reject(noRoom(id));
      });
      this.#roomWaiters.add(notify);
    });
  }

  #notifyRoomWaiters(): void {
    for (const notify of [...this.#roomWaiters]) notify();
  }

  #forget(connection: Connection<Client>): void {
    if (this.#open.get(connection.id) !== connection) return;
    this.#open.delete(connection.id);
    this.#notifyRoomWaiters();
  }

  /** Resolves when the connection is gone and forgotten. */
  async #gone(connection: Connection<Client>): Promise<void> {
    await connection.closing;
    this.#forget(connection);
  }

  #armSweep(): void {
    const oldest = this.#idle.first;
    if (oldest === undefined) return;
    const left = oldest.idleSince + this.#idleTimeoutMs - this.#context.time.now();
    this.#sweep.set(Math.max(left, 1));
  }

  #closeIdle(): void {
    const latest = this.#context.time.now() - this.#idleTimeoutMs;
    for (let idle = this.#idle.first; idle !== undefined && idle.idleSince <= latest; idle = this.#idle.first) {
      this.#idle.remove(idle);
      void this.close(idle.id, "idle");
    }
  }
}

function noRoom(id: string): ConnectError {
  return new ConnectError(
    `Session "${id}" could not connect: every connection that maxConnected allows is in use. Raise maxConnected, or keep fewer sessions connected.`,
    { sessionId: id },
  );
}
