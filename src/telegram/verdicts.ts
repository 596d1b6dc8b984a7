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

/** What an error says about the session that met it. */
export interface Verdict {
  readonly kind: VerdictKind;
  readonly scope: VerdictScope;
  /** How long a cooldown lasts, whole seconds from 1 to 365 days; `null` for every other kind. */
  readonly seconds: number | null;
  /**
   * Telegram's code without its number (`"FLOOD_WAIT"`), `"ERROR_500"` where Telegram sent words instead of a code, Node's
   * (`"ECONNREFUSED"`), or `"UNKNOWN"`.
   */
  readonly code: string;
  /** The error proves that the request took no effect. */
  readonly provesNotExecuted: boolean;
  /** Set when Telegram's seconds could not be read and `seconds` is a guess: worth a line in the log. */
  readonly isGuess?: true;
}

/** What is known of the request that met an error. */
export interface ErrorContext {
  /** Its full name (`"auth.SignIn"`). @default what the error's message names as its cause */
  readonly method?: string | undefined;
  /** The wall clock, epoch milliseconds, for the few codes that carry a date. @default the system's */
  readonly now?: number | undefined;
}

/**
 * Whether a restriction ends by itself, although Telegram does not say when: PEER_FLOOD and USER_RESTRICTED do. FROZEN
 * ends by an appeal, SESSION_PASSWORD_NEEDED by a login. Source: core.telegram.org/api/errors, core.telegram.org/api/auth.
 */
export function expiresOnItsOwn(code: string): boolean {
  return code === "PEER_FLOOD" || code === "USER_RESTRICTED";
}

/** Whether the verdict changes what the session is good for, so that another one may do better. */
export function affectsSession({ kind }: Verdict): boolean {
  return kind === "cooldown" || kind === "restricted" || kind === "dead";
}

const longestCooldown = 365 * 86_400;
const guessedCooldown = 60;
/** Of a 420 that this package does not know: it may be no wait at all. */
const longestUnknownCooldown = 3_600;
/** In September 2001: a larger number of seconds is a date. One with more digits than a date of our time is neither. */
const firstDate = 1_000_000_000;
const lastDate = 100_000_000_000;

const unknown: Verdict = Object.freeze({
  kind: "none",
  scope: "request",
  seconds: null,
  code: "UNKNOWN",
  provesNotExecuted: false,
});

/**
 * Answers with which a server refuses a request it did not execute. Anything else is like a 500: the outcome is not
 * known. Source: core.telegram.org/api/errors.
 */
const refusals: ReadonlySet<number> = new Set([303, 400, 401, 403, 404, 406, 420]);

/**
 * What a thrown value says about the session: rest it, restrict it, retire it, try again, or nothing. Knows the errors
 * of GramJS and teleproto by their shape, so that two copies of a library do not matter; an error of the caller's own
 * code is `"UNKNOWN"`, whatever words are in its message. Never throws.
 */
