import { randomUUID } from "node:crypto";
import { StorageError } from "../../../src/errors.js";
import { toStorageError } from "../to-storage-error.js";

/** The part of a `Keyv` (5.6 or 6) that is used. */
export interface KeyvLike {
  get(key: string): Promise<unknown>;
  set(key: string, value: string): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  on(event: "error", listener: (error: unknown) => void): unknown;
  off(event: "error", listener: (error: unknown) => void): unknown;
}

const PROBE = "telegram-session-pool/probe";

/**
 * A Keyv whose failures are errors. Keyv 5 resolves a failed read as a missing key unless `throwOnErrors` is on; Keyv 6
 * does when somebody listens to `error`; some of their adapters do it themselves and only emit. So a call that an
 * `error` event fell into counts as failed. One call (or one batch) at a time: the caller MUST see to that.
 */
export class StrictKeyv {
  readonly #keyv: KeyvLike;
  #failures: unknown[] = [];
  readonly #onError = (error: unknown): void => {
    this.#failures.push(error);
  };

  constructor(keyv: KeyvLike) {
    this.#keyv = keyv;
  }

  /** Listens, and sees that what is written can be read, so that an unreachable store is not taken for an empty one. */
  async open(): Promise<void> {
    this.#keyv.on("error", this.#onError);
    if ("throwOnErrors" in this.#keyv) this.#keyv.throwOnErrors = true;
    try {
      const token = randomUUID();
      await this.set(PROBE, token);
      if ((await this.get(PROBE)) !== token) throw new StorageError("The Keyv does not give back what was set.");
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    this.#keyv.off("error", this.#onError);
  }

  async get(key: string): Promise<unknown> {
    return (await this.getAll([key]))[0];
  }

  /** Reads at once, each by itself: `getMany` hides failures and is quadratic in some adapters. */
  getAll(keys: readonly string[]): Promise<readonly unknown[]> {
    return this.#call(() => Promise.all(keys.map((key) => this.#keyv.get(key))));
  }

  async set(key: string, value: string, ...secrets: readonly string[]): Promise<void> {
    const isSet = await this.#call(() => this.#keyv.set(key, value), [value, ...secrets]);
    if (isSet === false) throw new StorageError("The Keyv failed: it refused a write without a reason.");
  }

  async delete(key: string): Promise<void> {
    await this.#call(() => this.#keyv.delete(key));
  }

  async #call<T>(work: () => Promise<T>, secrets: readonly string[] = []): Promise<T> {
    this.#failures = [];
    try {
      const result = await work();
      if (this.#failures.length > 0) throw this.#failures[0];
      return result;
    } catch (error) {
      throw toStorageError("The Keyv failed", error, { secrets });
    }
  }
}
