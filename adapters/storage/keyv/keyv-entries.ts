import { createHash, randomUUID } from "node:crypto";
import { StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { StoredRecord } from "../../../src/storage/storage.js";
import { toStorageError } from "../to-storage-error.js";

/** The keys of entries. As not every adapter of Keyv can list keys, the ids are stored in an entry of their own. */
export interface KeyvIndex {
  readonly ids: ReadonlySet<string>;
  /** At least the version of every deleted record: a created one starts above it. */
  readonly highest: number;
  /** Ids whose entry is still to be deleted, should the process have ended before it was. */
  readonly deleted: readonly string[];
}

/** The key of the index. */
export const INDEX_KEY = "telegram-session-pool/index";

/** The key of a record: a digest, since stores limit the length of keys and some ignore case or trailing blanks. */
export function recordKey(id: string): string {
  return `telegram-session-pool/${createHash("sha256").update(id).digest("hex")}`;
}

/** The text of the index, as {@link parseIndex} reads it. */
export function formatIndex(index: KeyvIndex): string {
  return JSON.stringify({ ...index, ids: [...index.ids] });
}

/** No entry: nothing was ever kept. Anything that is not an index throws, so that it is not overwritten. */
export function parseIndex(entry: unknown): KeyvIndex {
  if (entry === undefined || entry === null) return { ids: new Set(), highest: 0, deleted: [] };
  const { ids, highest, deleted } = parseObject(entry);
  if (!isTexts(ids) || typeof highest !== "number" || !isTexts(deleted)) throw unreadable();
  return { ids: new Set(ids), highest, deleted };
}

/** The index names the record, so that a missing entry is a lost one. Unreadable data is returned as it is, with version 1. */
export function parseRecord(id: string, entry: unknown): StoredRecord {
  const record = typeof entry === "string" ? objectIn(entry) : undefined;
  const { version, data } = record ?? {};
  const isOurs = record?.id === id && typeof version === "number" && Number.isSafeInteger(version) && version > 0;
  if (isOurs && typeof data === "string") return { id, version, data };
  return { id, version: isOurs ? version : 1, data: typeof entry === "string" ? entry : "" };
}

function parseObject(entry: unknown): Readonly<Record<string, unknown>> {
  const value = typeof entry === "string" ? objectIn(entry) : undefined;
  if (value === undefined) throw unreadable();
  return value;
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return Object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

/** Without a cause: a JSON error quotes what it could not read. */
function unreadable(): StorageCorruptError {
  return new StorageCorruptError(
    `The Keyv's list of sessions (its entry "${INDEX_KEY}") is damaged. Nothing was overwritten: restore it from a backup.`,
  );
}

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
 * does when there is a listener for `error`; some of their adapters do it themselves and only emit. So a call that an
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
      if ((await this.get(PROBE)) !== token) throw new StorageError("The Keyv does not return the value that was set.");
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

  /** Reads concurrently, one by one: `getMany` hides failures and is quadratic in some adapters. */
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
