/** The number of the data center that every session of the test server names. */
export const DC_ID = 2;

/** The largest port a StringSession can carry: it is a signed 16 bit number. */
const LARGEST_PORT = 32_767;
const AUTH_KEY_BYTES = 256;

/** Mints a StringSession as GramJS and teleproto write it. The port is informative: both libraries dial their own. */
export function mintSession(authKey: Uint8Array, host: string, port: number): string {
  const address = Buffer.from(host);
  const head = Buffer.alloc(3);
  head.writeUInt8(DC_ID, 0);
  head.writeInt16BE(address.length, 1);
  const tail = Buffer.alloc(2);
  tail.writeInt16BE(Math.min(port, LARGEST_PORT), 0);
  return `1${Buffer.concat([head, address, tail, authKey]).toString("base64")}`;
}

/** The auth key of a StringSession. Throws a `TypeError` when there is none in it. */
export function authKeyOfSession(session: string): Buffer {
  const bytes = Buffer.from(session.slice(1), "base64");
  if (session[0] !== "1" || bytes.length < AUTH_KEY_BYTES + 3) {
    throw new TypeError("Expected a StringSession of GramJS or teleproto");
  }
  return bytes.subarray(-AUTH_KEY_BYTES);
}
