import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { StorageError } from "../errors.js";
import type { SessionStorage } from "../storage/storage.js";
import { ANSWER_TIMEOUT_MS, answered } from "./answering.js";
import { type CommandContext, CommandError, UsageError } from "./command.js";
import { PROGRAM } from "./command-line.js";

/** A storage that a URL names, not opened yet. */
export interface NamedStorage {
  readonly kind: "sqlite" | "redis" | "postgres";
  /** As it can be printed: without a password. */
  readonly name: string;
  /** The file of a SQLite storage. */
  readonly path?: string;
  readonly storage: SessionStorage;
  /** Runs one command or statement of the server's own, for `doctor`. */
  ask(text: string): Promise<unknown>;
  /** Ends the connection to the server; to be called when the storage is closed. */
  end(): Promise<void>;
}

/** How a storage is to be found. */
export interface FindOptions {
  /** Whether a SQLite file may be made; `"inMemory"`: one that is not there is an empty storage, and stays away. */
  readonly mayCreate: boolean | "inMemory";
  /** Ends the connecting to a server. */
  readonly signal: AbortSignal;
}

const EXPECTED = "sqlite:FILE, redis://…, rediss://… or postgres://…";

/**
 * The storage that a URL names. Loads its adapter, and connects to its server. Throws `UsageError` for a URL that is none, `CommandError` when there is
 * no such file or the server cannot be reached, and the signal's reason.
 */
export async function findStorage(url: string, { mayCreate, signal }: FindOptions): Promise<NamedStorage> {
  if (url.startsWith("sqlite:")) return findSqlite(url.slice("sqlite:".length).replace(/^\/\/(?=\/)/, ""), mayCreate);
  if (/^rediss?:\/\//.test(url)) return (await import("./storage/redis-server.js")).findRedis(parseUrl(url), signal);
  if (/^postgres(ql)?:\/\//.test(url))
    return (await import("./storage/postgres-server.js")).findPostgres(parseUrl(url), signal);
  const isFile = !url.includes("://") && (/\.(db|sqlite3?)$/.test(url) || existsSync(url));
  const hint = isFile ? ` Did you mean sqlite:${url}?` : "";
  const scheme = /^[a-z][a-z0-9+.-]{0,19}(?=:)/i.exec(url)?.[0];
  const given = scheme === undefined ? "" : `; got "${scheme}:…"`;
  throw new UsageError(`The storage must be ${EXPECTED}${given}.${hint}`);
}

/** How long a server may take to list every record. */
const LIST_TIMEOUT_MS = 60_000;

/** A storage whose calls end by a deadline and with the command, whether or not its server answers. */
export function answering({ name, storage, ask, end, ...rest }: NamedStorage, signal: AbortSignal): NamedStorage {
  const late = (seconds: number): Error =>
    new StorageError(`${name} does not answer: nothing came within ${seconds} s.`);
  const limited = <T>(work: Promise<T>, timeoutMs: number = ANSWER_TIMEOUT_MS): Promise<T> =>
    answered(work, { signal, timeoutMs, late });
  const { watch } = storage;
  const reading: SessionStorage = {
    shared: storage.shared,
    open: () => limited(storage.open?.() ?? Promise.resolve()),
    list: () => limited(storage.list(), LIST_TIMEOUT_MS),
    read: (id) => limited(storage.read(id)),
    write: (id, expected, data) => limited(storage.write(id, expected, data)),
    ...(watch === undefined ? {} : { watch: watch.bind(storage) }),
    // What was read is printed all the same.
    close: () => limited(storage.close?.() ?? Promise.resolve()).catch(() => {}),
  };
  return {
    ...rest,
    name,
    storage: reading,
    ask: (text) => limited(ask(text)),
    end: () => limited(end()).catch(() => {}),
  };
}

/** Opens the storage that the command line names, for reading only, and closes it whatever happens. */
export async function withStorage<T>(
  { settings, signal }: Pick<CommandContext, "settings" | "signal">,
  work: (named: NamedStorage) => Promise<T>,
): Promise<T> {
  const named = answering(await findStorage(settings.storageUrl, { mayCreate: false, signal }), signal);
  try {
    signal.throwIfAborted();
    await named.storage.open?.();
    try {
      return await work(named);
    } finally {
      await named.storage.close?.();
    }
  } finally {
    await named.end();
  }
}

async function findSqlite(file: string, mayCreate: FindOptions["mayCreate"]): Promise<NamedStorage> {
  if (file === "") throw new UsageError("The storage names no file: sqlite:sessions.db, for instance.");
  const path = resolve(file);
  if (mayCreate === false && !existsSync(path)) {
    throw new CommandError(
      `There is no storage ${path} yet. "${PROGRAM} login" and "${PROGRAM} import" make one; --storage names another.`,
    );
  }
  // Who may not create a storage does not turn an empty file into one either.
  const found = statSync(path, { throwIfNoEntry: false });
  const isInMemory = mayCreate !== true && (found === undefined || (found.isFile() && found.size === 0));
  const { sqlite } = await import("../../adapters/storage/sqlite.js");
  return {
    kind: "sqlite",
    name: `sqlite:${file}`,
    path,
    storage: sqlite(isInMemory ? ":memory:" : path),
    ask: async () => undefined,
    end: async () => {},
  };
}

function parseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    // The text may hold a password.
    throw new UsageError(`The storage is not a URL: ${EXPECTED}.`);
  }
}

/** A URL as it can be printed: drivers take a password as a parameter as well, so it is shown without parameters. */
export function printableUrl(url: URL): string {
  const shown = new URL(url);
  shown.search = "";
  if (shown.password !== "") shown.password = "***";
  return shown.href;
}

/** Imports the first of these packages that is installed. */
export async function importFirst<Module>(
  wanted: string,
  candidates: readonly (readonly [name: string, load: () => Promise<Module>])[],
): Promise<readonly [name: string, module: Module]> {
  for (const [name, load] of candidates) {
    try {
      return [name, await load()];
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "ERR_MODULE_NOT_FOUND" || !message.includes(`'${name}'`)) throw error;
    }
  }
  const names = candidates.map(([name]) => name);
  throw new CommandError(`${wanted} needs the package ${names.join(" or ")}: npm install ${names[0]}.`);
}
