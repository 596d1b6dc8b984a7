/** The state of a histogram at one moment. */
export interface HistogramSnapshot {
  /** Upper bounds of the buckets in seconds, ascending and inclusive. */
  readonly bounds: readonly number[];
  /** Number of values in each bucket, not cumulative; the last one counts the values above every bound. */
  readonly counts: readonly number[];
  /** Sum of the values in seconds. */
  readonly sum: number;
  /** Number of values. */
  readonly count: number;
}

/** Bounds for waits for a lease and for leases: 1 ms to 10 min. */
export const WAIT_BOUNDS: readonly number[] = [0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600];
/** Bounds for API calls: 5 ms to 60 s. */
export const CALL_BOUNDS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Bounds for connects: 50 ms to 60 s. */
export const CONNECT_BOUNDS: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60];
/** Bounds for storage operations: 1 ms to 60 s. */
export const STORAGE_BOUNDS: readonly number[] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 60];

/** Counts durations in fixed buckets. Recording costs some nanoseconds: every lease of a measured pool does it twice. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #boundsMs: Float64Array;
  readonly #firstBoundMs: number;
  readonly #counts: Float64Array;
  #sumMs = 0;

  /** `bounds` MUST be ascending. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#boundsMs = Float64Array.from(bounds, (seconds) => seconds * 1000);
    this.#firstBoundMs = this.#boundsMs[0] ?? Number.POSITIVE_INFINITY;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  record(ms: number): void {
    const index = ms <= this.#firstBoundMs ? 0 : this.#bucketOf(ms);
    this.#counts[index] = (this.#counts[index] as number) + 1;
    if (ms !== 0) this.#sumMs += ms;
  }

  snapshot(): HistogramSnapshot {
    const counts = [...this.#counts];
    const count = counts.reduce((sum, some) => sum + some, 0);
    return { bounds: this.#bounds, counts, sum: this.#sumMs / 1000, count };
  }

  #bucketOf(ms: number): number {
    const bounds = this.#boundsMs;
    let index = 1;
    // Linear: most values are in the first buckets.
    while (index < bounds.length && ms > (bounds[index] as number)) index++;
    return index;
  }
}
