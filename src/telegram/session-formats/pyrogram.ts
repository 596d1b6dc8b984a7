import { InvalidSessionError } from "../../errors.js";
import { addressOfDataCenter } from "../data-centers.js";
import { authKeyBytes, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, encode } from "./base64.js";

// In URL-safe base64 without padding: number u8 [, api id u32], test u8, key, user id u32 or u64, bot u8. Big-endian.
// Source: pyrogram/storage/storage.py (">B?256sI?", ">B?256sQ?", ">BI?256sQ?"). No address: it follows from the number.
const base64: Base64Variant = { alphabet: "url", isPadded: false };

interface Layout {
  readonly characters: number;
  readonly hasApiId: boolean;
  readonly userIdBytes: 4 | 8;
}

const layouts: readonly Layout[] = [
  { characters: 351, hasApiId: false, userIdBytes: 4 },
  { characters: 356, hasApiId: false, userIdBytes: 8 },
  { characters: 362, hasApiId: true, userIdBytes: 8 },
];

export function isPyrogramLength(characters: number): boolean {
  return layouts.some((layout) => layout.characters === characters);
}

/** Whether these bytes begin as Pyrogram's do: with the number of a data center. */
export function isPyrogram([dcId = 0]: Buffer): boolean {
  return dcId >= 1 && dcId <= 5;
}

/** Reads a Pyrogram string of one of its three lengths. */
export function parsePyrogram(text: string, bytes: Buffer): SessionData {
  const layout = layouts.find(({ characters }) => characters === text.replace(/=+$/, "").length);
  if (layout === undefined) throw new InvalidSessionError("The session string has a length no Pyrogram string has.");
  checkBase64(text, bytes, base64, "Pyrogram");
  const testAt = layout.hasApiId ? 5 : 1;
  const userIdAt = testAt + 1 + authKeyBytes;
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
  return encode(Buffer.concat(parts), base64);
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
