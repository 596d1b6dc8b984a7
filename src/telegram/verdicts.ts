import { systemClock } from "../common/clock.js";
import { connectionFailureOf, connectionFailureOfText } from "./connection-errors.js";
import { answerInWordsOf, answerOf, codeTextOf, isCode } from "./error-code.js";
import { type ErrorShape, shapeOf } from "./error-shape.js";
import {
  findVerdictRow,
  type SecondsRule,
  type VerdictKind,
  type VerdictRow,
  type VerdictScope,
} from "./verdict-table.js";

export type { VerdictKind, VerdictScope } from "./verdict-table.js";

/** The effect of an error on the session on which it occurred. */
export interface Verdict {
  readonly kind: VerdictKind;
  readonly scope: VerdictScope;
  /** Duration of a cooldown in whole seconds, up to 365 days; `null` for every other kind. */
  readonly seconds: number | null;
  /**
   * Telegram's code without its number (`"FLOOD_WAIT"`), `"ERROR_500"` where Telegram sent words instead of a code, Node's
   * (`"ECONNREFUSED"`), or `"UNKNOWN"`.
   */
  readonly code: string;
  /** Whether the error proves that the request had no effect. */
  readonly provesNotExecuted: boolean;
  /** Set if Telegram's seconds could not be read and `seconds` is a guess, which is logged. */
  readonly isGuess?: true;
}

/** The request on which an error occurred. */
export interface ErrorContext {
  /** The full name of the method (`"auth.SignIn"`). @default the cause that the error's message names */
  readonly method?: string | undefined;
  /** Wall-clock time in epoch milliseconds, for the few codes that contain a date. @default the system's */
  readonly now?: number | undefined;
}

/**
 * Whether a restriction ends by itself, at a time that Telegram does not report: PEER_FLOOD and USER_RESTRICTED. FROZEN
 * ends by an appeal, SESSION_PASSWORD_NEEDED by completing the login. Source: core.telegram.org/api/errors, core.telegram.org/api/auth.
 */
export function expiresOnItsOwn(code: string): boolean {
  return code === "PEER_FLOOD" || code === "USER_RESTRICTED";
}

/** The code of a freeze that Telegram reports without refusing a request: see the table of verdicts. */
export const FREEZE_CODE = "FROZEN_METHOD_INVALID";

/** Whether a restriction is a freeze of the account, which goes on reading. Source: core.telegram.org/api/auth#frozen-accounts. */
export function isFreeze(code: string | null | undefined): boolean {
  return code?.startsWith("FROZEN_") === true;
}

/**
 * Codes about one authorization, which say nothing of the account's other sessions. Source: core.telegram.org/api/errors;
 * of the two about freshness: the age of the login counts.
 */
const CODES_OF_AUTHORIZATIONS: ReadonlySet<string> = new Set([
  "AUTH_KEY_UNREGISTERED",
  "AUTH_KEY_INVALID",
  "AUTH_KEY_DUPLICATED",
  "AUTH_KEY_PERM_EMPTY",
  "SESSION_REVOKED",
  "SESSION_EXPIRED",
  "SESSION_PASSWORD_NEEDED",
  "SESSION_TOO_FRESH_X",
  "FRESH_*",
]);
/** The methods that codes about the age of a login refuse. Source: core.telegram.org/api/errors.json. */
const METHODS_OF_OLDER_LOGINS: ReadonlySet<string> = new Set([
  "account.ResetAuthorization",
  "account.SendChangePhoneCode",
  "auth.ResetAuthorizations",
  "channels.EditCreator",
  "payments.GetStarsRevenueWithdrawalUrl",
]);

/** Whether an error code of Telegram, or a reason of the user's own, concerns every session of the account. */
export function concernsAccount(code: string): boolean {
  const found = findVerdictRow(code);
  return found === undefined || !CODES_OF_AUTHORIZATIONS.has(found.row.code);
}

/** Whether Telegram has ended the account, and with it every session of it. */
export function isEndOfAccount(code: string): boolean {
  return findVerdictRow(code)?.row.kind === "dead" && concernsAccount(code);
}

/** Whether a cooldown of the method may be due to the age of a login alone. */
export function dependsOnLogin(method: string): boolean {
  return METHODS_OF_OLDER_LOGINS.has(method);
}

