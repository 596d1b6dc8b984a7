import type { Clock } from "./clock.js";

/** Clocks differ in resolution, so readings always disagree by up to this. */
const NOISE_MS = 2;
/** How long a cached wall-clock offset is reused; dates need no better precision. */
const DATE_HOLDS_MS = 50;
/** A smaller disagreement is jitter, and left out where that makes a rest longer. */
const JITTER_MS = 500;

/**
 * The pool's own time: epoch milliseconds that only ever run forward at the monotonic clock's pace, whatever happens
 * to the wall clock. Instants are turned into wall clock time only to be shown or stored.
 */
export class PoolTime {
  readonly #clock: Clock;
  readonly #origin: number;
  /** What the wall clock was ahead of this time line, and until when that is taken to hold. */
  #wallOffset = 0;
  #wallOffsetUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#origin = clock.now() - clock.monotonic();
  }

  now(): number {
    return this.#origin + this.#clock.monotonic();
  }

  /** The monotonic clock's reading at an instant. */
  toMonotonic(instant: number): number {
    return instant - this.#origin;
  }

  /** The wall clock `now`: for dates that people read. */
  wallNow(now: number = this.now()): number {
    if (now >= this.#wallOffsetUntil) {
      this.#wallOffset = this.#clock.now() - now;
      this.#wallOffsetUntil = now + DATE_HOLDS_MS;
    }
    return Math.round(now + this.#wallOffset);
  }

  /** What the wall clock will show at this instant. */
  toWall(instant: number): number {
    const drift = this.#drift();
    return Math.ceil(drift < 0 && drift > -JITTER_MS ? instant : instant + drift);
  }

  /** The instant at which the wall clock shows this. */
  fromWall(date: number): number {
    const drift = this.#drift();
    return drift > 0 && drift < JITTER_MS ? date : date - drift;
  }

  #drift(): number {
    const drift = this.#clock.now() - this.now();
    return Math.abs(drift) < NOISE_MS ? 0 : drift;
  }
}
