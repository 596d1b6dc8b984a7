import { isTestAddress } from "../data-centers.js";
import { authKeyBytes, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, checkLength, encode } from "./base64.js";

// "1" and, in standard base64: number u8, address length i16, address, port i16, key. Big-endian.
// Source: telegram/sessions/StringSession.js of GramJS 2.26.22; teleproto's is the same.
const base64: Base64Variant = { alphabet: "standard", isPadded: true };
const addressAt = 3;
const portBytes = 2;

/** GramJS takes a length above this (or a negative one) for the first bytes of an IPv6 address of Telethon. */
const longestAddress = 100;

/** The length of the address, if these bytes can be GramJS's. */
export function addressLengthOf(bytes: Buffer): number | undefined {
  const length = bytes.length < addressAt ? 0 : bytes.readInt16BE(1);
  return length >= 1 && length <= longestAddress ? length : undefined;
}

/** Reads a GramJS or teleproto string; `text` is what follows the version. */
export function parseGramjs(text: string, bytes: Buffer, addressLength: number): SessionData {
  const portAt = addressAt + addressLength;
  checkLength(bytes.length, portAt + portBytes + authKeyBytes, "GramJS");
  checkBase64(text, bytes, base64, "GramJS");
  const serverAddress = bytes.toString("latin1", addressAt, portAt);
  return {
    dcId: bytes.readUInt8(0),
    serverAddress,
    port: bytes.readUInt16BE(portAt),
    authKey: bytes.subarray(portAt + portBytes),
    format: "gramjs",
    isTest: isTestAddress(serverAddress),
  };
}

export function formatGramjs(session: SessionData): string {
  const address = Buffer.from(session.serverAddress, "latin1");
  const head = Buffer.alloc(addressAt);
  head.writeUInt8(session.dcId, 0);
  head.writeInt16BE(address.length, 1);
  const port = Buffer.alloc(portBytes);
  port.writeUInt16BE(session.port, 0);
  return `1${encode(Buffer.concat([head, address, port, session.authKey]), base64)}`;
}