/** Whether the verdict concerns the session, so that the request may succeed on another one. */
export function affectsSession({ kind }: Verdict): boolean {
  return kind === "cooldown" || kind === "restricted" || kind === "dead";
}

/** Longest cooldown, in seconds: 365 days. */
export const MAX_COOLDOWN_SECONDS: number = 365 * 86_400;
const DEFAULT_COOLDOWN_SECONDS = 60;
/** For an unknown 420, which may not be a wait at all. */
const MAX_UNKNOWN_COOLDOWN_SECONDS = 3_600;
/** A number of seconds from September 2001 on is a date; one with more digits than a current date is neither. */
const FIRST_DATE = 1_000_000_000;
const LAST_DATE = 100_000_000_000;

const UNKNOWN_VERDICT: Verdict = Object.freeze({
  kind: "none",
  scope: "request",
  seconds: null,
  code: "UNKNOWN",
  provesNotExecuted: false,
});

/**
 * Numbers of answers by which a server refuses a request without executing it. After any other, as after a 500, the
 * outcome is unknown. Source: core.telegram.org/api/errors.
 */
const REFUSALS: ReadonlySet<number> = new Set([303, 400, 401, 403, 404, 406, 420]);

/**
 * Classifies a thrown value: cooldown, restricted, dead, retry, or nothing about the session. Errors of GramJS and
 * teleproto are identified by their shape, so that several copies of a library do not matter; an error of the caller's own
 * code is `"UNKNOWN"`, whatever its message says. Never throws.
 */
export function classifyTelegramError(error: unknown, context: ErrorContext = {}): Verdict {
  try {
    if (typeof error === "string") return verdictOfString(error, context);
    if (typeof error !== "object" || error === null) return UNKNOWN_VERDICT;
    return verdictOfShape(shapeOf(error), context);
  } catch {
    return UNKNOWN_VERDICT;
  }
}

function verdictOfShape(shape: ErrorShape, context: ErrorContext): Verdict {
  const failure = connectionFailureOf(shape);
  if (failure !== undefined) return retry(failure.scope, failure.code);
  const { seconds } = shape;
  const met = { ...context, method: context.method ?? causeOf(shape.message) };
  const text = codeTextOf(shape);
  if (text !== undefined) return verdictOfCode({ text, number: shape.number, seconds }, met);
  const answer = answerOf(shape.message) ?? answerInWordsOf(shape);
  if (answer !== undefined) return verdictOfCode({ ...answer, seconds }, met);
  if (UNSUCCESSFUL.test(shape.message)) return retry("server", "REQUEST_UNSUCCESSFUL");
  if (shape.name === "BadMessageError") return retry("server", "BAD_MESSAGE");
  return verdictOfBareMessage(shape, met);
}

function verdictOfString(text: string, context: ErrorContext): Verdict {
  if (findVerdictRow(text) !== undefined && isCode(text)) return verdictOfCode({ text }, context);
  const failure = connectionFailureOfText(text);
  if (failure !== undefined) return retry(failure.scope, failure.code);
  const answer = answerOf(text);
  if (answer !== undefined) return verdictOfCode(answer, { ...context, method: context.method ?? causeOf(text) });
  return UNSUCCESSFUL.test(text) ? retry("server", "REQUEST_UNSUCCESSFUL") : UNKNOWN_VERDICT;
}

/** Codes that are common in other programs as well: an Error with nothing else may come from anywhere. */
const COMMON_WORDS: ReadonlySet<string> = new Set(["SESSION_EXPIRED", "USER_RESTRICTED", "Timeout", "Timedout"]);

/** Whether an Error consists of a code that only Telegram uses. A wait must contain its number. */
function verdictOfBareMessage({ name, message, seconds }: ErrorShape, context: ErrorContext): Verdict {
  const found = name === "Error" ? findVerdictRow(message) : undefined;
  if (found === undefined || COMMON_WORDS.has(found.row.code) || !isCode(message)) return UNKNOWN_VERDICT;
  if (typeof found.row.seconds === "string" && found.number === undefined) return UNKNOWN_VERDICT;
  return verdictOfCode({ text: message, seconds }, context);
}

