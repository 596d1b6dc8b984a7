import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { parseSession } from "../../src/telegram/session-string.js";
import { sessionString } from "../fakes/sessions.js";
import { assertNoSecretInFiles } from "./secrets-in-files.js";

const PASSWORD = "proxy-password";
const SESSION = sessionString("in a file");
const KEY = Buffer.from(parseSession(SESSION).authKey);
const SECRETS = [PASSWORD, SESSION];

const folder = mkdtempSync(join(tmpdir(), "secrets-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** A file with the content somewhere in its middle. */
function fileWith(content: string | Buffer, end = ""): string {
  const path = join(folder, `${++files}.db`);
  writeFileSync(path, randomBytes(5_000));
  writeFileSync(path + end, Buffer.concat([randomBytes(5_001), Buffer.from(content), randomBytes(5_000)]));
  return path;
}

describe("assertNoSecretInFiles()", () => {
  test.each<[string, string | Buffer]>([
    ["secret 1 of 2: as text", PASSWORD],
    ["secret 1 of 2: as text in UTF-16", Buffer.from(PASSWORD, "utf16le")],
    ["secret 1 of 2: its text in hex", Buffer.from(PASSWORD).toString("hex").toUpperCase()],
    ["secret 1 of 2: its text in base64", Buffer.from(`a ${PASSWORD} b`).toString("base64")],
    ["secret 2 of 2: as text", JSON.stringify({ session: SESSION })],
    ["secret 2 of 2: as text", SESSION.slice(90, 180)],
    ["secret 2 of 2: its text in hex", Buffer.from(SESSION).toString("hex")],
    ["secret 2 of 2: its text in base64", Buffer.from(JSON.stringify({ session: SESSION })).toString("base64")],
    ["secret 2 of 2: the bytes of its auth key", KEY],
    ["secret 2 of 2: the bytes of its auth key", KEY.subarray(100, 180)],
    ["secret 2 of 2: its auth key in hex", KEY.toString("hex")],
    ...[0, 1, 2].flatMap((before): [string, string][] => {
      const bytes = Buffer.concat([randomBytes(before), KEY, randomBytes(9)]);
      const isAsInSession = before === 1; // 19 bytes go before it there
      return [
        [`secret 2 of 2: ${isAsInSession ? "as text" : "its auth key in base64"}`, bytes.toString("base64")],
        ["secret 2 of 2", bytes.toString("base64url")],
      ];
    }),
  ])("finds %s", (what, content) => {
    expect(() => assertNoSecretInFiles([fileWith("nothing"), fileWith(content)], SECRETS)).toThrow(what);
  });

  test.each(["-wal", "-shm", "-journal"])("finds it in the file's %s", (end) => {
    const path = fileWith(SESSION, end);
    expect(() => assertNoSecretInFiles([path], SECRETS)).toThrow(`${path}${end} holds secret 2`);
  });

  test("accepts files without a secret", () => {
    assertNoSecretInFiles([fileWith(sessionString("another")), fileWith("", "-wal")], SECRETS);
  });

  test("a file that is not there, and an empty secret - are errors", () => {
    expect(() => assertNoSecretInFiles([join(folder, "nowhere.db")], SECRETS)).toThrow("ENOENT");
    expect(() => assertNoSecretInFiles([fileWith("")], [""])).toThrow("empty");
  });

  test("never repeats the secret", () => {
    expect(() => assertNoSecretInFiles([fileWith(SESSION)], SECRETS)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining(SESSION.slice(40, 60)) }),
    );
  });

  test("finds a record of sqlite, open and closed, also one that takes many pages", async () => {
    const path = join(folder, "records.db");
    const storage = sqlite(path);
    await storage.open?.();
    await storage.write("a", 0, JSON.stringify({ filler: "x".repeat(20_000), session: SESSION }));
    expect(() => assertNoSecretInFiles([path], SECRETS)).toThrow("secret 2 of 2: as text");
    await storage.close?.();
    expect(() => assertNoSecretInFiles([path], SECRETS)).toThrow("secret 2 of 2: as text");
  });
});
