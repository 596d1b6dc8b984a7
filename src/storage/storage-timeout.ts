import type { Clock } from "../common/clock.js";
import { withTimeout } from "../common/timers.js";
import { StorageError } from "../errors.js";
import type { MetricsSwitch } from "../observability/pool-metrics.js";

/** Factor by which reading all records may take longer than one operation. */
export const LIST_TIMEOUT_FACTOR = 12;

/** Runs storage operations with a timeout. Every failure becomes a `StorageError`. */
export class StorageTimeout {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #name: string;
  readonly #metrics: MetricsSwitch | undefined;

  /** `metrics` get the duration of each operation. */
  constructor(clock: Clock, timeoutMs: number, metrics?: MetricsSwitch, name = "storageTimeoutMs") {
    this.#metrics = metrics;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#name = name;
  }

  /** Returns a copy with a timeout that is `factor` times as long. */
  times(factor: number): StorageTimeout {
    return new StorageTimeout(this.#clock, this.#timeoutMs * factor, this.#metrics, `${factor} times ${this.#name}`);
  }

  /**
   * Resolves with the result of the operation. `what` completes the message "The storage could not …"; `secret` is text
   * that must not appear in an error.
   */
  run<T>(what: string, operation: () => T | Promise<T>, secret?: string): Promise<T> {
    return withTimeout(
      this.#clock,
      this.#timeoutMs,
      this.#measured(operation),
      () => this.late(what),
      (error) => asStorageError(error, what, secret),
    );
  }

  async #measured<T>(operation: () => T | Promise<T>): Promise<T> {
    const histogram = this.#metrics?.recorder?.storage;
    if (histogram === undefined) return operation();
    const startedAt = this.#clock.monotonic();
    try {
      return await operation();
    } finally {
      histogram.record(this.#clock.monotonic() - startedAt);
    }
  }

  /** Awaits an operation that is already running and keeps its error; rejects with `late()` after the timeout. */
  within<T>(answer: Promise<T>, late: () => Error): Promise<T> {
    return withTimeout(this.#clock, this.#timeoutMs, answer, late);
  }

  /** Returns the error for an operation that timed out. */
  late(what: string, who = "storage"): StorageError {
    return new StorageError(`The ${who} could not ${what} within ${this.#timeoutMs} ms (${this.#name}).`);
  }
}

/** Converts an error to a `StorageError` without secrets. `what` completes the message "The storage could not …". */
export function asStorageError(error: unknown, what: string, secret: string | undefined): StorageError {
  if (secret !== undefined && mayRepeat(error, secret)) {
    const message = error instanceof Error ? error.message : "";
    if (message === "" || mayRepeat(message, secret)) {
      return new StorageError(
        `The storage could not ${what}. Its error is omitted because it contains data of the record.`,
      );
    }
    return new StorageError(
      `The storage could not ${what}: ${message}. The rest of its error is omitted because it contains data of the record, or is too large to check.`,
    );
  }
  if (error instanceof StorageError) return error;
  return new StorageError(`The storage could not ${what}.`, { cause: error });
}

/** A part of a session string or hash that is long enough to occur in no other text. */
const SECRET_FRAGMENT = /[A-Za-z0-9+/_-]{24}/g;
/** Maximum number of values to inspect. An error with more than this references its driver's client. */
const MAX_VALUES = 2_000;

/** Returns whether an error may contain the secret: drivers often quote the failed row or statement. */
function mayRepeat(error: unknown, secret: string): boolean {
  const parts = secret.match(SECRET_FRAGMENT) ?? [];
  if (parts.length === 0) return false;
  const seen = new Set<unknown>();
  const left = [error];
  while (left.length > 0) {
    const value = left.pop();
    if (typeof value === "string" && parts.some((part) => value.includes(part))) return true;
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const inner of valuesIn(value)) {
      left.push(inner);
      if (seen.size + left.length > MAX_VALUES) return true;
    }
  }
  return false;
}

/** Yields the values that printing the object shows. Getters are not called, as they run the driver's code. */
function* valuesIn(value: object): Generator<unknown> {
  if (ArrayBuffer.isView(value)) return;
  if (value instanceof Map) for (const [key, inner] of value) yield* [key, inner];
  if (value instanceof Set) yield* value;
  for (const key of Reflect.ownKeys(value)) {
    const inner: unknown = Object.getOwnPropertyDescriptor(value, key)?.value;
    if (typeof inner !== "function") yield inner;
    if (typeof key === "string") yield key;
  }
}
