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
  /** Created by the first `knowing`. */
  #index: PeerIndex | undefined;

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
      this.#index?.add(sessionId, peer);
    }
  }

  async clear(sessionId: string): Promise<void> {
    this.#assertOpen();
    for (const peer of this.#sessions.get(sessionId)?.values() ?? []) this.#unindex(sessionId, peer);
    this.#sessions.delete(sessionId);
  }

  async knowing(field: PeerField, values: readonly string[]): Promise<readonly string[]> {
    this.#assertOpen();
    this.#index ??= this.#createIndex();
    return this.#index.find(field, values);
  }

  #createIndex(): PeerIndex {
    const index = new PeerIndex();
    for (const [sessionId, peers] of this.#sessions) for (const peer of peers.values()) index.add(sessionId, peer);
    return index;
  }

  #unindex(sessionId: string, peer: StoredPeer | undefined): void {
    if (peer !== undefined) this.#index?.remove(sessionId, peer);
  }
}

/** The sessions that hold each peer, by its id and by its username. Bounded by the peers. */
class PeerIndex {
  /** By value, then by session id: the id of the peer. */
  readonly #holders: Readonly<Record<PeerField, Map<string, Map<string, string>>>> = {
    id: new Map(),
    username: new Map(),
  };

  add(sessionId: string, peer: StoredPeer): void {
    this.#add("id", peer.id, sessionId, peer.id);
    if (peer.username !== undefined) this.#add("username", peer.username, sessionId, peer.id);
  }

  remove(sessionId: string, peer: StoredPeer): void {
    this.#remove("id", peer.id, sessionId, peer.id);
    if (peer.username !== undefined) this.#remove("username", peer.username, sessionId, peer.id);
  }

  find(field: PeerField, values: readonly string[]): readonly string[] {
    return [...new Set(values.flatMap((value) => [...(this.#holders[field].get(value)?.keys() ?? [])]))];
  }

  #add(field: PeerField, value: string, sessionId: string, peerId: string): void {
    const holders = this.#holders[field].get(value) ?? new Map<string, string>();
    this.#holders[field].set(value, holders);
    holders.set(sessionId, peerId);
  }

  #remove(field: PeerField, value: string, sessionId: string, peerId: string): void {
    const holders = this.#holders[field].get(value);
    // The username may have moved to another peer of the session.
    if (holders?.get(sessionId) === peerId) holders.delete(sessionId);
    if (holders?.size === 0) this.#holders[field].delete(value);
  }
}

function toRecord(id: string, slot: Slot | undefined): StoredRecord | undefined {
  if (slot === undefined || slot.data === null) return undefined;
  return { id, version: slot.version, data: slot.data };
}
