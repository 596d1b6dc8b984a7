import { existsSync, readFileSync } from "node:fs";
import { InvalidSessionError } from "../../src/errors.js";
import { parseSession } from "../../src/telegram/session-string.js";

/** What a database writes beside its file. */
const COMPANIONS = ["-wal", "-shm", "-journal"];
/** A database may cut a long text in two where a page ends: any piece of this size is found, too. */
const PIECE = 32;

interface Form {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * Throws when a file, or what a database keeps beside it, holds a secret: as text (UTF-8 or UTF-16), in hex or base64,
 * and of a session string its auth key alone, as bytes, in hex or base64, whole or a piece of it. Says which file and
 * which secret by number, never the secret. A file that is not there is an error.
 */
export function assertNoSecretInFiles(paths: readonly string[], secrets: readonly string[]): void {
  const files = paths.flatMap((path) => [path, ...COMPANIONS.map((end) => path + end).filter(existsSync)]);
  for (const file of files) {
    const content = readFileSync(file);
    for (const [index, secret] of secrets.entries()) {
      const form = formsOf(secret).find(({ bytes }) => isIn(content, bytes));
      if (form !== undefined) throw new Error(`${file} holds secret ${index + 1} of ${secrets.length}: ${form.name}`);
    }
  }
}

function isIn(content: Buffer, bytes: Buffer): boolean {
  if (bytes.length < 2 * PIECE) return content.includes(bytes);
  for (let at = 0; at + PIECE <= bytes.length; at += PIECE) {
    if (content.includes(bytes.subarray(at, at + PIECE))) return true;
  }
  return false;
}

function formsOf(secret: string): readonly Form[] {
  if (secret === "") throw new Error("An empty secret is in every file");
  const text = Buffer.from(secret);
  const key = authKeyOf(secret);
  return [
    { name: "as text", bytes: text },
    { name: "as text in UTF-16", bytes: Buffer.from(secret, "utf16le") },
    ...encodingsOf("its text", text),
    ...(key === undefined
      ? []
      : [{ name: "the bytes of its auth key", bytes: key }, ...encodingsOf("its auth key", key)]),
  ];
}

function encodingsOf(what: string, bytes: Buffer): readonly Form[] {
  const hex = bytes.toString("hex");
  const texts = [
    [`${what} in hex`, hex],
    [`${what} in hex`, hex.toUpperCase()],
    ...[0, 1, 2].flatMap((before) => [
      [`${what} in base64`, base64Within(bytes, before, "base64")],
      [`${what} in base64url`, base64Within(bytes, before, "base64url")],
    ]),
  ] as const;
  return texts.map(([name, text]) => ({ name, bytes: Buffer.from(text ?? "") }));
}

/** The characters that stand for these bytes alone when so many others go before them. */
function base64Within(bytes: Buffer, before: number, encoding: "base64" | "base64url"): string {
  const text = Buffer.concat([Buffer.alloc(before), bytes]).toString(encoding);
  const whole = Math.floor(((before + bytes.length) * 8) / 6);
  return text.slice(Math.ceil((before * 8) / 6), whole);
}

function authKeyOf(secret: string): Buffer | undefined {
  try {
    return Buffer.from(parseSession(secret).authKey);
  } catch (error) {
    if (error instanceof InvalidSessionError) return undefined;
    throw error;
  }
}
