import { StorageCorruptError, StorageError } from "../../src/errors.js";

/** Further arguments of {@link toStorageError}. */
export interface FailureDetails {
  /** The parameters of the statement. Texts among them that may be secret are removed from the error. */
  readonly secrets?: readonly unknown[];
  /** The driver says that what it holds is damaged: the result is a `StorageCorruptError`. */
  readonly isCorrupt?: boolean;
}

/**
 * Turns what a driver threw into a `StorageError` whose `cause` has the driver's name, message, code and frames and
 * nothing else: drivers hang statements, parameters and whole commands on their errors, and those hold records.
 */
export function toStorageError(sentence: string, error: unknown, details: FailureDetails = {}): StorageError {
  if (error instanceof StorageError) return error;
  const cause = redactDriverError(error, details.secrets ?? []);
  const message = `${sentence}: ${cause.message}`;
  return details.isCorrupt ? new StorageCorruptError(message, { cause }) : new StorageError(message, { cause });
}

/** Returns the driver's `code`; `undefined` if the error has none. */
export function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

function redactDriverError(error: unknown, secrets: readonly unknown[]): Error {
  const code = codeOf(error);
  const cause = new Error(redact(messageOf(error), secrets));
  if (error instanceof Error) {
    const frames = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line));
    cause.name = error.name;
    cause.stack = [`${error.name}: ${cause.message}`, ...frames].join("\n");
  }
  return typeof code === "string" || typeof code === "number" ? Object.assign(cause, { code }) : cause;
}

/** A refused connection is an AggregateError with an empty message: then its first error speaks. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "" && error.errors.length > 0) {
    return messageOf(error.errors[0]);
  }
  if (error instanceof Error && error.message !== "") return error.message;
  return String(codeOf(error) ?? "the driver gave no reason");
}

/**
 * A record and what is in it is longer than this. A shorter text (an id, a version, "set") is no secret, and cutting it
 * out would cut through words of the message.
 */
const MIN_SECRET_LENGTH = 16;

/** Also as it stands within JSON, and within JSON in JSON: how the wrappers of drivers quote it. */
function redact(message: string, secrets: readonly unknown[]): string {
  let text = message;
  for (const secret of secrets) {
    if (typeof secret !== "string" || secret.length < MIN_SECRET_LENGTH) continue;
    for (let form = secret, depth = 0; depth < 3; form = JSON.stringify(form).slice(1, -1)) {
      text = text.replaceAll(form, "[redacted]");
      depth += 1;
    }
  }
  return text;
}
