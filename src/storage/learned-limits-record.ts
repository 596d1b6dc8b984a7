import { RESERVED_PREFIXES } from "./reserved-ids.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import { endless, ROUNDS, type StorageTimeout } from "./storage-timeout.js";

export const BUDGETS_ID: string = `${RESERVED_PREFIXES.pool}budgets`;

/** The record of learnt budgets: one for all pools on a storage, written by compare-and-set. */
export class LearnedLimitsRecord {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  #version = 0;
  #isRejected = false;

  constructor(storage: SessionStorage, deadline: StorageTimeout) {
    this.#storage = storage;
    this.#deadline = deadline;
  }

  /** The data of the record, if it is this one and is news. */
  read({ id, version, data }: StoredRecord): string | undefined {
    if (id !== BUDGETS_ID || version <= this.#version) return undefined;
    this.#version = version;
    this.#isRejected = false;
    return data;
  }

  /** What was read last is not to be understood: it is left as it is until somebody removes or repairs it. */
  reject(): void {
    this.#isRejected = true;
  }

  /**
   * Writes what `current` tells; `merge` is told first what others have written meanwhile. Resolves whether it is on
   * disk: nothing is written over a record that was rejected.
   */
  async write(current: () => string, merge: (data: string) => void): Promise<boolean> {
    if (this.#isRejected) await this.#lookAgain(merge);
    for (let round = 0; round < ROUNDS && !this.#isRejected; round++) {
      const data = current();
      const write = (): Promise<number | undefined> => this.#storage.write(BUDGETS_ID, this.#version, data);
      const version = await this.#deadline.run("write the record of budgets", write);
      if (version !== undefined) {
        this.#version = version;
        return true;
      }
      await this.#lookAgain(merge);
    }
    if (this.#isRejected) return false;
    throw endless(BUDGETS_ID);
  }

  async #lookAgain(merge: (data: string) => void): Promise<void> {
    const stored = await this.#deadline.run("read a record", () => this.#storage.read(BUDGETS_ID));
    const isNews = stored?.version !== this.#version;
    this.#version = stored?.version ?? 0;
    if (isNews) this.#isRejected = false;
    if (stored !== undefined && isNews) merge(stored.data);
  }
}
