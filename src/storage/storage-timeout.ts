import type { Clock } from "../common/clock.js";
import { StorageError } from "../errors.js";

/** Reading everything may take so many times as long as one operation. */
export const LISTING_TAKES = 12;

/** Runs storage operations: each ends by its deadline, and whatever goes wrong is a `StorageError`. */
export class StorageTimeout {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #name: string;

  constructor(clock: Clock, timeoutMs: number, name = "storageTimeoutMs") {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#name = name;
  }

  /** The same for an operation that may take so many times as long. */
  times(factor: number): StorageTimeout {
    return new StorageTimeout(this.#clock, this.#timeoutMs * factor, `${factor} times ${this.#name}`);
  }

  /**
   * The operation's answer. `what` completes "The storage could not …"; `secret` is a text that no error may repeat.
   */
  run<T>(what: string, operation: () => T | Promise<T>, secret?: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(this.#timeoutMs, () => reject(this.late(what)));
      const answer = (async () => operation())();
      answer
        .then(resolve, (error: unknown) => reject(asStorageError(error, what, secret)))
        .finally(() => timer.cancel());
    });
  }

  /** What is under way already, with its own failure; `late` when the deadline has passed. */
  within<T>(answer: Promise<T>, late: () => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(this.#timeoutMs, () => reject(late()));
      answer.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /** What is told when the deadline has passed. */
  late(what: string, who = "storage"): StorageError {
    return new StorageError(`The ${who} could not ${what} within ${this.#timeoutMs} ms (${this.#name}).`);
  }
}

/** A storage may throw anything; a caller gets a `StorageError`. */
function asStorageError(error: unknown, what: string, secret: string | undefined): StorageError {
  if (secret !== undefined && mayRepeat(error, secret)) {
    const message = error instanceof Error ? error.message : "";
    if (message === "" || mayRepeat(message, secret)) {
      return new StorageError(
        `The storage could not ${what}. Its error is left out: it repeats what is in the record.`,
      );
    }
    return new StorageError(
      `The storage could not ${what}: ${message}. The rest of its error is left out: it repeats what is in the record, or holds too much to tell.`,
    );
  }
  if (error instanceof StorageError) return error;
  return new StorageError(`The storage could not ${what}.`, { cause: error });
}

/** So much of a session string or a hash gives it away, and is in nothing else. */
const TELLING = /[A-Za-z0-9+/_-]{24}/g;
/** An error that holds more values than this holds its driver's client: it is not worth a look at all of it. */
const MOST_VALUES = 2_000;

/** Drivers like to quote the row or the statement that failed; an adapter should not let them, but may. */
function mayRepeat(error: unknown, secret: string): boolean {
  const parts = secret.match(TELLING) ?? [];
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
      if (seen.size + left.length > MOST_VALUES) return true;
    }
  }
  return false;
}

/** What an object shows of itself when it is printed. No getter runs: that is the driver's code. */
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
