import { InvalidSessionError } from "../../errors.js";
import { isTestAddress } from "../data-centers.js";
import { authKeyBytes, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, encode } from "./base64.js";
import { addressOfBytes, bytesOfAddress } from "./ip-address.js";
import { checkLength } from "./lengths.js";

// "1" and, in URL-safe base64: number u8, IP address of 4 or 16 bytes, port u16, key. Big-endian.
// Source: LonamiWebs/Telethon telethon/sessions/string.py.
const base64: Base64Variant = { alphabet: "url", isPadded: true };
const lengthWithout = 1 + 2 + authKeyBytes;
const ipv4Length = lengthWithout + 4;
const ipv6Length = lengthWithout + 16;

/** Reads a Telethon string; `text` is what follows the version. */
export function parseTelethon(text: string, bytes: Buffer): SessionData {
  checkLength(bytes.length, expectedLength(bytes), "Telethon");
  checkBase64(text, bytes, base64, "Telethon");
  const portAt = bytes.length - authKeyBytes - 2;
  const serverAddress = addressOfBytes(bytes.subarray(1, portAt));
  return {
    dcId: bytes.readUInt8(0),
    serverAddress,
    port: bytes.readUInt16BE(portAt),
    authKey: bytes.subarray(portAt + 2),
    format: "telethon",
    isTest: isTestAddress(serverAddress),
  };
}

/** Telegram's IPv6 networks begin with 2001: and 2a0a:. */
function expectedLength(bytes: Buffer): number {
  if (bytes.length === ipv4Length || bytes.length === ipv6Length) return bytes.length;
  return bytes[1] === 0x20 || bytes[1] === 0x2a ? ipv6Length : ipv4Length;
}

export function formatTelethon(session: SessionData): string {
  const address = bytesOfAddress(session.serverAddress);
  if (address === undefined) {
    throw new InvalidSessionError(
      "A Telethon string carries an IP address, and this session names its server by host. Connect it once by IP address.",
    );
  }
  const port = Buffer.alloc(2);
  port.writeUInt16BE(session.port, 0);
  return `1${encode(Buffer.concat([Buffer.from([session.dcId]), address, port, session.authKey]), base64)}`;
}
