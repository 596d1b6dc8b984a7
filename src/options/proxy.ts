import { isIP } from "node:net";
import { isObject, nonEmptyString, type Rules, type Validator } from "./validators.js";

/**
 * A proxy: SOCKS with `socksType`, HTTP (CONNECT) with `protocol: "http"`, MTProto with `secret`. Exactly one of the three.
 */
export interface ProxyProfile {
  /** An address or a host name, without protocol, port or credentials. */
  readonly ip: string;
  readonly port: number;
  readonly socksType?: 4 | 5 | undefined;
  /** An HTTP proxy that allows CONNECT. The credentials are sent as `Basic`, the connection to the proxy is not encrypted. */
  readonly protocol?: "http" | undefined;
  readonly username?: string | undefined;
  /** Not for SOCKS4, which has no passwords. */
  readonly password?: string | undefined;
  /** The secret of an MTProto proxy, as in its link: hexadecimal or base64. */
  readonly secret?: string | undefined;
  /** Timeout for connecting through the proxy, in seconds. @default 5 */
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
  const bytes = secretBytes(text);
  if (bytes.length === SECRET_BYTES) return true;
  if (bytes.length === SECRET_BYTES + 1) return bytes[0] === PADDED;
  return isFakeTls(text);
}

/** Whether the MTProto proxy of this secret is to be spoken to as a TLS server (`ee`). */
export function isFakeTls(secret: string): boolean {
  const bytes = secretBytes(secret);
  return bytes.length > SECRET_BYTES + 1 && bytes[0] === FAKE_TLS;
}

function secretBytes(text: string): Buffer {
  return Buffer.from(text, /^[0-9a-f]+$/i.test(text) ? "hex" : "base64");
}

/** Validators for the fields of a proxy. */
export const PROXY_RULES: Rules = {
  ip: host,
  port: {
    expected: "a port number",
    accepts: (value) => Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536,
  },
  socksType: { expected: "4 or 5", accepts: (value) => value === 4 || value === 5 },
  protocol: { expected: '"http"', accepts: (value) => value === "http" },
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

/**
 * Whether a stored proxy can be used. Unknown fields are ignored, as a newer version may have written them; but one of an
 * unknown kind cannot be used: an earlier version knows no `protocol`, and sets the record of such a session aside.
 */
export function isStoredProxy(value: unknown): value is ProxyProfile {
  if (!isObject(value) || Array.isArray(value)) return false;
  const fields = value as Record<string, unknown>;
  const isValid = ([name, rule]: readonly [string, Validator]): boolean =>
    fields[name] === undefined || rule.accepts(fields[name]);
  if (!Object.entries(STORED_PROXY_RULES).every(isValid)) return false;
  const { ip, port, socksType, secret, protocol } = fields;
  const isSocksOrMtproto = socksType !== undefined || secret !== undefined;
  return ip !== undefined && port !== undefined && isSocksOrMtproto === (protocol === undefined);
}

/** Why the fields of a proxy, each valid, do not fit together; `undefined` when they do. Repeats no value. */
export function proxyConflict({ socksType, protocol, secret, username, password }: ProxyProfile): string | undefined {
  const kinds = [socksType, protocol, secret].filter((kind) => kind !== undefined).length;
  if (kinds === 0) {
    return 'needs socksType (4 or 5) for a SOCKS proxy, protocol: "http" for an HTTP proxy, or secret for an MTProto proxy';
  }
  if (kinds > 1) return "is of one kind: socksType, protocol and secret exclude each other";
  if (secret !== undefined && (username !== undefined || password !== undefined)) {
    return "has a secret, so it is an MTProto proxy, which takes no username and no password";
  }
  if (socksType === 4 && password !== undefined) {
    return "has a password, which SOCKS4 cannot send: use SOCKS5, or leave the password out";
  }
  return undefined;
}

/** Describes a proxy in messages by kind and address. Contains no credential, even if the address is invalid. */
export function proxyName(proxy: ProxyProfile): string {
  const { ip, port, socksType, secret, protocol } = proxy;
  const kind = secret !== undefined ? "MTProto" : protocol === "http" ? "HTTP" : `SOCKS${socksType ?? 5}`;
  return isHost(ip) ? `${kind} proxy ${ip}:${port}` : `${kind} proxy with an invalid address`;
}

/** The credentials as `Basic` of HTTP has them. Source: RFC 7617. `undefined` without any. */
export function basicCredentials({ username, password }: ProxyProfile): string | undefined {
  if (username === undefined && password === undefined) return undefined;
  return Buffer.from(`${username ?? ""}:${password ?? ""}`).toString("base64");
}
