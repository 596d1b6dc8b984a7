import { isObject } from "../options/validators.js";

/** What `users.getUsers` says of the account's own user. */
export interface OwnUser {
  /** The user id, in decimal. */
  readonly accountId: string;
  readonly isBot: boolean;
  readonly isPremium: boolean;
  /** Telegram's reasons for restricting the account; `null` if it is not restricted. */
  readonly restriction: string | null;
}

/** What `help.getAppConfig` says of a freeze. Instants are epoch milliseconds. */
export interface Freeze {
  readonly since: number;
  /** When it ends: without an appeal by then, Telegram deletes the account. `null` if Telegram names no date. */
  readonly until: number | null;
  /** Where its owner can appeal; `null` if Telegram names nothing. */
  readonly appealUrl: string | null;
}

/** What `account.getAuthorizations` says of the session that asks. */
export interface AuthorizationLife {
  /** When Telegram terminates the session if it is not used again, epoch milliseconds. */
  readonly expiresAt: number;
  /** Days without use after which it does. */
  readonly authorizationTtlDays: number;
}

const MS_PER_SECOND = 1_000;
const MS_PER_DAY = 86_400_000;
/** The farthest instant that a `Date` can hold, in seconds. */
const LAST_SECOND = 8.64e12;
/** Source: core.telegram.org/api/auth#frozen-accounts. */
const FREEZE_KEYS = { since: "freeze_since_date", until: "freeze_until_date", appealUrl: "freeze_appeal_url" } as const;

/** Reads the answer to `users.getUsers` with `inputUserSelf`. `undefined` if it does not contain the account. */
export function readOwnUser(answer: unknown): OwnUser | undefined {
  const [user]: readonly unknown[] = Array.isArray(answer) ? answer : [];
  if (!isObject(user) || user.className !== "User" || user.self !== true || !isId(user.id)) return undefined;
  return {
    accountId: String(user.id),
    isBot: user.bot === true,
    isPremium: user.premium === true,
    restriction: user.restricted === true ? restrictionOf(user.restrictionReason) : null,
  };
}

/** Accepts numbers, bigints and the libraries' big integers. */
function isId(value: unknown): boolean {
  return value !== undefined && value !== null && /^[1-9]\d*$/.test(String(value));
}

/** Source: core.telegram.org/constructor/restrictionReason: `platform`, `reason` and `text`. */
function restrictionOf(reasons: unknown): string {
  const texts = (Array.isArray(reasons) ? reasons : []).filter(isObject).map(({ platform, reason, text }) => {
    return `${String(reason)} (${String(platform)})${typeof text === "string" && text !== "" ? `: ${text}` : ""}`;
  });
  return texts.length === 0 ? "restricted, without a reason from Telegram" : texts.join("; ");
}

/**
 * Reads the answer to `help.getAppConfig` with the hash 0. `null`: the account is not frozen. `undefined`: the answer is
 * incomplete, and proves neither.
 */
export function readFreeze(answer: unknown): Freeze | null | undefined {
  const config = isObject(answer) && answer.className === "help.AppConfig" ? answer.config : undefined;
  const entries = isObject(config) && config.className === "JsonObject" ? config.value : undefined;
  // The configuration of a real account has more than a hundred entries.
  if (!Array.isArray(entries) || entries.length === 0 || !entries.every(isEntry)) return undefined;
  const entryOf = (key: string): unknown => entries.find((entry) => entry.key === key)?.value.value;
  const since = toInstant(entryOf(FREEZE_KEYS.since));
  const until = toInstant(entryOf(FREEZE_KEYS.until));
  if (since === undefined || until === undefined) return undefined;
  if (since === null) return until === null ? null : undefined;
  const appealUrl = entryOf(FREEZE_KEYS.appealUrl);
  return { since, until, appealUrl: typeof appealUrl === "string" && appealUrl !== "" ? appealUrl : null };
}

function isEntry(entry: unknown): entry is { readonly key: string; readonly value: Record<string, unknown> } {
  return isObject(entry) && typeof entry.key === "string" && isObject(entry.value);
}

/** Telegram's date in epoch milliseconds: `null` if there is none, `undefined` if it is not a date. */
function toInstant(seconds: unknown): number | null | undefined {
  if (seconds === undefined || seconds === 0) return null;
  return typeof seconds === "number" && seconds > 0 && seconds <= LAST_SECOND ? seconds * MS_PER_SECOND : undefined;
}

/**
 * Reads the answer to `account.getAuthorizations`: the session that asked ends `authorization_ttl_days` after it was last
 * active. `undefined` if the answer does not contain it. Source: core.telegram.org/constructor/account.authorizations.
 */
export function readAuthorizationLife(answer: unknown): AuthorizationLife | undefined {
  if (!isObject(answer) || !Array.isArray(answer.authorizations)) return undefined;
  const authorizationTtlDays = answer.authorizationTtlDays;
  if (typeof authorizationTtlDays !== "number" || !Number.isInteger(authorizationTtlDays) || authorizationTtlDays < 1)
    return undefined;
  const current = answer.authorizations.filter(isObject).find((authorization) => authorization.current === true);
  const activeAt = toInstant(current?.dateActive) ?? toInstant(current?.dateCreated);
  if (current === undefined || activeAt === undefined || activeAt === null) return undefined;
  return { expiresAt: activeAt + authorizationTtlDays * MS_PER_DAY, authorizationTtlDays };
}
