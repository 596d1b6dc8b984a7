import { InvalidSessionError } from "../errors.js";

/** Texts that are commonly passed instead of a session string, each with what to do. No message repeats the text. */
const MISTAKES: readonly (readonly [RegExp, string])[] = [
  [/^\s*$/, "The session string is empty. Log in once and save what the library gives."],
  [
    /^\s*\{.*"AuthKey"/s,
    "The text is a session of gotd, which this package does not read. Log in once with another library and save the session string.",
  ],
  [/^\s*[{[]/, "The text is JSON, not a session string. Pass the string inside it."],
  [/^(["'`]).*\1$/s, "The session string is wrapped in quotation marks. Remove them."],
  [
    /^\s*\d{5,}:[\w-]{20,}\s*$/,
    "The text is a bot token, not a session string. Log in with it once and save the session.",
  ],
  [
    /^\s*\+?[\d ().-]{5,24}\s*$/,
    "The text is a phone number, not a session string. Log in with it once and save the session.",
  ],
  [/^\s*[\da-f]{32}\s*$/i, "The text is an api hash, not a session string. It belongs into the client's options."],
  [
    /^[^\n]*\.session(?:-journal|-wal)?\s*$/,
    "The text is the name of a session file. Read the file by importAccounts(pool, path) of telegram-session-pool/import.",
  ],
  [
    /(?:^|[\\/])tdata[\\/]*\s*$/i,
    "The text is the path of a tdata folder of Telegram Desktop, not a session string. Read the folder by " +
      "importAccounts(pool, path) of telegram-session-pool/import.",
  ],
  [
    /^\s*(?:~|\.{1,2})?[\\/][^\n]{0,255}$|^\s*[a-z]:[\\/]/i,
    "The text is a path, not a session string. Read the file, and hand over the session string in it.",
  ],
  [
    /^\s*(?:export\s+)?[a-z_]\w{0,40}\s*=\s*[^\s=]/i,
    "The text is a whole line of settings. Pass what is behind its first =, without quotation marks.",
  ],
  [/^\s/, "The session string has whitespace before it. Remove it."],
  [/[\r\n]+$/, "The session string has a line break after it. Remove it: trim() the text."],
  [/\s$/, "The session string has whitespace after it. Remove it: trim() the text."],
  [/\s/, "The session string has whitespace inside. Copy it as one line."],
  [/^[\da-f]{512}$/i, "The text is an auth key in hexadecimal. Pass a session string made of it."],
  [/[^A-Za-z0-9+/_=-]/, "The text has characters in it that no session string has. Copy the session string alone."],
  [/=[^=]/, "The session string has padding in its middle: two texts were joined. Pass one session string."],
];

/** Far longer than any session string; longer texts are not examined. */
const MAX_TEXT_LENGTH = 4_096;

/** The header of an SQLite database, as which Telethon and Pyrogram store sessions (sqlite.org/fileformat.html). */
const DATABASE_HEADER = "SQLite format 3\0";

/** Throws `InvalidSessionError` for a value that is not a text, or is far too long for a session string. */
export function assertText(text: unknown): asserts text is string {
  if (isDatabase(text)) {
    throw new InvalidSessionError(
      "This is the content of a session file, an SQLite database, and not a session string. Read the file by " +
        "importAccounts(pool, path) of telegram-session-pool/import, or export a string from it with the library that wrote it.",
    );
  }
  if (typeof text !== "string") {
    const kind = kindOf(text);
    throw new InvalidSessionError(
      `A session is a string, and this is ${kind}. Pass what the library's session.save() returns.`,
    );
  }
  if (text.length > MAX_TEXT_LENGTH) {
    throw new InvalidSessionError("The text is far too long for a session string. Pass the session string alone.");
  }
}

function isDatabase(value: unknown): boolean {
  if (typeof value === "string") return value.startsWith(DATABASE_HEADER);
  return value instanceof Uint8Array && Buffer.from(value.subarray(0, 16)).toString("latin1") === DATABASE_HEADER;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value instanceof Uint8Array) return "bytes: read the file as text";
  if (value === undefined) return "undefined";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Throws `InvalidSessionError` for a text that is obviously something else than a session string. */
export function checkForMistakes(text: string): void {
  const mistake = MISTAKES.find(([pattern]) => pattern.test(text));
  if (mistake !== undefined) throw new InvalidSessionError(mistake[1]);
}
