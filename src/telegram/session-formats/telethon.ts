import { isIPv4, isIPv6, SocketAddress } from "node:net";
import { InvalidSessionError } from "../../errors.js";
import { isTestAddress } from "../data-centers.js";
import { AUTH_KEY_BYTES, type SessionData } from "../session-data.js";
import { type Base64Variant, checkBase64, checkLength, encode } from "./base64.js";

// "1" and, in URL-safe base64: number u8, IP address of 4 or 16 bytes, port u16, key. Big-endian.
// Source: LonamiWebs/Telethon telethon/sessions/string.py.
const BASE64: Base64Variant = { alphabet: "url", isPadded: true };
const LENGTH_WITHOUT = 1 + 2 + AUTH_KEY_BYTES;
const IPV4_LENGTH = LENGTH_WITHOUT + 4;
const IPV6_LENGTH = LENGTH_WITHOUT + 16;

/** Reads a Telethon string; `text` is what follows the version. */
export function parseTelethon(text: string, bytes: Buffer): SessionData {
  checkLength(bytes.length, expectedLength(bytes), "Telethon");
  checkBase64(text, bytes, BASE64, "Telethon");
  const portAt = bytes.length - AUTH_KEY_BYTES - 2;
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
  if (bytes.length === IPV4_LENGTH || bytes.length === IPV6_LENGTH) return bytes.length;
  return bytes[1] === 0x20 || bytes[1] === 0x2a ? IPV6_LENGTH : IPV4_LENGTH;
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
  return `1${encode(Buffer.concat([Buffer.from([session.dcId]), address, port, session.authKey]), BASE64)}`;
}

/** The 4 or 16 bytes of an IP address; `undefined` for a host name. */
function bytesOfAddress(address: string): Buffer | undefined {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  if (!isIPv6(address) || address.includes("%")) return undefined;
  const [head = "", tail] = withoutDots(address).split("::");
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  const bytes = Buffer.alloc(16);
  [...before, ...zeros, ...after].forEach((group, index) => {
    bytes.writeUInt16BE(group, index * 2);
  });
  return bytes;
}

/** The address in these 4 or 16 bytes, in its shortest form. */
function addressOfBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? [];
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}

function groupsOf(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

/** `::ffff:1.2.3.4` as `::ffff:102:304`. */
function withoutDots(address: string): string {
  return address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
}
