import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { aesGcm, type Sealer } from "../encryption/sealer.js";
import { type Arguments, UsageError } from "./command.js";
import { PROGRAM } from "./command-line.js";

/** What the command reads from the environment, and from `.env` where the environment says nothing. */
export interface Environment {
  readonly API_ID?: string | undefined;
  readonly API_HASH?: string | undefined;
  readonly SESSION_POOL_STORAGE?: string | undefined;
  readonly SESSION_POOL_KEY?: string | undefined;
  readonly SESSION_POOL_CLIENT?: string | undefined;
  readonly SESSION_POOL_TEST_SERVER?: string | undefined;
}

/** An application of Telegram's. */
export interface ApiCredentials {
  readonly apiId: number;
  readonly apiHash: string;
}

/** A server that is not Telegram's: what `test-server --file` writes. */
export interface PrivateServer {
  readonly dcId: number;
  readonly host: string;
  readonly port: number;
  /** In PEM. */
  readonly publicKey: string;
}

/** The names of the client libraries. */
export const CLIENTS = ["gramjs", "teleproto"] as const;
/** A client library. */
export type ClientName = (typeof CLIENTS)[number];

const DEFAULT_STORAGE = "sqlite:sessions.db";
/** Of a private server, which looks at neither. */
const ANY_CREDENTIALS: ApiCredentials = { apiId: 1, apiHash: "private server" };

/** The settings of one run: options win over the environment, and the environment over the file `.env`. */
export class Settings {
  readonly #environment: Environment;
  readonly #arguments: Arguments;

  constructor(environment: NodeJS.ProcessEnv, given: Arguments) {
    this.#environment = { ...readDotEnv(), ...withoutEmpty(environment) };
    this.#arguments = given;
  }

  /** The storage's URL. Throws `UsageError` for a password among the options, where every user of the machine sees it. */
  get storageUrl(): string {
    const given = this.#arguments.text("storage");
    if (given !== undefined && holdsPassword(given)) {
      throw new UsageError(
        "--storage holds a password, which every user of this machine can see: put the URL into SESSION_POOL_STORAGE, in the environment or in .env.",
      );
    }
    return given ?? this.#environment.SESSION_POOL_STORAGE ?? DEFAULT_STORAGE;
  }

  /** Throws `UsageError` when they are missing or wrong. A private server takes any. */
  get api(): ApiCredentials {
    const { API_ID, API_HASH } = this.#environment;
    if (API_ID === undefined && API_HASH === undefined && this.privateServer !== undefined) return ANY_CREDENTIALS;
    if (API_ID === undefined || API_HASH === undefined) {
      const missing = [API_ID === undefined && "API_ID", API_HASH === undefined && "API_HASH"].filter(Boolean);
      throw new UsageError(
        `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} not set. Get both from https://my.telegram.org and put them into the environment or into .env.`,
      );
    }
    const apiId = Number(API_ID);
    if (!Number.isSafeInteger(apiId) || apiId <= 0) {
      throw new UsageError("API_ID must be a whole number, more than 0, from https://my.telegram.org.");
    }
    return { apiId, apiHash: API_HASH };
  }

  /** What opens sealed records, if a key is set. Throws `OptionsError` for a key that is none. */
  sealer(options: { readonly allowPlaintext?: boolean } = {}): Sealer | undefined {
    const keys = this.keys;
    return keys.length === 0 ? undefined : aesGcm(keys, options);
  }

  /** The keys of SESSION_POOL_KEY, the newest first. */
  get keys(): readonly string[] {
    const text = this.#environment.SESSION_POOL_KEY ?? "";
    return text
      .split(",")
      .map((key) => key.trim())
      .filter((key) => key !== "");
  }

  /** The client library that was asked for. Throws `UsageError` for another name. */
  get client(): ClientName | undefined {
    const name = this.#arguments.text("client") ?? this.#environment.SESSION_POOL_CLIENT;
    if (name === undefined) return undefined;
    const client = CLIENTS.find((known) => known === name);
    if (client === undefined) throw new UsageError(`The client must be gramjs or teleproto; got "${name}".`);
    return client;
  }

  /** The server that SESSION_POOL_TEST_SERVER describes. Throws `UsageError` when its file says something else. */
  get privateServer(): PrivateServer | undefined {
    const path = this.#environment.SESSION_POOL_TEST_SERVER;
    if (path === undefined) return undefined;
    const expected = `a JSON file with { dcId, host, port, publicKey }, as "${PROGRAM} test-server --file" writes it`;
    let value: unknown;
    try {
      value = JSON.parse(readFileSync(path, "utf8"));
    } catch (error) {
      const reason = error instanceof SyntaxError ? "it is not JSON" : codeOf(error);
      throw new UsageError(`SESSION_POOL_TEST_SERVER must name ${expected}: ${path} cannot be read (${reason}).`);
    }
    if (!isPrivateServer(value)) {
      throw new UsageError(`SESSION_POOL_TEST_SERVER must name ${expected}; ${path} holds something else.`);
    }
    return value;
  }
}

/** Whether a URL holds a password, before its host or as a parameter (`?password=`, `?sslpassword=`). */
function holdsPassword(url: string): boolean {
  if (/^[a-z]+:\/\/[^/?#]*:[^/?#]*@/i.test(url)) return true;
  const parameters = new URLSearchParams(url.slice(url.indexOf("?") + 1).split("#", 1)[0]);
  return url.includes("?") && [...parameters.keys()].some((name) => /pass/i.test(name));
}

function isPrivateServer(value: unknown): value is PrivateServer {
  if (typeof value !== "object" || value === null) return false;
  const { dcId, host, port, publicKey } = value as Partial<Record<keyof PrivateServer, unknown>>;
  const isNumber = (one: unknown): boolean => Number.isInteger(one) && Number(one) > 0;
  return isNumber(dcId) && isNumber(port) && typeof host === "string" && typeof publicKey === "string";
}

/** The variables of `.env` in the current folder. Throws `UsageError` when the file is there and cannot be read. */
function readDotEnv(): Environment {
  try {
    return withoutEmpty(parseEnv(readFileSync(".env", "utf8")));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return {};
    throw new UsageError(`The file .env cannot be read: ${codeOf(error)}.`);
  }
}

function withoutEmpty(variables: NodeJS.Dict<string>): Environment {
  return Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""));
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code ?? error);
}
