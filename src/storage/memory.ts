import { StorageError } from "../errors.js";
import { givenStorage } from "./checked-storage.js";
import type { PeerStorage, RecordWrite, SessionStorage, StoredPeer, StoredRecord } from "./storage.js";

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
      known.delete(peer.id);
      known.set(peer.id, { ...peer });
    }
  }

  async clear(sessionId: string): Promise<void> {
    this.#assertOpen();
    this.#sessions.delete(sessionId);
  }
}

function toRecord(id: string, slot: Slot | undefined): StoredRecord | undefined {
  if (slot === undefined || slot.data === null) return undefined;
  return { id, version: slot.version, data: slot.data };
}
