import { type Dirent, existsSync, type Stats } from "node:fs";
import { open, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { OptionsError } from "../errors.js";
import { boolean, check, describeType, nonEmptyString } from "../options/validators.js";
import { AccountDescriptions } from "./account-json.js";
import { type AccountContent, AccountFileError, createFoundAccount, type ReadAccount } from "./found-account.js";
import { readSessionDatabase } from "./session-database.js";
import { accountsInText, isText } from "./session-text.js";
import { isSqlite } from "./sqlite-file.js";
import { isOldTdata, readTdata, tdataKeyName } from "./tdata.js";

/** How {@link readAccounts} reads. */
export interface ReadAccountsOptions {
  /** The local passcode of Telegram Desktop, tried only on tdata folders that have one. @default none */
  readonly passcode?: string | undefined;
  /** Whether the folders in a folder are read, too. @default true */
  readonly recursive?: boolean | undefined;
}

const RULES = { passcode: nonEmptyString, recursive: boolean };

const DEEPEST_FOLDER = 64;
/** Enough to know a database, JSON and text by. */
const START_BYTES = 4_096;
/** 20,000 session strings are 7 MB. */
const MOST_TEXT_BYTES = 33_554_432;

/**
 * Reads the accounts in a file, a folder or a tdata folder of Telegram Desktop: session files of Telethon and Pyrogram and
 * its forks, with the `.json` beside them, tdata, and text files with a session string on each line. A file is known by
 * its content, not by its name.
 *
 * Each account and each file that holds none is one entry, in the order of the names. Nothing is changed or written:
 * sources are opened for reading only, also while another program has them open. Links are followed, each file and folder
 * is read once.
 *
 * Throws `OptionsError` for options of the wrong kind and when there is nothing at the path.
 *
 * @example
 * ```ts
 * for await (const found of readAccounts("accounts/")) {
 *   if (found.error !== undefined) console.warn(found.path, found.error.message);
 *   else await pool.add(found.name, found.session);
 * }
 * ```
 */
export async function* readAccounts(
  path: string,
  options: ReadAccountsOptions = {},
): AsyncGenerator<ReadAccount, void> {
  check("readAccounts", options, RULES);
  const found = await statPath("readAccounts", path);
  const reader = new AccountReader(options);
  if (found.isDirectory()) yield* reader.folder(path, 0);
  // Opening a pipe could wait for ever.
  else if (!found.isFile()) yield { path, error: new AccountFileError(NO_FILE) };
  else yield* reader.file(path);
}

/** What is at a path. Throws `OptionsError` when that is nothing, or it can be no path. */
export async function statPath(call: string, path: unknown): Promise<Stats> {
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new OptionsError(`${call}: path must be the path of a file or a folder; got ${describeType(path)}.`);
  }
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    const reason =
      error.code === "ENOENT"
        ? "there is no file and no folder at the path"
        : `the path cannot be read (${error.code})`;
    // Without its cause, which repeats the path: that may be a session string, passed by mistake.
    throw new OptionsError(`${call}: ${reason}.`);
  });
}

class AccountReader {
  readonly #options: ReadAccountsOptions;
  readonly #descriptions = new AccountDescriptions();
  /** Real paths of folders and files. Bound: what lies under the given path. */
  readonly #seen = new Set<string>();

  constructor(options: ReadAccountsOptions) {
    this.#options = options;
  }

