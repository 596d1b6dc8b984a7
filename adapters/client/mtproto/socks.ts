import { isIP, type Socket } from "node:net";
import { ProxyReplies } from "./proxy-replies.js";

/** A SOCKS proxy as the libraries' client options name it. */
export interface SocksProxy {
  readonly ip: string;
  readonly port: number;
  readonly socksType: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

interface Destination {
  readonly host: string;
  readonly port: number;
}

/** The most bytes that a proxy may send during the handshake. */
const MAX_REPLY_BYTES = 1_024;

/**
 * Asks the SOCKS proxy behind a connected socket to connect it to `to`. Resolves once the tunnel to the destination
 * is open; rejects when the proxy refuses or violates the protocol, or the socket ends. Starts no timer: the caller closes
 * the socket. Source: RFC 1928, RFC 1929; SOCKS4a for names under SOCKS4.
 */
export async function socksHandshake(socket: Socket, proxy: SocksProxy, to: Destination): Promise<void> {
  const replies = new ProxyReplies(socket, MAX_REPLY_BYTES, socksRefusal);
  try {
    if (proxy.socksType === 4) await socks4(socket, replies, proxy, to);
    else await socks5(socket, replies, proxy, to);
  } finally {
    replies.end();
  }
}

async function socks4(
  socket: Socket,
  replies: ProxyReplies,
  { username = "" }: SocksProxy,
  to: Destination,
): Promise<void> {
  if (isIP(to.host) === 6) throw socksRefusal("SOCKS4 knows no IPv6 addresses");
  const isAddress = isIP(to.host) === 4;
  const address = isAddress ? addressBytes(to.host) : Buffer.of(0, 0, 0, 1);
  const name = isAddress ? [] : [Buffer.from(to.host), Buffer.of(0)];
  socket.write(
    Buffer.concat([Buffer.of(4, 1), portBytes(to.port), address, Buffer.from(username), Buffer.of(0), ...name]),
  );
  const [version, status] = await replies.take(8);
  if (version !== 0 || status !== 0x5a) throw socksRefusal(`the proxy refused the connection (status ${status})`);
}

async function socks5(socket: Socket, replies: ProxyReplies, proxy: SocksProxy, to: Destination): Promise<void> {
  const { username, password } = proxy;
  const hasLogin = username !== undefined || password !== undefined;
  socket.write(hasLogin ? Buffer.of(5, 2, 0, 2) : Buffer.of(5, 1, 0));
  const [version, method] = await replies.take(2);
  if (version !== 5) throw socksRefusal("what answered is no SOCKS5 proxy");
  if (method === 2 && hasLogin) await logIn(socket, replies, username ?? "", password ?? "");
  else if (method !== 0) throw socksRefusal("the proxy wants another way of authentication than this one has");
  socket.write(Buffer.concat([Buffer.of(5, 1, 0), destinationBytes(to.host), portBytes(to.port)]));
  const [, status, , kind] = await replies.take(4);
  if (status !== 0) throw socksRefusal(`the proxy refused the connection (status ${status})`);
  // The address that it connects from: not used, but it has to be read.
  const length = kind === 1 ? 4 : kind === 4 ? 16 : ((await replies.take(1))[0] ?? 0);
  await replies.take(length + 2);
}

async function logIn(socket: Socket, replies: ProxyReplies, username: string, password: string): Promise<void> {
  socket.write(Buffer.concat([Buffer.of(1), shortText(username), shortText(password)]));
  const [, status] = await replies.take(2);
  if (status !== 0) throw socksRefusal("the proxy refused the user name or the password");
}

function destinationBytes(host: string): Buffer {
  const version = isIP(host);
  if (version === 0) return Buffer.concat([Buffer.of(3), shortText(host)]);
  return Buffer.concat([Buffer.of(version === 4 ? 1 : 4), addressBytes(host)]);
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split(".").map(Number));
  // The URL parser writes an IPv4 tail as hexadecimal, so that only colons and groups are left.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const all = [...before, ...Array<string>(8 - before.length - after.length).fill("0"), ...after];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return bytes;
}

function portBytes(port: number): Buffer {
  return Buffer.of(port >> 8, port & 0xff);
}

function shortText(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 255)
    throw socksRefusal("a user name, password or host name is longer than SOCKS5 allows (255 bytes)");
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

/** An error of the proxy, named like those of the `socks` package: it concerns the proxy, not the session. */
export function socksRefusal(what: string): Error {
  return Object.assign(new Error(`SOCKS: ${what}`), { name: "SocksClientError" });
}
