import type { PoolContext } from "../../pool-context.js";

/** When a record was written. */
export interface WriteTime {
  /** On the time line of the record, epoch milliseconds. */
  readonly at: number;
  /** By the wall clock: the latest of the readings that the writer had reason to believe. */
  readonly wall: number;
  /** Names the time line. A pool whose clock is behind a record begins another one, as its own lags from then on. */
  readonly line: string;
}

/** A wall clock that has moved ahead of the monotonic clock by more than this was set, or the machine was asleep. */
const MAX_DRIFT_MS = 2_000;

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
  /** Whether a record on this time line has been read or written. */
  #isEstablished = false;
  #line: string;
  /** By how much the latest wall clock of any writer is ahead of the pool's time line. */
  #wallOffset = Number.NEGATIVE_INFINITY;
  /** By how much the wall clock was ahead of the pool's time line when the record was last written. */
  #driftAtWrite = 0;

  /** `line` names the time line that begins if there is no record, or one that this pool's clock is behind. */
  constructor(context: PoolContext, line: string) {
    const { clock, time } = context;
    this.#context = context;
    this.#line = line;
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
   * moved back: the other one began with a clock that was behind.
   */
  adopt({ at, wall, line }: WriteTime): number {
    const { clock, time } = this.#context;
    const now = time.now();
    const before = this.#offset;
    const isSame = this.#isEstablished && line === this.#line;
    const elapsed = this.#isEstablished ? 0 : Math.min(clock.now(), now) - wall;
    this.#offset = isSame ? Math.max(before, at - now) : at + Math.max(elapsed, 0) - now;
    const movedMs = this.#isEstablished ? Math.max(before - this.#offset, 0) : 0;
    if (elapsed >= 0) this.#line = line;
    this.#wallOffset = Math.max(this.#wallOffset, wall - now);
    this.#isEstablished = true;
    return movedMs;
  }

  /** The record was written. */
  establish(): void {
    this.#isEstablished = true;
  }

  /** The times for a record that is written now. */
  stamp(): WriteTime {
    const { clock, time } = this.#context;
    const [now, wallNow] = [time.now(), clock.now()];
    this.#driftAtWrite = wallNow - now;
    const wall = Math.max(wallNow, now, now + this.#wallOffset);
    this.#wallOffset = wall - now;
    return { at: Math.ceil(this.now(now)), wall: Math.ceil(wall), line: this.#line };
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