  async *folder(path: string, depth: number): AsyncGenerator<ReadAccount, void> {
    let entries: readonly Dirent[];
    try {
      if (await this.#isSeen(path)) return;
      entries = await readdir(path, { withFileTypes: true });
    } catch (error) {
      yield { path, error: fileError(error) };
      return;
    }
    const names = entries.map(({ name }) => name).sort();
    if (tdataKeyName(names) !== undefined) return yield* this.#tdata(path);
    if (isOldTdata(names)) {
      yield { path, error: new AccountFileError(OLD_TDATA) };
      return;
    }
    for (const name of names) yield* this.#entry(join(path, name), names, depth);
  }

  async *file(path: string, siblings?: readonly string[]): AsyncGenerator<ReadAccount, void> {
    try {
      if (await this.#isSeen(path)) return;
      const start = await startOf(path);
      if (isSqlite(start)) yield await this.#database(path);
      else if (!isText(start)) throw new AccountFileError(FOREIGN);
      else if (/^\uFEFF?\s*[{[]/.test(start.toString("utf8"))) yield* this.#json(path, siblings);
      else yield* this.#text(path);
    } catch (error) {
      yield { path, error: fileError(error) };
    }
  }

  async *#entry(path: string, siblings: readonly string[], depth: number): AsyncGenerator<ReadAccount, void> {
    const found = await stat(path).catch((error: unknown) => fileError(error));
    if (found instanceof AccountFileError) yield { path, error: found };
    else if (found.isDirectory()) {
      if (this.#options.recursive !== false && depth < DEEPEST_FOLDER) yield* this.folder(path, depth + 1);
    } else if (!found.isFile()) yield { path, error: new AccountFileError(NO_FILE) };
    else if (!isCompanion(basename(path), siblings)) yield* this.file(path, siblings);
  }

  async *#tdata(path: string): AsyncGenerator<ReadAccount, void> {
    try {
      for (const account of await readTdata(path, this.#options.passcode)) {
        if (account instanceof AccountFileError) yield { path, error: account };
        else yield createFoundAccount(path, account.accountId ?? basename(path), account, null);
      }
    } catch (error) {
      yield { path, error: fileError(error) };
    }
  }

  async #database(path: string): Promise<ReadAccount> {
    const content = readSessionDatabase(path);
    const description = await this.#descriptions.of(path);
    const accountId = content.accountId ?? description?.accountId ?? null;
    const apiId = content.apiId ?? description?.profile?.apiId ?? null;
    const warnings = [isInUse(path) ? IN_USE : SHARED_KEY];
    const account = { ...content, accountId, apiId, warnings };
    return createFoundAccount(path, nameOf(path), account, description?.profile ?? null);
  }

  /** A JSON file belongs to the session file of its name; alone it holds no account. */
  async *#json(path: string, siblings: readonly string[] = []): AsyncGenerator<ReadAccount, void> {
    const description = await this.#descriptions.read(path);
    if (description === undefined) throw new AccountFileError(FOREIGN);
    const bases = [nameOf(path), description.sessionFile];
    if (siblings.some((name) => extname(name) !== ".json" && bases.includes(nameOf(name)))) return;
    if (description.problem !== null) throw description.problem;
    throw new AccountFileError("The .json describes an account, but its session file is not beside it.");
  }

  async *#text(path: string): AsyncGenerator<ReadAccount, void> {
    const { size } = await stat(path);
    if (size > MOST_TEXT_BYTES)
      throw new AccountFileError("The text file is far too large for a list of session strings.");
    const lines = accountsInText(await readFile(path, "utf8"));
    for (const { line, result } of lines) {
      const name = lines.length === 1 ? nameOf(path) : `${nameOf(path)}-${line}`;
      if (result instanceof AccountFileError) yield { path, error: inLine(line, result) };
      else yield createFoundAccount(path, name, result as AccountContent, null);
    }
  }

  /** Whether the file or folder was read before, by another link. */
  async #isSeen(path: string): Promise<boolean> {
    const real = await realpath(path);
    if (this.#seen.has(real)) return true;
    this.#seen.add(real);
    return false;
  }
}

const NO_FILE = "This is not a regular file.";
const SHARED_KEY =
  "The program that made the session file uses this very key: run the pool only while that program is not running, or Telegram destroys the key for both. pool.duplicate(id, newId) makes the pool a key of its own.";
const IN_USE =
  "A program seems to have the file open: end it before the pool uses the account, or Telegram destroys the key for both. pool.duplicate(id, newId) makes the pool a key of its own.";
const FOREIGN = "The file holds no account: it is neither a session file nor a text file of session strings.";
const OLD_TDATA =
  "The tdata folder is of a Telegram Desktop older than 2.0. Start a current one with it once, which converts it, and close it again.";

function nameOf(path: string): string {
  const name = basename(path);
  return name.slice(0, name.length - extname(name).length) || name;
}

/** Files that SQLite and Pyrogram keep beside a session file. */
function isCompanion(name: string, siblings: readonly string[]): boolean {
  const owner = name.replace(/-(?:wal|shm|journal)$|\.lock$/, "");
  return owner !== name && siblings.includes(owner);
}

/** Whether there is what a program keeps beside a session file only while it has it open. */
function isInUse(path: string): boolean {
  return ["-wal", "-shm", "-journal", ".lock"].some((ending) => existsSync(`${path}${ending}`));
}

function inLine(line: number, { message }: AccountFileError): AccountFileError {
  return new AccountFileError(`Line ${line}: ${message}`);
}

async function startOf(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(START_BYTES), 0, START_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** In words what the operating system or a reader says. */
function fileError(error: unknown): AccountFileError {
  if (error instanceof AccountFileError) return error;
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case "EACCES":
    case "EPERM":
      return new AccountFileError("The file may not be read: permission denied.", error);
    case "EBUSY":
    case "EAGAIN":
      return new AccountFileError("Another program has locked the file. Close it, and read the file again.", error);
    case "ENOENT":
      return new AccountFileError("The file is gone, or the link leads nowhere.", error);
    case "ELOOP":
      return new AccountFileError("The link leads to itself.", error);
    case "EMFILE":
    case "ENFILE":
      return new AccountFileError(
        "Too many files are open. Read fewer at a time, or raise the limit (ulimit -n).",
        error,
      );
    default:
      return new AccountFileError("The file cannot be read: it is damaged, or was copied half.", error);
  }
}
