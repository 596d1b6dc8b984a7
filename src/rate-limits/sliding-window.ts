import type { CallLimit } from "../options/budgets.js";

/** Slots that one window may have. A limit of as many calls is kept to the millisecond. */
const SLOTS = 128;

/**
 * When calls of one kind were sent, lately: a sliding log, which unlike a token bucket never lets more than `calls`
 * through in any `perMs`, and which can say to the instant when the next may go.
 *
 * Bounded: when it has too many slots, calls that are close to each other share one and count as the latest of them, so
 * that a limit is kept all the same, and the next call may have to wait a little longer.
 */
export class SlidingWindow {
  /** Sent and not answered yet. */
  pending = 0;
  /** When the latest flood ends: what was sent before it is accounted for. */
  restsUntil: number = Number.NEGATIVE_INFINITY;
  #keepMs = 0;
  #resolutionMs = 0;
  #total = 0;
  readonly #instants: number[] = [];
  readonly #counts: number[] = [];

  /** Calls that are remembered. */
  get total(): number {
    return this.#total;
  }

  /** Counts a call in that is to be remembered for `keepMs`. Instants MUST NOT go back. */
  add(now: number, keepMs: number): void {
    this.#keepMs = keepMs;
    this.forget(now - keepMs);
    this.#total++;
    const last = this.#instants.length - 1;
    const previous = this.#instants[last - 1] ?? Number.NEGATIVE_INFINITY;
    if (last >= 0 && now - previous < this.#resolutionMs) this.#replace(last, now);
    else {
      this.#instants.push(now);
      this.#counts.push(1);
      if (this.#instants.length > SLOTS) this.#coarsen();
    }
  }

  /** Takes the latest call back: it turned out not to count. */
  undoLast(): void {
    const last = this.#counts.length - 1;
    if (last < 0) return;
    this.#total--;
    const count = (this.#counts[last] ?? 1) - 1;
    this.#counts[last] = count;
    if (count > 0) return;
    this.#instants.pop();
    this.#counts.pop();
  }

  /** Forgets the calls up to an instant. */
  forget(until: number): void {
    let stale = 0;
    while (stale < this.#instants.length && (this.#instants[stale] ?? 0) <= until) {
      this.#total -= this.#counts[stale] ?? 0;
      stale++;
    }
    if (stale === 0) return;
    this.#instants.splice(0, stale);
    this.#counts.splice(0, stale);
    if (this.#instants.length === 0) this.#resolutionMs = 0;
  }

  /** The instant from which one more call is within the limit; one that has passed when it is now. */
  nextAllowedAt({ calls, perMs }: CallLimit): number {
    if (this.#total < calls) return 0;
    let count = 0;
    for (let slot = this.#counts.length - 1; slot >= 0; slot--) {
      count += this.#counts[slot] ?? 0;
      if (count >= calls) return (this.#instants[slot] ?? 0) + perMs;
    }
    return 0;
  }

  /** Whether nothing in it matters any more. */
  isExpiredAt(now: number): boolean {
    return this.pending === 0 && (this.#instants.at(-1) ?? 0) + this.#keepMs <= now;
  }

  /** The latest calls first: when, and how many at that instant. */
  *latestFirst(): Generator<{ readonly at: number; readonly calls: number }> {
    for (let slot = this.#instants.length - 1; slot >= 0; slot--) {
      yield { at: this.#instants[slot] ?? 0, calls: this.#counts[slot] ?? 0 };
    }
  }

  #replace(slot: number, at: number): void {
    this.#instants[slot] = at;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
  }

  /** Half as many slots, or fewer. */
  #coarsen(): void {
    const instants = this.#instants.splice(0);
    const counts = this.#counts.splice(0);
    const span = (instants.at(-1) ?? 0) - (instants[0] ?? 0);
    this.#resolutionMs = Math.max(this.#resolutionMs, (2 * span) / SLOTS);
    let first = Number.NEGATIVE_INFINITY;
    for (const [slot, at] of instants.entries()) {
      const count = counts[slot] ?? 0;
      const last = this.#instants.length - 1;
      if (last >= 0 && at - first < this.#resolutionMs) {
        this.#instants[last] = at;
        this.#counts[last] = (this.#counts[last] ?? 0) + count;
      } else {
        first = at;
        this.#instants.push(at);
        this.#counts.push(count);
      }
    }
  }
}
