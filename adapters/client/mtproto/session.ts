import type { PeerStore } from "../../../src/connections/client-adapter.js";
import { type KnownPeer, PeerCache } from "../../../src/telegram/peer-cache.js";
import type { PeerReference } from "../../../src/telegram/peers.js";
import type { EntityCacheView, Library, PeerSession, TlPeer } from "./library.js";

/** A library's row about an entity: marked id, access hash, username, phone, display name. */
type Row = [id: unknown, hash: unknown, username: unknown, phone: unknown, name: unknown];

type PeerRef = [id: string, hash: string] | undefined;

/** A user, group or channel in an answer. A field that Telegram omitted is `null`. */
interface Entity {
  readonly className: string;
  readonly id?: unknown;
  readonly min?: boolean;
  readonly self?: boolean;
  readonly bot?: boolean;
  readonly accessHash?: unknown;
  readonly username?: string | null;
  readonly usernames?: readonly { readonly username: string; readonly active?: boolean }[] | null;
}

/** The fields of a session string (sessions/StringSession.js). */
interface Origin {
  readonly _dcId: number;
  readonly _serverAddress: string | undefined;
  readonly _port: number | undefined;
  readonly _key: Buffer | undefined;
}

/** The parts of a library's session that its look-ups go through. */
interface SessionBase extends Origin {
  load(): Promise<void>;
  _entityToRow(entity: Entity): Row | undefined;
  _entitiesToRows(result: unknown): Row[];
  getInputEntity(key: unknown): object;
}

/** A StringSession of the library that keeps its peers. */
export type SessionClass = new (text: string, store: PeerStore) => PeerSession;

/**
 * Makes the session class. GramJS's own keeps every mention of every peer in a list and searches all of it: 5,000 answers
 * about 100 users are 500,000 rows (sessions/Memory.js, 2.26.22); teleproto's keeps each peer once, and searches all of
 * them; beside it, the client's `_entityCache` keeps each peer again. {@link SessionPeers} stands in for both.
 */
