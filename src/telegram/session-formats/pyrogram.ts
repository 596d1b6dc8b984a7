import { crc32 } from "node:zlib";
import { InvalidSessionError } from "../../errors.js";
import { addressOfDataCenter } from "../data-centers.js";
import { AUTH_KEY_BYTES, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, encode } from "./base64.js";

// In URL-safe base64 without padding: number u8 [, api id u32], test u8, key, user id u32 or u64, bot u8. Big-endian.
// Source: pyrogram/storage/storage.py (">B?256sI?", ">B?256sQ?", ">BI?256sQ?"). No address: it follows from the number.
const BASE64: Base64Variant = { alphabet: "url", isPadded: false };

interface Layout {
  readonly characters: number;
  readonly hasApiId: boolean;
  readonly userIdBytes: 4 | 8;
}

const LAYOUTS: readonly Layout[] = [
  { characters: 351, hasApiId: false, userIdBytes: 4 },
  { characters: 356, hasApiId: false, userIdBytes: 8 },
  { characters: 362, hasApiId: true, userIdBytes: 8 },
];

export function isPyrogramLength(characters: number): boolean {
  return LAYOUTS.some((layout) => layout.characters === characters);
}

/**
 * Strings of forks, which carry an address: version u8, number u8, api id u32, test u8, key, user id u64, bot u8, port u16,
 * address of 16 (version 2) or 48 bytes (version 3), zeros behind it, and some a CRC-32 of all that, little-endian. Their
 * prefix is optional. Source: the forks' storage.py (">BBI?256sQ?H16s", ">BBI?256sQ?H48s").
 */
const FORK_PREFIX = "WZ_";
const FORK_ADDRESS_AT = 274;
const FORK_VERSIONS: ReadonlyMap<number, number> = new Map([
  [2, 290],
  [3, 322],
]);

/** The text without its prefix and padding, if it has the length of a fork's string and begins like one. */
export function forkTextOf(text: string): string | undefined {
  const bare = (text.startsWith(FORK_PREFIX) ? text.slice(FORK_PREFIX.length) : text).replace(/=+$/, "");
  if (!FORK_CHARACTERS.has(bare.length)) return undefined;
  const [version = 0, dcId = 0, , , , , testFlag = 2] = Buffer.from(bare.slice(0, 12), "base64url");
  return FORK_VERSIONS.has(version) && dcId >= 1 && dcId <= 5 && testFlag <= 1 ? bare : undefined;
}

/** Without and with the CRC-32. */
const FORK_CHARACTERS: ReadonlySet<number> = new Set([387, 392, 430, 435]);

/** Reads a string of a fork of Pyrogram; `text` is what {@link forkTextOf} gives. */
export function parsePyrogramFork(text: string): SessionData {
  const bytes = Buffer.from(text, "base64url");
  checkBase64(text, bytes, BASE64, "Pyrogram");
  const length = FORK_VERSIONS.get(bytes.readUInt8(0));
  if (length === undefined || (bytes.length !== length && bytes.length !== length + 4)) throw damaged();
  if (bytes.length > length && crc32(bytes.subarray(0, length)) !== bytes.readUInt32LE(length)) throw damaged();
  const isTest = flagAt(bytes, 6);
  const address = bytes.subarray(FORK_ADDRESS_AT, length).toString("latin1").replace(/\0+$/, "");
  const dcId = bytes.readUInt8(1);
  return {
    dcId,
    serverAddress: address === "" ? knownAddress(dcId, isTest) : address,
    port: bytes.readUInt16BE(FORK_ADDRESS_AT - 2),
    authKey: bytes.subarray(7, 7 + AUTH_KEY_BYTES),
    format: "pyrogram",
    isTest,
    userId: userIdIn(bytes.subarray(263, 271)),
    isBot: flagAt(bytes, 271),
    apiId: bytes.readUInt32BE(2),
  };
}

/** Whether these bytes begin as Pyrogram's do: with the number of a data center. */
export function isPyrogram([dcId = 0]: Buffer): boolean {
  return dcId >= 1 && dcId <= 5;
}

/** Reads a Pyrogram string of one of its three lengths. */
export function parsePyrogram(text: string, bytes: Buffer): SessionData {
  const layout = LAYOUTS.find(({ characters }) => characters === text.replace(/=+$/, "").length);
  if (layout === undefined) throw new InvalidSessionError("The session string has a length no Pyrogram string has.");
  checkBase64(text, bytes, BASE64, "Pyrogram");
  const testAt = layout.hasApiId ? 5 : 1;
  const userIdAt = testAt + 1 + AUTH_KEY_BYTES;
  const dcId = bytes.readUInt8(0);
  const isTest = flagAt(bytes, testAt);
  return {
    dcId,
    serverAddress: knownAddress(dcId, isTest),
    port: isTest ? 80 : 443,
    authKey: bytes.subarray(testAt + 1, userIdAt),
    format: "pyrogram",
    isTest,
    userId: userIdIn(bytes.subarray(userIdAt, userIdAt + layout.userIdBytes)),
    isBot: flagAt(bytes, userIdAt + layout.userIdBytes),
    apiId: layout.hasApiId ? bytes.readUInt32BE(1) : undefined,
    isShortUserId: layout.userIdBytes === 4,
  };
}

/** With the api id, where the session knows one; a user id it does not know is 0, as Pyrogram's converters write it. */
export function formatPyrogram(session: SessionData): string {
  const { apiId, userId = 0, isBot = false } = session;
  const isShort = apiId === undefined && session.isShortUserId === true && userId < 2 ** 32;
  const parts = [
    Buffer.from([session.dcId]),
    apiId === undefined ? Buffer.alloc(0) : wide(apiId).subarray(4),
    Buffer.from([Number(session.isTest)]),
    session.authKey,
    isShort ? wide(userId).subarray(4) : wide(userId),
    Buffer.from([Number(isBot)]),
  ];
  return encode(Buffer.concat(parts), BASE64);
}

function wide(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value), 0);
  return bytes;
}

function userIdIn(bytes: Buffer): number {
  const id = bytes.length === 4 ? BigInt(bytes.readUInt32BE(0)) : bytes.readBigUInt64BE(0);
  if (id > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged();
  return Number(id);
}

function flagAt(bytes: Buffer, at: number): boolean {
  const flag = bytes.readUInt8(at);
  if (flag > 1) throw damaged();
  return flag === 1;
}

function knownAddress(dcId: number, isTest: boolean): string {
  const address = addressOfDataCenter(dcId, isTest);
  if (address === undefined) throw damaged();
  return address;
}

function damaged(): InvalidSessionError {
  return new InvalidSessionError(
    "The text has the length of a Pyrogram string but not its content: it is damaged. Export it again from Pyrogram.",
  );
}
