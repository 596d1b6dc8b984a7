import { InvalidSessionError } from "../errors.js";
import { checkSessionData, createSessionData, type SessionData, type SessionFormat } from "./session-data.js";
import { decodeLoosely } from "./session-formats/base64.js";
import { addressLengthOf, formatGramjs, parseGramjs } from "./session-formats/gramjs.js";
import { formatMtcute, isMtcute, parseMtcute } from "./session-formats/mtcute.js";
import { formatPyrogram, isPyrogramLength, parsePyrogram } from "./session-formats/pyrogram.js";
import { formatTelethon, parseTelethon } from "./session-formats/telethon.js";
import { assertText, checkForMistakes } from "./session-mistakes.js";

export { authKeyFingerprint, type DataCentreAddress, type SessionData, type SessionFormat } from "./session-data.js";

/**
 * Reads a session string of GramJS, teleproto, Telethon, Pyrogram or mtcute; which of them it is follows from the text.
 * Strict: what is read formats back to the same characters (of mtcute: to what its current release writes). Throws
 * `InvalidSessionError`, which says what is wrong and what to do, and repeats nothing of the text.
 */
export function parseSession(text: string): SessionData {
  return createSessionData(read(text));
}

/** Throws for what `parseSession` does not read, and only for that. Faster: the key is not copied. */
export function checkSession(text: string): void {
  checkSessionData(read(text));
}

/** What the text says, unchecked; its key is a view of the text's bytes. */
function read(text: string): SessionData {
  assertText(text);
  try {
    return readAny(text);
  } catch (error) {
    // Every format is read to the last character, so a text with a mistake in it is none: only what to tell is looked for.
    checkForMistakes(text);
    throw error;
  }
}

function readAny(text: string): SessionData {
  if (text.startsWith("1")) return parseVersion1(text.slice(1));
  const bytes = decodeLoosely(text);
  if (isPyrogramLength(text.length)) return parsePyrogram(text, bytes);
  if (isMtcute(bytes)) return parseMtcute(text, bytes);
  throw unrecognised(text, bytes);
}

/**
 * Writes a session string. What a format has no room for is left out; what it needs and the session does not know is 0.
 * Throws `InvalidSessionError` when the session cannot be said in that format.
 */
export function formatSession(session: SessionData, format: SessionFormat): string {
  const write = Object.hasOwn(writers, format) ? writers[format] : undefined;
  if (write === undefined) {
    throw new InvalidSessionError(`No such session format. Formats: ${Object.keys(writers).join(", ")}.`);
  }
  return write(createSessionData(session));
}

const writers: Readonly<Record<SessionFormat, (session: SessionData) => string>> = {
  gramjs: formatGramjs,
  telethon: formatTelethon,
  pyrogram: formatPyrogram,
  mtcute: formatMtcute,
};

/** GramJS and Telethon share the version: a length where GramJS has one tells them apart. */
function parseVersion1(text: string): SessionData {
  const bytes = decodeLoosely(text);
  const addressLength = addressLengthOf(bytes);
  return addressLength === undefined ? parseTelethon(text, bytes) : parseGramjs(text, bytes, addressLength);
}

function unrecognised(text: string, bytes: Buffer): InvalidSessionError {
  const [first = 0] = bytes;
  if (text.length > 300 && first >= 1 && first <= 5) {
    return new InvalidSessionError(
      "The text begins like a Pyrogram string, and has not one of its lengths (351, 356, 362 characters). Copy it whole.",
    );
  }
  if (text.length > 300) {
    return new InvalidSessionError(
      "The session string is of a version this package does not read. It reads version 1 of GramJS, teleproto and " +
        "Telethon, Pyrogram, and version 3 of mtcute: export it from one of these.",
    );
  }
  return new InvalidSessionError(
    "The text is not a session string. Hand over what the library's session.save() returns, whole.",
  );
}
