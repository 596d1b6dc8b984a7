import { basicCredentials, isHost, isStoredProxy, type ProxyProfile } from "./proxy.js";
import { boolean, isObject, isPlainObject, nonEmptyString, type Rules } from "./validators.js";

/**
 * The device, application and proxy with which one account connects. They should never change: an account that changes
 * its device or address at every start looks stolen.
 */
export interface ClientProfile {
  readonly apiId?: number | undefined;
  readonly apiHash?: string | undefined;
  /**
   * The proxy of all its connections, which then open no socket to anything else: a `ProxyProfile`,
   * `socks5://user:password@host:port`, `socks4://…`, `http://…`, or a link `tg://proxy?…` or `https://t.me/proxy?…`.
   */
  readonly proxy?: string | ProxyProfile | undefined;
  readonly deviceModel?: string | undefined;
  readonly systemVersion?: string | undefined;
  readonly appVersion?: string | undefined;
  readonly langCode?: string | undefined;
  readonly systemLangCode?: string | undefined;
  /**
   * Keeps the client connected without a lease, and connects it again when it was lost: for an account that has to listen
   * (`onConnect` of the client adapter). Telegram sends it updates, whatever the adapter's `updates` says. As long as it
   * is to listen the process does not end by itself, connected or not: until `close()`, or until the session is disabled,
   * dead or removed. Where `maxConnected` leaves no room a lease takes its place for a while. @default false
   */
  readonly keepConnected?: boolean | undefined;
}

/** A profile whose proxy is an object: what is stored, and what client adapters get. */
export interface ResolvedProfile extends ClientProfile {
  readonly proxy?: ProxyProfile | undefined;
}

/** Validators for the fields of a profile, but for those of its proxy. */
export const PROFILE_RULES: Rules = {
  apiId: { expected: "a whole number, more than 0", accepts: (value) => Number.isInteger(value) && Number(value) > 0 },
  apiHash: nonEmptyString,
  proxy: {
    expected: "the URL of a proxy, or { ip, port } with socksType, protocol or secret",
    accepts: (value) => typeof value === "string" || isObject(value),
  },
  deviceModel: nonEmptyString,
  systemVersion: nonEmptyString,
  appVersion: nonEmptyString,
  langCode: nonEmptyString,
  systemLangCode: nonEmptyString,
  keepConnected: boolean,
};

/**
 * Whether a stored profile can be used. Unknown fields are ignored, as a newer version may have written them.
 */
export function isProfile(value: unknown): value is ResolvedProfile {
  if (!isPlainObject(value) || !holdsAll(value, PROFILE_RULES)) return false;
  return value.proxy === undefined || isStoredProxy(value.proxy);
}

function holdsAll(fields: Record<string, unknown>, rules: Rules): boolean {
  return Object.entries(rules).every(([name, rule]) => fields[name] === undefined || rule.accepts(fields[name]));
}

/** The values of a profile that must not appear in any message, as they are and as they are sent to an HTTP proxy. */
export function secretsOf({
  apiHash,
  proxy,
}: Pick<ResolvedProfile, "apiHash" | "proxy">): readonly (string | undefined)[] {
  const address = proxy === undefined || isHost(proxy.ip) ? undefined : proxy.ip;
  const { username, password, secret } = proxy ?? {};
  // A short user name may be an ordinary word of an error's text; a long one is often an access token.
  const token = username !== undefined && username.length >= 8 ? username : undefined;
  return [apiHash, password, token, secret, address, proxy && basicCredentials(proxy)];
}
