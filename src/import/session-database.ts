import { addressOfDataCenter, isTestAddress } from "../telegram/data-centers.js";
import { createSessionData, type SessionData } from "../telegram/session-data.js";
import { formatSession } from "../telegram/session-string.js";
import { type AccountContent, AccountFileError, type FoundPeer } from "./found-account.js";
import { type Row, SqliteFile, type SqliteValue } from "./sqlite-file.js";

/** Peers read of one file: as many as the pool keeps of a session. */
const MOST_PEERS = 10_000;
const AUTH_KEY_BYTES = 256;
/** Written before, Telethon's access hashes were wrong, and Pyrogram's too: both delete them when they upgrade the file. */
const FIRST_PEERS = { telethon: 6, pyrogram: 2 } as const;

/**
 * Reads a session file of Telethon (versions 1 to 8) or of the Pyrogram family (1 to 8, forks included): both are SQLite
 * databases. What is there is known by columns, since the numbers of versions are not to be trusted: files of version 7
 * have the columns of 8 and the other way round, and there are two different versions 4 of Pyrogram. Source:
 * telethon/sessions/sqlite.py, pyrogram/storage/sqlite_storage.py and its forks'.
 *
 * Throws `AccountFileError` for any other database, and for a session that is not signed in.
 */
export function readSessionDatabase(path: string): AccountContent {
  const database = new SqliteFile(path);
  try {
    return readAccount(database);
  } finally {
    database[Symbol.dispose]();
  }
}

function readAccount(database: SqliteFile): AccountContent {
  const columns = database.columns("sessions");
  if (columns === undefined || !columns.includes("dc_id") || !columns.includes("auth_key")) throw strange(database);
  const format = columns.includes("test_mode") || columns.includes("is_bot") ? "pyrogram" : "telethon";
  const row = signedInRow([...database.rows("sessions")]);
  const session = format === "pyrogram" ? pyrogramSession(row) : telethonSession(row);
  return {
    format,
    session: formatSession(createSessionData(session), "gramjs"),
    dcId: session.dcId,
    accountId: session.userId === undefined ? null : String(session.userId),
    isBot: session.isBot ?? null,
    apiId: session.apiId ?? null,
    peers: versionOf(database) < FIRST_PEERS[format] ? [] : peersIn(database, format),
    warnings: [],
  };
}

function strange(database: SqliteFile): AccountFileError {
  if (database.columns("auth_keys") !== undefined && database.columns("key_value") !== undefined) {
    return new AccountFileError(
      "The file is a database of mtcute. Export its session (await client.exportSession()) into a text file, and import that.",
    );
  }
  return new AccountFileError(
    "The file is an SQLite database, but none of Telethon or Pyrogram: it has no table sessions with dc_id and auth_key.",
  );
}

/** A file has a row for each data center it has seen; the account's is the one with a key. */
function signedInRow(rows: readonly Row[]): Row {
  const signedIn = rows.filter(({ auth_key: key }) => key instanceof Buffer && key.length === AUTH_KEY_BYTES);
  const [row] = signedIn;
  if (row === undefined) {
    throw new AccountFileError("The session file holds no auth key: no account is signed in with it. Sign in again.");
  }
  if (signedIn.length > 1) {
    throw new AccountFileError(
      "The session file holds keys of several data centers, and does not say which is the account's. Open it once with the library that wrote it, and import the string that it exports.",
    );
  }
  return row;
}

function telethonSession(row: Row): SessionData {
  const dcId = numberIn(row, "dc_id") ?? 0;
  const { server_address: address } = row;
  const hasAddress = typeof address === "string" && address !== "";
  const serverAddress = hasAddress ? address : knownAddress(dcId, false);
  const port = numberIn(row, "port") ?? 443;
  const authKey = row.auth_key as Buffer;
  return { dcId, serverAddress, port, authKey, format: "gramjs", isTest: isTestAddress(serverAddress) };
}

