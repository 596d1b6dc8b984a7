import { systemClock } from "../common/clock.js";
import { textOf, warn } from "../common/process-warning.js";
import { ProgressReporter } from "../common/progress.js";
import { DuplicateSessionError, OptionsError } from "../errors.js";
import type { ClientProfile } from "../options/client-profile.js";
import { boolean, check, functionValue, hasMethods, isObject, nonEmptyString, tags } from "../options/validators.js";
import type { KnownPeer } from "../telegram/peer-cache.js";
import { authKeyFingerprint, parseSession } from "../telegram/session-string.js";
import type { AccountFormat, FoundAccount, FoundPeer } from "./found-account.js";
import { readAccounts, statPath } from "./read-accounts.js";

/** How {@link importAccounts} imports. */
export interface ImportAccountsOptions {
  /** The local passcode of Telegram Desktop, tried only on tdata folders that have one. @default none */
  readonly passcode?: string | undefined;
  /** Whether the folders in a folder are read, too. @default true */
  readonly recursive?: boolean | undefined;
  /** Tags of every account that is new in the pool. @default none */
  readonly tags?: readonly string[] | undefined;
  /** Fields of the profile of every account that is new; they win over those of its own file. @default none */
  readonly profile?: ClientProfile | undefined;
  /** The id of an account in the pool. @default `found.name`, unless that is a phone number: see {@link importAccounts} */
  readonly name?: ((found: FoundAccount) => string) | undefined;
  /** Reads and reports, and adds nothing. @default false */
  readonly dryRun?: boolean | undefined;
  /** Ends the import: it rejects with the signal's reason. What was added stays. @default none */
  readonly signal?: AbortSignal | undefined;
  /** Called after every entry that was read, and after every account that was added. @default none */
  readonly onProgress?: ((progress: ImportProgress) => void) | undefined;
  /**
   * Called with the report so far when the signal or the closing of the pool has ended the import, before it rejects. Not
   * called with `dryRun`. @default none
   */
  readonly onAborted?: ((report: ImportReport) => void) | undefined;
}

/** How far an import is. */
export interface ImportProgress {
  /** Entries read so far: accounts, and files without one. */
  readonly read: number;
  readonly added: number;
  readonly known: number;
  readonly refused: number;
  /** The file of the latest entry. */
  readonly path: string;
}

/** An account that is in the pool now. */
export interface ImportedAccount {
  readonly path: string;
  readonly id: string;
  readonly format: AccountFormat;
  readonly accountId: string | null;
  /** What the user should know before the account is used, in one sentence each. */
  readonly warnings: readonly string[];
}

/** An entry that is not in the pool. */
export interface RefusedAccount {
  readonly path: string;
  /** The id it would have had; `null` where the file holds no account. */
  readonly id: string | null;
  /** Why, and what to do about it. */
  readonly reason: string;
}

/** What an import did with each file. */
export interface ImportReport {
  /** New in the pool; with `dryRun`, what would be. */
  readonly added: readonly ImportedAccount[];
  /** In the pool before, with this very key under this id. */
  readonly known: readonly ImportedAccount[];
  readonly refused: readonly RefusedAccount[];
}

/** An account on its way into the pool. */
interface NewAccount {
  readonly id: string;
  readonly session: string;
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ClientProfile | undefined;
  readonly peers?: readonly KnownPeer[] | undefined;
  readonly accountId?: string | undefined;
  readonly isBot?: boolean | undefined;
}

interface AddedEntry {
  /** Of the account among those that were handed over. */
  readonly index: number;
  readonly id: string;
}

interface AddedEntries {
  readonly added: readonly AddedEntry[];
  readonly known: readonly AddedEntry[];
  readonly refused: readonly (AddedEntry & { readonly error: Error })[];
}

