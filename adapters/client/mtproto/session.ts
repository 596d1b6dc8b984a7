import type { PeerStore } from "../../../src/connections/client-adapter.js";
import { type KnownPeer, PeerCache } from "../../../src/telegram/peer-cache.js";
import type { EntityCacheView, Library, PeerSession } from "./library.js";
import type { TlPeer } from "./tl.js";

/** A library's row about an entity: marked id, access hash, username, phone, display name. */
type Row = [id: unknown, hash: unknown, username: unknown, phone: unknown, name: unknown];

type PeerRef = [id: string, hash: string] | undefined;

/** What may stand in an answer where a user, group or channel is expected. A field that Telegram left out is `null`. */
interface Entity {
  readonly className: string;
  readonly id?: unknown;
  readonly min?: boolean;
  readonly accessHash?: unknown;
  readonly username?: string | null;
  readonly usernames?: readonly { readonly username: string; readonly active?: boolean }[] | null;
}

/** What a session string says (sessions/StringSession.js). */
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
export type SessionClass = new (text: string, peers: PeerStore) => PeerSession;

/**
 * Makes the session class. GramJS's own keeps every mention of every peer in a list and looks through all of it: 5,000
 * answers about 100 users are 500,000 rows (sessions/Memory.js, 2.26.22); teleproto's keeps each peer once, and looks
 * through all of them; beside it, the client's `_entityCache` keeps each peer once more. This one keeps each peer once, at most `peers.limit` of them, in the place of both.
 */
