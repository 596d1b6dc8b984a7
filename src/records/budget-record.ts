import { RESERVED_PREFIXES } from "./reserved-ids.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import { endless, ROUNDS, type StorageDeadline } from "./storage-deadline.js";

const ID = `${RESERVED_PREFIXES.pool}budgets`;

/** The record of learnt budgets: one for all pools on a storage, written by compare-and-set. */
export class BudgetRecord {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageDeadline;
  #version = 0;

  constructor(storage: SessionStorage, deadline: StorageDeadline) {
    this.#storage = storage;
    this.#deadline = deadline;
  }

  /** The data of the record, if it is this one and is news. */
  read({ id, version, data }: StoredRecord): string | undefined {
    if (id !== ID || version <= this.#version) return undefined;
    this.#version = version;
    return data;
  }

  /** Writes what `current` tells; `merge` is told first what others have written meanwhile. */
  async write(current: () => string, merge: (data: string) => void): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const data = current();
      const write = (): Promise<number | undefined> => this.#storage.write(ID, this.#version, data);
      const version = await this.#deadline.run("write the record of budgets", write);
      if (version !== undefined) {
        this.#version = version;
        return;
      }
      const stored = await this.#deadline.run("read a record", () => this.#storage.read(ID));
      this.#version = stored?.version ?? 0;
      if (stored !== undefined) merge(stored.data);
    }
    throw endless(ID);
  }
}
