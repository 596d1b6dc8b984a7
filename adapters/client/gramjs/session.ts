import { type CachedPeer, PeerCache } from "../../../src/telegram/peer-cache.js";
import type { Library } from "./library.js";

/** Peers that one session keeps in memory. */
const PEERS_KEPT = 10_000;

/** GramJS's row about an entity: marked id, access hash, username, phone, display name. */
type Row = readonly [id: unknown, hash: unknown, username: unknown, phone: unknown, name: unknown];

interface KnownPeer extends CachedPeer {
  readonly hash: unknown;
}

type Found = [unknown, unknown] | undefined;

/** The parts of GramJS's session that its look-ups go through. */
interface SessionBase {
  _entitiesToRows(result: unknown): Row[];
}

/** A StringSession of the library. */
export type SessionClass = new (text: string) => InstanceType<Library["StringSession"]>;

/**
 * Makes the session class. GramJS's own keeps every mention of every peer in a list and looks through all of it: 5,000
 * answers about 100 users are 500,000 rows (sessions/Memory.js, 2.26.22). This one keeps each peer once.
 */
export function sessionClass(library: Library): SessionClass {
  // The look-ups are typed as private parts of other shapes: they are replaced, not called.
  const Base = library.StringSession as unknown as new (text: string) => SessionBase;
  const markedIds = (id: string): string[] => {
    const { utils, helpers, Api } = library;
    const bare = helpers.returnBigInt(id);
    return [
      new Api.PeerUser({ userId: bare }),
      new Api.PeerChat({ chatId: bare }),
      new Api.PeerChannel({ channelId: bare }),
    ].map((peer) => String(utils.getPeerId(peer)));
  };
  return class PooledSession extends Base {
    readonly #peers = new PeerCache<KnownPeer>(PEERS_KEPT);

    processEntities(result: unknown): void {
      for (const row of this._entitiesToRows(result)) this.#peers.put(peerOf(row));
    }

    getEntityRowsByPhone(phone: string): Found {
      return found(this.#peers.byPhone(phone));
    }

    getEntityRowsByUsername(username: string): Found {
      return found(this.#peers.byUsername(username));
    }

    getEntityRowsByName(name: string): Found {
      return found(this.#peers.byName(name));
    }

    getEntityRowsById(id: string, isExact = true): Found {
      for (const known of isExact ? [id] : markedIds(id)) {
        const peer = this.#peers.byId(String(known));
        if (peer !== undefined) return found(peer);
      }
      return undefined;
    }
  } as unknown as SessionClass;
}

function peerOf([id, hash, username, phone, name]: Row): KnownPeer {
  return { id: String(id), hash, username: textOf(username), phone: textOf(phone), name: textOf(name) };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function found(peer: KnownPeer | undefined): Found {
  return peer && [peer.id, peer.hash];
}
