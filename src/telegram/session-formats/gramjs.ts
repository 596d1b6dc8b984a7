import { isTestAddress } from "../data-centers.js";
import { AUTH_KEY_BYTES, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, checkLength, encode } from "./base64.js";

// "1" and, in standard base64: number u8, address length i16, address, port i16, key. Big-endian.
// Source: telegram/sessions/StringSession.js of GramJS 2.26.22; teleproto's is the same.
const BASE64: Base64Variant = { alphabet: "standard", isPadded: true };
const ADDRESS_AT = 3;
const PORT_BYTES = 2;

/** GramJS takes a length above this (or a negative one) for the first bytes of an IPv6 address of Telethon. */
const MAX_ADDRESS_LENGTH = 100;

/** The length of the address, if these bytes can be GramJS's. */
export function addressLengthOf(bytes: Buffer): number | undefined {
  const length = bytes.length < ADDRESS_AT ? 0 : bytes.readInt16BE(1);
  return length >= 1 && length <= MAX_ADDRESS_LENGTH ? length : undefined;
}

/** Reads a GramJS or teleproto string; `text` is what follows the version. */
export function parseGramjs(text: string, bytes: Buffer, addressLength: number): SessionData {
  const portAt = ADDRESS_AT + addressLength;
  checkLength(bytes.length, portAt + PORT_BYTES + AUTH_KEY_BYTES, "GramJS");
  checkBase64(text, bytes, BASE64, "GramJS");
  const serverAddress = bytes.toString("latin1", ADDRESS_AT, portAt);
  return {
    dcId: bytes.readUInt8(0),
    serverAddress,
    port: bytes.readUInt16BE(portAt),
    authKey: bytes.subarray(portAt + PORT_BYTES),
    format: "gramjs",
    isTest: isTestAddress(serverAddress),
  };
}

export function formatGramjs(session: SessionData): string {
  const address = Buffer.from(session.serverAddress, "latin1");
  const head = Buffer.alloc(ADDRESS_AT);
  head.writeUInt8(session.dcId, 0);
  head.writeInt16BE(address.length, 1);
  const port = Buffer.alloc(PORT_BYTES);
  port.writeUInt16BE(session.port, 0);
  return `1${encode(Buffer.concat([head, address, port, session.authKey]), BASE64)}`;
}
