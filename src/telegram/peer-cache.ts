/** What one account knows of a user, group or channel. The access hash is of use to that account alone. */
export interface KnownPeer {
  /** Telegram's marked id: users as they are, chats negative, channels with the `-100` prefix. */
  readonly id: string;
  /** In decimal; `"0"` for basic groups, which have none. */
  readonly accessHash: string;
  /** In lower case. */
  readonly username?: string;
  /** Digits only. */
  readonly phone?: string;
  readonly name?: string;
}

type Handle = "username" | "phone";

/**
 * The peers that one account knows, found by id, username or phone in one step. Bounded: the one that was not looked up
 * or told of for longest goes first. Knows no client library.
 */
export class PeerCache {
  readonly #limit: number;
  readonly #displaced: (peer: KnownPeer) => void;
  /** Bound: `#limit`, as the maps beside it. */
  readonly #peers = new Map<string, KnownPeer>();
  readonly #holders: Readonly<Record<Handle, Map<string, string>>> = { username: new Map(), phone: new Map() };
  /** How many have each display name, so that a name nobody has costs no look through all of them. */
  readonly #names = new Map<string, number>();

  /** `displaced` is told of each peer that has lost its username or phone to another one, as it is from then on. */
  constructor(limit: number, displaced: (peer: KnownPeer) => void = () => {}) {
    this.#limit = limit;
    this.#displaced = displaced;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** Takes in the latest that is known of a peer. A username or phone that moved belongs to its new holder alone. */
  put(peer: KnownPeer): void {
    this.#forget(peer.id);
    if (peer.username !== undefined) this.take("username", peer.username, peer.id);
    if (peer.phone !== undefined) this.take("phone", peer.phone, peer.id);
    this.#enter(peer);
    if (this.#peers.size <= this.#limit) return;
    const [oldest] = this.#peers.keys();
    if (oldest !== undefined) this.#forget(oldest);
  }

  /** Takes in what was known in former times, the latest last: what was learnt since is newer. */
  restore(peers: readonly KnownPeer[]): void {
    const newer = [...this.#peers.values()];
    for (const { id } of newer) this.#forget(id);
    for (const peer of peers) this.put(peer);
    for (const peer of newer) this.put(peer);
  }

  /** Takes a username or phone away from whoever had it, unless that is `owner`. */
  take(handle: Handle, value: string, owner: string): void {
    const holder = this.#holders[handle].get(value);
    const former = holder === undefined || holder === owner ? undefined : this.#peers.get(holder);
    if (former === undefined) return;
    this.#holders[handle].delete(value);
    const { [handle]: _, ...rest } = former;
    // In its place: it was not asked for.
    this.#peers.set(former.id, rest);
    this.#displaced(rest);
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

  /** The first one of this display name: a look through all of them, if there is one. */
  byName(name: string): KnownPeer | undefined {
    if (!this.#names.has(name)) return undefined;
    for (const peer of this.#peers.values()) if (peer.name === name) return peer;
    return undefined;
  }

  /** Lets go of one peer. Whether it was known. */
  forget(id: string): boolean {
    const isKnown = this.#peers.has(id);
    this.#forget(id);
    return isKnown;
  }

  /** Lets go of all of them. */
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
