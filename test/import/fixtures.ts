import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseSession } from "../../src/telegram/session-string.js";

/** A file or folder of the accounts that the real libraries have made. All keys, ids and names in them are made up. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

/** SHA-256 of a session's auth key. */
export function keyOf(session: string): string {
  return createHash("sha256").update(parseSession(session).authKey).digest("hex");
}
