import type { Clock } from "./clock.js";

/** The clocks differ in resolution, so their readings always disagree by up to this. */
const NOISE_MS = 2;
/** How long the wall-clock offset is cached for dates, which need no better precision. */
const OFFSET_VALID_MS = 50;
/** A smaller drift is jitter, and ignored where that makes a cooldown longer. */
const JITTER_MS = 500;

/**
 * The pool's own time line: epoch milliseconds that advance with the monotonic clock, whatever happens to the wall clock.
 * Instants are converted to wall-clock time only to be shown or stored.
 */
export class PoolTime {
  readonly #clock: Clock;
  readonly #origin: number;
  /** By how much the wall clock is ahead of this time line, and until when that is cached. */
  #wallOffset = 0;
  #wallOffsetUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#origin = clock.now() - clock.monotonic();
  }

  now(): number {
    return this.#origin + this.#clock.monotonic();
  }

  /** The wall-clock time at `now`, for dates shown to people. */
  wallNow(now: number = this.now()): number {
    if (now >= this.#wallOffsetUntil) {
      this.#wallOffset = this.#clock.now() - now;
      this.#wallOffsetUntil = now + OFFSET_VALID_MS;
    }
    return Math.round(now + this.#wallOffset);
  }

  /** The wall-clock time at an instant. */
  toWall(instant: number): number {
    const drift = this.#drift();
    return Math.ceil(drift < 0 && drift > -JITTER_MS ? instant : instant + drift);
  }

  /** The instant of a wall-clock time. */
  fromWall(date: number): number {
    const drift = this.#drift();
    return drift > 0 && drift < JITTER_MS ? date : date - drift;
  }

  #drift(): number {
    const drift = this.#clock.now() - this.now();
    return Math.abs(drift) < NOISE_MS ? 0 : drift;
  }
}
