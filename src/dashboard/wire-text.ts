/** Base64 of an auth key or most of one: no id, reason or tag is that long and looks like this by chance. */
const KEY_TEXT = /[\w+/=-]{250,}/g;

/** Longest text that is sent, but for ids: those identify their session. */
const MAX_LENGTH = 300;

/** A text of the user's as it may be sent: without what looks like a session string, and shortened. */
export function wireText(text: string): string {
  const safe = text.length < 250 ? text : text.slice(0, 4_096).replace(KEY_TEXT, "[redacted]");
  return safe.length <= MAX_LENGTH ? safe : `${safe.slice(0, MAX_LENGTH)}…`;
}

/** An id as it may be sent. */
export function wireId(id: string): string {
  return id.length < 250 ? id : id.replace(KEY_TEXT, "[redacted]");
}

/** The same for a text that may be missing. */
export function wireTextOrNull(text: string | null): string | null {
  return text === null ? null : wireText(text);
}
