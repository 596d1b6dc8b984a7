import { InvalidSessionError, OptionsError } from "../errors.js";
import {
  AUTH_KEY_BYTES,
  authKeyFingerprint,
  checkSessionData,
  createSessionData,
  type SessionData,
  type SessionFormat,
} from "./session-data.js";
import { decodeLoosely } from "./session-formats/base64.js";
import { addressLengthOf, formatGramjs, parseGramjs } from "./session-formats/gramjs.js";
import { formatMtcute, isMtcute, olderMtcuteVersion, parseMtcute } from "./session-formats/mtcute.js";
import {
  forkTextOf,
  formatPyrogram,
  isPyrogram,
  isPyrogramLength,
  parsePyrogram,
  parsePyrogramFork,
} from "./session-formats/pyrogram.js";
import { formatTelethon, parseTelethon } from "./session-formats/telethon.js";
import { assertText, checkForMistakes } from "./session-string-hints.js";

export { authKeyFingerprint, type DataCenterAddress, type SessionData, type SessionFormat } from "./session-data.js";

/**
 * Reads a session string of GramJS, teleproto, Telethon, Pyrogram or mtcute; which of them it is follows from the text.
 * `add` and `update` do so by themselves: use it to look at a session, or to convert one with {@link formatSession}.
 *
 * Strict: what is read formats back to the same characters (of mtcute: to what its current release writes; of forks of
 * Pyrogram: to Pyrogram's own form). Throws
 * `InvalidSessionError`, which says what is wrong and what to do, and repeats nothing of the text.
 *
 * @example
 * ```ts
 * const { format, dcId, userId } = parseSession(text); // "pyrogram", 2, 5123456789
 * ```
 */
export function parseSession(text: string): SessionData {
  return createSessionData(read(text));
}

/** The authorization of a session string, and the server that it names. */
export interface SessionIdentity {
  readonly fingerprint: string;
  readonly serverAddress: string;
}

/** Identifies a session string. Throws exactly when `parseSession` does, but is faster, as it does not copy the key. */
export function identifySession(text: string): SessionIdentity {
  const session = read(text);
  checkSessionData(session);
  return { fingerprint: authKeyFingerprint(session.authKey), serverAddress: session.serverAddress };
}

/** Parses the text without validating the fields. The key is a view of the decoded bytes. */
function read(text: string): SessionData {
  assertText(text);
  try {
    return readAny(text);
  } catch (error) {
    // The text is invalid in any case, as formats are read to the last character: look for the most helpful message.
    checkForMistakes(text);
    throw strayFormOf(text) ?? error;
  }
}

function readAny(text: string): SessionData {
  if (text.startsWith("1")) return parseVersion1(text.slice(1));
  const bytes = decodeLoosely(text);
  if (isPyrogramLength(text.replace(/=+$/, "").length)) return parsePyrogram(text, bytes);
  // Checked before mtcute's format, as both may begin with a 3.
  const forkText = forkTextOf(text);
  if (forkText !== undefined) return parsePyrogramFork(forkText);
  if (isMtcute(bytes)) return parseMtcute(text, bytes);
  throw unrecognized(text, bytes);
}

/**
 * Writes a session string in another library's format, or in the same one. Fields that the format does not have are omitted;
 * fields that it requires and the session does not know are 0. Throws `InvalidSessionError` if the format cannot hold the
 * session, `OptionsError` for arguments of the wrong kind.
 *
 * @example
 * ```ts
 * const forGramjs = formatSession(parseSession(pyrogramString), "gramjs");
 * ```
 */
export function formatSession(session: SessionData, format: SessionFormat): string {
  if (typeof session !== "object" || session === null) {
    throw new OptionsError("formatSession: session must be what parseSession() returns, or an object of that form.");
  }
  const formats = Object.keys(WRITERS).join(", ");
  if (typeof format !== "string") throw new OptionsError(`formatSession: format must be one of ${formats}.`);
  const write = Object.hasOwn(WRITERS, format) ? WRITERS[format] : undefined;
  if (write === undefined) throw new InvalidSessionError(`formatSession: unknown format; expected one of ${formats}.`);
  return write(createSessionData(session));
}

const WRITERS: Readonly<Record<SessionFormat, (session: SessionData) => string>> = {
  gramjs: formatGramjs,
  telethon: formatTelethon,
  pyrogram: formatPyrogram,
  mtcute: formatMtcute,
};

/** GramJS and Telethon use the same version. The length field of GramJS distinguishes them. */
function parseVersion1(text: string): SessionData {
  const bytes = decodeLoosely(text);
  const addressLength = addressLengthOf(bytes);
  return addressLength === undefined ? parseTelethon(text, bytes) : parseGramjs(text, bytes, addressLength);
}

/** Returns the error for a string that lacks one character, or is in another library's format. */
function strayFormOf(text: string): InvalidSessionError | undefined {
  if (/^1Bv[EX]/.test(text)) {
    return new InvalidSessionError(
      `The text is a session string of gogram, which this package does not read. ${READABLE}`,
    );
  }
  if (!lacksVersion(decodeLoosely(text))) return undefined;
  return new InvalidSessionError(
    "The session string lacks its first character, the version: 1. Copy it whole, the 1 before it included.",
  );
}

/** GramJS's or Telethon's without the "1" that both begin with. */
function lacksVersion(bytes: Buffer): boolean {
  const [dcId = 0, second = 0] = bytes;
  if (dcId < 1 || dcId > 5) return false;
  const addressLength = addressLengthOf(bytes);
  if (addressLength !== undefined) return bytes.length === addressLength + 5 + AUTH_KEY_BYTES && addressLength > 6;
  // Where Telethon's have the address, Pyrogram's have a flag.
  return second > 1 && (bytes.length === 263 || bytes.length === 275);
}

const READABLE =
  "It reads version 1 of GramJS, teleproto and Telethon, Pyrogram, and version 3 of mtcute: export it from one of these, or " +
  "log in once and save the session.";

function unrecognized(text: string, bytes: Buffer): InvalidSessionError {
  const mtcute = olderMtcuteVersion(bytes);
  if (mtcute !== undefined) {
    return new InvalidSessionError(
      `The session string is of version ${mtcute} of mtcute, and this package reads version 3. Import it into a current mtcute and export it again.`,
    );
  }
  if (text.length > 300 && isPyrogram(bytes)) {
    return new InvalidSessionError(
      "The text begins like a Pyrogram string, and has not one of its lengths (351, 356, 362 characters). " +
        (text.length < 362
          ? "Copy it whole."
          : "It is joined with something else, or of a fork that is not known: copy it alone, or export it from Pyrogram itself."),
    );
  }
  if (text.length > 300) {
    return new InvalidSessionError(`The session string is of a version this package does not read. ${READABLE}`);
  }
  return new InvalidSessionError(
    "The text is not a session string. Pass what the library's session.save() returns, whole.",
  );
}
