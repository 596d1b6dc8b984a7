import { isIPv6 } from "node:net";
import { InvalidSessionError } from "../../errors.js";
import { createSessionData, type DataCenterAddress, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, checkLength, cutOff, encode } from "./base64.js";

// In URL-safe base64 without padding: version u8 (3), flags i32, data center, [media data center], [user id i53, bot
// Bool], key; little-endian TL. A data center is TL bytes of: version u8 (2), number u8, flags u8, address, port i32.
// Source: @mtcute/core 0.31 highlevel/utils/string-session.js and utils/dcs.js.
const BASE64: Base64Variant = { alphabet: "url", isPadded: false };
const VERSION = 3;
const CURRENT_SERVER_VERSION = 2;
const FLAG_HAS_SELF = 1;
/** Written by older versions; since then the data centers say it themselves. */
const FLAG_IS_TEST = 2;
const FLAG_HAS_MEDIA = 4;
const FLAG_IS_V6 = 1;
const FLAG_IS_MEDIA_ONLY = 2;
const FLAG_IS_TEST_SERVER = 4;
/** dcOption#18b7a10d */
const DC_OPTION = 0x18b7a10d;
const BOOL_TRUE = 0x997275b5;
const BOOL_FALSE = 0xbc799737;

interface Server extends DataCenterAddress {
  readonly isTest: boolean;
  readonly version: number;
}

/** Whether these bytes begin as mtcute's do: the version, and flags of which only three are in use. */
export function isMtcute(bytes: Buffer): boolean {
  return bytes.length > 4 && bytes[0] === VERSION && bytes.readInt32LE(1) >>> 3 === 0;
}

/**
 * The version of an mtcute string from before December 2024, when its data center was a dcOption of Telegram's own.
 * Source: mtcute/mtcute, packages/core/src/highlevel/utils/string-session.ts.
 */
export function olderMtcuteVersion(bytes: Buffer): number | undefined {
  const isOlder = bytes.length > 9 && (bytes[0] === 1 || bytes[0] === 2) && bytes.readUInt32LE(5) === DC_OPTION;
  return isOlder ? bytes[0] : undefined;
}

/** Reads an mtcute string of version 3. */
export function parseMtcute(text: string, bytes: Buffer): SessionData {
  const reader = new TlReader(bytes.subarray(1), "mtcute");
  const flags = reader.int();
  const main = readServer(reader.bytes());
  const media = (flags & FLAG_HAS_MEDIA) === 0 ? undefined : readServer(reader.bytes());
  const self = (flags & FLAG_HAS_SELF) === 0 ? undefined : { userId: readLong(reader), isBot: readBool(reader) };
  const authKey = reader.bytes();
  reader.end();
  checkBase64(text, bytes, BASE64, "mtcute");
  const session = createSessionData({
    ...withoutTest(main),
    authKey,
    format: "mtcute",
    isTest: main.isTest || (flags & FLAG_IS_TEST) !== 0,
    ...self,
    media: media === undefined ? undefined : withoutTest(media),
  });
  const layout = { serverVersion: main.version, hasTestFlag: (flags & FLAG_IS_TEST) !== 0 };
  if (!bytesOf(session, layout).equals(bytes)) throw damaged();
  return session;
}

/** Writes it as the current release of mtcute does. */
export function formatMtcute(session: SessionData): string {
  return encode(bytesOf(session, { serverVersion: CURRENT_SERVER_VERSION, hasTestFlag: false }), BASE64);
}

/** How a release of mtcute says that a session is of the test servers. */
interface Layout {
  readonly serverVersion: number;
  readonly hasTestFlag: boolean;
}

