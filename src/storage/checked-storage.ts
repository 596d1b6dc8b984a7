import { ignoreRejection } from "../common/process-warning.js";
import { sharedByCopies } from "../common/shared-by-copies.js";
import { StorageError } from "../errors.js";
import { describeType, isObject } from "../options/validators.js";
import type { PeerStorage, RecordWrite, SessionStorage, StoredPeer, StoredRecord, WriteResult } from "./storage.js";
import { WriteBatcher } from "./write-batcher.js";

const handles = new WeakMap<SessionStorage, CheckedStorage>();

/** The number of users of a storage, and whether it is open. */
interface Uses {
  users: number;
  opening: Promise<void> | undefined;
  closing: Promise<void>;
}

const uses: WeakMap<SessionStorage, Uses> = sharedByCopies("storage-uses.1", WeakMap<SessionStorage, Uses>);

/**
 * The handle of a storage object, one per object: every pool and checkpoint that was given the object shares it. It is
 * opened by the first of them and closed by the last, and its results are checked against the contract.
 */
export function checkedStorage(storage: SessionStorage): SessionStorage {
  if (storage instanceof CheckedStorage) return storage;
  const handle = handles.get(storage) ?? new CheckedStorage(storage);
  handles.set(storage, handle);
  return handle;
}

/** The object that the user gave. */
export function givenStorage(storage: SessionStorage): SessionStorage {
  return storage instanceof CheckedStorage ? storage.given : storage;
}

class CheckedStorage implements SessionStorage {
  readonly given: SessionStorage;
  readonly peers?: PeerStorage;
  readonly watch?: NonNullable<SessionStorage["watch"]>;
  readonly writeMany?: (writes: readonly RecordWrite[]) => Promise<readonly WriteResult[]>;
  readonly #uses: Uses;
  readonly #batcher: WriteBatcher | undefined;

  constructor(given: SessionStorage) {
    this.given = given;
    this.#uses = uses.get(given) ?? { users: 0, opening: undefined, closing: Promise.resolve() };
    uses.set(given, this.#uses);
    if (given.peers !== undefined) this.peers = checkedPeers(given.peers);
    if (given.watch !== undefined) this.watch = (...callbacks) => this.#watch(...callbacks);
    if (given.writeMany === undefined) return;
    this.writeMany = (writes) => this.#writeMany(writes);
    this.#batcher = new WriteBatcher((write) => this.#writeOne(write), this.writeMany);
  }

  get shared(): boolean {
    return this.given.shared;
  }

  /** Opens the storage for one more user. Each call MUST be followed by one of `close`, even if it fails. */
  async open(): Promise<void> {
    this.#uses.users++;
    this.#uses.opening ??= this.#uses.closing.then(() => this.given.open?.());
    const { opening } = this.#uses;
    try {
      await opening;
    } catch (error) {
      // The next caller opens it again.
      if (this.#uses.opening === opening) this.#uses.opening = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#uses.users === 0 || --this.#uses.users > 0) return;
    this.#uses.opening = undefined;
    const closing = (async () => this.given.close?.())();
    this.#uses.closing = closing.catch(() => {});
    await closing;
  }

  async list(): Promise<readonly StoredRecord[]> {
    return listed(await this.given.list());
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    const record: unknown = await this.given.read(id);
    if (record === undefined) return undefined;
    if (isObject(record) && record.id === id) return recordOf(id, record);
    throw new StorageError(
      `The storage's read() must resolve to the record { id, version, data } with the given id, or to undefined; it resolved to ${isObject(record) ? "another record" : describeType(record)}.`,
    );
  }

  write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    const write = { id, expected, data };
    return this.#batcher?.write(write) ?? this.#writeOne(write);
  }

  async #writeOne({ id, expected, data }: RecordWrite): Promise<number | undefined> {
    const version: unknown = await this.given.write(id, expected, data);
    if (version === undefined || isVersion(version)) return version;
    throw notAVersion("write()", "the new version", version);
  }

  async #writeMany(writes: readonly RecordWrite[]): Promise<readonly WriteResult[]> {
    const results: unknown = await this.given.writeMany?.(writes);
    if (!Array.isArray(results) || results.length !== writes.length) {
      throw new StorageError(
        `The storage's writeMany() must resolve to an array with one result for each of the ${writes.length} writes; it resolved to ${Array.isArray(results) ? `one of ${results.length}` : describeType(results)}.`,
      );
    }
    return Array.from(results, (result: unknown) => {
      if (result === undefined || result instanceof Error || isVersion(result)) return result;
      return notAVersion("writeMany()", "for each write the new version", result);
    });
  }