function pyrogramSession(row: Row): SessionData {
  const dcId = numberIn(row, "dc_id") ?? 0;
  const isTest = numberIn(row, "test_mode") === 1;
  const { server_address: address } = row;
  const serverAddress = typeof address === "string" && address !== "" ? address : knownAddress(dcId, isTest);
  const userId = numberIn(row, "user_id");
  const isBot = numberIn(row, "is_bot");
  const apiId = numberIn(row, "api_id");
  return {
    dcId,
    serverAddress,
    port: numberIn(row, "port") ?? (isTest ? 80 : 443),
    authKey: row.auth_key as Buffer,
    format: "gramjs",
    isTest,
    ...(userId === undefined || userId === 0 ? {} : { userId }),
    ...(isBot === undefined ? {} : { isBot: isBot === 1 }),
    ...(apiId === undefined || apiId === 0 ? {} : { apiId }),
  };
}

/** The address of a data center that a file names by its number alone. Throws `AccountFileError` where there is none. */
export function knownAddress(dcId: number, isTest: boolean): string {
  const address = addressOfDataCenter(dcId, isTest);
  if (address !== undefined) return address;
  throw new AccountFileError(
    `The account is of data center ${dcId}, which is not known. The file is damaged, or newer than this package.`,
  );
}

function versionOf(database: SqliteFile): number {
  for (const row of database.rows("version")) {
    const version = numberIn(row, "version") ?? numberIn(row, "number");
    if (version !== undefined) return version;
  }
  return 0;
}

function peersIn(database: SqliteFile, format: "telethon" | "pyrogram"): readonly FoundPeer[] {
  const usernames = usernamesIn(database);
  const peers: FoundPeer[] = [];
  for (const row of database.rows(format === "telethon" ? "entities" : "peers")) {
    const hash = row.hash ?? row.access_hash;
    const id = peerKeyOf(row.id);
    if (id === undefined || (typeof hash !== "number" && typeof hash !== "bigint")) continue;
    const username = textIn(row.username) ?? usernames.get(String(row.id));
    const phone = textIn(row.phone ?? row.phone_number);
    const name = textIn(row.name);
    peers.push({
      id,
      accessHash: String(hash),
      ...(username === undefined ? {} : { username: username.toLowerCase() }),
      ...(phone === undefined ? {} : { phone: phone.replace(/\D/g, "") }),
      ...(name === undefined ? {} : { name }),
    });
    if (peers.length === MOST_PEERS) break;
  }
  return peers;
}

/** The table of usernames that forks of Pyrogram keep beside the peers: the first one of each peer. */
function usernamesIn(database: SqliteFile): ReadonlyMap<string, string> {
  const usernames = new Map<string, string>();
  const columns = database.columns("usernames") ?? [];
  // In one fork `id` is the peer's id, in another it is the username.
  const [peerColumn, nameColumn] = columns.includes("peer_id") ? ["peer_id", "id"] : ["id", "username"];
  for (const row of database.rows("usernames")) {
    const peer = String(row[peerColumn]);
    const username = textIn(row[nameColumn]);
    if (username !== undefined && !usernames.has(peer)) usernames.set(peer, username);
    if (usernames.size === MOST_PEERS) break;
  }
  return usernames;
}

/** Both libraries store marked ids: users as they are, chats negative, channels with -100 before. */
function peerKeyOf(value: SqliteValue | undefined): string | undefined {
  if (typeof value !== "number" || value === 0) return undefined;
  if (value > 0) return `user:${value}`;
  const channel = -value - 1_000_000_000_000;
  return channel > 0 ? `channel:${channel}` : `chat:${-value}`;
}

function numberIn(row: Row, column: string): number | undefined {
  const value = row[column];
  return typeof value === "number" ? value : undefined;
}

function textIn(value: SqliteValue | undefined): string | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  return value === "" || value === 0 ? undefined : String(value);
}