function bytesOf(session: SessionData, layout: Layout): Buffer {
  const { media, userId } = session;
  const flags =
    (userId === undefined ? 0 : FLAG_HAS_SELF) |
    (layout.hasTestFlag ? FLAG_IS_TEST : 0) |
    (media === undefined ? 0 : FLAG_HAS_MEDIA);
  const isTest = session.isTest && !layout.hasTestFlag;
  const main = { ...session, isMediaOnly: false };
  const parts = [Buffer.from([VERSION]), tlInt(flags), tlBytes(serverBytes(main, isTest, layout.serverVersion))];
  if (media !== undefined) parts.push(tlBytes(serverBytes(media, isTest, layout.serverVersion)));
  if (userId !== undefined) {
    parts.push(tlInt(userId % 2 ** 32), tlInt(Math.floor(userId / 2 ** 32)));
    parts.push(tlInt(session.isBot === true ? BOOL_TRUE : BOOL_FALSE));
  }
  parts.push(tlBytes(session.authKey));
  return Buffer.concat(parts);
}

function serverBytes(server: DataCenterAddress, isTest: boolean, serverVersion: number): Buffer {
  const flags =
    (isIPv6(server.serverAddress) ? FLAG_IS_V6 : 0) |
    (server.isMediaOnly ? FLAG_IS_MEDIA_ONLY : 0) |
    (isTest ? FLAG_IS_TEST_SERVER : 0);
  const address = tlBytes(Buffer.from(server.serverAddress, "latin1"));
  return Buffer.concat([Buffer.from([serverVersion, server.dcId, flags]), address, tlInt(server.port)]);
}

function readServer(bytes: Buffer): Server {
  const [serverVersion = 0, dcId = 0, flags = 0] = bytes;
  if (serverVersion !== 1 && serverVersion !== CURRENT_SERVER_VERSION) throw damaged();
  const reader = new TlReader(bytes.subarray(3), "mtcute");
  const serverAddress = reader.bytes().toString("latin1");
  const port = reader.int();
  const isTest = serverVersion === CURRENT_SERVER_VERSION && (flags & FLAG_IS_TEST_SERVER) !== 0;
  return {
    dcId,
    serverAddress,
    port,
    isMediaOnly: (flags & FLAG_IS_MEDIA_ONLY) !== 0,
    isTest,
    version: serverVersion,
  };
}

function withoutTest({ dcId, serverAddress, port, isMediaOnly }: Server): DataCenterAddress {
  return { dcId, serverAddress, port, isMediaOnly };
}

function readLong(reader: TlReader): number {
  const low = reader.int() >>> 0;
  const id = (reader.int() >>> 0) * 2 ** 32 + low;
  if (!Number.isSafeInteger(id)) throw damaged();
  return id;
}

function readBool(reader: TlReader): boolean {
  const value = reader.int() >>> 0;
  if (value !== BOOL_TRUE && value !== BOOL_FALSE) throw damaged();
  return value === BOOL_TRUE;
}

function damaged(): InvalidSessionError {
  return new InvalidSessionError(
    "The text begins like an mtcute string but goes on differently: it is damaged. Export it again from mtcute.",
  );
}

/** A 32 bit number, little-endian; signed or not, the bytes are the same. */
function tlInt(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0, 0);
  return bytes;
}

/** A TL string: its length in one byte or four, the bytes, zeros up to a multiple of four (core.telegram.org/mtproto/serialize). */
function tlBytes(value: Uint8Array): Buffer {
  const head = value.length < 254 ? Buffer.from([value.length]) : tlInt(value.length * 256 + 254);
  const padding = Buffer.alloc((4 - ((head.length + value.length) % 4)) % 4);
  return Buffer.concat([head, value, padding]);
}

/** Reads what the two above write, one after the other. */
class TlReader {
  readonly #bytes: Buffer;
  readonly #format: string;
  #at = 0;

  constructor(bytes: Buffer, format: string) {
    this.#bytes = bytes;
    this.#format = format;
  }

  int(): number {
    return this.#take(4).readInt32LE(0);
  }

  bytes(): Buffer {
    const first = this.#take(1).readUInt8(0);
    const isLong = first === 254;
    const length = isLong ? this.#take(3).readUIntLE(0, 3) : first;
    const value = this.#take(length);
    this.#take((4 - (((isLong ? 4 : 1) + length) % 4)) % 4);
    return value;
  }

  /** Throws unless everything was read. */
  end(): void {
    checkLength(this.#bytes.length, this.#at, this.#format);
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw cutOff(end - this.#bytes.length, this.#format);
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