  #watch(changed: (id: string) => void, failed?: (error: Error) => void, listening?: () => void): () => void {
    const checked = (id: unknown): void => {
      if (typeof id === "string") changed(id);
    };
    const stop: unknown = this.given.watch?.(checked, failed, listening);
    if (typeof stop === "function") return () => ignoreRejection(stop());
    ignoreRejection(stop);
    throw new StorageError(
      `The storage's watch() must return the function that stops it; it returned ${describeType(stop)}.`,
    );
  }
}

/** The data of an entry that the storage has lost. No schema accepts it. */
const LOST = "";

function notAVersion(method: string, what: string, value: unknown): StorageError {
  return new StorageError(
    `The storage's ${method} must resolve to ${what}, an integer of at least 1, or to undefined if another writer won; it resolved to ${describeType(value)}.`,
  );
}

function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}

/** Validates the result of `list()`. Throws `StorageError` unless it is an array of records; damaged records are kept. */
function listed(records: unknown): readonly StoredRecord[] {
  if (!Array.isArray(records)) {
    throw new StorageError(
      `The storage's list() must resolve to an array of { id, version, data }; it resolved to ${describeType(records)}.`,
    );
  }
  const latest = new Map<string, StoredRecord>();
  for (const [place, entry] of records.entries()) {
    if (!isObject(entry) || typeof entry.id !== "string") {
      throw new StorageError(
        `The storage's list() must resolve to an array of { id, version, data }; the entry at index ${place} has no id.`,
      );
    }
    const record = recordOf(entry.id, entry);
    const other = latest.get(record.id);
    if (other === undefined || other.version < record.version) latest.set(record.id, record);
  }
  return [...latest.values()];
}

function recordOf(id: string, { version, data }: Record<string, unknown>): StoredRecord {
  return {
    id,
    version: isVersion(version) ? version : 1,
    data: typeof data === "string" && isVersion(version) ? data : LOST,
  };
}

/** Validates the results of the peer storage. Invalid rows are dropped, as peers are only a cache. */
function checkedPeers(given: PeerStorage): PeerStorage {
  return {
    async load(sessionId) {
      const rows: unknown = await given.load(sessionId);
      if (Array.isArray(rows)) return rows.filter(isPeer);
      throw new StorageError(
        `The storage's peers.load() must resolve to an array of peers; it resolved to ${describeType(rows)}.`,
      );
    },
    save: async (sessionId, peers) => given.save(sessionId, peers),
    clear: async (sessionId) => given.clear(sessionId),
    ...(given.knowing === undefined ? {} : { knowing: async (...query) => holdersOf(await given.knowing?.(...query)) }),
  };
}

function holdersOf(ids: unknown): readonly string[] {
  if (Array.isArray(ids) && ids.every((id) => typeof id === "string")) return ids;
  throw new StorageError(
    `The storage's peers.knowing() must resolve to an array of session ids; it resolved to ${Array.isArray(ids) ? "one with something else in it" : describeType(ids)}.`,
  );
}

function isPeer(row: unknown): row is StoredPeer {
  if (!isObject(row) || typeof row.id !== "string" || typeof row.accessHash !== "string") return false;
  return [row.username, row.phone, row.name].every((text) => text === undefined || typeof text === "string");
}
