import { textOf } from "./process-warning.js";

/**
 * A copy of the error without secrets: the errors of a proxy or socket library may contain the proxy's password in their
 * fields or their text. Only name, message and code are kept, and the secrets are removed from the message. Telegram's
 * code of the error precedes it where the library gives that in prose only.
 */
export function redactError(error: unknown, secrets: readonly (string | undefined)[]): Error {
  const source = error instanceof Error ? error : new Error(textOf(error));
  let message = prefixTelegramCode(source);
  for (const secret of secrets) message = redact(message, secret ?? "");
  const plain = new Error(message);
  plain.name = source.name;
  const code: unknown = Reflect.get(source, "code");
  return typeof code === "string" || typeof code === "number" ? Object.assign(plain, { code }) : plain;
}

/** A shorter secret may be part of any word: it is removed only where it stands alone. */
const LONG_SECRET = 8;

function redact(message: string, secret: string): string {
  if (secret === "") return message;
  if (secret.length >= LONG_SECRET) return message.replaceAll(secret, "[redacted]");
  const [first = "", ...rest] = message.split(secret);
  return rest.reduce((before, after) => {
    const isInWord = /[\p{L}\p{N}]$/u.test(before) || /^[\p{L}\p{N}]/u.test(after);
    return `${before}${isInWord ? secret : "[redacted]"}${after}`;
  }, first);
}

/** teleproto has the code beside the message, GramJS in it; "FLOOD", which GramJS uses for many, says nothing. */
function prefixTelegramCode(error: Error): string {
  const word: unknown = Reflect.get(error, "errorMessage");
  const isNamed = typeof word !== "string" || !word.includes("_") || error.message.includes(word);
  return isNamed ? error.message : `${word}: ${error.message}`;
}
