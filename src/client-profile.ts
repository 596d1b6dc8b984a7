import { flag, isObject, type Rules, text } from "./option-rules.js";

/**
 * How one account shows itself to Telegram. Sticky for life: an account that changes its device or address at every
 * start looks stolen.
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
   * (`onConnect` of the client adapter). Telegram sends it updates, whatever the adapter's `updates` says. Does not keep the process alive. Where `maxConnected` leaves no room a lease takes
   * its place for a while. @default false
   */
  readonly keepConnected?: boolean | undefined;
}

/** A SOCKS proxy, or an MTProto proxy when `secret` is given. */
export interface ProxyProfile {
  readonly ip: string;
  readonly port: number;
  readonly socksType?: 4 | 5 | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly secret?: string | undefined;
  /** Seconds that the proxy may take to connect. */
  readonly timeout?: number | undefined;
}

/** What each field of a proxy has to be. */
export const PROXY_RULES: Rules = {
  ip: text,
  port: {
    expected: "a port number",
    holds: (value) => Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536,
  },
  socksType: { expected: "4 or 5", holds: (value) => value === 4 || value === 5 },
  username: text,
  password: text,
  secret: text,
  timeout: {
    expected: "a finite number of seconds, more than 0",
    holds: (value) => Number.isFinite(value) && Number(value) > 0,
  },
};

/** What each field of a profile has to be; its proxy has rules of its own. */
export const PROFILE_RULES: Rules = {
  apiId: { expected: "a whole number, more than 0", holds: (value) => Number.isInteger(value) && Number(value) > 0 },
  apiHash: text,
  proxy: { expected: "a proxy: { ip, port, socksType } or { ip, port, secret }", holds: isObject },
  deviceModel: text,
  systemVersion: text,
  appVersion: text,
  langCode: text,
  systemLangCode: text,
  keepConnected: flag,
};

/**
 * Whether a profile that was stored can be used. Fields that this version does not know are left alone: a newer one may
 * have written them.
 */
export function isProfile(value: unknown): value is ClientProfile {
  if (!isPlain(value) || !holdsAll(value, PROFILE_RULES)) return false;
  const { proxy } = value;
  if (proxy === undefined) return true;
  if (!isPlain(proxy) || !holdsAll(proxy, PROXY_RULES)) return false;
  const { ip, port, socksType, secret } = proxy;
  return ip !== undefined && port !== undefined && (socksType !== undefined || secret !== undefined);
}

function holdsAll(fields: Record<string, unknown>, rules: Rules): boolean {
  return Object.entries(rules).every(([name, rule]) => fields[name] === undefined || rule.holds(fields[name]));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return isObject(value) && !Array.isArray(value);
}
