import type { PoolContext } from "../../pool-context.js";

/** When a record was written. */
export interface WriteTime {
  /** The earliest time that it may have been on the time line of the record, epoch milliseconds. */
  readonly at: number;
  /** The latest time that it may have been. */
  readonly latest: number;
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
 *
 * A pool that finds its record on the time line of another pool knows that line only within bounds: the record was written
 * between its own latest look and now. Of what the record contains it assumes that it happened as late as possible, and what
 * it writes itself is dated as late as it may be.
 */
export class RecordTime {
  readonly #context: PoolContext;
  readonly #name: string;
  /** By how much the time line is ahead of the pool's own, at least. */
  #offset: number;
  /** And at most. */
  #maxOffset: number;
  /** Whether a record on this time line has been read or written. */
  #isEstablished = false;
  #line: string;
  /** Number of time lines that this pool has begun. */
  #lines = 0;
  /** An instant of the pool before which every later version of the record was certainly not written. */
  #seenAt = Number.NEGATIVE_INFINITY;
  /** By how much the latest wall clock of any writer is ahead of the pool's time line. */
  #wallOffset = Number.NEGATIVE_INFINITY;
  /** By how much the wall clock was ahead of the pool's time line when the record was last written. */
  #driftAtWrite = 0;

  /** `name` is the pool's own, and of no other: it names the time lines that the pool begins. */
  constructor(context: PoolContext, name: string) {
    const { clock, time } = context;
    this.#context = context;
    this.#name = name;
    this.#line = name;
    this.#offset = clock.now() - time.now();
    this.#maxOffset = this.#offset;
  }

  /** The earliest time that it may be on the time line: by which calls of the record are judged. */
  now(instant: number = this.#context.time.now()): number {
    return instant + this.#offset;
  }

  /** The latest time that it may be on the time line: by which calls of this pool are dated. */
  latest(instant: number = this.#context.time.now()): number {
    return instant + this.#maxOffset;
  }

  /** The latest instant of the pool that may be that time on the time line. */
  toInstant(at: number): number {
    return at - this.#offset;
  }

  /**
   * Takes over the time line of a record that another pool has written. Returns by how much what this pool has dated has to
   * be moved.
   */
  adopt(written: WriteTime): number {
    const now = this.#context.time.now();
    const before = this.#maxOffset;
    if (!this.#isEstablished) this.#begin(written, now);
    else if (written.line === this.#line) {
      this.#offset = Math.max(this.#offset, written.at - now);
      this.#maxOffset = Math.max(Math.min(this.#maxOffset, written.latest - this.#seenAt), this.#offset);
    } else this.#follow(written, written.at - now, written.latest - this.#seenAt);
    const movedMs = this.#isEstablished ? this.#maxOffset - before : 0;
    this.#wallOffset = Math.max(this.#wallOffset, written.wall - now);
    this.#isEstablished = true;
    return movedMs;
  }

  /** The first record that is read: the wall clock tells how old it is, unless that is behind. */
  #begin(written: WriteTime, now: number): void {
    const { at, latest, wall } = written;
    const elapsed = Math.min(this.#context.clock.now(), now) - wall;
    if (elapsed < 0) {
      this.#follow(written, at - now, Number.POSITIVE_INFINITY);
      return;
    }
    this.#follow(written, at + elapsed - now, latest + elapsed - now);
    this.#seenAt = now - elapsed;
  }

  /** Changes to the time line of the record; to a new one with the same times if that may be anywhere ahead. */
  #follow({ line }: WriteTime, offset: number, maxOffset: number): void {
    const isKnown = Number.isFinite(maxOffset);
    this.#offset = offset;
    this.#maxOffset = isKnown ? Math.max(maxOffset, offset) : offset;
    this.#line = isKnown ? line : `${this.#name}.${++this.#lines}`;
  }

  /** The record is known as it was at an instant of the pool: a later version of it was written after that. */
  seen(instant: number): void {
    this.#isEstablished = true;
    this.#seenAt = Math.max(this.#seenAt, instant);
  }

  /** The times for a record that is written now. */
  stamp(): WriteTime {
    const { clock, time } = this.#context;
    const [now, wallNow] = [time.now(), clock.now()];
    this.#driftAtWrite = wallNow - now;
    const wall = Math.max(wallNow, now, now + this.#wallOffset);
    this.#wallOffset = wall - now;
    const [at, latest] = [Math.floor(this.now(now)), Math.ceil(this.latest(now))];
    return { at, latest, wall: Math.ceil(wall), line: this.#line };
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
