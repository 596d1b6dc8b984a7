import { createDecipheriv, createHash, pbkdf2 } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createSessionData } from "../telegram/session-data.js";
import { formatSession } from "../telegram/session-string.js";
import { type AccountContent, AccountFileError } from "./found-account.js";
import { knownAddress } from "./session-database.js";

/** What a tdata folder says of one of its accounts. */
export type TdataAccount = AccountContent | AccountFileError;

/** Telegram Desktop has room for three accounts, six with Premium; a damaged file must not ask for more. */
const MOST_ACCOUNTS = 64;
/** Key files have a few hundred bytes, those with an account a few thousand. */
const MOST_FILE_BYTES = 4_194_304;
/** The newest version of Telegram Desktop whose files were read, as it numbers them: 6.3.0. */
const NEWEST_VERSION = 6_003_000;
const AUTHORIZATION_BLOCK = 0x4b;
const AUTH_KEY_BYTES = 256;
const PASSCODE_ROUNDS = 100_000;

/** The name of a tdata folder's key file without its ending; `undefined` for any other folder. */
export function tdataKeyName(names: readonly string[]): string | undefined {
  const found = names.find((name) => /^key_.+[s01]$/.test(name));
  return found?.slice("key_".length, -1);
}

/** Whether a folder is one of a Telegram Desktop older than 2.0, which has no key file. */
export function isOldTdata(names: readonly string[]): boolean {
  return tdataKeyName(names) === undefined && names.some((name) => /^D877F783D5D3EF8C[01s]?$/.test(name));
}

/**
 * Reads the accounts of a tdata folder of Telegram Desktop. The passcode is used only where there is one. Throws
 * `AccountFileError` when nothing can be read; an account that cannot be read alone is an error among the others.
 *
 * Source: tdesktop `storage_domain.cpp`, `storage_account.cpp`, `storage_file_utilities.cpp`.
 */
export async function readTdata(folder: string, passcode: string | undefined): Promise<readonly TdataAccount[]> {
  const keyName = tdataKeyName(await readdir(folder));
  if (keyName === undefined) throw notTdata();
  const { content, version } = await readFileOf(folder, `key_${keyName}`);
  const localKey = await openLocalKey(content, passcode);
  const warnings = [
    "Telegram Desktop uses this very key: run the pool only while it is closed or signed out, or Telegram destroys the key for both. pool.duplicate(id, newId) makes the pool a key of its own.",
    ...(version > NEWEST_VERSION
      ? [
          "The folder was written by a newer Telegram Desktop than this package knows. It was read as far as it could be checked.",
        ]
      : []),
  ];
  const info = new QtReader(decryptLocal(content.bytes(), localKey) ?? fail());
  const count = info.int32();
  if (count < 1 || count > MOST_ACCOUNTS) throw damaged();
  const accounts: TdataAccount[] = [];
  for (let index = 0; index < count; index++) {
    const number = info.int32();
    const name = number === 0 ? keyName : `${keyName}#${number + 1}`;
    accounts.push(await accountOf(folder, name, localKey, warnings).catch(asAccountError));
  }
  return accounts;
}

async function accountOf(
  folder: string,
  name: string,
  localKey: Buffer,
  warnings: readonly string[],
): Promise<AccountContent> {
  const { content } = await readFileOf(folder, fileNameOf(name));
  const reader = new QtReader(decryptLocal(content.bytes(), localKey) ?? fail());
  if (reader.int32() !== AUTHORIZATION_BLOCK) {
    throw new AccountFileError(
      "The account's part of the tdata folder does not begin with its authorization: no account is signed in, or Telegram Desktop is newer than this package.",
    );
  }
  const authorization = new QtReader(reader.bytes());
  const [legacyUserId, legacyDcId] = [authorization.int32(), authorization.int32()];
  const isWide = legacyUserId === -1 && legacyDcId === -1;
  const userId = isWide ? authorization.uint64() : BigInt(legacyUserId >>> 0);
  const dcId = isWide ? authorization.int32() : legacyDcId;
  const keys = new Map<number, Buffer>();
  const count = authorization.uint32();
  for (let index = 0; index < Math.min(count, MOST_ACCOUNTS); index++) {
    keys.set(authorization.int32(), authorization.raw(AUTH_KEY_BYTES));
  }
  const authKey = keys.get(dcId);
  if (authKey === undefined)
    throw new AccountFileError(
      "The tdata folder holds no key of the account's data center: no account is signed in. Start Telegram Desktop and sign in.",
    );
  const session = createSessionData({
    dcId,
    serverAddress: knownAddress(dcId, false),
    port: 443,
    authKey,
    format: "gramjs",
    isTest: false,
  });
  return {
    format: "tdata",
    session: formatSession(session, "gramjs"),
    dcId,
    accountId: userId === 0n ? null : String(userId),
    isBot: null,
    apiId: null,
    peers: [],
    warnings,
  };
}

/** The key that the files of the folder are encrypted with. */
async function openLocalKey(content: QtReader, passcode: string | undefined): Promise<Buffer> {
  const salt = content.bytes();
  const encrypted = content.bytes();
  const open = async (text: string): Promise<Buffer | undefined> =>
    decryptLocal(encrypted, await passcodeKey(text, salt));
  // A folder without a passcode is opened by the empty one, whatever passcode was given for others.
  const key = (await open("")) ?? (passcode === undefined ? undefined : await open(passcode));
  if (key !== undefined && key.length >= AUTH_KEY_BYTES) return key.subarray(0, AUTH_KEY_BYTES);
  throw new AccountFileError(
    passcode === undefined
      ? "The tdata folder is protected by a local passcode. Give it as the option passcode."
      : "The tdata folder is protected by another local passcode than the one given.",
  );
}