/** What {@link importAccounts} needs of a pool: every `SessionPool` has it. */
export interface AccountPool {
  addMany(
    sessions: AsyncIterable<NewAccount>,
    options?: {
      readonly signal?: AbortSignal | undefined;
      readonly onProgress?: (progress: {
        readonly added: number;
        readonly known: number;
        readonly refused: number;
      }) => void;
      readonly onAborted?: ((report: AddedEntries) => void) | undefined;
    },
  ): Promise<AddedEntries>;
  get(id: string): object | undefined;
  sessions(): readonly { readonly id: string }[];
  exportSession(id: string): Promise<string>;
}

const RULES = {
  passcode: nonEmptyString,
  recursive: boolean,
  tags,
  profile: { expected: "an object with the fields of a profile", accepts: isObject },
  name: functionValue,
  dryRun: boolean,
  signal: { expected: "an AbortSignal", accepts: (value: unknown) => value instanceof AbortSignal },
  onProgress: functionValue,
  onAborted: functionValue,
};

/**
 * Adds the accounts in a file, a folder or a tdata folder to a pool, and says what it did with each file. Reads what
 * `readAccounts` reads. Adding is idempotent: what the pool has already is `known`, so the same folder may be imported
 * again; tags and profile of a known account stay as they are. Users, groups and channels that a file knows go into the session's peer cache.
 *
 * The id of an account is the name of its file without the ending, its user id for tdata. A phone number becomes an id
 * only by `name`, since ids are in logs: without it the account gets its user id, or `account-` and a part of the key's
 * fingerprint where the file does not say.
 *
 * Throws `OptionsError` for options of the wrong kind, `PoolClosedError`, and `StorageError` when the storage fails.
 *
 * @example
 * ```ts
 * const { added, known, refused } = await importAccounts(pool, "accounts/", { tags: ["imported"] });
 * for (const { path, reason } of refused) console.warn(path, reason);
 * ```
 */
export async function importAccounts(
  pool: AccountPool,
  path: string,
  options: ImportAccountsOptions = {},
): Promise<ImportReport> {
  if (!hasMethods(pool, ["addMany", "exportSession", "get", "sessions"])) {
    throw new OptionsError("importAccounts: the first argument must be a SessionPool.");
  }
  check("importAccounts", options, RULES);
  await statPath("importAccounts", path);
  const run = new ImportRun(pool, path, options);
  return options.dryRun === true ? run.preview() : run.add();
}

class ImportRun {
  readonly #pool: AccountPool;
  readonly #path: string;
  readonly #options: ImportAccountsOptions;
  readonly #accounts: ImportedAccount[] = [];
  readonly #refused: RefusedAccount[] = [];
  #read = 0;
  #latestPath: string;
  readonly #progressReporter: ProgressReporter<ImportProgress>;
  #counts = { added: 0, known: 0, refused: 0 };

  constructor(pool: AccountPool, path: string, options: ImportAccountsOptions) {
    this.#pool = pool;
    this.#path = path;
    this.#options = options;
    this.#latestPath = path;
    const name = "onProgress of importAccounts";
    this.#progressReporter = new ProgressReporter(name, options.onProgress, systemClock, () => this.#progress());
  }

  async add(): Promise<ImportReport> {
    const { signal, onAborted } = this.#options;
    const report = await this.#pool.addMany(this.#newAccounts(), {
      signal,
      onProgress: ({ added, known, refused }) => {
        this.#counts = { added, known, refused };
        this.#tellProgress(this.#accounts.at(-1)?.path ?? this.#path);
      },
      onAborted: onAborted && ((report) => onAborted(this.#report(report))),
    });
    return this.#report(report);
  }

  #report(report: AddedEntries): ImportReport {
    for (const { index, id, error } of report.refused) {
      this.#refuse(this.#accounts[index]?.path ?? this.#path, id, reasonOf(id, error));
    }
    return { added: this.#entries(report.added), known: this.#entries(report.known), refused: this.#refused };
  }

