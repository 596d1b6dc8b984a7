import { textOf } from "./process-warning.js";

/**
 * A failure without what must not be seen: what a proxy or socket library throws may carry the proxy's password in its
 * fields or its text. Only name, message and code are kept, and the secrets are cut out of the message. What Telegram
 * calls the error comes first, where the library tells it only in prose.
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

/** A shorter secret may be a part of any word: it is cut out only where it stands alone. */
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

/** teleproto has the word beside the message, GramJS in it; "FLOOD", which GramJS has for many, says nothing. */
function prefixTelegramCode(error: Error): string {
  const word: unknown = Reflect.get(error, "errorMessage");
  const isTold = typeof word !== "string" || !word.includes("_") || error.message.includes(word);
  return isTold ? error.message : `${word}: ${error.message}`;
}
