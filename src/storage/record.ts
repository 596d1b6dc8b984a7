import { isProfile, type ResolvedProfile } from "../options/client-profile.js";
import { isPlainObject } from "../options/validators.js";
import { type Claim, isClaim } from "../ownership/ownership.js";
import { isAccountId, isPeerKey } from "../telegram/peers.js";

/** Everything durable about one session. Instants are wall clock, epoch milliseconds. */
export interface SessionRecord {
  /** The session string as the pool keeps it. */
  readonly session: string;
  /** Names the auth key without revealing it: the last 8 bytes of its SHA-1, in hex. */
  readonly fingerprint: string;
  readonly tags: readonly string[];
  readonly profile: ResolvedProfile;
  readonly addedAt: number;
  readonly lastUsedAt: number | null;
  readonly cooldown: { readonly until: number; readonly reason: string } | null;
  readonly methods: Readonly<Record<string, number>>;
  readonly peers: Readonly<Record<string, number>>;
  readonly restriction: { readonly until: number | null; readonly reason: string } | null;
  readonly deadReason: string | null;
  readonly disabledReason: string | null;
  /** The pool that may connect the session. */
  readonly owner: Claim | null;
  /** Whether it was removed while connected: the process that owns it deletes the record once its client is gone. */
  readonly isRemoved: boolean;
  /** The user id of the account; `null` if it is not known. The record of an earlier version has no such field. */
  readonly accountId: string | null;
  /** Whether the account is a bot; `null` if that is not known. Optional like `accountId`. */
  readonly isBot: boolean | null;
  /** When Telegram terminates the session if it stays unused; `null` if that is not known. Optional like `accountId`. */
  readonly expiresAt: number | null;
  /** The days without use after which it does; `null` if that is not known. Optional like `accountId`. */
  readonly authorizationTtlDays: number | null;
}

/** Format version; increased when older versions of this package can no longer read the record. */
const FORMAT = 1;

/**
 * Returns why data of a newer format cannot be read, to complete a message; `undefined` if the format is not newer. Such
 * data MUST NOT be overwritten.
 */
export function newerFormat(format: unknown, known: number): string | undefined {
  if (typeof format !== "number" || format <= known) return undefined;
  return `it was written by a newer version of this package (format ${format}; this one knows ${known})`;
}

/** Serializes a record. */
export function encodeRecord(record: SessionRecord): string {
  return JSON.stringify({ v: FORMAT, ...record });
}

/** Parses a record. Throws an `Error` that states what is wrong, without quoting the text. */
export function decodeRecord(data: string): SessionRecord {
  const value = parse(data);
  for (const field of OPTIONAL_FIELDS) value[field] ??= null;
  if (value.v !== FORMAT) throw new Error(newerFormat(value.v, FORMAT) ?? "it has no known format");
  for (const [field, isValid] of CHECKS) {
    if (!isValid(value[field])) throw new Error(`its field "${field}" is missing or damaged`);
  }
  return value as unknown as SessionRecord;
}

type Fields = Record<string, unknown>;
type Check = (value: unknown) => boolean;

/** The farthest instant that a `Date` can hold. Source: ECMAScript, "Time Values and Time Range". */
const LAST_INSTANT = 8.64e15;

const isInstant: Check = (value) => Number.isFinite(value) && Math.abs(Number(value)) <= LAST_INSTANT;
const isText: Check = (value) => typeof value === "string";
const isSomeText: Check = (value) => typeof value === "string" && value !== "";
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const instantsBy =
  (isKey: Check): Check =>
  (value) =>
    isPlainObject(value) && Object.entries(value).every(([key, until]) => isKey(key) && isInstant(until));
const untilFor =
  (isUntil: Check): Check =>
  (value) =>
    isPlainObject(value) && isUntil(value.until) && isText(value.reason);

/** Validates every field completely: records that pass are used without further checks. */
const FIELDS: Readonly<Record<keyof SessionRecord, Check>> = {
  session: isSomeText,
  fingerprint: (value) => typeof value === "string" && /^[0-9a-f]{16}$/.test(value),
  tags: (value) => Array.isArray(value) && value.every(isSomeText),
  profile: isProfile,
  addedAt: isInstant,
  lastUsedAt: orNull(isInstant),
  cooldown: orNull(untilFor(isInstant)),
  methods: instantsBy(isSomeText),
  peers: instantsBy((key) => typeof key === "string" && isPeerKey(key)),
  restriction: orNull(untilFor(orNull(isInstant))),
  deadReason: orNull(isText),
  disabledReason: orNull(isText),
  owner: orNull(isClaim),
  isRemoved: (value) => typeof value === "boolean",
  accountId: orNull(isAccountId),
  isBot: orNull((value) => typeof value === "boolean"),
  expiresAt: orNull(isInstant),
  authorizationTtlDays: orNull((value) => Number.isInteger(value) && Number(value) >= 1),
};

/** Fields that earlier versions do not write, and drop when they write the record. What was lost is learned again. */
const OPTIONAL_FIELDS: readonly (keyof SessionRecord)[] = ["accountId", "isBot", "expiresAt", "authorizationTtlDays"];

const CHECKS = Object.entries(FIELDS);

function parse(data: string): Fields {
  if (data === "") throw new Error("the storage has lost its data");
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new Error("it is not JSON");
  }
  if (!isPlainObject(value)) throw new Error("it is not an object");
  return value;
}
