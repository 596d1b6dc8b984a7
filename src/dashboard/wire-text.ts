/** Base64 of an auth key or most of one: no id, reason or tag is that long and looks like this by chance. */
const KEY_TEXT = /(?<![\w+/=-])[\w+/=-]{250,}/g;
const KEY_CHARACTER = /[\w+/=-]/;
/** Longest part of a text that is read. */
const MAX_READ_LENGTH = 4_096;

/** Longest text that is sent, but for ids: those identify their session. */
const MAX_LENGTH = 300;

/** A text of the user's as it may be sent: without what looks like a session string, and shortened. */
export function wireText(text: string): string {
  const safe = text.length < 250 ? text : withoutKeys(text);
  return safe.length <= MAX_LENGTH ? safe : `${safe.slice(0, MAX_LENGTH)}…`;
}

function withoutKeys(text: string): string {
  const safe = text.slice(0, MAX_READ_LENGTH).replace(KEY_TEXT, "[redacted]");
  if (text.length <= MAX_READ_LENGTH) return safe;
  // The word at the cut may be the beginning of a key, too short to be found.
  let end = safe.length;
  while (end > 0 && KEY_CHARACTER.test(safe.charAt(end - 1))) end--;
  return safe.slice(0, end);
}

/** An id as it may be sent. */
export function wireId(id: string): string {
  return id.length < 250 ? id : id.replace(KEY_TEXT, "[redacted]");
}

/** The same for a text that may be missing. */
export function wireTextOrNull(text: string | null): string | null {
  return text === null ? null : wireText(text);
}
