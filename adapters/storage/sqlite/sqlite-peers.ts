import type { PeerStorage } from "../../../src/storage/storage.js";
import { toPeers } from "../sql-rows.js";
import type { Row } from "./sqlite-driver.js";

/** Runs one statement on the open database. */
export type Run = (statement: string, ...parameters: readonly (string | number | null)[]) => Promise<readonly Row[]>;

/** A replaced row gets a new rowid, so the order of rowids is the order of use. One statement, one commit per batch. */
const SAVE = `INSERT OR REPLACE INTO telegram_session_pool_peers (session_id, id, access_hash, username, phone, name)
  SELECT ?, value ->> 'id', value ->> 'accessHash', value ->> 'username', value ->> 'phone', value ->> 'name'
  FROM json_each(?) ORDER BY key`;
const LOAD =
  "SELECT id, access_hash, username, phone, name FROM telegram_session_pool_peers WHERE session_id = ? ORDER BY rowid";
const CLEAR = "DELETE FROM telegram_session_pool_peers WHERE session_id = ?";

/** Peers in the same database. `load` is one SELECT, `save` and `clear` one statement each. */
export function sqlitePeers(run: Run): PeerStorage {
  return {
    async load(sessionId) {
      return toPeers(await run(LOAD, sessionId));
    },
    async save(sessionId, peers) {
      if (peers.length > 0) await run(SAVE, sessionId, JSON.stringify(peers));
    },
    async clear(sessionId) {
      await run(CLEAR, sessionId);
    },
  };
}
