import { isStorable, toStorable } from "../options/validators.js";
import type { PeerReference } from "../telegram/peers.js";
import type { PeerStorage, StoredPeer } from "./storage.js";
import type { StorageTimeout } from "./storage-timeout.js";

/** Maximum number of peers per storage call. */
const BATCH = 500;

/** The pending peers of one session. */
export class SessionPeers {
  readonly id: string;
  /** Whether a client has used it since the last `clear`. */
  isUsed = false;
  readonly #storage: PeerStorage;
  readonly #limit: number;
  /** Unwritten peers, latest last. Bounded by `#limit`. */
  readonly #pending = new Map<string, StoredPeer>();
  #mustClear = false;
  /** Calls that the storage has not answered, including those that timed out. */
  #unanswered = 0;
  #writing: Promise<void> | undefined;
  #savedSinceLook = 0;
  #era = 0;

  constructor(id: string, storage: PeerStorage, limit: number) {
    this.id = id;
    this.#storage = storage;
    this.#limit = limit;
  }

  /** Incremented by each `clear`: peers of an earlier era no longer belong to the session. */
  get era(): number {
    return this.#era;
  }

  get hasWork(): boolean {
    return this.#mustClear || this.#pending.size > 0;
  }

  /** Whether an abandoned write may still be applied, and could overtake a new one. */
  get isBusy(): boolean {
    return this.#unanswered > 0 && this.#writing === undefined;
  }

  /** Whether the session holds the peer, whatever is stored; `undefined` if only the storage can tell. */
  holds({ field, value }: PeerReference): boolean | undefined {
    if (field === "id" && this.#pending.has(value)) return true;
    for (const peer of field === "username" ? this.#pending.values() : []) if (peer.username === value) return true;
    return this.#mustClear ? false : undefined;
  }

  /** Adds a peer to be written. Beyond the limit, the oldest is dropped. */
  put(peer: StoredPeer): void {
    this.#pending.delete(peer.id);
    this.#pending.set(peer.id, peer);
    if (this.#pending.size <= this.#limit) return;
    const [oldest] = this.#pending.keys();
    if (oldest !== undefined) this.#pending.delete(oldest);
  }

  /** Drops pending peers and schedules the deletion of stored ones. */
  clear(): void {
    this.#era++;
    this.isUsed = false;
    this.#pending.clear();
    this.#mustClear = true;
  }

  /** Drops pending peers. */
  discard(): void {
    this.#pending.clear();
    this.#mustClear = false;
  }

  /** Resolves with all peers, stored and pending, latest last. Rejects if the storage fails. */
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

  /** Writes the peers pending now; later ones are left to the next write. Only one write runs at a time. */
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

  /** Loads the stored peers. If there are more than twice the limit, they are replaced by the latest ones. */
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
 * Returns whether a stored peer is usable. A driver that renames columns yields "undefined" as access hash, and Telegram
 * would refuse every request with it.
 */
function isUsable(peer: StoredPeer | null | undefined): boolean {
  return typeof peer?.id === "string" && /^-?\d+$/.test(String(peer.accessHash));
}

/** Replaces characters that storages reject in a peer's names: users choose them, and one must not fail a whole batch. */
export function storablePeer(peer: StoredPeer): StoredPeer {
  const { username, phone, name } = peer;
  if ([username, phone, name].every((text) => text === undefined || isStorable(text))) return peer;
  return {
    ...peer,
    ...(username === undefined ? {} : { username: toStorable(username) }),
    ...(phone === undefined ? {} : { phone: toStorable(phone) }),
    ...(name === undefined ? {} : { name: toStorable(name) }),
  };
}