// Thrown by client/users.js of both libraries after their own attempts; the cause is lost.
const UNSUCCESSFUL = /^Request was unsuccessful \d+ time\(s\)$/;

/** The answer of Telegram, as far as the error contains it. */
interface Answer {
  /** The error code; empty if Telegram sent words instead. */
  readonly text: string;
  readonly number?: number | undefined;
  readonly seconds?: unknown;
}

function verdictOfCode(answer: Answer, context: ErrorContext): Verdict {
  const found = findVerdictRow(answer.text);
  if (found === undefined || isAboutSomethingElse(found.row, answer)) return verdictOfNumber(answer);
  return verdictOfRow(found.row, { ...answer, inText: found.number }, context);
}

/** The codes of death come with one of two numbers; with another number they mean something unknown. */
function isAboutSomethingElse({ kind }: VerdictRow, { number }: Answer): boolean {
  return kind === "dead" && number !== undefined && Math.abs(number) !== 401 && Math.abs(number) !== 406;
}

interface CodeAnswer extends Answer {
  /** The number in the code. */
  readonly inText: string | undefined;
}

function verdictOfRow(
  row: VerdictRow,
  answer: CodeAnswer,
  { method = "", now = systemClock.now() }: ErrorContext,
): Verdict {
  const { kind, scope } = row.exception?.methods.has(method) ? row.exception : row;
  const code = row.code.endsWith("*") ? answer.text : row.code.replace(/_X(?:MIN)?(?=_|$)/, "");
  const rest = { kind, scope, code, provesNotExecuted: row.provesNotExecuted };
  return kind === "cooldown" ? { ...rest, ...lengthOf(row.seconds, answer, now) } : { ...rest, seconds: null };
}

/** The verdict on an unknown code, by its number: a 420 is a cooldown, a refusal is the caller's, others are like a 500. */
function verdictOfNumber({ text, number, seconds }: Answer): Verdict {
  const whole = text === "" ? `ERROR_${Math.abs(number ?? 0)}` : text;
  if (number === 420) {
    const code = text === "" ? whole : text.replace(/_\d+$/, "");
    const reported = numberOf(/_(\d+)$/.exec(text)?.[1]) ?? numberOf(seconds);
    if (reported !== undefined && isDate(reported)) return { ...UNKNOWN_VERDICT, code, provesNotExecuted: true };
    return { kind: "cooldown", scope: "session", code, provesNotExecuted: true, ...shortened(reported) };
  }
  if (number !== undefined && REFUSALS.has(number)) return { ...UNKNOWN_VERDICT, code: whole, provesNotExecuted: true };
  return retry("server", whole);
}

function retry(scope: VerdictScope, code: string): Verdict {
  return { kind: "retry", scope, seconds: null, code, provesNotExecuted: false };
}

interface Length {
  readonly seconds: number;
  readonly isGuess?: true;
}

function lengthOf(rule: SecondsRule, { inText, seconds: inField }: CodeAnswer, now: number): Length {
  if (typeof rule === "number") return { seconds: rule };
  const number = numberOf(inText) ?? numberOf(inField);
  if (number === undefined) return { seconds: DEFAULT_COOLDOWN_SECONDS, isGuess: true };
  if (rule === "secondsOrDate" && isDate(number)) return { seconds: bounded(number - now / 1_000) };
  return { seconds: bounded(rule === "minutes" ? number * 60 : number) };
}

function shortened(reported: number | undefined): Length {
  if (reported === undefined) return { seconds: DEFAULT_COOLDOWN_SECONDS, isGuess: true };
  if (reported > MAX_UNKNOWN_COOLDOWN_SECONDS) return { seconds: MAX_UNKNOWN_COOLDOWN_SECONDS, isGuess: true };
  return { seconds: bounded(reported) };
}

function bounded(seconds: number): number {
  return Math.min(Math.max(Math.ceil(seconds), 1), MAX_COOLDOWN_SECONDS);
}

function isDate(number: number): boolean {
  return number > FIRST_DATE && number < LAST_DATE;
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "string") return /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : undefined;
  return typeof value === "number" && !Number.isNaN(value) ? value : undefined;
}

/** The request that the libraries name at the end of their messages. */
function causeOf(message: string): string | undefined {
  return /\(caused by ([\w.]{1,100})\)$/.exec(message)?.[1];
}
