import { storablePeer } from "../../../src/storage/peer-cache-writer.js";
import type { PeerStorage, StoredPeer } from "../../../src/storage/storage.js";
import { toPeers } from "../sql-rows.js";
import type { Row } from "./postgres-client.js";
import type { Statements } from "./statements.js";

/** Runs one statement. */
export type Run = (statement: string, ...parameters: readonly (string | number | null)[]) => Promise<readonly Row[]>;

/** Peers in a table beside the records. Each call is one statement. */
export function postgresPeers(statements: Statements, run: Run): PeerStorage {
  return {
    async load(sessionId) {
      return toPeers(await run(statements.loadPeers, sessionId));
    },
    async save(sessionId, peers) {
      if (peers.length > 0) await run(statements.savePeers, sessionId, JSON.stringify(lastOfEach(peers)));
    },
    async clear(sessionId) {
      await run(statements.clearPeers, sessionId);
    },
  };
}

/** Postgres refuses to update one row twice in one statement, and U+0000 in a text. */
function lastOfEach(peers: readonly StoredPeer[]): readonly StoredPeer[] {
  const last = new Map<string, StoredPeer>();
  for (const peer of peers) {
    last.delete(peer.id);
    last.set(peer.id, storablePeer(peer));
  }
  return [...last.values()];
}