export function classifyTelegramError(error: unknown, context: ErrorContext = {}): Verdict {
  try {
    if (typeof error === "string") return verdictOfString(error, context);
    if (typeof error !== "object" || error === null) return unknown;
    return verdictOfShape(shapeOf(error), context);
  } catch {
    return unknown;
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
  if (unsuccessful.test(shape.message)) return retry("server", "REQUEST_UNSUCCESSFUL");
  if (shape.name === "BadMessageError") return retry("server", "BAD_MESSAGE");
  return verdictOfBareMessage(shape, met);
}

function verdictOfString(text: string, context: ErrorContext): Verdict {
  if (findVerdictRow(text) !== undefined && isCode(text)) return verdictOfCode({ text }, context);
  const failure = connectionFailureOfText(text);
  if (failure !== undefined) return retry(failure.scope, failure.code);
  const answer = answerOf(text);
  if (answer !== undefined) return verdictOfCode(answer, { ...context, method: context.method ?? causeOf(text) });
  return unsuccessful.test(text) ? retry("server", "REQUEST_UNSUCCESSFUL") : unknown;
}

/** Words of many programs: an Error that says no more may be anybody's. */
const commonWords: ReadonlySet<string> = new Set(["SESSION_EXPIRED", "USER_RESTRICTED", "Timeout", "Timedout"]);

/** An Error that says no more than a code that only Telegram uses; a wait has to have its number. */
function verdictOfBareMessage({ name, message, seconds }: ErrorShape, context: ErrorContext): Verdict {
  const found = name === "Error" ? findVerdictRow(message) : undefined;
  if (found === undefined || commonWords.has(found.row.code) || !isCode(message)) return unknown;
  if (typeof found.row.seconds === "string" && found.number === undefined) return unknown;
  return verdictOfCode({ text: message, seconds }, context);
}

// client/users.js of both libraries, when its own attempts are spent; the cause is lost.
const unsuccessful = /^Request was unsuccessful \d+ time\(s\)$/;

/** What Telegram has answered, as far as the error still has it. */
interface Answer {
  /** Telegram's code; empty where it sent words. */
  readonly text: string;
  readonly number?: number | undefined;
  readonly seconds?: unknown;
}

function verdictOfCode(answer: Answer, context: ErrorContext): Verdict {
  const found = findVerdictRow(answer.text);
  if (found === undefined || isAboutSomethingElse(found.row, answer)) return verdictOfNumber(answer);
  return verdictOfRow(found.row, { ...answer, inText: found.number }, context);
}

/** Every death is told with one of two numbers; a known word with another number says something that is not known. */
function isAboutSomethingElse({ kind }: VerdictRow, { number }: Answer): boolean {
  return kind === "dead" && number !== undefined && Math.abs(number) !== 401 && Math.abs(number) !== 406;
}

interface Told extends Answer {
  /** The number in the code. */
  readonly inText: string | undefined;
}

function verdictOfRow(row: VerdictRow, told: Told, { method = "", now = systemClock.now() }: ErrorContext): Verdict {
  const { kind, scope } = row.exception?.methods.has(method) ? row.exception : row;
  const code = row.code.endsWith("*") ? told.text : row.code.replace(/_X(?:MIN)?(?=_|$)/, "");
  const rest = { kind, scope, code, provesNotExecuted: row.provesNotExecuted };
  return kind === "cooldown" ? { ...rest, ...lengthOf(row.seconds, told, now) } : { ...rest, seconds: null };
}

/** An error this package does not know: a flood rests the session, a refusal is the caller's, the rest is like a 500. */
function verdictOfNumber({ text, number, seconds }: Answer): Verdict {
  const whole = text === "" ? `ERROR_${Math.abs(number ?? 0)}` : text;
  if (number === 420) {
    const code = text === "" ? whole : text.replace(/_\d+$/, "");
    const told = numberOf(/_(\d+)$/.exec(text)?.[1]) ?? numberOf(seconds);
    if (told !== undefined && isDate(told)) return { ...unknown, code, provesNotExecuted: true };
    return { kind: "cooldown", scope: "session", code, provesNotExecuted: true, ...shortened(told) };
  }
  if (number !== undefined && refusals.has(number)) return { ...unknown, code: whole, provesNotExecuted: true };
  return retry("server", whole);
}

function retry(scope: VerdictScope, code: string): Verdict {
  return { kind: "retry", scope, seconds: null, code, provesNotExecuted: false };
}

interface Length {
  readonly seconds: number;
  readonly isGuess?: true;
}

function lengthOf(rule: SecondsRule, { inText, seconds: inField }: Told, now: number): Length {
  if (typeof rule === "number") return { seconds: rule };
  const number = numberOf(inText) ?? numberOf(inField);
  if (number === undefined) return { seconds: guessedCooldown, isGuess: true };
  if (rule === "secondsOrDate" && isDate(number)) return { seconds: bounded(number - now / 1_000) };
  return { seconds: bounded(rule === "minutes" ? number * 60 : number) };
}

function shortened(told: number | undefined): Length {
  if (told === undefined) return { seconds: guessedCooldown, isGuess: true };
  if (told > longestUnknownCooldown) return { seconds: longestUnknownCooldown, isGuess: true };
  return { seconds: bounded(told) };
}

function bounded(seconds: number): number {
  return Math.min(Math.max(Math.ceil(seconds), 1), longestCooldown);
}

function isDate(number: number): boolean {
  return number > firstDate && number < lastDate;
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
