import type { PeerStore } from "../../src/connections/client-adapter.js";
import type { KnownPeer } from "../../src/telegram/peer-cache.js";

/** What a client is told of its peers, and what it has told of them. */
export interface FakePeerMemory extends PeerStore {
  readonly told: KnownPeer[];
}

export function peerMemory(former: readonly KnownPeer[] = [], limit = 10_000): FakePeerMemory {
  const told: KnownPeer[] = [];
  return { limit, told, load: async () => former, save: (peer) => void told.push(peer) };
}
