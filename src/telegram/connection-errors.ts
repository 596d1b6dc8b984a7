import type { ErrorShape } from "./error-shape.js";
import type { VerdictScope } from "./verdict-table.js";

/** A failure below the API: a transport error or a lost connection. Always retryable, and never proof of anything. */
export interface ConnectionFailure {
  readonly code: string;
  readonly scope: VerdictScope;
}

/**
 * Transport errors, which are four bytes instead of an answer. 404: the server does not know the auth key (TDLib, mtcute
 * and Pyrogram reconnect once before they believe it). 429: too many connections from this address. 444: invalid data
 * center.
 * Source: core.telegram.org/mtproto/mtproto-transports#transport-errors.
 */
const TRANSPORT_SCOPES: ReadonlyMap<number, VerdictScope> = new Map([
  [404, "session"],
  [429, "proxy"],
  [444, "session"],
]);

/** The codes of Node.js network errors (`node:net`, `node:dns`). */
const SYSTEM_CODES: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** Names of such errors in Node.js and the libraries. Errors of HTTP clients have other names. */
const SYSTEM_NAMES: ReadonlySet<string> = new Set(["", "Error", "Object", "AggregateError", "SystemError"]);

/** The complete messages of GramJS 2.26 and teleproto 1.229 (network/, client/users.js, extensions/). */
const MESSAGES: readonly RegExp[] = [
  /^Not connected$/,
  /^TIMEOUT$/,
  /^No data received$/i,
  /^(?:NetSocket|WebSocket) was closed$/,
  /^The read operation was cancelled\.$/,
  /^Cannot send requests while disconnected(?:\. .*)?$/,
  /^Maximum reconnection retries reached\. Aborting!$/,
  /^(?:Could not reconnect|Failed to connect) to dc \d+$/,
  /^Disconnected from dc \d+$/,
  /^Connection to dc \d+ was lost$/,
  /^Connection to \S+ timed out after [\d.]+s$/,
  /^Cannot send \S+: sender for dc \d+ is disconnected$/,
];

const REJECTED_KEY = /^(?:Authorization|Temporary auth) key for dc \d+ was rejected by the server$/;
const INVALID_BUFFER = /^Invalid response buffer \(HTTP code (\d+)\)$/;
/** The message of this package's client adapters. */
const REPORTED_TRANSPORT_ERROR = /\(transport error -(\d+)\)$/;

/** The connection failure that an error reports; `undefined` for any other error. */
export function connectionFailureOf(shape: ErrorShape): ConnectionFailure | undefined {
  const transport = transportErrorOf(shape);
  if (transport !== undefined) {
    return { code: `TRANSPORT_${transport}`, scope: TRANSPORT_SCOPES.get(transport) ?? "server" };
  }
  if (shape.name === "InvalidBufferError") return { code: "TRANSPORT_ERROR", scope: "server" };
  if (shape.name === "SocksClientError") return { code: "SOCKS_ERROR", scope: "proxy" };
  if (shape.name === "HttpProxyError") return { code: "HTTP_PROXY_ERROR", scope: "proxy" };
  if (shape.name === "ReadCancelledError") return { code: "NOT_CONNECTED", scope: "proxy" };
  if (!SYSTEM_NAMES.has(shape.name)) return undefined;
  if (shape.systemCode !== undefined && SYSTEM_CODES.has(shape.systemCode)) {
    return { code: shape.systemCode, scope: "proxy" };
  }
  return connectionFailureOfText(shape.message);
}

/** The same for a message: GramJS rejects some calls with a string. */
export function connectionFailureOfText(text: string): ConnectionFailure | undefined {
  if (REJECTED_KEY.test(text)) return { code: "TRANSPORT_404", scope: "session" };
  if (MESSAGES.some((message) => message.test(text))) return { code: "NOT_CONNECTED", scope: "proxy" };
  return undefined;
}

// GramJS inverts the sign: its InvalidBufferError for −404 has the code 404.
function transportErrorOf(shape: ErrorShape): number | undefined {
  if (shape.number !== undefined && TRANSPORT_SCOPES.has(-shape.number)) return -shape.number;
  if (shape.name === "InvalidBufferError" && shape.number !== undefined) return Math.abs(shape.number);
  const match = INVALID_BUFFER.exec(shape.message) ?? REPORTED_TRANSPORT_ERROR.exec(shape.message);
  return match === null ? undefined : Number(match[1]);
}