function passcodeKey(passcode: string, salt: Buffer): Promise<Buffer> {
  const text = Buffer.from(passcode, "utf8");
  const password = createHash("sha512").update(salt).update(text).update(salt).digest();
  const rounds = passcode === "" ? 1 : PASSCODE_ROUNDS;
  return promisify(pbkdf2)(password, salt, rounds, AUTH_KEY_BYTES, "sha512");
}

/** `undefined` where the key is another one: the text's hash says so. */
function decryptLocal(encrypted: Buffer, key: Buffer): Buffer | undefined {
  if (encrypted.length < 32 || encrypted.length % 16 !== 0) throw damaged();
  const messageKey = encrypted.subarray(0, 16);
  const sha1 = (...parts: readonly Buffer[]): Buffer => createHash("sha1").update(Buffer.concat(parts)).digest();
  const a = sha1(messageKey, key.subarray(8, 40));
  const b = sha1(key.subarray(40, 56), messageKey, key.subarray(56, 72));
  const c = sha1(key.subarray(72, 104), messageKey);
  const d = sha1(messageKey, key.subarray(104, 136));
  const aesKey = Buffer.concat([a.subarray(0, 8), b.subarray(8, 20), c.subarray(4, 16)]);
  const vector = Buffer.concat([a.subarray(8, 20), b.subarray(0, 8), c.subarray(16, 20), d.subarray(0, 8)]);
  const text = decryptIge(encrypted.subarray(16), aesKey, vector);
  if (!sha1(text).subarray(0, 16).equals(messageKey)) return undefined;
  const length = text.readUInt32LE(0);
  if (length < 4 || length > text.length) throw damaged();
  return text.subarray(4, length);
}

/** AES-256 in IGE mode, which Node.js has not: core.telegram.org/mtproto#protocol-description. */
function decryptIge(encrypted: Buffer, key: Buffer, vector: Buffer): Buffer {
  const cipher = createDecipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  const text = Buffer.alloc(encrypted.length);
  let [before, plainBefore] = [vector.subarray(0, 16), vector.subarray(16, 32)];
  for (let at = 0; at < encrypted.length; at += 16) {
    const block = encrypted.subarray(at, at + 16);
    const plain = cipher.update(xor(block, plainBefore));
    xor(plain, before).copy(text, at);
    [before, plainBefore] = [block, text.subarray(at, at + 16)];
  }
  return text;
}

function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, index) => byte ^ (other[index] ?? 0)));
}

interface TdataFile {
  readonly content: QtReader;
  readonly version: number;
}

/** A file of the folder: the newest of its copies that is whole. */
async function readFileOf(folder: string, name: string): Promise<TdataFile> {
  let isThere = false;
  for (const ending of ["s", "1", "0"]) {
    const path = join(folder, `${name}${ending}`);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    isThere = true;
    if (!found.isFile() || found.size > MOST_FILE_BYTES) continue;
    const file = openFile(await readFile(path));
    if (file !== undefined) return file;
  }
  throw isThere
    ? new AccountFileError(
        "A file of the tdata folder is damaged or was copied half. Close Telegram Desktop, and copy the folder again.",
      )
    : new AccountFileError("A file of the tdata folder is missing. Close Telegram Desktop, and copy the whole folder.");
}

function openFile(bytes: Buffer): TdataFile | undefined {
  if (bytes.length < 24 || bytes.toString("latin1", 0, 4) !== "TDF$") return undefined;
  const version = bytes.readUInt32LE(4);
  const content = bytes.subarray(8, -16);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(content.length, 0);
  const digest = createHash("md5").update(content).update(length).update(bytes.subarray(4, 8)).update("TDF$").digest();
  return digest.equals(bytes.subarray(-16)) ? { content: new QtReader(content), version } : undefined;
}

/** Telegram Desktop names its files by the first half of a hash, the digits of each byte swapped. */
function fileNameOf(name: string): string {
  const digest = createHash("md5").update(name).digest("hex").slice(0, 16).toUpperCase();
  return digest.replace(/(.)(.)/g, "$2$1");
}

/** Reads what Qt's QDataStream writes: numbers big-endian, byte arrays behind their length. */
class QtReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int32(): number {
    return this.raw(4).readInt32BE(0);
  }

  uint32(): number {
    return this.raw(4).readUInt32BE(0);
  }

  uint64(): bigint {
    return this.raw(8).readBigUInt64BE(0);
  }

  bytes(): Buffer {
    const length = this.uint32();
    return length === 0xffffffff ? Buffer.alloc(0) : this.raw(length);
  }

  raw(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw damaged();
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }
}

function asAccountError(error: unknown): AccountFileError {
  if (error instanceof AccountFileError) return error;
  return new AccountFileError("The account's part of the tdata folder cannot be read: it is damaged.", error);
}

function fail(): never {
  throw new AccountFileError(
    "A file of the tdata folder was encrypted with another key than the folder's. Copy the whole folder again.",
  );
}

function damaged(): AccountFileError {
  return new AccountFileError("The tdata folder is damaged. Close Telegram Desktop, and copy the folder again.");
}

function notTdata(): AccountFileError {
  return new AccountFileError("The folder is not a tdata folder of Telegram Desktop.");
}
