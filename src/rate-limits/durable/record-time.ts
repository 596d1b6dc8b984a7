import type { PoolContext } from "../../pool-context.js";

/** When a record was written. */
export interface WriteTime {
  /** On the time line of the record, epoch milliseconds. */
  readonly at: number;
  /** By the wall clock: the latest of the readings that the writer had reason to believe. */
  readonly wall: number;
}

/** A wall clock that has moved ahead of the monotonic clock by more than this was set, or the machine was asleep. */
const MAX_DRIFT_MS = 2_000;
/** Rounding of the times in a record. */
const TOLERANCE_MS = 5;

/**
 * The time line of one record that several processes write. It advances with the monotonic clock of each process, and
 * never faster than real time. When a pool first reads the record, it learns from the wall clock how long ago that was
 * written: from the earlier of the time by the clock as it is, and as it was when the pool started. A wall clock that is set
 * while a pool runs changes nothing, and one that is behind the record counts as if no time had passed.
 */
export class RecordTime {
  readonly #context: PoolContext;
  /** By how much the time line is ahead of the pool's own. */
  #offset: number;
  /** When the latest record on this time line was last known to be the current one; `undefined` before the first record. */
  #knownAt: number | undefined;
  /** By how much the latest wall clock of any writer is ahead of the pool's time line. */
  #wallOffset = Number.NEGATIVE_INFINITY;
  /** By how much the wall clock was ahead of the pool's time line when the record was last written. */
  #driftAtWrite = 0;

  constructor(context: PoolContext) {
    const { clock, time } = context;
    this.#context = context;
    this.#offset = clock.now() - time.now();
  }

  /** The current time on the time line, at an instant of the pool. */
  now(instant: number = this.#context.time.now()): number {
    return instant + this.#offset;
  }

  /** The instant of the pool at a time on the time line. */
  toInstant(at: number): number {
    return at - this.#offset;
  }

  /**
   * Takes over the time line of a record that another pool has written. Returns by how much the time line of this pool has
   * moved back: the other one, which began with a clock that was behind, lags.
   */
  adopt({ at, wall }: WriteTime): number {
    const { clock, time } = this.#context;
    const now = time.now();
    const before = this.#offset;
    if (this.#knownAt === undefined) this.#offset = at + Math.max(Math.min(clock.now(), now) - wall, 0) - now;
    else {
      const elapsed = now + this.#wallOffset - wall;
      const isPossible = elapsed >= 0 && elapsed <= now - this.#knownAt + TOLERANCE_MS;
      this.#offset = Math.max(at, Math.min(at + (isPossible ? elapsed : 0), now + before)) - now;
    }
    const movedMs = this.#knownAt === undefined ? 0 : Math.max(before - this.#offset, 0);
    this.#wallOffset = Math.max(this.#wallOffset, wall - now);
    this.#knownAt = now;
    return movedMs;
  }

  /** The record is known to be the current one: it was written, or read again. */
  establish(): void {
    this.#knownAt = this.#context.time.now();
  }

  /** The times for a record that is written now. */
  stamp(): WriteTime {
    const { clock, time } = this.#context;
    const [now, wallNow] = [time.now(), clock.now()];
    this.#driftAtWrite = wallNow - now;
    const wall = Math.max(wallNow, now, now + this.#wallOffset);
    this.#wallOffset = wall - now;
    return { at: Math.ceil(this.now(now)), wall: Math.ceil(wall) };
  }

  /**
   * Whether the wall clock has moved ahead of the monotonic one since the record was written: the machine may have been
   * asleep, where the monotonic clock of some systems stands still. The record is written again before it is relied on.
   */
  get isOutdated(): boolean {
    const { clock, time } = this.#context;
    return clock.now() - time.now() - this.#driftAtWrite > MAX_DRIFT_MS;
  }
}
