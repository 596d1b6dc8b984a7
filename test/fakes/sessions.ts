import { createHash, randomBytes } from "node:crypto";
import { formatSession } from "../../src/telegram/session-string.js";
import { remember } from "../canary/session-finder.js";

/** A session string as GramJS writes it. The same name gives the same auth key; no name a new one. */
export function sessionString(name?: string): string {
  const session = formatSession(
    {
      dcId: 2,
      serverAddress: "149.154.167.51",
      port: 443,
      authKey: name === undefined ? randomBytes(256) : keyNamed(name),
      format: "gramjs",
      isTest: false,
    },
    "gramjs",
  );
  remember(session);
  return session;
}

function keyNamed(name: string): Uint8Array {
  const parts = Array.from({ length: 8 }, (_, index) => createHash("sha256").update(`${name} ${index}`).digest());
  return Buffer.concat(parts);
}
