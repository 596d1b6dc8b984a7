import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { OptionsError } from "../errors.js";
import { isProfile, type ResolvedProfile } from "../options/client-profile.js";
import type { ProxyProfile } from "../options/proxy.js";
import { createProxy, parseProxyUrl } from "../options/proxy-url.js";
import { isObject } from "../options/validators.js";
import { AccountFileError } from "./found-account.js";

/** What the `.json` beside a session file says of its account. */
export interface AccountDescription {
  readonly profile: ResolvedProfile | null;
  readonly accountId: string | null;
  /** The session file it belongs to, by its name without ending, where it says so. */
  readonly sessionFile: string | null;
  /** Why the account must not be used with it: its proxy cannot be used, so it would connect from another address. */
  readonly problem: AccountFileError | null;
}

/**
 * Reads the `.json` that account managers keep beside a `.session` file, in all spellings of its fields. Its password
 * (`twoFA`) is not read, and `lang_pack` is no language: it names the client's own pack ("tdesktop", "android"). Source:
 * opentele2's description of the format and public readers of it.
 *
 * Returns `undefined` for JSON that describes no account.
 */
function readAccountJson(text: string): AccountDescription | undefined {
  const fields = parsed(text);
  if (fields === undefined || !KNOWN_FIELDS.some((name) => fields[name] !== undefined)) return undefined;
  const take = (...names: readonly string[]): string | undefined => {
    const value = names
      .map((name) => fields[name])
      .find((found) => found !== undefined && found !== null && found !== "");
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  };
  const pair = take("lang_pack");
  const langCode = take("lang_code") ?? (pair !== undefined && isLanguage(pair) ? pair : undefined);
  const { proxy, problem } = usableProxy(fields.proxy);
  const profile = definedIn({
    apiId: wholeNumber(take("app_id", "api_id")),
    apiHash: take("app_hash", "api_hash"),
    deviceModel: take("device", "device_model"),
    systemVersion: take("sdk", "system_version", "system"),
    appVersion: take("app_version"),
    langCode,
    systemLangCode: take("system_lang_code", "system_lang_pack"),
    proxy,
  });
  const isUsable = problem === null && isProfile(profile);
  const id = take("user_id", "id");
  return {
    profile: isUsable && Object.keys(profile).length > 0 ? profile : null,
    accountId: id !== undefined && /^[1-9]\d{0,18}$/.test(id) ? id : null,
    sessionFile: take("session_file") ?? null,
    problem,
  };
}

interface ReadProxy {
  readonly proxy?: ProxyProfile | undefined;
  readonly problem: AccountFileError | null;
}

function usableProxy(value: unknown): ReadProxy {
  try {
    return { proxy: proxyIn(value), problem: null };
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    return { problem: new AccountFileError(`${UNUSABLE_PROXY} (${error.message.replace(/\.$/, "")})`) };
  }
}

const UNUSABLE_PROXY =
  "The .json beside the session file names a proxy that cannot be used. The account is left out, since it would connect from another address: change the proxy there, or remove it";

/** Such a file has some hundred bytes, with an avatar in it some ten thousand. */
const MOST_BYTES = 1_048_576;

/** Finds the `.json` that belongs to a session file: the one of its name, or the one that names it. */
export class AccountDescriptions {
  /** Of the folder that was looked at last: by `session_file`. Bound: its files. */
  #named: { readonly folder: string; readonly files: ReadonlyMap<string, AccountDescription> } | undefined;

  /** Throws `AccountFileError` for a description that cannot be used. */
  async of(path: string): Promise<AccountDescription | undefined> {
    const folder = dirname(path);
    const name = basename(path).slice(0, basename(path).length - extname(path).length);
    const own = await this.read(join(folder, `${name}.json`)).catch(missingFile);
    if (own === undefined && this.#named?.folder !== folder) {
      this.#named = { folder, files: await this.#filesByName(folder) };
    }
    const description = own ?? this.#named?.files.get(name);
    if (description !== undefined && description.problem !== null) throw description.problem;
    return description;
  }

  /** Reads one such file; `undefined` for other JSON. */
  async read(path: string): Promise<AccountDescription | undefined> {
    const { size } = await stat(path);
    return size > MOST_BYTES ? undefined : readAccountJson(await readFile(path, "utf8"));
  }

  async #filesByName(folder: string): Promise<ReadonlyMap<string, AccountDescription>> {
    const files = new Map<string, AccountDescription>();
    for (const name of await readdir(folder)) {
      if (extname(name) !== ".json") continue;
      // One that cannot be read is an entry of its own.
      const description = await this.read(join(folder, name)).catch(() => undefined);
      if (description !== undefined && description.sessionFile !== null)
        files.set(description.sessionFile, description);
    }
    return files;
  }
}

function missingFile(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT") return undefined;
  throw error;
}

/** At least one of these is in every such file. */
const KNOWN_FIELDS = ["app_id", "api_id", "session_file", "app_hash", "api_hash", "device", "device_model"];

function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ""));
    return isObject(value) && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/** "en", "pt-br", "zh-hans": but "ios" is a pack. */
function isLanguage(text: string): boolean {
  return /^[a-z]{2,3}(?:-[A-Za-z]{2,4})?$/.test(text) && text !== "ios";
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined;
}

function definedIn<Fields extends object>(fields: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Fields>;
}

const PROXY = "its proxy";

/** A URL or a link, or `[type, host, port, rdns, username, password]` as Python's PySocks takes it. Throws `OptionsError`. */
function proxyIn(value: unknown): ProxyProfile | undefined {
  if (value === undefined || value === null || value === "" || value === false) return undefined;
  if (typeof value === "string") return parseProxyUrl(PROXY, value);
  if (Array.isArray(value)) return value.length === 0 ? undefined : proxyOfTuple(value);
  if (isObject(value)) return Object.keys(value).length === 0 ? undefined : proxyOfObject(value);
  throw new OptionsError(`${PROXY} is neither a URL nor a list nor an object.`);
}

function proxyOfTuple([kind, host, port, , username, password]: readonly unknown[]): ProxyProfile {
  return createProxy(PROXY, { kind, host, port, username, password });
}

function proxyOfObject(fields: Readonly<Record<string, unknown>>): ProxyProfile {
  const { port, secret } = fields;
  const host = fields.addr ?? fields.hostname ?? fields.host ?? fields.server ?? fields.ip;
  const kind = fields.proxy_type ?? fields.scheme ?? fields.type;
  const username = fields.username ?? fields.user;
  return createProxy(PROXY, { kind, host, port, username, password: fields.password ?? fields.pass, secret });
}
