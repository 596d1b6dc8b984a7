import type { CallLimit } from "../../options/budgets.js";
import type { CallsAt } from "../call-counters.js";

/** Calls that a pool has reserved in the record and may make without another write. Instants are on the record's time line. */
export interface Hold {
  readonly calls: number;
  /** The pool makes none of them after this instant, so that those it never accounts for count as made by then. */
  readonly until: number;
  /** Number of the write that has made it, counted by its pool. */
  readonly write: number;
}

/** Calls that count from an instant on, and until when they count. */
interface Expiry {
  readonly at: number;
  readonly calls: number;
}

/**
 * Maximum number of instants that are kept. Limits up to this many calls are exact to the millisecond.
 */
export const MAX_SLOTS = 128;
/** Parts of a window whose calls count as made at the latest instant among them, once there are too many instants. */
const PARTS = 60;
/** How long after its end a hold may still be accounted for by the pool that has it. */
export const HOLD_GRACE_MS = 10_000;
/** How long after its end a hold is kept for a pool that accounts for it late. */
const HOLD_KEPT_MS = 600_000;

/**
 * The calls of one method that an account has made, and those that pools have reserved. Instants are on the time line of
 * the record. Bounded: calls close to each other share an instant and count as the latest of them, so the limit still
 * holds and the next call may have to wait a little longer.
 */
export class SpentCalls {
  /** The longest window that any pool has needed: calls are kept as long. */
  keepMs: number;
  /** Reserved calls by pool. */
  readonly holds: Map<string, Hold>;
  // Two lists of numbers, ordered by instant: with one object for each instant, records take several times the memory.
  readonly #instants: number[];
  readonly #counts: number[];

  constructor(keepMs = 0, slots: Iterable<CallsAt> = [], holds: Iterable<readonly [string, Hold]> = []) {
    this.keepMs = keepMs;
    this.holds = new Map(holds);
    this.#instants = [];
    this.#counts = [];
    for (const { at, calls } of slots) this.add(at, calls);
  }

  clone(): SpentCalls {
    return new SpentCalls(this.keepMs, this.slots(), this.holds);
  }

  /** Number of instants that are kept. */
  get size(): number {
    return this.#instants.length;
  }

  /** The calls, earliest first. */
  *slots(): Generator<CallsAt> {
    for (const [slot, at] of this.#instants.entries()) yield { at, calls: this.#counts[slot] ?? 0 };
  }

  /** Adds calls made at an instant. */
  add(at: number, calls: number): void {
    let slot = this.#instants.length;
    while (slot > 0 && (this.#instants[slot - 1] ?? 0) > at) slot--;
    if (slot > 0 && this.#instants[slot - 1] === at) {
      this.#counts[slot - 1] = (this.#counts[slot - 1] ?? 0) + calls;
    } else {
      this.#instants.splice(slot, 0, at);
      this.#counts.splice(slot, 0, calls);
    }
  }

  /**
   * Removes what no window needs any longer and bounds the rest. `perMs` is the window of this pool: calls are merged
   * within small parts of it, and within small parts of the longest window beyond.
   */
  prune(now: number, perMs: number): void {
    this.keepMs = Math.max(this.keepMs, perMs);
    for (const [pool, { calls, until }] of this.holds) {
      if (now < until + (calls === 0 ? 0 : HOLD_KEPT_MS)) continue;
      this.holds.delete(pool);
      if (calls > 0) this.add(until, calls);
    }
    let stale = 0;
    while (stale < this.#instants.length && (this.#instants[stale] ?? 0) <= now - this.keepMs) stale++;
    this.#instants.splice(0, stale);
    this.#counts.splice(0, stale);
    if (this.#instants.length > MAX_SLOTS) this.#merge(now, perMs);
  }

  /** Number of calls that count in the window that ends now, holds of other pools than `pool` included. */
  used(now: number, perMs: number, pool: string): number {
    let used = 0;
    for (const { at, calls } of this.#expiries(perMs, pool)) if (at > now) used += calls;
    return used;
  }

  /**
   * The instant from which one more call is within the limit; in the past if it is already. A hold of another pool counts
   * as returned shortly after its end, unless the record was read (`readAt`) later than that and still contained it.
   */
  nextAllowedAt({ calls, perMs }: CallLimit, pool: string, readAt: number): number {
    const expiries = [...this.#expiries(perMs, pool, readAt)].sort((one, other) => other.at - one.at);
    let count = 0;
    for (const expiry of expiries) {
      count += expiry.calls;
      if (count >= calls) return expiry.at;
    }
    return 0;
  }

  /** The instant at which the last call is forgotten. */
  get expiresAt(): number {
    const ends = Array.from(this.holds.values(), ({ until }) => until + HOLD_KEPT_MS);
    return Math.max(this.#instants.at(-1) ?? 0, ...ends) + this.keepMs;
  }

  /** When calls cease to count. Without `readAt`, every hold counts as used up. */
  *#expiries(perMs: number, pool: string, readAt = Number.POSITIVE_INFINITY): Generator<Expiry> {
    for (const { at, calls } of this.slots()) yield { at: at + perMs, calls };
    for (const [holder, { calls, until }] of this.holds) {
      if (holder === pool) continue;
      const returnedBy = until + HOLD_GRACE_MS;
      yield { at: readAt >= returnedBy ? until + perMs : returnedBy, calls };
    }
  }

  /**
   * Merges the instants in each part of the window. The parts are the same at every merge: a call is never moved out of its
   * own, however often its neighbors are merged.
   */
  #merge(now: number, perMs: number): void {
    const instants = this.#instants.splice(0);
    const counts = this.#counts.splice(0);
    let last: number | undefined;
    for (const [slot, at] of instants.entries()) {
      const isRecent = at > now - perMs;
      const partMs = (isRecent ? perMs : this.keepMs) / PARTS;
      const part = Math.floor(at / partMs) * 2 + Number(isRecent);
      const calls = counts[slot] ?? 0;
      if (part === last) {
        this.#instants[this.#instants.length - 1] = at;
        this.#counts[this.#counts.length - 1] = (this.#counts.at(-1) ?? 0) + calls;
      } else {
        this.#instants.push(at);
        this.#counts.push(calls);
      }
      last = part;
    }
  }
}
