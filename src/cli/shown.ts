import { isShowableId } from "../options/validate.js";
import { printable } from "./table.js";

const SESSION = "a session string";

/** Base64 of an auth key or most of one, in a file name or behind `--`: a session string, mistyped ones included. */
const KEY_TEXT = /[\w+/=-]{250,}/g;

/** A word of the command line for a message: one that may hold a session string is not repeated. */
export function shown(word: string): string {
  return isShowableId(word) ? withoutSessions(printable(word)) : SESSION;
}

/** A phone number as people write it: with a plus sign or separators, so that the id of an account is none. */
export function isPhoneNumber(word: string): boolean {
  return /^\+?[\d\s()./-]+$/.test(word) && /\D/.test(word) && word.replace(/\D/g, "").length >= 9;
}

/** The text with everything in it replaced that may be a session string. */
export function withoutSessions(text: string): string {
  return text.replace(KEY_TEXT, SESSION);
}
