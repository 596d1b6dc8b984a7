/** Ids of a session's messages that are remembered. */
const IDS_KEPT = 1_000;
/** How far from the server's time a message may lie, in seconds. */
const LONGEST_PAST = 300;
const LONGEST_FUTURE = 30;

/** What a message is that was received: a "known" one is acknowledged once more, and nothing else. */
export type Freshness = "new" | "known" | "forbidden";

/**
 * Tells the server's messages from copies of them, which anybody on the way can send without knowing a key: by their
 * session, and by the parity, the time and the uniqueness of their ids. By default neither library does, and GramJS's
 * `securityChecks` does not look at the session (network/MTProtoState.js, 2.26.22).
 * Source: core.telegram.org/mtproto/security_guidelines.
 */
export class ReceivedMessages {
  readonly #ids = new Set<bigint>();
  /** The latest id that is not remembered any more: what is not above it cannot be told from a copy. */
  #forgotten = 0n;
  readonly #time = new ServerTime();

  /** `session`: the one that the message names; `own`: the connection's. */
  judge(session: bigint, own: bigint, id: bigint): Freshness {
    if (session !== own || (id & 1n) === 0n || !this.#time.allows(Number(id >> 32n))) return "forbidden";
    return this.takeIn(id) ? "new" : "known";
  }

  /** Whether the id is a new one. For the messages of a container, among which old ones are sent again. */
  takeIn(id: bigint): boolean {
    if (id <= this.#forgotten || this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > IDS_KEPT) this.#forgetOldest();
    return true;
  }

  #forgetOldest(): void {
    const [oldest] = this.#ids;
    if (oldest === undefined) return;
    this.#ids.delete(oldest);
    if (oldest > this.#forgotten) this.#forgotten = oldest;
  }
}

/**
 * The server's time as its own messages tell it, in seconds: the machine's clock may be wrong, and is corrected by such
 * messages. How much has passed since is the less certain of two clocks' words, one of which stands still while the
 * machine is suspended, and the other one can be set.
 */
class ServerTime {
  #latest: number | undefined;
  #wall = 0;
  #monotonic = 0;

  allows(seconds: number): boolean {
    const wall = Date.now() / 1_000;
    const monotonic = performance.now() / 1_000;
    if (this.#latest !== undefined) {
      const [least = 0, most = 0] = [wall - this.#wall, monotonic - this.#monotonic].sort((a, b) => a - b);
      const isPast = seconds < this.#latest + least - LONGEST_PAST;
      if (isPast || seconds > this.#latest + most + LONGEST_FUTURE) return false;
      if (seconds < this.#latest) return true;
    }
    this.#latest = seconds;
    this.#wall = wall;
    this.#monotonic = monotonic;
    return true;
  }
}
