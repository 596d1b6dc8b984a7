import { storablePeer } from "../storable-text.js";
import type { PeerStorage, StoredPeer } from "../storage.js";
import type { StorageTimeout } from "../storage-timeout.js";

/** Peers that go to the storage in one call. */
const BATCH = 500;

/** What is to be written about the peers of one session. */
export class SessionPeers {
  readonly id: string;
  /** Whether a client was given it since it was last forgotten. */
  isUsed = false;
  readonly #storage: PeerStorage;
  readonly #limit: number;
  /** Not written yet, the latest last. Bound: `#limit`. */
  readonly #pending = new Map<string, StoredPeer>();
  #mustClear = false;
  /** Calls that the storage has not answered, also those whose deadline has passed. */
  #unanswered = 0;
  #writing: Promise<void> | undefined;
  #savedSinceLook = 0;
  #era = 0;

  constructor(id: string, storage: PeerStorage, limit: number) {
    this.id = id;
    this.#storage = storage;
    this.#limit = limit;
  }

  /** Grows with each `forget`: what was learnt in a former era is not of this session any more. */
  get era(): number {
    return this.#era;
  }

  get hasWork(): boolean {
    return this.#mustClear || this.#pending.size > 0;
  }

  /** Whether an earlier write may still land: one more could be overtaken by it. */
  get isBusy(): boolean {
    return this.#unanswered > 0 && this.#writing === undefined;
  }

  /** To be written. Beyond the limit the oldest is dropped. */
  put(peer: StoredPeer): void {
    this.#pending.delete(peer.id);
    this.#pending.set(peer.id, peer);
    if (this.#pending.size <= this.#limit) return;
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined) this.#pending.delete(oldest);
  }

  /** Nothing of it is written any more, and what was written is to be cleared. */
  clear(): void {
    this.#era++;
    this.isUsed = false;
    this.#pending.clear();
    this.#mustClear = true;
  }

  /** Nothing of it is written any more. */
  discard(): void {
    this.#pending.clear();
    this.#mustClear = false;
  }

  /** The latest that is known, the latest last, whether written or not. Rejects as the storage does. */
  async load(deadline: StorageTimeout): Promise<readonly StoredPeer[]> {
    const latest = new Map<string, StoredPeer>();
    const before = [...this.#pending.values()];
    const stored = this.#mustClear ? [] : await this.#look(deadline);
    for (const peer of [...stored, ...before, ...this.#pending.values()]) {
      latest.delete(peer.id);
      latest.set(peer.id, peer);
    }
    return [...latest.values()].slice(-this.#limit);
  }

  /** Writes what is known now; what is learnt meanwhile waits for the next time. One at a time. */
  write(deadline: StorageTimeout): Promise<void> {
    this.#writing ??= this.#write(deadline).finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #write(deadline: StorageTimeout): Promise<void> {
    let left = this.#pending.size;
    while (this.#mustClear || (left > 0 && this.#pending.size > 0)) {
      if (this.#mustClear) await this.#clear(deadline);
      else left -= await this.#save(deadline, left);
    }
    if (this.#savedSinceLook >= this.#limit) await this.#look(deadline);
  }

  async #clear(deadline: StorageTimeout): Promise<void> {
    await this.#call(deadline, `clear the peers of "${this.id}"`, () => this.#storage.clear(this.id));
    this.#mustClear = false;
  }

  async #save(deadline: StorageTimeout, most: number): Promise<number> {
    const batch: StoredPeer[] = [];
    for (const peer of this.#pending.values()) if (batch.push(peer) >= Math.min(BATCH, most)) break;
    await this.#call(deadline, `save peers of "${this.id}"`, () =>
      this.#storage.save(this.id, batch.map(storablePeer)),
    );
    for (const peer of batch) if (this.#pending.get(peer.id) === peer) this.#pending.delete(peer.id);
    this.#savedSinceLook += batch.length;
    return batch.length;
  }

  /** What the storage holds. When that is more than twice the limit, the latest of it are written anew, alone. */
  async #look(deadline: StorageTimeout): Promise<readonly StoredPeer[]> {
    const era = this.#era;
    const loaded = await deadline.run(`load the peers of "${this.id}"`, () => this.#storage.load(this.id));
    const stored = loaded.filter(isUsable);
    if (era !== this.#era) return [];
    this.#savedSinceLook = 0;
    if (stored.length <= 2 * this.#limit) return stored;
    const newer = [...this.#pending.values()];
    this.#pending.clear();
    this.#mustClear = true;
    for (const peer of [...stored.slice(-this.#limit), ...newer]) this.put(peer);
    return [...this.#pending.values()];
  }

  async #call(deadline: StorageTimeout, what: string, operation: () => Promise<void>): Promise<void> {
    const answer = (async () => operation())();
    const answered = (): void => {
      this.#unanswered--;
    };
    this.#unanswered++;
    answer.then(answered, answered);
    await deadline.run(what, () => answer);
  }
}

/**
 * Whether a stored peer can be asked for by what is stored of it: a driver that renames columns gives "undefined" for an
 * access hash, with which every request about the peer would be refused.
 */
function isUsable(peer: StoredPeer | null | undefined): boolean {
  return typeof peer?.id === "string" && /^-?\d+$/.test(String(peer.accessHash));
}
