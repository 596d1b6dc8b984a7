import { isIdempotent } from "../../telegram/idempotent-methods.js";

/** Why Telegram restricts an account. Source: core.telegram.org/constructor/restrictionReason. */
export interface TestServerRestriction {
  /** Where it applies: `"all"`, `"ios"`, `"android"`, … @default "all" */
  readonly platform?: string;
  /** The kind of reason: `"terms"`, `"porn"`, … */
  readonly reason: string;
  /** What users are shown. @default "" */
  readonly text?: string;
}

/** The freeze of an account. Source: core.telegram.org/api/auth#frozen-accounts. */
export interface TestServerFreeze {
  /** When it began, epoch milliseconds: `freeze_since_date`. @default now */
  readonly since?: number;
  /** When it ends, epoch milliseconds: `freeze_until_date`. @default none is named */
  readonly until?: number;
  /** Where to appeal: `freeze_appeal_url`. @default "https://t.me/SpamBot" */
  readonly appealUrl?: string;
}

/** What Telegram says of an account, and can change at any time. */
export interface AccountState {
  /** Whether it has Premium. @default false */
  readonly isPremium?: boolean | undefined;
  /** Why it is restricted. @default none */
  readonly restrictions?: readonly TestServerRestriction[] | undefined;
  /**
   * That it is frozen: every method that changes something is refused with FROZEN_METHOD_INVALID, and
   * `help.getAppConfig` says since when and until when. It does not end by itself. @default null: not frozen
   */
  readonly freeze?: TestServerFreeze | null | undefined;
  /** After how many days without use its authorizations end: `authorization_ttl_days`. @default 180 */
  readonly authorizationTtlDays?: number | undefined;
}

/** The state of an account, with defaults. */
export type ResolvedAccountState = {
  readonly [Field in keyof AccountState]-?: Exclude<AccountState[Field], undefined>;
};

/** The state of an account that names none. */
export const DEFAULT_STATE: ResolvedAccountState = {
  isPremium: false,
  restrictions: [],
  freeze: null,
  authorizationTtlDays: 180,
};

type StateField = keyof AccountState;
type Check = readonly [isValid: (value: unknown) => boolean, expected: string];

const CHECKS: Readonly<Record<StateField, Check>> = {
  isPremium: [(value) => typeof value === "boolean", "a boolean"],
  restrictions: [
    (value) => Array.isArray(value) && value.every((entry) => typeof entry?.reason === "string"),
    "a list of { reason, platform?, text? }",
  ],
  freeze: [isFreeze, "null or { since?, until?, appealUrl? }, in epoch milliseconds"],
  authorizationTtlDays: [(value) => Number.isInteger(value) && Number(value) >= 1, "a whole number of days"],
};

const FIELDS = Object.keys(CHECKS) as readonly StateField[];

function isFreeze(value: unknown): boolean {
  if (value === null) return true;
  if (typeof value !== "object") return false;
  const { since, until, appealUrl } = value as Record<keyof TestServerFreeze, unknown>;
  const isInstant = (at: unknown): boolean => at === undefined || (Number.isFinite(at) && Number(at) > 0);
  return isInstant(since) && isInstant(until) && (appealUrl === undefined || typeof appealUrl === "string");
}

/** The state with the given fields changed. Throws a `TypeError` that names the first field of the wrong kind. */
export function changedState(state: ResolvedAccountState, change: AccountState): ResolvedAccountState {
  const changed: Record<StateField, unknown> = { ...state };
  for (const field of FIELDS) {
    const value = change[field];
    if (value === undefined) continue;
    const [isValid, expected] = CHECKS[field];
    if (!isValid(value)) throw new TypeError(`${field}: expected ${expected}, got ${JSON.stringify(value)}`);
    changed[field] = value;
  }
  return changed as ResolvedAccountState;
}

/** Throws a `TypeError` for a field that is no part of the state. */
export function checkStateFields(change: object): void {
  const unknown = Object.keys(change).find((field) => !FIELDS.includes(field as StateField));
  if (unknown !== undefined) throw new TypeError(`${unknown}: expected one of ${FIELDS.join(", ")}`);
}

/** Whether Telegram refuses the method to a frozen account, which can read and sign in and out. */
export function isRefusedToFrozen(method: string): boolean {
  return !(isIdempotent(method) || method.startsWith("auth.") || method === "account.UpdateStatus");
}
