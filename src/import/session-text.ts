import { InvalidSessionError } from "../errors.js";
import { formatSession, parseSession } from "../telegram/session-string.js";
import { type AccountContent, AccountFileError } from "./found-account.js";

/** Longer than any session string by far. */
const LONGEST_LINE = 4_096;

/** A line of a text file: an account, or why it is none. */
export interface TextLine {
  /** From 1. */
  readonly line: number;
  readonly result: AccountContent | AccountFileError;
}

/** Whether these first bytes of a file are text. */
export function isText(start: Buffer): boolean {
  return start.every((byte) => byte >= 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d);
}

/**
 * Reads a text file of session strings, one on each line, of every library that `parseSession` knows. Empty lines and
 * those that begin with # are skipped. Throws `AccountFileError` when no line is a session string: the file is some other
 * text, and its lines are not worth an error each.
 */
export function accountsInText(text: string): readonly TextLine[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/);
  const written = lines
    .map((content, index) => ({ content: content.trim(), line: index + 1 }))
    .filter(({ content }) => content !== "" && !content.startsWith("#"));
  const read = written.map(({ content, line }) => ({ line, result: accountOf(content) }));
  if (read.some(({ result }) => !(result instanceof AccountFileError))) return read;
  const [first] = read;
  if (read.length === 1 && first?.result instanceof AccountFileError) throw first.result;
  throw new AccountFileError(
    read.length === 0 ? "The file is empty." : "The file holds no session string. A text file has one on each line.",
  );
}

function accountOf(content: string): AccountContent | AccountFileError {
  if (content.length > LONGEST_LINE) return new AccountFileError("The line is far too long for a session string.");
  try {
    const parsed = parseSession(content);
    return {
      format: parsed.format,
      session: formatSession(parsed, "gramjs"),
      dcId: parsed.dcId,
      accountId: parsed.userId === undefined || parsed.userId === 0 ? null : String(parsed.userId),
      isBot: parsed.isBot ?? null,
      apiId: parsed.apiId ?? null,
      peers: [],
      warnings: [],
    };
  } catch (error) {
    if (error instanceof InvalidSessionError) return new AccountFileError(error.message);
    throw error;
  }
}
