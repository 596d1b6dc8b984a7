import { createHash } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";

/** Everything of the page comes from its own origin; nothing is run or drawn that is not a file of it. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

type Headers = Readonly<Record<string, string>>;

/**
 * Begins a response: its status and its headers, which replace those that a framework has set. Other origins may read nothing,
 * even where a framework allows it (CORS).
 */
export function begin(response: ServerResponse, status: number, headers: Headers): void {
  response.statusCode = status;
  for (const name of response.getHeaderNames()) if (name.startsWith("access-control-")) response.removeHeader(name);
  for (const [name, value] of Object.entries({ ...SECURITY_HEADERS, ...headers })) response.setHeader(name, value);
}

/** Answers with a text that is not kept. */
export function sendText(response: ServerResponse, status: number, text: string, headers: Headers = {}): void {
  begin(response, status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store", ...headers });
  response.end(`${text}\n`);
}

/** Answers with JSON that is not kept. */
export function sendJson(response: ServerResponse, status: number, json: string): void {
  begin(response, status, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
  response.end(json);
}

/** Whether an answer may be in gzip. Source: RFC 9110, 12.5.3. */
export function acceptsGzip({ "accept-encoding": accepted }: IncomingHttpHeaders): boolean {
  const codings = (Array.isArray(accepted) ? accepted.join() : (accepted ?? "")).toLowerCase().split(",");
  const found = codings.map((text) => text.split(";").map((part) => part.trim())).find(([name]) => name === "gzip");
  return found !== undefined && !found.some((part) => /^q=0(\.0*)?$/.test(part));
}

/** Answers with bytes of JSON in gzip that are not kept. */
export function sendCompressedJson(response: ServerResponse, bytes: Buffer): void {
  begin(response, 200, {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "content-encoding": "gzip",
    vary: "accept-encoding",
  });
  response.end(bytes);
}

/** A file that is sent again only when it has changed. */
export class StaticFile {
  readonly #type: string;
  readonly #content: Buffer;
  readonly #compressed: Buffer;
  readonly #tag: string;

  constructor(type: string, content: string) {
    this.#type = type;
    this.#content = Buffer.from(content);
    this.#compressed = gzipSync(content, { level: 9 });
    this.#tag = `"${createHash("sha256").update(content).digest("base64url").slice(0, 22)}"`;
  }

  send({ headers }: IncomingMessage, response: ServerResponse): void {
    const isKnown = headers["if-none-match"]?.includes(this.#tag) === true;
    const isCompressed = !isKnown && acceptsGzip(headers);
    begin(response, isKnown ? 304 : 200, {
      "content-type": this.#type,
      "cache-control": "private, no-cache",
      etag: this.#tag,
      vary: "accept-encoding",
      ...(isCompressed && { "content-encoding": "gzip" }),
    });
    response.end(isKnown ? undefined : isCompressed ? this.#compressed : this.#content);
  }
}
