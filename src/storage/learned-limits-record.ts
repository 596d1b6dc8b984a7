import { RESERVED_PREFIXES } from "./record.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import type { StorageTimeout } from "./storage-timeout.js";
import { updateRecord } from "./update-record.js";

export const BUDGETS_ID: string = `${RESERVED_PREFIXES.pool}budgets`;

/** The record of learned rate limits, shared by all pools on a storage and written by compare-and-set. */
export class LearnedLimitsRecord {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  #version = 0;
  #isRejected = false;

  constructor(storage: SessionStorage, deadline: StorageTimeout) {
    this.#storage = storage;
    this.#deadline = deadline;
  }

  /** Returns the data if this is the record of learned limits at a new version. */
  read({ id, version, data }: StoredRecord): string | undefined {
    if (id !== BUDGETS_ID || version <= this.#version) return undefined;
    this.#version = version;
    this.#isRejected = false;
    return data;
  }

  /** Marks the last read data as unreadable: it is not overwritten until it is removed or repaired. */
  reject(): void {
    this.#isRejected = true;
  }

  /**
   * Writes the result of `current`, after passing to `merge` what other pools have written meanwhile. Resolves to false
   * if the record was rejected: such a record is not overwritten.
   */
  async write(current: () => string, merge: (data: string) => void): Promise<boolean> {
    if (this.#isRejected) await this.#lookAgain(merge);
    if (this.#isRejected) return false;
    const { version } = await updateRecord(
      {
        id: BUDGETS_ID,
        read: () => this.#lookAgain(merge),
        write: (expected, data) =>
          this.#deadline.run("write the record of budgets", () => this.#storage.write(BUDGETS_ID, expected, data)),
        first: { expected: this.#version, data: current() },
      },
      () => (this.#isRejected ? undefined : current()),
    );
    if (version === undefined) return false;
    this.#version = version;
    return true;
  }

  async #lookAgain(merge: (data: string) => void): Promise<StoredRecord | undefined> {
    const stored = await this.#deadline.run("read a record", () => this.#storage.read(BUDGETS_ID));
    const isNews = stored?.version !== this.#version;
    this.#version = stored?.version ?? 0;
    if (isNews) this.#isRejected = false;
    if (stored !== undefined && isNews) merge(stored.data);
    return stored;
  }
}
