import type { ErrorShape } from "./error-shape.js";
import { findVerdictRow } from "./verdict-table.js";

/**
 * GramJS's classes that overwrite Telegram's code with a word or a sentence (errors/RPCErrorList.js). It makes
 * FLOOD_PREMIUM_WAIT a FloodWaitError too: the two are indistinguishable there.
 */
const CODES_OF_CLASSES: ReadonlyMap<string, string> = new Map([
  ["FloodWaitError", "FLOOD_WAIT"],
  ["SlowModeWaitError", "SLOWMODE_WAIT"],
  ["FloodTestPhoneWaitError", "FLOOD_TEST_PHONE_WAIT"],
  ["MsgWaitError", "MSG_WAIT_FAILED"],
  ["UserMigrateError", "USER_MIGRATE"],
  ["PhoneMigrateError", "PHONE_MIGRATE"],
  ["NetworkMigrateError", "NETWORK_MIGRATE"],
  ["FileMigrateError", "FILE_MIGRATE"],
  ["EmailUnconfirmedError", "EMAIL_UNCONFIRMED"],
]);

/** Values of `errorMessage` in GramJS's base classes. The code is then in the message. */
const PLACEHOLDERS: ReadonlySet<string> = new Set([
  "ERROR_SEE_OTHER",
  "BAD_REQUEST",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "NOT_FOUND",
  "AUTH_KEY",
  "FLOOD",
  "INTERNAL",
  "Timeout",
]);

/** The code Telegram sent, with its number, as far as the error still has it. */
export function codeTextOf(shape: ErrorShape): string | undefined {
  const { errorMessage, number } = shape;
  const isPlaceholder = errorMessage === undefined || PLACEHOLDERS.has(errorMessage) || !isCode(errorMessage);
  if (!isPlaceholder) {
    return isAnswerNumber(number) || findVerdictRow(errorMessage) !== undefined ? errorMessage : undefined;
  }
  const named = CODES_OF_CLASSES.get(shape.name);
  if (named !== undefined) return named;
  if (errorMessage === undefined || !PLACEHOLDERS.has(errorMessage) || !isAnswerNumber(number)) return undefined;
  if (errorMessage === "FLOOD") return answerOf(shape.message)?.text ?? floodCodeOf(shape.message);
  return answerOf(shape.message)?.text ?? errorMessage;
}

// Class names do not survive a minifier; GramJS's sentences do.
function floodCodeOf(message: string): string {
  if (/^A wait of \d+ seconds is required before sending another message in this chat/.test(message))
    return "SLOWMODE_WAIT";
  if (/^A wait of \d+ seconds is required in the test servers/.test(message)) return "FLOOD_TEST_PHONE_WAIT";
  if (/^Message failed to be sent\./.test(message)) return "MSG_WAIT_FAILED";
  return "FLOOD_WAIT";
}

/** `401: AUTH_KEY_UNREGISTERED (caused by users.GetUsers)`: the message of every RPCError without a class of its own. */
const ANSWER_MESSAGE = /^(-?\d{3}): (\S+)(?: \(caused by [^)]*\))?$/;

/** The number and the code in a message of that form. */
export function answerOf(message: string): { readonly number: number; readonly text: string } | undefined {
  const [, number, text] = ANSWER_MESSAGE.exec(message) ?? [];
  if (number === undefined || text === undefined || !isCode(text)) return undefined;
  return { number: Number(number), text };
}

/**
 * The number of an answer in words that are no code, without the words: `-500: No workers running (caused by messages.SendMessage)`.
 * Only a library's own error is taken for one: it names the request, or has the words in `errorMessage` as well.
 */
export function answerInWordsOf(shape: ErrorShape): { readonly number: number; readonly text: string } | undefined {
  const { message, errorMessage } = shape;
  const [, digits, words = "", cause] = ANSWER_IN_WORDS.exec(message) ?? [];
  const isLibrarys = cause !== undefined || (errorMessage !== undefined && head(words) === head(errorMessage));
  const number = isLibrarys ? Number(digits) : shape.name === "RPCError" ? shape.number : undefined;
  return isAnswerNumber(number) ? { number, text: "" } : undefined;
}

const head = (text: string): string => text.slice(0, 256);
const ANSWER_IN_WORDS = /^(-?\d{3}): ?(.*?)( \(caused by [\w.]{1,100}\))?$/s;

/** Telegram's codes are upper case, but for `Timeout` and what a number slot may hold. */
export function isCode(text: string): boolean {
  return text.length <= 128 && /^(?:[A-Z0-9][A-Z0-9_]+(?:_\S+)?|Time(?:d)?out)$/.test(text);
}

function isAnswerNumber(number: number | undefined): number is number {
  return number !== undefined && Math.abs(number) >= 300 && Math.abs(number) < 600;
}
