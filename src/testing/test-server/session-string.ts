/** The data center of a test server that names none. */
export const DC_ID = 2;

const AUTH_KEY_BYTES = 256;

/** Where a session string says that its account lives. */
interface SessionAddress {
  readonly dcId: number;
  readonly host: string;
  readonly port: number;
}

/**
 * Mints a StringSession as GramJS and teleproto write it. GramJS reads a port above 32767 as a negative number; it dials
 * another one anyway.
 */
export function mintSession(authKey: Uint8Array, { dcId, host, port }: SessionAddress): string {
  const address = Buffer.from(host);
  const head = Buffer.alloc(3);
  head.writeUInt8(dcId, 0);
  head.writeInt16BE(address.length, 1);
  const tail = Buffer.alloc(2);
  tail.writeUInt16BE(port, 0);
  return `1${Buffer.concat([head, address, tail, authKey]).toString("base64")}`;
}

/** The auth key of a StringSession. Throws a `TypeError` when there is none in it. */
export function authKeyOfSession(session: string): Buffer {
  return bytesOf(session).subarray(-AUTH_KEY_BYTES);
}

/** The data center that a StringSession names. Throws as {@link authKeyOfSession}. */
export function dataCenterOfSession(session: string): number {
  return bytesOf(session).readUInt8(0);
}

function bytesOf(session: string): Buffer {
  const bytes = Buffer.from(session.slice(1), "base64");
  if (session[0] !== "1" || bytes.length < AUTH_KEY_BYTES + 3) {
    throw new TypeError("Expected a StringSession of GramJS or teleproto");
  }
  return bytes;
}
