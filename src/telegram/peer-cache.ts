/** What is known of a user, group or channel by one account. */
export interface CachedPeer {
  /** Telegram's marked id: users as they are, chats negative, channels with the `-100` prefix. */
  readonly id: string;
  /** In lower case. */
  readonly username?: string | undefined;
  readonly phone?: string | undefined;
  readonly name?: string | undefined;
}

/**
 * The peers that one account knows, found by id, username or phone in one step. Bounded: the one that was not looked up
 * or told of for longest goes first. Knows no client library.
 */
export class PeerCache<Peer extends CachedPeer> {
  readonly #limit: number;
  readonly #peers = new Map<string, Peer>();
  readonly #byUsername = new Map<string, string>();
  readonly #byPhone = new Map<string, string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** Takes in the latest that is known of a peer. A username or phone that moved belongs to its new holder alone. */
  put(peer: Peer): void {
    this.#forget(peer.id);
    this.#peers.set(peer.id, peer);
    if (peer.username !== undefined) this.#byUsername.set(peer.username, peer.id);
    if (peer.phone !== undefined) this.#byPhone.set(peer.phone, peer.id);
    if (this.#peers.size <= this.#limit) return;
    const [oldest] = this.#peers.keys();
    if (oldest !== undefined) this.#forget(oldest);
  }

  byId(id: string): Peer | undefined {
    const peer = this.#peers.get(id);
    if (peer === undefined) return undefined;
    this.#peers.delete(id);
    this.#peers.set(id, peer);
    return peer;
  }

  byUsername(username: string): Peer | undefined {
    return this.#found(this.#byUsername.get(username));
  }

  byPhone(phone: string): Peer | undefined {
    return this.#found(this.#byPhone.get(phone));
  }

  /** The first one of this display name: a look through all of them. */
  byName(name: string): Peer | undefined {
    for (const peer of this.#peers.values()) if (peer.name === name) return peer;
    return undefined;
  }

  #found(id: string | undefined): Peer | undefined {
    return id === undefined ? undefined : this.byId(id);
  }

  #forget(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#peers.delete(id);
    if (peer.username !== undefined && this.#byUsername.get(peer.username) === id)
      this.#byUsername.delete(peer.username);
    if (peer.phone !== undefined && this.#byPhone.get(peer.phone) === id) this.#byPhone.delete(peer.phone);
  }
}
