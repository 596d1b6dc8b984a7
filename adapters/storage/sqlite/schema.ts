import { StorageCorruptError, StorageError } from "../../../src/errors.js";
import type { PeerField, PeerStorage } from "../../../src/storage/storage.js";
import { Once } from "../once.js";
import { fields, toPeers, toTexts } from "../sql-rows.js";
import { BUSY_TIMEOUT_MS, isBusy, type Row, type SqliteDriver } from "./sqlite-driver.js";

/** "TSP1": marks a database file as this package's. */
const APPLICATION_ID = 0x54535031;

const SCHEMA_VERSION = 1;

/** A deleted record stays as a row without data, so that its version can only grow. */
const RECORDS =
  "CREATE TABLE IF NOT EXISTS telegram_session_pool (id TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, data TEXT) STRICT";

const PEERS =
  "CREATE TABLE IF NOT EXISTS telegram_session_pool_peers (session_id TEXT NOT NULL, id TEXT NOT NULL, access_hash TEXT NOT NULL, username TEXT, phone TEXT, name TEXT, PRIMARY KEY (session_id, id)) STRICT";

/** Prepares a file of this package: checks whose it is and its integrity, sets durability, creates the tables. */
export async function prepareDatabase(engine: SqliteDriver, path: string): Promise<void> {
  await engine.query(`PRAGMA busy_timeout=${BUSY_TIMEOUT_MS}`);
  await assertOurs(engine, path);
  const checked = await value(engine, "PRAGMA quick_check(1)");
  if (checked !== "ok") throw new StorageCorruptError(`${path} is damaged: ${String(checked)}`);
  await useRollbackJournal(engine);
  await makeDurable(engine);
  await setPragma(engine, "busy_timeout", BUSY_TIMEOUT_MS);
  await setPragma(engine, "application_id", APPLICATION_ID);
  await setPragma(engine, "user_version", SCHEMA_VERSION);
  await createTables(engine);
}

/** Creates the tables in a database of the application: its mode, marks and timeouts stay as they are. */
export async function prepareHandle(engine: SqliteDriver): Promise<void> {
  if ((await value(engine, "PRAGMA application_id")) === APPLICATION_ID) await assertNotNewer(engine, "The database");
  await makeDurable(engine);
  await createTables(engine);
}

/**
 * A commit is on disk when it is acknowledged. Without a WAL that takes EXTRA: with FULL the removal of the rollback
 * journal may not have reached the disk, and the journal that came back would undo the commit.
 * Source: sqlite.org/pragma.html#pragma_synchronous. `fullfsync` means something on macOS only.
 */
async function makeDurable(engine: SqliteDriver): Promise<void> {
  const mode = await value(engine, "PRAGMA journal_mode");
  await setPragma(engine, "synchronous", mode === "wal" ? 2 : 3);
  await setPragma(engine, "fullfsync", 1);
  await setPragma(engine, "checkpoint_fullfsync", 1);
  await setPragma(engine, "secure_delete", 1);
}

/**
 * A rollback journal, also where a WAL would be faster: between two commits the one file holds everything, so that a copy
 * of it is a backup, and processes of any Node.js version share it. From 3.7.0 to 3.51.2 two connections that write and
 * checkpoint a WAL can corrupt it, and those versions are in use. Source: sqlite.org/wal.html, "the WAL-reset bug".
 *
 * A file that an older version of this package left in WAL mode is converted by the first process that has it alone.
 */
async function useRollbackJournal(engine: SqliteDriver): Promise<void> {
  try {
    await engine.query("PRAGMA journal_mode=DELETE");
  } catch (error) {
    if (!isBusy(error) || (await value(engine, "PRAGMA journal_mode")) !== "wal") throw error;
    const version = String(await value(engine, "SELECT sqlite_version()"));
    if (!isWalSafe(version)) throw error;
  }
}

function isWalSafe(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major * 1_000_000 + minor * 1_000 + patch >= 3_051_003;
}

/** One statement, so one snapshot: another process may prepare the same new file between any two statements. */
const MARKS = `SELECT
  (SELECT application_id FROM pragma_application_id) AS application_id,
  (SELECT user_version FROM pragma_user_version) AS user_version,
  (SELECT count(*) FROM sqlite_schema
    WHERE name NOT GLOB 'sqlite_*' AND name NOT GLOB 'telegram_session_pool*') AS others`;

