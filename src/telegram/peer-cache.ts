/** A user, group or channel as known to one account. The access hash is valid for that account only. */
export interface KnownPeer {
  /** The marked id: unchanged for users, negative for chats, with the prefix `-100` for channels. */
  readonly id: string;
  /** Decimal; `"0"` for basic groups, which have none. */
  readonly accessHash: string;
  /** In lower case. */
  readonly username?: string;
  /** Digits only. */
  readonly phone?: string;
  readonly name?: string;
}

type Handle = "username" | "phone";

/**
 * The peers known to one account, by id, username and phone. Bounded: the peer that was not looked up or updated for
 * longest is evicted first. Independent of the client library.
 */
export class PeerCache {
  readonly #limit: number;
  readonly #displaced: (peer: KnownPeer) => void;
  /** Bounded by `#limit`, which also bounds the other maps. */
  readonly #peers = new Map<string, KnownPeer>();
  readonly #holders: Readonly<Record<Handle, Map<string, string>>> = { username: new Map(), phone: new Map() };
  /** Number of peers by display name, so that looking up an unknown name does not visit all peers. */
  readonly #names = new Map<string, number>();

  /** @param displaced called for each peer that has lost its username or phone to another one, with what remains of it */
  constructor(limit: number, displaced: (peer: KnownPeer) => void = () => {}) {
    this.#limit = limit;
    this.#displaced = displaced;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** Adds or replaces a peer. Its username and phone are taken away from any other peer. */
  put(peer: KnownPeer): void {
    this.#forget(peer.id);
    if (peer.username !== undefined) this.reassign("username", peer.username, peer.id);
    if (peer.phone !== undefined) this.reassign("phone", peer.phone, peer.id);
    this.#enter(peer);
    if (this.#peers.size <= this.#limit) return;
    const [oldest] = this.#peers.keys();
    if (oldest !== undefined) this.#forget(oldest);
  }

  /** Adds peers from an earlier time, in ascending order; they do not replace those that are in the cache. */
  restore(peers: readonly KnownPeer[]): void {
    const newer = [...this.#peers.values()];
    for (const { id } of newer) this.#forget(id);
    for (const peer of peers) this.put(peer);
    for (const peer of newer) this.put(peer);
  }

  /** Removes a username or phone from the peer that has it, unless that is `owner`. */
  reassign(handle: Handle, value: string, owner: string): void {
    const holder = this.#holders[handle].get(value);
    const former = holder === undefined || holder === owner ? undefined : this.#peers.get(holder);
    if (former === undefined) return;
    this.#holders[handle].delete(value);
    const { [handle]: _, ...rest } = former;
    // Keeps its position, as it was not looked up.
    this.#peers.set(former.id, rest);
    this.#displaced(rest);
  }

  /** Whether a peer with this id or username is known. Unlike a look-up, it does not delay its eviction. */
  has(field: "id" | "username", value: string): boolean {
    return field === "id" ? this.#peers.has(value) : this.#holders.username.has(value);
  }

  byId(id: string): KnownPeer | undefined {
    const peer = this.#peers.get(id);
    if (peer === undefined) return undefined;
    this.#peers.delete(id);
    this.#peers.set(id, peer);
    return peer;
  }

  byUsername(username: string): KnownPeer | undefined {
    return this.#found(this.#holders.username.get(username));
  }

  byPhone(phone: string): KnownPeer | undefined {
    return this.#found(this.#holders.phone.get(phone));
  }

  /** A peer with a display name. Visits all peers if there is one. */
  byName(name: string): KnownPeer | undefined {
    if (!this.#names.has(name)) return undefined;
    for (const peer of this.#peers.values()) if (peer.name === name) return peer;
    return undefined;
  }

  /** Removes a peer. Returns whether it was in the cache. */
  forget(id: string): boolean {
    const isKnown = this.#peers.has(id);
    this.#forget(id);
    return isKnown;
  }

  /** Removes all peers. */
  clear(): void {
    for (const id of [...this.#peers.keys()]) this.#forget(id);
  }

  #found(id: string | undefined): KnownPeer | undefined {
    return id === undefined ? undefined : this.byId(id);
  }

  #enter(peer: KnownPeer): void {
    const { id, username, phone, name } = peer;
    this.#peers.set(id, peer);
    if (username !== undefined) this.#holders.username.set(username, id);
    if (phone !== undefined) this.#holders.phone.set(phone, id);
    if (name !== undefined) this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
  }

  #forget(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    if (peer.username !== undefined) this.#holders.username.delete(peer.username);
    if (peer.phone !== undefined) this.#holders.phone.delete(peer.phone);
    if (peer.name === undefined) return;
    const others = (this.#names.get(peer.name) ?? 1) - 1;
    if (others > 0) this.#names.set(peer.name, others);
    else this.#names.delete(peer.name);
  }
}
