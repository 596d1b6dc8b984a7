import type { Clock, Timer } from "../clock.js";
import { type Connections, Opening } from "../connections/connections.js";
import type { SessionBook } from "./sessions/session-book.js";

/** What keeping clients connected needs. */
export interface KeeperParts {
  readonly clock: Clock;
  readonly book: SessionBook;
  readonly connections: () => Connections<unknown>;
}

/** A connect that failed for no reason that ends by an event is tried again after so long. */
const RETRY_MS = 30_000;

/**
 * Keeps the clients connected of sessions that are to listen, leased or not. One that is lost is connected again, after
 * the same back-off and the same waits as for a lease.
 */
export class Keeper {
  readonly #parts: KeeperParts;
  // One entry for each session that is to stay connected; a timer of one that was removed goes when it fires.
  readonly #connecting = new Set<string>();
  readonly #retries = new Map<string, Timer>();
  #isEnded = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Whether the session's client stays connected without a lease. */
  keeps(id: string): boolean {
    return this.#parts.book.get(id)?.credentials.profile.keepConnected === true;
  }

  /** The session may have come to need a connection. */
  look(id: string): void {
    if (this.#isEnded || this.#connecting.has(id) || !this.keeps(id)) return;
    const connections = this.#parts.connections();
    if (this.#parts.book.get(id)?.state !== "free" || connections.get(id)?.isConnected) return;
    this.#connecting.add(id);
    this.#retries.get(id)?.cancel();
    this.#retries.delete(id);
    const opening = new Opening(true);
    void connections
      .open(id, opening)
      .then(() => connections.end(opening))
      .catch(() => this.#tryLater(id))
      .finally(() => this.#connecting.delete(id));
  }

  lookAtAll(): void {
    for (const id of this.#parts.book.ids()) this.look(id);
  }

  end(): void {
    this.#isEnded = true;
    for (const timer of this.#retries.values()) timer.cancel();
    this.#retries.clear();
  }

  /** A session that rests, or is somebody else's, is looked at when that ends; another one in vain would never be. */
  #tryLater(id: string): void {
    if (this.#isEnded) return;
    const timer = this.#parts.clock.setTimer(RETRY_MS, () => {
      this.#retries.delete(id);
      this.look(id);
    });
    this.#retries.set(id, timer);
  }
}