export function sessionClass(library: Library): SessionClass {
  return class PooledSession extends peerCachingClass(library) {
    /** The data center and the key of the session string. */
    readonly #origin: Origin;

    constructor(text: string, store: PeerStore) {
      super(text, store);
      this.#origin = originOf(this);
    }

    /** Called at the start of each connect. Always returns the same server, even if the session was set to another one. */
    override async load(): Promise<void> {
      Object.assign(this, this.#origin, { _loaded: false });
      await super.load();
    }
  } as unknown as SessionClass;
}

/** The library's session class with {@link SessionPeers}. */
function peerCachingClass(library: Library): new (text: string, store: PeerStore) => SessionBase & PeerSession {
  // The look-ups are typed as private parts of other shapes: they are replaced, not called.
  const Base = library.StringSession as unknown as new (text: string) => SessionBase;
  return class PeerCachingSession extends Base implements PeerSession {
    readonly entityCache: EntityCacheView;
    readonly #peers: SessionPeers;
    onOwnUser: PeerSession["onOwnUser"] = undefined;

    constructor(text: string, store: PeerStore) {
      super(text);
      this.#peers = new SessionPeers(library, store);
      this.entityCache = this.#peers.asEntityCache();
    }

    restorePeers(): Promise<void> {
      return this.#peers.restore();
    }

    knows({ field, value }: PeerReference): boolean | undefined {
      return this.#peers.isRestored ? this.#peers.cache.has(field, value) : undefined;
    }

    /** Never throws: peers are a cache, and the answer that names them belongs to the caller. */
    processEntities(result: unknown): void {
      try {
        for (const row of this._entitiesToRows(result)) this.#peers.learn(row);
      } catch {
        // Peers that cannot be read are not cached.
      }
    }

    /** One entity that cannot be read loses no other. */
    override _entityToRow(entity: Entity): Row | undefined {
      if (entity === undefined || entity === null) return undefined;
      try {
        if (entity.self === true && entity.className === "User" && entity.min !== true) this.onOwnUser?.(entity);
        if (entity.min === true) return this.#peers.learnUsername(entity);
        return this.#peers.completed(entity, super._entityToRow(entity));
      } catch {
        return undefined;
      }
    }

    /** Finds a peer by any form in which a caller may name it. Throws if it is unknown. */
    override getInputEntity(key: unknown): object {
      return this.#peers.byPeer(key) ?? super.getInputEntity(key);
    }

    getEntityRowsByPhone(phone: string): PeerRef {
      return refTo(this.#peers.cache.byPhone(phone));
    }

    getEntityRowsByUsername(username: string): PeerRef {
      return refTo(this.#peers.cache.byUsername(username));
    }

    getEntityRowsByName(name: string): PeerRef {
      return refTo(this.#peers.cache.byName(name));
    }

    getEntityRowsById(id: unknown, isExact = true): PeerRef {
      return refTo(isExact ? this.#peers.cache.byId(String(id)) : this.#peers.byAnyId(String(id)));
    }
  };
}

function originOf({ _dcId, _serverAddress, _port, _key }: Origin): Origin {
  return { _dcId, _serverAddress, _port, _key };
}

/** The peers of one session, each of them once, at most `store.limit`. */
class SessionPeers {
  readonly cache: PeerCache;
  isRestored = false;
  readonly #library: Library;
  readonly #store: PeerStore;

  constructor(library: Library, store: PeerStore) {
    this.#library = library;
    this.#store = store;
    this.cache = new PeerCache(store.limit, (peer) => store.save(peer));
  }

  async restore(): Promise<void> {
    this.cache.restore(await this.#store.load().catch(() => []));
    this.isRestored = true;
  }

  /** Caches and saves a peer. One that has not changed costs a look-up only; one that cannot be read is skipped. */
  learn(row: Row): void {
    try {
      const known = this.cache.byId(String(row[0]));
      if (known !== undefined && isSame(known, row)) return;
      const peer = peerOf(row);
      this.cache.put(peer);
      this.#store.save(peer);
    } catch {
      // It is not cached.
    }
  }

  /**
   * A user or channel in part ("min") has no usable access hash, and must not replace what is known; but its username is
   * certain. Source: core.telegram.org/api/min.
   */
  learnUsername(entity: Entity): undefined {
    const username = textOf(entity.username) ?? activeUsernameOf(entity);
    if (username === undefined) return;
    const marked = entity.className === "User" ? String(entity.id) : `-100${entity.id}`;
    this.cache.reassign("username", username.toLowerCase(), marked);
  }

  /** The library's row about an entity, with what Telegram has omitted; `undefined` when it is of no use. */
  completed(entity: Entity, row: Row | undefined): Row | undefined {
    if (row === undefined) return undefined;
    const { className, accessHash } = entity;
    const needsHash = className === "User" || className === "Channel" || className === "Community";
    const lacksHash = needsHash && (accessHash === undefined || accessHash === null);
    // Forbidden and deleted ones come without their names: what is known already says more.
    if (lacksHash || !(needsHash || className === "Chat")) {
      const known = this.cache.byId(String(row[0]));
      if (!lacksHash) return known === undefined ? row : undefined;
      // The libraries read 0, which cannot be used, where the hash was omitted.
      if (known === undefined) return undefined;
      row[1] = known.accessHash;
    }
    row[2] ||= activeUsernameOf(entity)?.toLowerCase();
    return row;
  }

  /** For a `PeerUser`, `PeerChat` or `PeerChannel`: a library's own look-up would ask Telegram, with an access hash of 0. */
  byPeer(key: unknown): object | undefined {
    if (typeof key !== "object" || key === null) return undefined;
    const { Api, utils } = this.#library;
    if (Reflect.get(key, "SUBCLASS_OF_ID") !== Api.PeerUser.SUBCLASS_OF_ID) return undefined;
    return this.#inputPeer(this.cache.byId(String(utils.getPeerId(key as TlPeer))));
  }

  /** By a marked id, or by one without a mark, which a user, a group and a channel can have. */
  byAnyId(id: string): KnownPeer | undefined {
    const exact = this.cache.byId(id);
    if (exact !== undefined || id.startsWith("-")) return exact;
    const { Api, utils, helpers } = this.#library;
    const bare = helpers.returnBigInt(id);
    // In the order of both libraries (entityCache.js, 2.26.22).
    const candidates = [
      new Api.PeerUser({ userId: bare }),
      new Api.PeerChat({ chatId: bare }),
      new Api.PeerChannel({ channelId: bare }),
    ];
    for (const candidate of candidates) {
      const peer = this.cache.byId(String(utils.getPeerId(candidate)));
      if (peer !== undefined) return peer;
    }
    return undefined;
  }

  asEntityCache(): EntityCacheView {
    const { cache } = this;
    return {
      // Everything that a library adds here it also passes to `processEntities`.
      add: () => {},
      get: (id) => this.#inputPeer(this.byAnyId(String(id))),
      has: (id) => this.byAnyId(String(id)) !== undefined,
      get size() {
        return cache.size;
      },
      delete: (id) => cache.forget(this.byAnyId(String(id))?.id ?? ""),
      clear: () => cache.clear(),
    };
  }

  #inputPeer(peer: KnownPeer | undefined): object {
    if (peer === undefined) throw new Error("No cached entity for the given key");
    const { Api, utils, helpers } = this.#library;
    const accessHash = helpers.returnBigInt(peer.accessHash);
    const id = helpers.returnBigInt(peer.id);
    if (!peer.id.startsWith("-")) return new Api.InputPeerUser({ userId: id, accessHash });
    // Not by the mark alone: the id of a basic group may begin with 100.
    if (peer.accessHash === "0") return new Api.InputPeerChat({ chatId: id.negate() });
    return new Api.InputPeerChannel({ channelId: utils.resolveId(id)[0], accessHash });
  }
}

/** A peer with several usernames has them in a list alone. Source: core.telegram.org/constructor/user. */
function activeUsernameOf({ usernames }: Entity): string | undefined {
  return textOf(usernames?.find(({ active }) => active)?.username);
}

function isSame(peer: KnownPeer, [, hash, username, phone, name]: Row): boolean {
  return (
    peer.username === textOf(username) &&
    peer.phone === textOf(phone) &&
    peer.name === textOf(name) &&
    peer.accessHash === String(hash)
  );
}

function peerOf([id, hash, username, phone, name]: Row): KnownPeer {
  const peer: { -readonly [Field in keyof KnownPeer]: KnownPeer[Field] } = { id: String(id), accessHash: String(hash) };
  const texts = { username: textOf(username), phone: textOf(phone), name: textOf(name) };
  if (texts.username !== undefined) peer.username = texts.username;
  if (texts.phone !== undefined) peer.phone = texts.phone;
  if (texts.name !== undefined) peer.name = texts.name;
  return peer;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function refTo(peer: KnownPeer | undefined): PeerRef {
  return peer && [peer.id, peer.accessHash];
}
