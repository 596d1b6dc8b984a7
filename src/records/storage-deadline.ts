import { inspect } from "node:util";
import type { Clock } from "../clock.js";
import { StorageError } from "../errors.js";

/** Reading everything may take so many times as long as one operation. */
export const LISTING_TAKES = 12;

/** Runs storage operations: each ends by its deadline, and whatever goes wrong is a `StorageError`. */
export class StorageDeadline {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #name: string;

  constructor(clock: Clock, timeoutMs: number, name = "storageTimeoutMs") {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#name = name;
  }

  /** The same for an operation that may take so many times as long. */
  times(factor: number): StorageDeadline {
    return new StorageDeadline(this.#clock, this.#timeoutMs * factor, `${factor} times ${this.#name}`);
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
  if (secret !== undefined && repeats(error, secret)) {
    return new StorageError(`The storage could not ${what}. Its error is left out: it repeats what is in the record.`);
  }
  if (error instanceof StorageError) return error;
  return new StorageError(`The storage could not ${what}.`, { cause: error });
}

/** So much of a session string or a hash gives it away, and is in nothing else. */
const TELLING = /[A-Za-z0-9+/_-]{24}/g;

/** Drivers like to quote the row or the statement that failed; an adapter should not let them, but may. */
function repeats(error: unknown, secret: string): boolean {
  const printed = inspect(error, { depth: 8, maxStringLength: null, maxArrayLength: null });
  return secret.match(TELLING)?.some((part) => printed.includes(part)) ?? false;
}

/** So often in a row no other writer is faster: the storage does not keep its word. */
export const ROUNDS: number = 100;

/** What is told then. */
export function endless(key: string): StorageError {
  return new StorageError(
    `The storage has refused ${ROUNDS} writes of "${key}" at the version that it told just before.`,
  );
}
