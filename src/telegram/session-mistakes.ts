import { InvalidSessionError } from "../errors.js";

/** What people hand over instead of a session string, with what to do about it. No message repeats any of the text. */
const mistakes: readonly (readonly [RegExp, string])[] = [
  [/^\s*$/, "The session string is empty. Log in once and save what the library gives."],
  [/^\s*[{[]/, "The text is JSON, not a session string. Hand over the string inside it."],
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
  [/^[^\n]*\.session\s*$/, "The text is the name of a session file. Hand over a session string exported from it."],
  [/^\s/, "The session string has white space before it. Remove it."],
  [/[\r\n]+$/, "The session string has a line break after it. Remove it: trim() the text."],
  [/\s$/, "The session string has white space after it. Remove it: trim() the text."],
  [/\s/, "The session string has white space inside. Copy it as one line."],
  [/^[\da-f]{512}$/i, "The text is an auth key in hexadecimal. Hand over a session string made of it."],
  [/[^A-Za-z0-9+/_=-]/, "The text has characters in it that no session string has. Copy the session string alone."],
  [/=[^=]/, "The session string has padding in its middle: two texts were joined. Hand over one session string."],
];

/** Longer than any session string by far: what is longer is not looked at. */
const longestText = 4_096;

/** Throws for what is no text, or far too long for a session string. */
export function assertText(text: unknown): asserts text is string {
  if (typeof text !== "string") {
    const kind = text === null ? "null" : Array.isArray(text) ? "an array" : typeof text;
    throw new InvalidSessionError(
      `A session is a string, and this is ${kind}. Hand over what the library's session.save() returns.`,
    );
  }
  if (text.length > longestText) {
    throw new InvalidSessionError("The text is far too long for a session string. Hand over the session string alone.");
  }
}

/** Throws for a text that is plainly something else. */
export function checkForMistakes(text: string): void {
  const mistake = mistakes.find(([pattern]) => pattern.test(text));
  if (mistake !== undefined) throw new InvalidSessionError(mistake[1]);
}