export function sessionClass(library: Library): SessionClass {
  const { utils, helpers, Api } = library;
  // The look-ups are typed as private parts of other shapes: they are replaced, not called.
  const Base = library.StringSession as unknown as new (text: string) => SessionBase;
  /** The class of PeerUser, PeerChat and PeerChannel. */
  const PEER = Api.PeerUser.SUBCLASS_OF_ID;
  /** The three things that an id without a mark can be, in the order of both libraries (entityCache.js, 2.26.22). */
  const markedIds = (id: string): string[] => {
    const bare = helpers.returnBigInt(id);
    return [
      new Api.PeerUser({ userId: bare }),
      new Api.PeerChat({ chatId: bare }),
      new Api.PeerChannel({ channelId: bare }),
    ].map((peer) => String(utils.getPeerId(peer)));
  };
  return class PooledSession extends Base implements PeerSession {
    /** Where the session string says, and with which key. */
    readonly #origin: Origin;
    readonly #memory: PeerStore;
    readonly #peers: PeerCache;
    readonly entityCache: EntityCacheView;

    constructor(text: string, memory: PeerStore) {
      super(text);
      this.#origin = originOf(this);
      this.#memory = memory;
      this.#peers = new PeerCache(memory.limit, (peer) => memory.save(peer));
      this.entityCache = this.#viewAsCache();
    }

    /** Each connect begins here, and goes where the first one went, whatever was done to the session in between. */
    override async load(): Promise<void> {
      Object.assign(this, this.#origin, { _loaded: false });
      await super.load();
    }

    async restorePeers(): Promise<void> {
      const former = await this.#memory.load().catch(() => []);
      this.#peers.restore(former);
    }

    /** Never throws: peers are a cache, and the answer they came with is the caller's. */
    processEntities(result: unknown): void {
      const rows = orNothing(() => this._entitiesToRows(result)) ?? [];
      for (const row of rows) orNothing(() => this.#learn(row));
    }

    /** One entity that cannot be read loses no other. */
    override _entityToRow(entity: Entity): Row | undefined {
      return orNothing(() => this.#rowOf(entity));
    }

    #rowOf(entity: Entity): Row | undefined {
      if (entity === undefined || entity === null) return undefined;
      if (entity.min === true) return this.#glimpse(entity);
      const row = super._entityToRow(entity);
      if (row === undefined) return undefined;
      const known = this.#peers.byId(String(row[0]));
      // What is forbidden or deleted comes without its name: what is known already says more.
      if (!isFullEntity(entity)) return known === undefined ? row : undefined;
      if (needsHash(entity) && !hasHash(entity)) {
        // The libraries read 0, which is of no use, where the hash was left out.
        if (known === undefined) return undefined;
        row[1] = known.accessHash;
      }
      return withUsername(row, entity);
    }

    /** The look-up of everything that a caller may name a peer by. Throws when it is not known. */
    override getInputEntity(key: unknown): object {
      const kind = typeof key === "object" && key !== null ? Reflect.get(key, "SUBCLASS_OF_ID") : undefined;
      // A library's own cannot look these up: it asks Telegram, with an access hash of 0.
      if (kind === PEER) return this.#inputPeer(this.#peers.byId(String(utils.getPeerId(key as TlPeer))));
      return super.getInputEntity(key);
    }

    getEntityRowsByPhone(phone: string): PeerRef {
      return found(this.#peers.byPhone(phone));
    }

    getEntityRowsByUsername(username: string): PeerRef {
      return found(this.#peers.byUsername(username));
    }

    getEntityRowsByName(name: string): PeerRef {
      return found(this.#peers.byName(name));
    }

    getEntityRowsById(id: unknown, isExact = true): PeerRef {
      const known = String(id);
      return found(isExact ? this.#peers.byId(known) : this.#byAnyId(known));
    }

    #viewAsCache(): EntityCacheView {
      const peers = this.#peers;
      return {
        // Whatever a library adds there it gives to `processEntities` too.
        add: () => {},
        get: (id) => this.#inputPeer(this.#byAnyId(String(id))),
        has: (id) => this.#byAnyId(String(id)) !== undefined,
        get size() {
          return peers.size;
        },
        delete: (id) => peers.forget(this.#byAnyId(String(id))?.id ?? ""),
        clear: () => peers.clear(),
      };
    }

    #byAnyId(id: string): KnownPeer | undefined {
      const exact = this.#peers.byId(id);
      if (exact !== undefined || id.startsWith("-")) return exact;
      for (const marked of markedIds(id)) {
        const peer = this.#peers.byId(marked);
        if (peer !== undefined) return peer;
      }
      return undefined;
    }

    /** A peer that is as it was costs a look-up, and no more. */
    #learn(row: Row): void {
      const known = this.#peers.byId(String(row[0]));
      if (known !== undefined && isSame(known, row)) return;
      const peer = peerOf(row);
      this.#peers.put(peer);
      this.#memory.save(peer);
    }

    /**
     * A user or channel in part ("min") has no access hash of use, and must not replace what is known; but who has the
     * username now is certain. Source: core.telegram.org/api/min.
     */
    #glimpse(entity: Entity): undefined {
      const username = textOf(entity.username) ?? activeUsernameOf(entity);
      if (username === undefined) return;
      const marked = entity.className === "User" ? String(entity.id) : `-100${entity.id}`;
      this.#peers.take("username", username.toLowerCase(), marked);
    }

    #inputPeer(peer: KnownPeer | undefined): object {
      if (peer === undefined) throw new Error("No cached entity for the given key");
      const accessHash = helpers.returnBigInt(peer.accessHash);
      const id = helpers.returnBigInt(peer.id);
      if (!peer.id.startsWith("-")) return new Api.InputPeerUser({ userId: id, accessHash });
      // Not by the mark alone: a basic group's id may begin with 100.
      if (peer.accessHash === "0") return new Api.InputPeerChat({ chatId: id.negate() });
      return new Api.InputPeerChannel({ channelId: utils.resolveId(id)[0], accessHash });
    }
  } as unknown as SessionClass;
}

function originOf({ _dcId, _serverAddress, _port, _key }: Origin): Origin {
  return { _dcId, _serverAddress, _port, _key };
}

/** The classes that come with names, those of users and channels with an access hash as well. */
function isFullEntity(entity: Entity): boolean {
  return entity.className === "Chat" || needsHash(entity);
}

function needsHash({ className }: Entity): boolean {
  return className === "User" || className === "Channel" || className === "Community";
}

function hasHash({ accessHash }: Entity): boolean {
  return accessHash !== undefined && accessHash !== null;
}

function withUsername(row: Row, entity: Entity): Row {
  if (textOf(row[2]) === undefined) row[2] = activeUsernameOf(entity)?.toLowerCase();
  return row;
}

/** A peer with several usernames has them in a list alone. Source: core.telegram.org/constructor/user. */
function activeUsernameOf({ usernames }: Entity): string | undefined {
  return textOf(usernames?.find(({ active }) => active)?.username);
}

function orNothing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
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

function found(peer: KnownPeer | undefined): PeerRef {
  return peer && [peer.id, peer.accessHash];
}
