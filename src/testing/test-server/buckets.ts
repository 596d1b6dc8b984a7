interface Bucket {
  tokens: number;
  filledAt: number;
}

/** How a bucket refills, and the wait of a caller that finds it empty. */
export interface BucketOptions {
  readonly calls: number;
  readonly perMs: number;
  readonly waitSeconds?: number;
}

/** Token buckets by key, each full at first. */
export class TokenBuckets {
  readonly #options: BucketOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: BucketOptions) {
    this.#options = options;
  }

  /** Takes a token: `undefined`, or the seconds to wait when there is none. */
  take(key: string, now: number): number | undefined {
    const { calls, perMs, waitSeconds } = this.#options;
    const bucket = this.#bucketOf(key, now);
    bucket.tokens = Math.min(calls, bucket.tokens + ((now - bucket.filledAt) * calls) / perMs);
    bucket.filledAt = now;
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return undefined;
    }
    return waitSeconds ?? Math.max(1, Math.ceil(((1 - bucket.tokens) * perMs) / calls / 1000));
  }

  #bucketOf(key: string, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined) return known;
    const bucket = { tokens: this.#options.calls, filledAt: now };
    this.#buckets.set(key, bucket);
    return bucket;
  }
}