/** Refuses what is another application's, and what a newer version of this package wrote. Changes nothing. */
export async function assertOurs(engine: SqliteDriver, path: string): Promise<void> {
  const [sessionState = {}] = await engine.query(MARKS);
  const [id, userVersion, others] = fields(sessionState);
  const applicationId = Number(id);
  if (applicationId === APPLICATION_ID) return assertNotNewer(engine, path);
  if (applicationId !== 0) {
    throw new StorageError(`${path} is a database of another application (application_id ${applicationId}).`);
  }
  if (Number(others) > 0 || Number(userVersion) !== 0) {
    throw new StorageError(
      `${path} holds something else already: give the pool a file of its own, or open the database yourself and pass the handle to sqlite().`,
    );
  }
}

async function assertNotNewer(engine: SqliteDriver, name: string): Promise<void> {
  const version = Number(await value(engine, "PRAGMA user_version"));
  if (version > SCHEMA_VERSION) {
    throw new StorageError(
      `${name} was written by a newer version of telegram-session-pool (schema ${version}, this one knows ${SCHEMA_VERSION}).`,
    );
  }
}

async function createTables(engine: SqliteDriver): Promise<void> {
  await engine.query(RECORDS);
  await engine.query(PEERS);
}

/** Drivers may ignore a PRAGMA they do not like: only what is read back counts. */
async function setPragma(engine: SqliteDriver, name: string, wanted: number): Promise<void> {
  if ((await value(engine, `PRAGMA ${name}`)) === wanted) return;
  await engine.query(`PRAGMA ${name}=${wanted}`);
  const got = await value(engine, `PRAGMA ${name}`);
  if (got !== wanted) {
    throw new StorageError(`The SQLite driver does not take PRAGMA ${name}=${wanted} (it stays ${String(got)}).`);
  }
}

/** The first column of the first row. Integers are bigint where the handle is configured so. */
async function value(engine: SqliteDriver, statement: string): Promise<unknown> {
  const [row] = await engine.query(statement);
  const [first] = fields(row ?? {});
  return typeof first === "bigint" ? Number(first) : first;
}

/** Runs one statement on the open database. */
export type Run = (statement: string, ...parameters: readonly (string | number | null)[]) => Promise<readonly Row[]>;

/** A replaced row gets a new rowid, so the order of rowids is the order of use. One statement, one commit per batch. */
const SAVE = `INSERT OR REPLACE INTO telegram_session_pool_peers (session_id, id, access_hash, username, phone, name)
  SELECT ?, value ->> 'id', value ->> 'accessHash', value ->> 'username', value ->> 'phone', value ->> 'name'
  FROM json_each(?) ORDER BY key`;
const LOAD =
  "SELECT id, access_hash, username, phone, name FROM telegram_session_pool_peers WHERE session_id = ? ORDER BY rowid";
const CLEAR = "DELETE FROM telegram_session_pool_peers WHERE session_id = ?";

/**
 * Created by the first `knowing`: until then no write maintains them. From then on every process does, also one with a
 * version of this package that does not know them.
 */
const INDEXES: Readonly<Record<PeerField, string>> = {
  id: "CREATE INDEX IF NOT EXISTS telegram_session_pool_peers_id ON telegram_session_pool_peers (id, session_id)",
  username:
    "CREATE INDEX IF NOT EXISTS telegram_session_pool_peers_username ON telegram_session_pool_peers (username, session_id) WHERE username IS NOT NULL",
};
const KNOWING: Readonly<Record<PeerField, string>> = {
  id: "SELECT DISTINCT session_id FROM telegram_session_pool_peers WHERE id IN (SELECT value FROM json_each(?))",
  username:
    "SELECT DISTINCT session_id FROM telegram_session_pool_peers WHERE username IN (SELECT value FROM json_each(?))",
};

/** Peers in the same database. `load` and `knowing` are one SELECT, `save` and `clear` one statement each. */
export function sqlitePeers(run: Run): PeerStorage {
  const indexed = new Once<PeerField>((field) => run(INDEXES[field]));
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
    async knowing(field, values) {
      await indexed.ensure(field);
      return toTexts(await run(KNOWING[field], JSON.stringify(values)));
    },
  };
}