  /** What `add` would do, as far as it can be known without adding. */
  async preview(): Promise<ImportReport> {
    const holders = new Map<string, string>();
    for (const { id } of this.#pool.sessions()) holders.set(fingerprintOf(await this.#pool.exportSession(id)), id);
    const ids = new Set(holders.values());
    const [added, known]: [ImportedAccount[], ImportedAccount[]] = [[], []];
    for await (const { id, session } of this.#newAccounts()) {
      const account = this.#accounts.at(-1);
      const fingerprint = fingerprintOf(session);
      const holder = holders.get(fingerprint);
      if (account === undefined) continue;
      if (holder === id) known.push(account);
      else if (holder !== undefined) {
        this.#refuse(account.path, id, `The pool has this account's key already, as "${holder}".`);
      } else if (ids.has(id)) this.#refuse(account.path, id, idTaken(id));
      else {
        added.push(account);
        ids.add(id);
        holders.set(fingerprint, id);
      }
    }
    return { added, known, refused: this.#refused };
  }

  async *#newAccounts(): AsyncGenerator<NewAccount, void> {
    const { passcode, recursive, signal, tags: given, profile } = this.#options;
    for await (const found of readAccounts(this.#path, { passcode, recursive })) {
      signal?.throwIfAborted();
      this.#read++;
      if (found.error !== undefined) this.#refuse(found.path, null, found.error.message);
      else {
        const id = this.#idOf(found);
        if (id === undefined)
          this.#refuse(found.path, null, "The option name gave no id: a non-empty string was expected.");
        else {
          const { path, format, accountId, isBot, warnings, session, peers } = found;
          this.#accounts.push({ path, id, format, accountId, warnings });
          const account = { id, session, accountId: accountId ?? undefined, isBot: isBot ?? undefined };
          // A known account may have been given another proxy since: the file says how it was when it was made.
          if (this.#pool.get(id) !== undefined) yield account;
          else yield { ...account, tags: given, profile: merged(found.profile, profile), peers: peers.map(knownPeer) };
        }
      }
      this.#tellProgress(found.path);
    }
  }

  #idOf(found: FoundAccount): string | undefined {
    const { name } = this.#options;
    if (name === undefined) return defaultId(found);
    try {
      const id: unknown = name(found);
      return typeof id === "string" && id !== "" ? id : undefined;
    } catch (error) {
      warn(`The option name of importAccounts failed: ${textOf(error)}`);
      return undefined;
    }
  }

  #entries(added: readonly AddedEntry[]): readonly ImportedAccount[] {
    return added.flatMap(({ index }) => this.#accounts[index] ?? []);
  }

  #refuse(path: string, id: string | null, reason: string): void {
    this.#refused.push({ path, id, reason });
  }

  #progress(): ImportProgress {
    const { added, known, refused } = this.#counts;
    return { read: this.#read, added, known, refused: refused + this.#refused.length, path: this.#latestPath };
  }

  #tellProgress(path: string): void {
    this.#latestPath = path;
    this.#progressReporter.report();
  }
}

function idTaken(id: string): string {
  return `The pool has another account under the id "${id}". Rename the file, or give the account another id by the option name.`;
}

function reasonOf(id: string, error: Error): string {
  return error instanceof DuplicateSessionError && error.sessionId === id ? idTaken(id) : error.message;
}

/** As people write phone numbers, with the number of a line behind it; or as a part of a name. */
const PHONE = /^\+?\d[\d ()-]{5,24}$|\d{9,}/;

function defaultId({ format, name, accountId, session }: FoundAccount): string {
  if (format === "tdata" || !PHONE.test(name)) return name;
  return accountId ?? `account-${fingerprintOf(session).slice(0, 8)}`;
}

function fingerprintOf(session: string): string {
  return authKeyFingerprint(parseSession(session).authKey);
}

function merged(own: ClientProfile | null, given: ClientProfile | undefined): ClientProfile | undefined {
  return own === null ? given : { ...own, ...given };
}

/** In the form of the peer cache: chats negative, channels with -100 before. */
function knownPeer({ id, ...peer }: FoundPeer): KnownPeer {
  const [kind, number = ""] = id.split(":");
  const marks = { user: "", chat: "-", channel: "-100" };
  return { id: `${marks[kind as keyof typeof marks]}${number}`, ...peer };
}
