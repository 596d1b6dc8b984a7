import { connectionFailureOf, connectionFailureOfText } from "./connection-errors.js";
import { answerOf, codeTextOf, isCode } from "./error-code.js";
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
  /** Telegram's code without its number (`"FLOOD_WAIT"`), Node's (`"ECONNREFUSED"`), or `"UNKNOWN"`. */
  readonly code: string;
  /** The error proves that the request took no effect. */
  readonly provesNotExecuted: boolean;
  /** Set when Telegram's seconds could not be read and `seconds` is a guess: worth a line in the log. */
  readonly isGuess?: true;
}

/**
 * Whether a restriction ends by itself, if nobody knows when: PEER_FLOOD does; FROZEN ends by a human's appeal. Source:
 * core.telegram.org/api/errors, core.telegram.org/api/auth (frozen accounts).
 */
export function endsByItself(code: string): boolean {
  return code === "PEER_FLOOD";
}

/** Whether the verdict changes what the session is good for, so that another one may do better. */
export function isAboutSession({ kind }: Verdict): boolean {
  return kind === "cooldown" || kind === "restricted" || kind === "dead";
}

const longestCooldown = 365 * 86_400;
const guessedCooldown = 60;

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
export function classifyTelegramError(error: unknown): Verdict {
  try {
    if (typeof error === "string") return verdictOfString(error);
    if (typeof error !== "object" || error === null) return unknown;
    return verdictOfShape(shapeOf(error));
  } catch {
    return unknown;
  }
}

function verdictOfShape(shape: ErrorShape): Verdict {
  const failure = connectionFailureOf(shape);
  if (failure !== undefined) return retry(failure.scope, failure.code);
  const text = codeTextOf(shape);
  if (text !== undefined) return verdictOfCode(text, shape.number, shape.seconds);
  const answer = answerOf(shape.message);
  if (answer !== undefined) return verdictOfCode(answer.text, answer.number, shape.seconds);
  if (unsuccessful.test(shape.message)) return retry("server", "REQUEST_UNSUCCESSFUL");
  if (shape.name === "BadMessageError") return retry("server", "BAD_MESSAGE");
  return verdictOfBareMessage(shape);
}

function verdictOfString(text: string): Verdict {
  if (findVerdictRow(text) !== undefined && isCode(text)) return verdictOfCode(text, undefined, undefined);
  const failure = connectionFailureOfText(text);
  if (failure !== undefined) return retry(failure.scope, failure.code);
  const answer = answerOf(text);
  if (answer !== undefined) return verdictOfCode(answer.text, answer.number, undefined);
  return unsuccessful.test(text) ? retry("server", "REQUEST_UNSUCCESSFUL") : unknown;
}

/** Words of many programs: an Error that says no more may be anybody's. */
const commonWords: ReadonlySet<string> = new Set(["SESSION_EXPIRED", "USER_RESTRICTED", "Timeout", "Timedout"]);

/** An Error that says no more than a code that only Telegram uses; a wait has to have its number. */
function verdictOfBareMessage(shape: ErrorShape): Verdict {
  const found = shape.name === "Error" ? findVerdictRow(shape.message) : undefined;
  if (found === undefined || commonWords.has(found.row.code) || !isCode(shape.message)) return unknown;
  if (typeof found.row.seconds === "string" && found.number === undefined) return unknown;
  return verdictOfCode(shape.message, undefined, shape.seconds);
}

// client/users.js of both libraries, when its own attempts are spent; the cause is lost.
const unsuccessful = /^Request was unsuccessful \d+ time\(s\)$/;

function verdictOfCode(text: string, number: number | undefined, seconds: unknown): Verdict {
  const found = findVerdictRow(text);
  if (found === undefined) return verdictOfNumber(text, number, seconds);
  return verdictOfRow(found.row, text, found.number, seconds);
}

function verdictOfRow(row: VerdictRow, text: string, number: string | undefined, seconds: unknown): Verdict {
  const { kind, scope, provesNotExecuted } = row;
  const code = row.code.endsWith("*") ? text : row.code.replace(/_X(?:MIN)?(?=_|$)/, "");
  const rest = { kind, scope, code, provesNotExecuted };
  return kind === "cooldown" ? { ...rest, ...lengthOf(row.seconds, number, seconds) } : { ...rest, seconds: null };
}

/** A code this package does not know: a flood rests the session, a refusal is the caller's, the rest is like a 500. */
function verdictOfNumber(code: string, number: number | undefined, seconds: unknown): Verdict {
  if (number === 420) {
    const length = lengthOf("seconds", /_(\d+)$/.exec(code)?.[1], seconds);
    return { kind: "cooldown", scope: "session", code: code.replace(/_\d+$/, ""), provesNotExecuted: true, ...length };
  }
  if (number !== undefined && refusals.has(number)) return { ...unknown, code, provesNotExecuted: true };
  return retry("server", code);
}

function retry(scope: VerdictScope, code: string): Verdict {
  return { kind: "retry", scope, seconds: null, code, provesNotExecuted: false };
}

function lengthOf(
  rule: SecondsRule,
  inText: string | undefined,
  inField: unknown,
): { readonly seconds: number; readonly isGuess?: true } {
  if (typeof rule === "number") return { seconds: rule };
  const number = numberOf(inText) ?? numberOf(inField);
  if (number === undefined) return { seconds: guessedCooldown, isGuess: true };
  const seconds = rule === "minutes" ? number * 60 : number;
  return { seconds: Math.min(Math.max(Math.ceil(seconds), 1), longestCooldown) };
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "string") return /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : undefined;
  return typeof value === "number" && !Number.isNaN(value) ? value : undefined;
}
