import { Mutex } from "async-mutex";
import { OptionsError, StorageError } from "../../src/errors.js";
import type { SessionStorage, StoredRecord } from "../../src/storage/storage.js";
import {
  formatIndex,
  INDEX_KEY,
  type KeyvIndex,
  type KeyvLike,
  parseIndex,
  parseRecord,
  recordKey,
  StrictKeyv,
} from "./keyv/keyv-entries.js";

export type { KeyvLike } from "./keyv/keyv-entries.js";

const READ_AT_ONCE = 100;

/**
 * Keeps records in a `Keyv` (5.6 or 6), and so wherever Keyv has an adapter for. For ONE process at a time: Keyv has no
 * compare-and-set, so `shared` is false. For SQLite, Redis and Postgres take the storage of that name instead.
 *
 * Give it a Keyv, or at least a namespace, of its own: while open it listens to `error`, and it turns on the
 * `throwOnErrors` of Keyv 5. The Keyv stays the caller's: `close` does not disconnect it. The ids are one entry, which
 * every create and delete rewrites (O(records)); `list` reads each record.
 *
 * @throws `OptionsError` when this is no Keyv, or one with a `ttl`: expiry deletes, and would delete sessions.
 */
export function keyv(store: KeyvLike): SessionStorage {
  const isObject = typeof store === "object" && store !== null;
  const isKeyv = isObject && ["get", "set", "delete", "on", "off"].every((name) => name in store);
  if (!isKeyv) throw new OptionsError("keyv() expects a Keyv: keyv(new Keyv(…)).");
  if ("ttl" in store && typeof store.ttl === "number" && store.ttl > 0) {
    throw new OptionsError("keyv() expects a Keyv without ttl: what expires is deleted, and with it the session.");
  }
  return new KeyvStorage(store);
}

class KeyvStorage implements SessionStorage {
  readonly shared = false;
  readonly #keyv: StrictKeyv;
  readonly #mutex = new Mutex();
  #index: KeyvIndex | undefined;

  constructor(store: KeyvLike) {
    this.#keyv = new StrictKeyv(store);
  }

  open(): Promise<void> {
    return this.#mutex.runExclusive(async () => {
      if (this.#index !== undefined) return;
      await this.#keyv.open();
      try {
        const index = parseIndex(await this.#keyv.get(INDEX_KEY));
        for (const id of index.deleted) await this.#keyv.delete(recordKey(id));
        this.#index = { ...index, deleted: [] };
      } catch (error) {
        this.#keyv.close();
        throw error;
      }
    });
  }

  list(): Promise<readonly StoredRecord[]> {
    return this.#exclusive(async (index) => {
      const ids = [...index.ids];
      const records: StoredRecord[] = [];
      for (let start = 0; start < ids.length; start += READ_AT_ONCE) {
        const batch = ids.slice(start, start + READ_AT_ONCE);
        const entries = await this.#keyv.getAll(batch.map(recordKey));
        for (const [position, id] of batch.entries()) records.push(parseRecord(id, entries[position]));
      }
      return records;
    });
  }

  read(id: string): Promise<StoredRecord | undefined> {
    return this.#exclusive((index) => this.#read(index, id));
  }

  write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    return this.#exclusive(async (index) => {
      const current = await this.#read(index, id);
      if ((current?.version ?? 0) !== expected) return undefined;
      const version = (current?.version ?? index.highest) + 1;
      if (data !== null) {
        await this.#keyv.set(recordKey(id), JSON.stringify({ id, version, data }), data);
        if (current === undefined) await this.#addToIndex(index, id);
      } else if (current !== undefined) await this.#delete(index, id, version);
      else return undefined;
      return version;
    });
  }

  close(): Promise<void> {
    return this.#mutex.runExclusive(() => {
      this.#index = undefined;
      this.#keyv.close();
    });
  }

  async #read(index: KeyvIndex, id: string): Promise<StoredRecord | undefined> {
    return index.ids.has(id) ? parseRecord(id, await this.#keyv.get(recordKey(id))) : undefined;
  }

  /** After the record: until the index names it, it does not exist, and creating it again overwrites it. */
  async #addToIndex(index: KeyvIndex, id: string): Promise<void> {
    const deleted = index.deleted.filter((other) => other !== id);
    await this.#save({ ...index, ids: new Set([...index.ids, id]), deleted });
  }

  /** Before the record: the index remembers what is still to be deleted, should the process end in between. */
  async #delete(index: KeyvIndex, id: string, version: number): Promise<void> {
    const ids = new Set(index.ids);
    ids.delete(id);
    const next = { ids, highest: Math.max(index.highest, version) };
    await this.#save({ ...next, deleted: [...index.deleted, id] });
    await this.#keyv.delete(recordKey(id));
    this.#index = { ...next, deleted: index.deleted };
  }

  async #save(index: KeyvIndex): Promise<void> {
    await this.#keyv.set(INDEX_KEY, formatIndex(index));
    this.#index = index;
  }

  /** One call after the other: a write is a read and up to two writes. */
  #exclusive<T>(work: (index: KeyvIndex) => Promise<T>): Promise<T> {
    return this.#mutex.runExclusive(() => {
      if (this.#index === undefined) throw new StorageError("The Keyv storage is not open.");
      return work(this.#index);
    });
  }
}
