import { StorageError } from "../errors.js";
import { givenStorage } from "./checked-storage.js";
import type { PeerField, PeerStorage, RecordWrite, SessionStorage, StoredPeer, StoredRecord } from "./storage.js";

/** A record, or a deleted one (`data` is `null`), whose version is kept so that a re-created record continues from it. */
interface Slot {
  version: number;
  data: string | null;
}

/**
 * Keeps records in this process's memory: the default, for tests and for pools that start empty each time.
 *
 * Nothing survives the process. `close` makes every further call reject with `StorageError`; `open` on the same object
 * makes it usable again with its records, so that a test can simulate a restart. All calls cost O(1), except `list`, which costs
 * O(records).
 */
export function memory(): SessionStorage {
  return new MemoryStorage();
}

/** Returns whether the storage can never be seen by another process. */
export function isInMemory(storage: SessionStorage): boolean {
  return givenStorage(storage) instanceof MemoryStorage;
}

class MemoryStorage implements SessionStorage {
  readonly shared = false;
  readonly peers: PeerStorage;
  /** Bounded by the ids ever written; a deleted record keeps only its version. */
  readonly #slots = new Map<string, Slot>();
  #isClosed = false;

  constructor() {
    this.peers = new MemoryPeers(() => this.#assertOpen());
  }

  async open(): Promise<void> {
    this.#isClosed = false;
  }

  async list(): Promise<readonly StoredRecord[]> {
    this.#assertOpen();
    return [...this.#slots].flatMap(([id, slot]) => toRecord(id, slot) ?? []);
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    this.#assertOpen();
    return toRecord(id, this.#slots.get(id));
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    return this.#write({ id, expected, data });
  }

  async writeMany(writes: readonly RecordWrite[]): Promise<readonly (number | undefined)[]> {
    return writes.map((write) => this.#write(write));
  }

  #write({ id, expected, data }: RecordWrite): number | undefined {
    this.#assertOpen();
    const slot = this.#slots.get(id) ?? { version: 0, data: null };
    const current = slot.data === null ? 0 : slot.version;
    if (current !== expected || (current === 0 && data === null)) return undefined;
    this.#slots.set(id, { version: slot.version + 1, data });
    return slot.version + 1;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new StorageError("The memory storage is closed.");
  }
}

class MemoryPeers implements PeerStorage {
  readonly #assertOpen: () => void;
  /** Bounded by the number of sessions, and 20,000 peers for each, as the writer deletes older ones. */
  readonly #sessions = new Map<string, Map<string, StoredPeer>>();
  /** Each created by the first `knowing` of its field. */
  readonly #indexes: Partial<Record<PeerField, PeerIndex>> = {};

  constructor(assertOpen: () => void) {
    this.#assertOpen = assertOpen;
  }

  async load(sessionId: string): Promise<readonly StoredPeer[]> {
    this.#assertOpen();
    return [...(this.#sessions.get(sessionId)?.values() ?? [])].map((peer) => ({ ...peer }));
  }

  async save(sessionId: string, peers: readonly StoredPeer[]): Promise<void> {
    this.#assertOpen();
    const known = this.#sessions.get(sessionId) ?? new Map<string, StoredPeer>();
    this.#sessions.set(sessionId, known);
    for (const peer of peers) {
      this.#unindex(sessionId, known.get(peer.id));
      known.delete(peer.id);
      known.set(peer.id, { ...peer });
      for (const index of Object.values(this.#indexes)) index.add(sessionId, peer);
    }
  }

  async clear(sessionId: string): Promise<void> {
    this.#assertOpen();
    for (const peer of this.#sessions.get(sessionId)?.values() ?? []) this.#unindex(sessionId, peer);
    this.#sessions.delete(sessionId);
  }

  async knowing(field: PeerField, values: readonly string[]): Promise<readonly string[]> {
    this.#assertOpen();
    const index = this.#indexes[field] ?? this.#createIndex(field);
    this.#indexes[field] = index;
    return index.find(values);
  }

  #createIndex(field: PeerField): PeerIndex {
    const index = new PeerIndex(field);
    for (const [sessionId, peers] of this.#sessions) for (const peer of peers.values()) index.add(sessionId, peer);
    return index;
  }

  #unindex(sessionId: string, peer: StoredPeer | undefined): void {
    if (peer !== undefined) for (const index of Object.values(this.#indexes)) index.remove(sessionId, peer);
  }
}

/** The sessions that hold each peer, by one of its fields. Bounded by the peers. */
class PeerIndex {
  readonly #field: PeerField;
  /** By value, then by session id: the id of the peer. */
  readonly #holders = new Map<string, Map<string, string>>();

  constructor(field: PeerField) {
    this.#field = field;
  }

  add(sessionId: string, { id, [this.#field]: value }: StoredPeer): void {
    if (value === undefined) return;
    const holders = this.#holders.get(value) ?? new Map<string, string>();
    this.#holders.set(value, holders);
    holders.set(sessionId, id);
  }

  remove(sessionId: string, { id, [this.#field]: value }: StoredPeer): void {
    if (value === undefined) return;
    const holders = this.#holders.get(value);
    // The username may have moved to another peer of the session.
    if (holders?.get(sessionId) === id) holders.delete(sessionId);
    if (holders?.size === 0) this.#holders.delete(value);
  }

  find(values: readonly string[]): readonly string[] {
    return [...new Set(values.flatMap((value) => [...(this.#holders.get(value)?.keys() ?? [])]))];
  }
}

function toRecord(id: string, slot: Slot | undefined): StoredRecord | undefined {
  if (slot === undefined || slot.data === null) return undefined;
  return { id, version: slot.version, data: slot.data };
}
