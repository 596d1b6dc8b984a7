import type { Timer } from "../common/clock.js";
import { LinkedList } from "../common/linked-list.js";
import { ConnectError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import { Connection, SessionChangedError } from "./connection.js";

/** One request for a connection, and what has become of it. */
export class Opening {
  /** Whether it is for the pool itself (or for a caller that has gone): it gives way to a lease that needs its place. */
  isAside: boolean;
  /** Its caller waits no longer. */
  isGivenUp = false;
  /** Counted among the connection's users, until it is given back. */
  connection: Connection<unknown> | undefined = undefined;

  constructor(isAside = false) {
    this.isAside = isAside;
  }
}

/** A session, as far as its connection goes. */
export interface Connectable {
  /** The one that is open, whatever its state. */
  readonly connection: Connection<unknown> | undefined;
}

/**
 * Which sessions have a client: made lazily, one at a time per session, kept open between leases, closed after a while
 * without one, and never more than `maxConnected` of them.
 */
export class ConnectionPool<Client> {
  readonly #context: PoolContext;
  readonly #create: (id: string) => Connection<Client>;
  /** Bound: the sessions of the pool. */
  readonly #open = new Map<string, Connection<Client>>();
  /** Those without a lease, the longest idle first. */
  readonly #idle = new LinkedList<Connection<Client>>();
  /** Those that wait for a place, the first first. */
  readonly #roomWaiters = new Set<() => void>();
  /** Callers whose connection is not found or made yet. */
  #leasesLooking = 0;
  /** Milliseconds without a lease after which a client is closed. */
  readonly #idleTimeoutMs: number;
  #sweep: Timer | undefined;
  #isClosed = false;

  /** `create` makes a connection of a session. */
  constructor(context: PoolContext, create: (id: string) => Connection<Client>) {
    this.#context = context;
    this.#idleTimeoutMs = context.options.idleTimeoutMs;
    this.#create = create;
  }

  get(id: string): Connection<Client> | undefined {
    return this.#open.get(id);
  }

  /**
   * The connection for one more lease, if it is ready at once. `now` is the monotonic clock's reading.
   *
   * Costs no look-up: what a lease costs is, with very many sessions, the memory that it looks at.
   */
  tryCheckOut({ connection }: Connectable, now: number): Connection<Client> | undefined {
    if (connection === undefined || !connection.isConnected || connection.staleReasonAt(now) !== undefined)
      return undefined;
    // It can only be one of those that were made here.
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
      await this.end(opening, connection.staleReasonAt(this.#context.clock.monotonic()) ?? "connect failed");
      if (!wasClosed) throw error;
    }
    throw new SessionChangedError(`The connection of "${id}" was closed while it was being opened.`);
  }

  /** Ends the use of a connection that was opened, unless that has happened. `reason` as for {@link checkIn}. */
  end(opening: Opening, reason?: string): Promise<void> | undefined {
    const { connection } = opening;
    if (connection === undefined) return undefined;
    opening.connection = undefined;
    if (opening.isAside) connection.asides--;
    // It can only be one of those that were made here.
    return this.checkIn(connection as Connection<Client>, reason);
  }

  /** The caller waits no longer: unless others do, the connect ends, and its place is free for another session. */
  giveUp(opening: Opening): void {
    opening.isGivenUp = true;
    const isReady = opening.connection !== undefined && isConnected(opening.connection);
    void this.end(opening, isReady ? undefined : "nobody waits for the connect any more");
    this.#tellRoom();
  }

  /** The caller waits no longer, but a connect that has begun goes on: the next caller may find it ready. */
  leave(opening: Opening): void {
    opening.isGivenUp = true;
    if (opening.connection !== undefined && !opening.isAside) {
      opening.isAside = true;
      opening.connection.asides++;
    }
    this.#tellRoom();
  }

  /**
   * Ends one lease's use; `now` is the monotonic clock's reading. With `reason`, or when it is spoilt or gone, the client is
   * closed now if nobody else uses it.
   */
  checkIn(
    connection: Connection<Client>,
    reason?: string,
    now: number = this.#context.clock.monotonic(),
  ): Promise<void> | undefined {
    connection.users--;
    if (connection.users > 0 || connection.closing !== undefined) {
      if (this.#roomWaiters.size > 0) this.#tellRoom();
      return connection.closing;
    }
    const cause = reason ?? connection.staleReasonAt(now);
    if (cause !== undefined || !isConnected(connection) || this.#isClosed) {
      return this.close(connection.id, cause ?? "idle");
    }
    if (this.#roomWaiters.size > 0) this.#tellRoom();
    if (connection.isPersistent) return undefined;
    if (this.#idleTimeoutMs === 0) return this.close(connection.id, "idle");
    this.#idle.add(connection);
    if (this.#idleTimeoutMs === Number.POSITIVE_INFINITY) return undefined;
    connection.idleSince = now;
    if (this.#sweep === undefined) this.#armSweep();
    return undefined;
  }

  /** Closes the session's client, whoever uses it; resolves when it is gone. */
  close(id: string, reason: string): Promise<void> {
    const connection = this.#open.get(id);
    if (connection === undefined) return Promise.resolve();
    this.#idle.remove(connection);
    if (connection.closing !== undefined) return connection.closing;
    return connection.close(reason).then(() => this.#forget(connection));
  }

  /** Closes every client, and opens none any more. */
  async closeAll(reason: string): Promise<void> {
    this.#isClosed = true;
    this.#sweep?.cancel();
    this.#sweep = undefined;
    this.#tellRoom();
    await Promise.all([...this.#open.keys()].map((id) => this.close(id, reason)));
  }

  #use(connection: Connection<Client>): Connection<Client> {
    this.#idle.remove(connection);
    connection.users++;
    return connection;
  }

  /** The open connection, or a new one as soon as there is room; `opening` is one of its users from then on. */
  async #find(id: string, opening: Opening): Promise<Connection<Client>> {
    if (!opening.isAside) this.#leasesLooking++;
    try {
      for (;;) {
        const found = this.#look(id, opening);
        if (found instanceof Connection) return this.#useFor(opening, found);
        await found;
      }
    } finally {
      if (!opening.isAside) this.#leasesLooking--;
    }
  }

  /** The connection, or what is to be waited for before the next look. */
  #look(id: string, opening: Opening): Connection<Client> | Promise<void> {
    if (this.#isClosed) throw new ConnectError("The pool is closed.", { sessionId: id });
    if (opening.isGivenUp) throw new SessionChangedError(`Nobody waits for "${id}" any more.`);
    const connection = this.#open.get(id);
    if (connection?.closing !== undefined) return this.#gone(connection);
    const flaw = connection?.staleReasonAt(this.#context.clock.monotonic());
    if (connection !== undefined && flaw !== undefined && connection.users === 0) return this.close(id, flaw);
    if (connection !== undefined) return connection;
    if (this.#open.size < this.#context.options.maxConnected && this.#mayTakePlace(opening)) return this.#make(id);
    return this.#roomFor(id, opening);
  }

  /** At once, before anything is awaited: a connection without users may be closed for another session. */
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

  /** A place that is made for a lease is not for the pool itself. */
  #mayTakePlace({ isAside }: Opening): boolean {
    return !isAside || this.#leasesLooking === 0;
  }

  /** Resolves when it is worth another look. */
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

  /** One that the pool itself keeps, connects or asks, without a lease: a caller needs its place more. */
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
      const tell = (): void => {
        timer.cancel();
        this.#roomWaiters.delete(tell);
        resolve();
      };
      const timer = clock.setTimer(options.connectTimeoutMs, () => {
        this.#roomWaiters.delete(tell);
        reject(noRoom(id));
      });
      this.#roomWaiters.add(tell);
    });
  }

  #tellRoom(): void {
    for (const tell of [...this.#roomWaiters]) tell();
  }

  #forget(connection: Connection<Client>): void {
    if (this.#open.get(connection.id) !== connection) return;
    this.#open.delete(connection.id);
    this.#tellRoom();
  }

  /** Resolves when the connection is gone and forgotten. */
  async #gone(connection: Connection<Client>): Promise<void> {
    await connection.closing;
    this.#forget(connection);
  }

  #armSweep(): void {
    const oldest = this.#idle.first;
    if (oldest === undefined) return;
    const left = oldest.idleSince + this.#idleTimeoutMs - this.#context.clock.monotonic();
    this.#sweep = this.#context.clock.setTimer(Math.max(left, 1), () => {
      this.#sweep = undefined;
      this.#closeIdle();
      this.#armSweep();
    });
  }

  #closeIdle(): void {
    const latest = this.#context.clock.monotonic() - this.#idleTimeoutMs;
    for (let idle = this.#idle.first; idle !== undefined && idle.idleSince <= latest; idle = this.#idle.first) {
      this.#idle.remove(idle);
      void this.close(idle.id, "idle");
    }
  }
}

/** A client that cannot even tell counts as lost. */
function isConnected(connection: Connection<unknown>): boolean {
  try {
    return connection.isConnected;
  } catch {
    return false;
  }
}

function noRoom(id: string): ConnectError {
  return new ConnectError(
    `Session "${id}" could not connect: every connection that maxConnected allows is in use. Raise maxConnected, or keep fewer sessions connected.`,
    { sessionId: id },
  );
}
