import { inspect } from "node:util";
import { SessionPoolError } from "../errors.js";
import type { ResolvedProfile } from "../options/client-profile.js";

/** The programs whose files can be read: libraries by their session files or strings, Telegram Desktop by its tdata. */
export type AccountFormat = "telethon" | "pyrogram" | "tdata" | "gramjs" | "mtcute";

/** A user, group or channel that an account's file knows. */
export interface FoundPeer {
  /** `user:<id>`, `chat:<id>` or `channel:<id>`. */
  readonly id: string;
  /** In decimal; `"0"` for basic groups, which have none. Valid for this account alone. */
  readonly accessHash: string;
  /** In lower case. */
  readonly username?: string;
  /** Digits only. */
  readonly phone?: string;
  readonly name?: string;
}

/** One account that was read from a file. */
export interface FoundAccount {
  /** The file, or the tdata folder. */
  readonly path: string;
  readonly format: AccountFormat;
  /** Name of the file without its ending, with the number of the line where a text file has several; the user id for tdata. */
  readonly name: string;
  /** The data center that the account lives in. */
  readonly dcId: number;
  /** The account's user id; `null` where the file does not say, as Telethon's do not. */
  readonly accountId: string | null;
  readonly isBot: boolean | null;
  /** The application that the session was made by, where the file says so. */
  readonly apiId: number | null;
  /** Of the `.json` beside the file. Its secrets (api hash, proxy password) are in no JSON and no `inspect` output. */
  readonly profile: ResolvedProfile | null;
  /** What the file knows of other users, groups and channels: at most 10,000. */
  readonly peers: readonly FoundPeer[];
  /** What the user should know before the account is used, in one sentence each. */
  readonly warnings: readonly string[];
  /** The StringSession, to be kept as secret as a password. Not enumerable: no log, copy, JSON or `inspect` shows it. */
  readonly session: string;
  readonly error?: undefined;
}

/** A file, or a part of one, that holds no account that can be read. */
export interface UnreadableAccount {
  readonly path: string;
  /** What was found, and what to do about it, in one or two sentences. */
  readonly error: AccountFileError;
}

/** What {@link readAccounts} says of a file: an account, or why there is none. */
export type ReadAccount = FoundAccount | UnreadableAccount;

/** Says why a file holds no account that can be read. Its message repeats nothing of the file's content. */
export class AccountFileError extends SessionPoolError {
  constructor(message: string, cause?: unknown) {
    super("ACCOUNT_FILE", message, cause === undefined ? {} : { cause });
  }
}

/** What a reader of one format finds, before the name and the path are known. */
export interface AccountContent {
  readonly format: AccountFormat;
  readonly session: string;
  readonly dcId: number;
  readonly accountId: string | null;
  readonly isBot: boolean | null;
  readonly apiId: number | null;
  readonly peers: readonly FoundPeer[];
  readonly warnings: readonly string[];
}

/** Builds the account that the user gets. */
export function createFoundAccount(
  path: string,
  name: string,
  { session, ...content }: AccountContent,
  profile: ResolvedProfile | null,
): FoundAccount {
  const account = { path, name, ...content, profile: profile && hidingSecrets(profile) };
  return Object.freeze(
    Object.defineProperty(account, "session", { value: session, enumerable: false }),
  ) as FoundAccount;
}

/** The same profile, whose secrets JSON and `inspect` leave out. A copy by spreading or `structuredClone` is whole. */
function hidingSecrets(profile: ResolvedProfile): ResolvedProfile {
  const shown = (): object => {
    const { apiHash: _, proxy, ...rest } = profile;
    if (proxy === undefined) return rest;
    const { password: _password, secret: _secret, ...place } = proxy;
    return { ...rest, proxy: place };
  };
  return Object.freeze(
    Object.defineProperties({ ...profile }, { toJSON: { value: shown }, [inspect.custom]: { value: shown } }),
  );
}
