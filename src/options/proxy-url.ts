import { isIP } from "node:net";
import { OptionsError } from "../errors.js";
import { PROXY_RULES, type ProxyProfile, proxyConflict } from "./proxy.js";

/** The part of a proxy that its kind determines: as URLs name it, and as Python's PySocks numbers it. */
const KINDS: ReadonlyMap<string, Pick<ProxyProfile, "socksType" | "protocol">> = new Map([
  ["socks", { socksType: 5 }],
  ["socks5", { socksType: 5 }],
  ["socks5h", { socksType: 5 }],
  ["socks4", { socksType: 4 }],
  ["socks4a", { socksType: 4 }],
  ["http", { protocol: "http" }],
  ["1", { socksType: 4 }],
  ["2", { socksType: 5 }],
  ["3", { protocol: "http" }],
] as const);

/** Hosts of the links that Telegram's applications open. Source: core.telegram.org/api/links. */
const LINK_HOSTS: ReadonlySet<string> = new Set(["t.me", "telegram.me", "telegram.dog"]);

const SHAPES =
  "socks5://user:password@host:port, socks4://host:port, http://user:password@host:port, or a link: tg://proxy?server=…&port=…&secret=…, https://t.me/proxy?…";

/** The parts of a proxy, from a URL or a link. */
export interface ProxyParts {
  /** "socks5", "http", …, or the number of PySocks. Not needed with `secret`. */
  readonly kind?: unknown;
  readonly host: unknown;
  readonly port: unknown;
  readonly username?: unknown;
  readonly password?: unknown;
  readonly secret?: unknown;
}

/**
 * Reads the URL of a SOCKS or HTTP proxy, or a link of Telegram's to a SOCKS or MTProto proxy. `name` is what the message of
 * the `OptionsError` begins with. The message repeats nothing of the text, which may hold a password anywhere.
 */
export function parseProxyUrl(name: string, text: string): ProxyProfile {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Not as cause: it holds the text.
    throw refused(
      name,
      `is no URL. Expected ${SHAPES}. Special characters in username and password are percent-encoded`,
    );
  }
  const link = linkOf(url);
  if (link !== undefined) return parseLink(name, link, url.searchParams);
  const scheme = url.protocol.slice(0, -1);
  if (scheme === "https") {
    throw refused(
      name,
      "is https://, TLS to the proxy, which is not supported: http:// names a proxy that allows CONNECT",
    );
  }
  if (!KINDS.has(scheme) || url.hostname === "") throw refused(name, `is of an unknown kind. Expected ${SHAPES}`);
  if (!["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "") {
    throw refused(
      name,
      "has a path, a query or a fragment. Special characters in username and password are percent-encoded: / is %2F, ? is %3F, # is %23",
    );
  }
  // The URL parser leaves the default port of http:// out.
  const port = url.port === "" && scheme === "http" ? 80 : url.port;
  const username = decoded(name, url.username);
  const password = decoded(name, url.password);
  return createProxy(name, { kind: scheme, host: url.hostname, port, username, password });
}

/** Makes a proxy from its parts. Empty credentials are ignored. Throws `OptionsError`, whose message repeats no part. */
export function createProxy(name: string, parts: ProxyParts): ProxyProfile {
  const { host, port, secret } = parts;
  const kind = KINDS.get(String(parts.kind ?? "").toLowerCase());
  if (kind === undefined && isEmpty(secret))
    throw refused(name, "is of an unknown kind: socks5, socks4 and http are known");
  if (typeof port === "string" && !/^\d{1,5}$/.test(port)) throw refused(name, "names no port");
  const proxy = {
    ip: typeof host === "string" ? withoutBrackets(host) : host,
    port: Number(port),
    ...(isEmpty(secret) ? kind : { secret }),
    ...(isEmpty(parts.username) ? {} : { username: parts.username }),
    ...(isEmpty(parts.password) ? {} : { password: parts.password }),
  } as ProxyProfile;
  for (const [field, rule] of Object.entries(PROXY_RULES)) {
    const value: unknown = Reflect.get(proxy, field);
    const isNeeded = field === "ip" || field === "port";
    if ((value === undefined && !isNeeded) || rule.accepts(value)) continue;
    throw refused(name, `has a wrong ${field === "ip" ? "host" : field}: expected ${rule.expected}`);
  }
  const conflict = proxyConflict(proxy);
  if (conflict !== undefined) throw refused(name, conflict);
  return proxy;
}

/** "proxy" or "socks", if it is a link of Telegram's. */
function linkOf({ protocol, hostname, pathname }: URL): string | undefined {
  const name = pathname.replace(/^\/+|\/$/g, "");
  if (protocol === "tg:") return hostname === "" ? name : hostname;
  if (!["http:", "https:"].includes(protocol) || !LINK_HOSTS.has(hostname)) return undefined;
  return name;
}

/** Other parameters than these, such as that of a sponsored channel, are ignored. Source: core.telegram.org/api/links. */
function parseLink(name: string, link: string, query: URLSearchParams): ProxyProfile {
  const host = query.get("server");
  const port = query.get("port") ?? "";
  if (link === "socks") {
    const [username, password] = [query.get("user"), query.get("pass")];
    return createProxy(name, { kind: "socks5", host, port, username, password });
  }
  if (link !== "proxy") throw refused(name, "is a link of Telegram to something else than a proxy");
  // A plus sign of base64 is read as a space.
  const secret = query.get("secret")?.replaceAll(" ", "+");
  if (isEmpty(secret)) throw refused(name, "is a link to an MTProto proxy without its secret");
  return createProxy(name, { host, port, secret });
}

function decoded(name: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused(name, "has a username or password that is not percent-encoded: % is %25");
  }
}

function withoutBrackets(host: string): string {
  const address = host.replace(/^\[|\]$/g, "");
  return isIP(address) === 6 ? address : host;
}

function isEmpty(value: unknown): value is undefined | null | "" {
  return value === undefined || value === null || value === "";
}

function refused(name: string, why: string): OptionsError {
  return new OptionsError(`${name} ${why}.`);
}
