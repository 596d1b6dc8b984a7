import type { ErrorShape } from "./error-shape.js";
import type { VerdictScope } from "./verdict-table.js";

/** A failure below the API: the transport refused, or the line is down. Always worth another try, never a proof. */
export interface ConnectionFailure {
  readonly code: string;
  readonly scope: VerdictScope;
}

/**
 * Four bytes instead of an answer. 404: the server does not know the auth key (TDLib, mtcute and Pyrogram reconnect once
 * before they believe it). 429: too many connections from this address. 444: no such data center.
 * Source: core.telegram.org/mtproto/mtproto-transports#transport-errors.
 */
const transportScopes: ReadonlyMap<number, VerdictScope> = new Map([
  [404, "session"],
  [429, "proxy"],
  [444, "session"],
]);

/** The codes of Node's own network errors (`node:net`, `node:dns`). */
const systemCodes: ReadonlySet<string> = new Set([
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

/** Names under which Node and the libraries throw such errors; an HTTP client's error has a name of its own. */
const systemNames: ReadonlySet<string> = new Set(["", "Error", "Object", "AggregateError", "SystemError"]);

/** The whole messages of GramJS 2.26 and teleproto 1.229 (network/, client/users.js, extensions/). */
const messages: readonly RegExp[] = [
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

const rejectedKey = /^(?:Authorization|Temporary auth) key for dc \d+ was rejected by the server$/;
const invalidBuffer = /^Invalid response buffer \(HTTP code (\d+)\)$/;
/** As this package's own client adapters say it. */
const toldTransportError = /\(transport error -(\d+)\)$/;

/** The failure of the connection this error tells of, if that is what it does. */
export function connectionFailureOf(shape: ErrorShape): ConnectionFailure | undefined {
  const transport = transportErrorOf(shape);
  if (transport !== undefined) {
    return { code: `TRANSPORT_${transport}`, scope: transportScopes.get(transport) ?? "server" };
  }
  if (shape.name === "InvalidBufferError") return { code: "TRANSPORT_ERROR", scope: "server" };
  if (shape.name === "SocksClientError") return { code: "SOCKS_ERROR", scope: "proxy" };
  if (shape.name === "ReadCancelledError") return { code: "NOT_CONNECTED", scope: "proxy" };
  if (!systemNames.has(shape.name)) return undefined;
  if (shape.systemCode !== undefined && systemCodes.has(shape.systemCode)) {
    return { code: shape.systemCode, scope: "proxy" };
  }
  return connectionFailureOfText(shape.message);
}

/** The same for a bare message: GramJS rejects some calls with a string. */
export function connectionFailureOfText(text: string): ConnectionFailure | undefined {
  if (rejectedKey.test(text)) return { code: "TRANSPORT_404", scope: "session" };
  if (messages.some((message) => message.test(text))) return { code: "NOT_CONNECTED", scope: "proxy" };
  return undefined;
}

// GramJS turns the sign round: its InvalidBufferError of −404 has the code 404.
function transportErrorOf(shape: ErrorShape): number | undefined {
  if (shape.number !== undefined && transportScopes.has(-shape.number)) return -shape.number;
  if (shape.name === "InvalidBufferError" && shape.number !== undefined) return Math.abs(shape.number);
  const match = invalidBuffer.exec(shape.message) ?? toldTransportError.exec(shape.message);
  return match === null ? undefined : Number(match[1]);
}
