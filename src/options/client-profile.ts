import { isIP } from "node:net";
import { boolean, isObject, nonEmptyString, type Rules, type Validator } from "./validators.js";

/**
 * The device, application and proxy with which one account connects. They should never change: an account that changes
 * its device or address at every start looks stolen.
 */
export interface ClientProfile {
  readonly apiId?: number | undefined;
  readonly apiHash?: string | undefined;
  readonly proxy?: ProxyProfile | undefined;
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

/** A SOCKS proxy, or an MTProto proxy when `secret` is given. */
export interface ProxyProfile {
  /** An address or a host name, without protocol, port or credentials. */
  readonly ip: string;
  readonly port: number;
  readonly socksType?: 4 | 5 | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** The secret of an MTProto proxy, as in its link: hexadecimal or base64. */
  readonly secret?: string | undefined;
  /** Timeout for connecting to the proxy, in seconds. */
  readonly timeout?: number | undefined;
}

/** The names of some gateways contain underscores. */
const LABEL = /^[\p{L}\p{N}_](?:[\p{L}\p{N}_-]{0,61}[\p{L}\p{N}_])?$/u;
const MAX_HOST_LENGTH = 253;

/** Whether a text is an address or a host name and nothing else, so that it contains no password. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true;
  return text.length <= MAX_HOST_LENGTH && text.split(".").every((label) => LABEL.test(label));
}

const host: Validator = {
  expected: "an address or a host name alone (port, username and password have fields of their own)",
  accepts: (value) => typeof value === "string" && isHost(value),
};

/** Bytes of the secret of an MTProto proxy. Source: core.telegram.org/mtproto/mtproto-transports. */
const SECRET_BYTES = 16;
const PADDED = 0xdd;
const FAKE_TLS = 0xee;

const mtprotoSecret: Validator = {
  expected: "the secret of an MTProto proxy: 16 bytes in hexadecimal or base64, or those that begin with dd or ee",
  accepts: (value) => typeof value === "string" && isSecret(value),
};

function isSecret(text: string): boolean {
  if (!/^[a-z0-9+/_-]+={0,2}$/i.test(text)) return false;
  const bytes = Buffer.from(text, /^[0-9a-f]+$/i.test(text) ? "hex" : "base64");
  if (bytes.length === SECRET_BYTES) return true;
  if (bytes.length === SECRET_BYTES + 1) return bytes[0] === PADDED;
  return bytes.length > SECRET_BYTES + 1 && bytes[0] === FAKE_TLS;
}

/** Validators for the fields of a proxy. */
export const PROXY_RULES: Rules = {
  ip: host,
  port: {
    expected: "a port number",
    accepts: (value) => Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536,
  },
  socksType: { expected: "4 or 5", accepts: (value) => value === 4 || value === 5 },
  username: nonEmptyString,
  password: nonEmptyString,
  secret: mtprotoSecret,
  timeout: {
    expected: "a finite number of seconds, more than 0",
    accepts: (value) => Number.isFinite(value) && Number(value) > 0,
  },
};

/** Earlier versions accepted more: a stored proxy that cannot work fails when it connects, instead of losing the session. */
const STORED_PROXY_RULES: Rules = { ...PROXY_RULES, ip: nonEmptyString, secret: nonEmptyString };

/** Validators for the fields of a profile, but for those of its proxy. */
export const PROFILE_RULES: Rules = {
  apiId: { expected: "a whole number, more than 0", accepts: (value) => Number.isInteger(value) && Number(value) > 0 },
  apiHash: nonEmptyString,
  proxy: { expected: "a proxy: { ip, port, socksType } or { ip, port, secret }", accepts: isObject },
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
export function isProfile(value: unknown): value is ClientProfile {
  if (!isPlain(value) || !holdsAll(value, PROFILE_RULES)) return false;
  const { proxy } = value;
  if (proxy === undefined) return true;
  if (!isPlain(proxy) || !holdsAll(proxy, STORED_PROXY_RULES)) return false;
  const { ip, port, socksType, secret } = proxy;
  return ip !== undefined && port !== undefined && (socksType !== undefined || secret !== undefined);
}

function holdsAll(fields: Record<string, unknown>, rules: Rules): boolean {
  return Object.entries(rules).every(([name, rule]) => fields[name] === undefined || rule.accepts(fields[name]));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value);
}

/** The values of a profile that must not appear in any message. */
export function secretsOf({
  apiHash,
  proxy,
}: Pick<ClientProfile, "apiHash" | "proxy">): readonly (string | undefined)[] {
  const address = proxy === undefined || isHost(proxy.ip) ? undefined : proxy.ip;
  return [apiHash, proxy?.password, proxy?.secret, address];
}
