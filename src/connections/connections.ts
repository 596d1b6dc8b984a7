import type { Clock, Timer } from "../clock.js";
import { ConnectError } from "../errors.js";
import { LinkedList } from "../linked-list.js";
import type { Connection } from "./connection.js";

/** How many clients at once, and how long without a lease. */
export interface ConnectionsOptions {
  readonly clock: Clock;
  /** Clients at once, connecting and closing ones included. */
  readonly maxConnected: number;
  /** Milliseconds without a lease after which a client is closed. */
  readonly idleTimeoutMs: number;
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
export class Connections<Client> {
  readonly #options: ConnectionsOptions;
  readonly #create: (id: string) => Connection<Client>;
  readonly #open = new Map<string, Connection<Client>>();
  /** Those without a lease, the longest idle first. */
  readonly #idle = new LinkedList<Connection<Client>>();
  readonly #doesSweep: boolean;
  #sweep: Timer | undefined;
  #isClosed = false;

  constructor(options: ConnectionsOptions, create: (id: string) => Connection<Client>) {
    this.#options = options;
    this.#doesSweep = Number.isFinite(options.idleTimeoutMs);
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
  take({ connection }: Connectable, now: number): Connection<Client> | undefined {
    if (connection === undefined || !connection.isConnected || connection.flawAt(now) !== undefined) return undefined;
    // It can only be one of those that were made here.
    return this.#use(connection as Connection<Client>);
  }

  /**
   * The session's connection for one more lease, connected. Rejects as its connect does. One that is only to be kept takes
   * no kept one's place.
   */
  async open(id: string, isForLease = true): Promise<Connection<Client>> {
    const connection = this.#use(await this.#find(id, isForLease));
    try {
      await connection.ensure();
      return connection;
    } catch (error) {
      await this.giveBack(connection, connection.flawAt(this.#options.clock.monotonic()) ?? "connect failed");
      throw error;
    }
  }

  /**
   * Ends one lease's use; `now` is the monotonic clock's reading. With `reason`, or when it is spoilt or gone, the client is
   * closed now if nobody else uses it.
   */
  giveBack(
    connection: Connection<Client>,
    reason?: string,
    now: number = this.#options.clock.monotonic(),
  ): Promise<void> | undefined {
    connection.users--;
    if (connection.users > 0 || connection.closing !== undefined) return connection.closing;
    const cause = reason ?? connection.flawAt(now);
    if (cause !== undefined || !connection.isConnected || this.#isClosed) {
      return this.close(connection.id, cause ?? "idle");
    }
    if (connection.isKept) return undefined;
    if (this.#options.idleTimeoutMs === 0) return this.close(connection.id, "idle");
    this.#idle.add(connection);
    if (!this.#doesSweep) return undefined;
    connection.idleSince = now;
    if (this.#sweep === undefined) this.#armSweep();
    return undefined;
  }

  /** Its only caller waits no longer for the connect: it ends, and its place is free for another session. */
  abandon(id: string): void {
    const connection = this.#open.get(id);
    if (connection?.users === 1 && !connection.isConnected)
      void this.close(id, "nobody waits for the connect any more");
  }

  /** Closes the session's client, whoever uses it; resolves when it is gone. */
  close(id: string, reason: string): Promise<void> {
    const connection = this.#open.get(id);
    if (connection === undefined) return Promise.resolve();
    this.#idle.remove(connection);
    if (connection.closing !== undefined) return connection.closing;
    return connection.close(reason).then(() => {
      if (this.#open.get(id) === connection) this.#open.delete(id);
    });
  }

  /** Closes every client, and opens none any more. */
  async closeAll(reason: string): Promise<void> {
    this.#isClosed = true;
    this.#sweep?.cancel();
    this.#sweep = undefined;
    await Promise.all([...this.#open.keys()].map((id) => this.close(id, reason)));
  }

  #use(connection: Connection<Client>): Connection<Client> {
    this.#idle.remove(connection);
    connection.users++;
    return connection;
  }

  /** The open connection, or a new one as soon as there is room. */
  async #find(id: string, isForLease: boolean): Promise<Connection<Client>> {
    for (;;) {
      if (this.#isClosed) throw new ConnectError("The pool is closed.", { sessionId: id });
      const connection = this.#open.get(id);
      const flaw = connection?.flawAt(this.#options.clock.monotonic());
      if (flaw !== undefined && connection?.users === 0) await this.close(id, flaw);
      else if (connection !== undefined && connection.closing === undefined) return connection;
      else if (connection !== undefined) await gone(connection);
      else if (this.#open.size < this.#options.maxConnected) {
        const created = this.#create(id);
        this.#open.set(id, created);
        return created;
      } else await this.#makeRoom(isForLease);
    }
  }

  async #makeRoom(isForLease: boolean): Promise<void> {
    const idle = this.#idle.first ?? (isForLease ? this.#kept() : undefined);
    if (idle !== undefined) return this.close(idle.id, "another session needs its place");
    const closing = [...this.#open.values()].filter((connection) => connection.closing !== undefined);
    if (closing.length === 0) throw new ConnectError("Every connection that maxConnected allows is in use.");
    await Promise.race(closing.map(gone));
  }

  /** One that stays connected though nobody leases it: a caller needs its place more. */
  #kept(): Connection<Client> | undefined {
    for (const connection of this.#open.values()) {
      if (connection.users === 0 && connection.closing === undefined) return connection;
    }
    return undefined;
  }

  #armSweep(): void {
    const oldest = this.#idle.first;
    if (oldest === undefined) return;
    const left = oldest.idleSince + this.#options.idleTimeoutMs - this.#options.clock.monotonic();
    this.#sweep = this.#options.clock.setTimer(Math.max(left, 1), () => {
      this.#sweep = undefined;
      this.#closeIdle();
      this.#armSweep();
    });
  }

  #closeIdle(): void {
    const latest = this.#options.clock.monotonic() - this.#options.idleTimeoutMs;
    for (let idle = this.#idle.first; idle !== undefined && idle.idleSince <= latest; idle = this.#idle.first) {
      this.#idle.remove(idle);
      void this.close(idle.id, "idle");
    }
  }
}

/** Resolves one turn after the connection is gone and forgotten. */
async function gone(connection: Connection<unknown>): Promise<void> {
  await connection.closing;
  await Promise.resolve();
}
