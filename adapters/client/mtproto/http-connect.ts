import { isIP, type Socket } from "node:net";
import { basicCredentials, isHost } from "../../../src/options/proxy.js";
import { ProxyReplies } from "./proxy-replies.js";

/** An HTTP proxy as the profile names it. */
export interface HttpProxy {
  readonly ip: string;
  readonly port: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** The most bytes that the head of a proxy's answer may have; servers and clients of HTTP take 8 to 16 KiB. */
const MAX_HEAD_BYTES = 16_384;
const END_OF_HEAD = "\r\n\r\n";
const STATUS_LINE = /^HTTP\/1\.[01] ([1-5]\d\d)(?: |\r)/;

/**
 * Asks the HTTP proxy behind a connected socket to connect it to `to`. Resolves once the tunnel is open; rejects when
 * the proxy refuses, does not speak HTTP, or the socket ends. Errors contain only the status code of the reply, as the rest
 * may contain the credentials. Starts no timer: the caller closes the socket. Source: RFC 9110, 9.3.6 and 11.7; RFC 7617.
 */
export async function httpConnect(
  socket: Socket,
  proxy: HttpProxy,
  to: { readonly host: string; readonly port: number },
): Promise<void> {
  // It becomes part of the head of a request, and may be from a session of anybody's.
  if (!isHost(to.host)) throw httpRefusal("the destination is no address and no host name");
  const replies = new ProxyReplies(socket, MAX_HEAD_BYTES, httpRefusal);
  try {
    const authority = `${isIP(to.host) === 6 ? `[${to.host}]` : to.host}:${to.port}`;
    const credentials = basicCredentials(proxy);
    const lines = [
      `CONNECT ${authority} HTTP/1.1`,
      `Host: ${authority}`,
      ...(credentials === undefined ? [] : [`Proxy-Authorization: Basic ${credentials}`]),
    ];
    socket.write(`${lines.join("\r\n")}${END_OF_HEAD}`);
    let status: number;
    do status = await readStatus(replies);
    while (status < 200);
    if (status >= 300) throw httpRefusal(reasonOf(status, credentials !== undefined));
  } finally {
    replies.end();
  }
}

/** The status of the next answer, whose head is taken. A reply that is not HTTP is rejected at its first bytes. */
async function readStatus(replies: ProxyReplies): Promise<number> {
  const start = await replies.take(5);
  if (start.toString("latin1") !== "HTTP/") throw httpRefusal("what answered is no HTTP proxy");
  const rest = await replies.takeThrough(END_OF_HEAD);
  const [, status] = STATUS_LINE.exec(`HTTP/${rest.toString("latin1")}`) ?? [];
  if (status === undefined) throw httpRefusal("what answered is no HTTP/1.1 proxy");
  return Number(status);
}

function reasonOf(status: number, hasCredentials: boolean): string {
  if (status !== 407) return `the proxy refused the connection (status ${status})`;
  return hasCredentials
    ? "the proxy refused the user name or the password (status 407)"
    : "the proxy wants a user name and a password (status 407)";
}

/** An error of an HTTP proxy: it concerns the proxy, not the session. */
export function httpRefusal(what: string): Error {
  return Object.assign(new Error(`HTTP proxy: ${what}`), { name: "HttpProxyError" });
}
