import { storablePeer } from "../../../src/storage/session-peers.js";
import type { PeerField, PeerStorage, StoredPeer } from "../../../src/storage/storage.js";
import { Once } from "../once.js";
import { toPeers, toTexts } from "../sql-rows.js";
import { CHANNEL, type Row } from "./postgres-client.js";

/** The statements for one table. */
export interface Statements {
  readonly create: readonly string[];
  readonly find: string;
  readonly check: string;
  readonly list: string;
  readonly read: string;
  readonly insert: string;
  readonly replace: string;
  /** Both resolve id and version of the writes that won. Parameter: a JSON array of `{ id, expected, data, payload }`. */
  readonly insertMany: string;
  readonly replaceMany: string;
  readonly loadPeers: string;
  readonly savePeers: string;
  readonly clearPeers: string;
  /** For each field. The parameter of `knowing`: a JSON array of values. */
  readonly peerIndexes: Readonly<Record<PeerField, PeerIndexStatements>>;
}

/** The statements for peers by one of their fields. */
interface PeerIndexStatements {
  /** Whether there is an index. `CREATE … IF NOT EXISTS` alone would wait for the writes of others each time. */
  readonly find: string;
  readonly create: string;
  readonly knowing: string;
}

/**
 * A deleted record stays as a row without data, so that its version can only grow. A write is one statement, which notifies
 * the listeners only when it has won. Peers that are saved again get a new place, which is the order of use.
 *
 * @param table A checked name, perhaps with a schema before a dot.
 */
export function statementsFor(table: string): Statements {
  const records = quoted(table);
  const peers = quoted(`${table}_peers`);
  const notified = (change: string): string =>
    `WITH written AS (${change} RETURNING version) SELECT version, pg_notify('${CHANNEL}', $3::text) FROM written`;
  // Rows are locked in the order of their ids, so that no two batches ever wait for each other.
  const toldMany = (change: string, locked = ""): string =>
    `WITH given AS (SELECT * FROM json_to_recordset($1::text::json) AS g (id text, expected bigint, data text, payload text))${locked}, written AS (${change}) SELECT written.id, written.version, pg_notify('${CHANNEL}', given.payload) FROM written JOIN given ON given.id = written.id`;
  return {
    find: `SELECT to_regclass('${records}') IS NOT NULL AND to_regclass('${peers}') IS NOT NULL AS found`,
    create: [
      `CREATE TABLE IF NOT EXISTS ${records} (id text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, data text)`,
      `CREATE TABLE IF NOT EXISTS ${peers} (session_id text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, place bigserial, access_hash text NOT NULL, username text, phone text, name text, PRIMARY KEY (session_id, id))`,
    ],
    check: `SELECT r.id, r.version, r.data, p.place FROM ${records} r, ${peers} p LIMIT 0`,
    list: `SELECT id, version, data FROM ${records} WHERE data IS NOT NULL`,
    read: `SELECT id, version, data FROM ${records} WHERE id = $1 AND data IS NOT NULL`,
    insert: notified(
      `INSERT INTO ${records} AS r (id, version, data) VALUES ($1, 1, $2) ON CONFLICT (id) DO UPDATE SET version = r.version + 1, data = excluded.data WHERE r.data IS NULL`,
    ),
    replace: notified(
      `UPDATE ${records} SET version = version + 1, data = $2 WHERE id = $1 AND version = $4 AND data IS NOT NULL`,
    ),
    insertMany: toldMany(
      `INSERT INTO ${records} AS r (id, version, data) SELECT id, 1, data FROM given ORDER BY id COLLATE "C" ON CONFLICT (id) DO UPDATE SET version = r.version + 1, data = excluded.data WHERE r.data IS NULL RETURNING r.id, r.version`,
    ),
    replaceMany: toldMany(
      `UPDATE ${records} AS r SET version = r.version + 1, data = locked.data FROM locked WHERE r.id = locked.id AND r.version = locked.expected AND r.data IS NOT NULL RETURNING r.id, r.version`,
      `, locked AS (SELECT g.id, g.expected, g.data FROM ${records} r JOIN given g ON g.id = r.id ORDER BY r.id FOR UPDATE OF r)`,
    ),
    loadPeers: `SELECT id, access_hash, username, phone, name FROM ${peers} WHERE session_id = $1 ORDER BY place`,
    savePeers: `INSERT INTO ${peers} (session_id, id, access_hash, username, phone, name)
      SELECT $1, p.peer ->> 'id', p.peer ->> 'accessHash', p.peer ->> 'username', p.peer ->> 'phone', p.peer ->> 'name'
      FROM jsonb_array_elements($2::text::jsonb) WITH ORDINALITY AS p (peer, place) ORDER BY p.place
      ON CONFLICT (session_id, id) DO UPDATE SET place = excluded.place, access_hash = excluded.access_hash,
      username = excluded.username, phone = excluded.phone, name = excluded.name`,
    clearPeers: `DELETE FROM ${peers} WHERE session_id = $1`,
    peerIndexes: { id: peerIndexFor(table, "id"), username: peerIndexFor(table, "username") },
  };
}

function peerIndexFor(table: string, field: PeerField): PeerIndexStatements {
  const peers = quoted(`${table}_peers`);
  // Postgres cuts names at 63 characters.
  const name = `${table}_peers_${field === "id" ? "id" : "name"}`;
  return {
    find: `SELECT to_regclass('${quoted(name)}') IS NOT NULL AS found`,
    // An index lies in the schema of its table.
    create: `CREATE INDEX IF NOT EXISTS ${quoted(name.split(".").at(-1) ?? name)} ON ${peers} (${field}, session_id)${field === "id" ? "" : " WHERE username IS NOT NULL"}`,
    knowing: `SELECT DISTINCT session_id FROM ${peers} WHERE ${field} = ANY (ARRAY(SELECT json_array_elements_text($1::text::json)))`,
  };
}

function quoted(name: string): string {
  return name
    .split(".")
    .map((part) => `"${part}"`)
    .join(".");
}

/** Runs one statement. */
export type Run = (statement: string, ...parameters: readonly (string | number | null)[]) => Promise<readonly Row[]>;

/**
 * Peers in a table beside the records. Each call is one statement.
 *
 * The first `knowing` creates its index: until then no write maintains it.
 *
 * @param createIndex creates the index of a field unless it is there
 */
export function postgresPeers(
  statements: Statements,
  run: Run,
  createIndex: (field: PeerField) => Promise<void>,
): PeerStorage {
  const indexed = new Once<PeerField>(createIndex);
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
    async knowing(field, values) {
      await indexed.ensure(field);
      return toTexts(await run(statements.peerIndexes[field].knowing, JSON.stringify(values)));
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
