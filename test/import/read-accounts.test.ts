import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OptionsError } from "../../src/errors.js";
import { AccountFileError, type FoundAccount, type ReadAccount, readAccounts } from "../../src/import/index.js";
import { parseSession } from "../../src/telegram/session-string.js";
import { sessionString } from "../fakes/sessions.js";
import { fixturePath, keyOf } from "./fixtures.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "accounts-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function allOf(path: string, options = {}): Promise<readonly ReadAccount[]> {
  const found: ReadAccount[] = [];
  for await (const account of readAccounts(path, options)) found.push(account);
  return found;
}

async function theOne(path: string, options = {}): Promise<FoundAccount> {
  const [account, ...others] = await allOf(path, options);
  if (account === undefined || account.error !== undefined || others.length > 0) {
    throw new Error(`Expected one account; got ${inspect([account, ...others])}`);
  }
  return account;
}

async function theError(path: string, options = {}): Promise<AccountFileError> {
  const [entry, ...others] = await allOf(path, options);
  if (entry?.error === undefined || others.length > 0) throw new Error(`Expected one error; got ${inspect(entry)}`);
  return entry.error;
}

interface Expected {
  readonly error?: boolean;
  readonly dcId?: number;
  readonly authKeySha256?: string;
  readonly library?: string;
  readonly userId?: string;
  readonly apiId?: number;
  readonly passcode?: string | null;
  readonly peers?: readonly object[];
  readonly profile?: object;
  readonly secretsNotStored?: readonly string[];
  readonly accounts?: readonly { readonly dcId: number; readonly userId: string; readonly authKeySha256: string }[];
}

const EXPECTED = Object.entries(
  JSON.parse(readFileSync(fixturePath("expected.json"), "utf8")) as Readonly<Record<string, Expected>>,
);
const FILES = EXPECTED.filter(([, { accounts, error }]) => accounts === undefined && error !== true);
const TDATA = EXPECTED.filter(([, { accounts }]) => accounts !== undefined);
const UNREADABLE = EXPECTED.filter(([, { error }]) => error === true);

describe("readAccounts() - files made by the libraries", () => {
  test.each(FILES)("%s", async (name, expected) => {
    const account = await theOne(fixturePath(name));
    expect({ format: account.format, dcId: account.dcId, key: keyOf(account.session) }).toEqual({
      format: expected.library,
      dcId: expected.dcId,
      key: expected.authKeySha256,
    });
    if (expected.userId !== undefined) expect(account.accountId).toBe(expected.userId);
    if (expected.apiId !== undefined) expect(account.apiId).toBe(expected.apiId);
    if (expected.profile !== undefined) expect(account.profile).toMatchObject(expected.profile);
    for (const peer of expected.peers ?? []) expect(account.peers).toContainEqual(expect.objectContaining(peer));
    expect(account.name).toBe(name.replace(/\.\w+$/, ""));
    for (const secret of expected.secretsNotStored ?? []) {
      expect(inspect(account, { depth: 9, showHidden: true })).not.toContain(secret);
    }
  });

  test.each(TDATA)("%s", async (name, expected) => {
    const found = await allOf(fixturePath(name), expected.passcode === null ? {} : { passcode: expected.passcode });
    expect(
      found.map((account) =>
        account.error === undefined
          ? { dcId: account.dcId, userId: account.accountId, authKeySha256: keyOf(account.session) }
          : account.error,
      ),
    ).toEqual(expected.accounts);
    const [first] = found;
    expect(first?.error === undefined && first?.warnings.join(" ")).toContain("destroys the key");
  });

  test.each(UNREADABLE)("%s is one error", async (name) => {
    expect(await theError(fixturePath(name))).toBeInstanceOf(AccountFileError);
  });
});

describe("readAccounts() - a folder", () => {
  test("reads every account in it, in the order of names, and changes nothing", async () => {
    cpSync(fixturePath("."), folder, { recursive: true });
    const before = stateOf(folder);
    const found = await allOf(folder, { passcode: "open sesame 11" });
    const accounts = found.filter(({ error }) => error === undefined);
    expect(accounts).toHaveLength(FILES.length + 5);
    expect(stateOf(folder)).toEqual(before);
  });

  test("a bad file among good ones - is one entry, the others are read", async () => {
    cpSync(fixturePath("telethon-v7.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "b.session"), readFileSync(fixturePath("telethon-v7.session")).subarray(0, 5_000));
    cpSync(fixturePath("kurigram.session"), join(folder, "c.session"));
    const found = await allOf(folder);
    expect(found.map(({ path, error }) => ({ name: basename(path), isRead: error === undefined }))).toEqual([
      { name: "a.session", isRead: true },
      { name: "b.session", isRead: false },
      { name: "c.session", isRead: true },
    ]);
  });

  test("without recursive - folders in it are left alone", async () => {
    mkdirSync(join(folder, "inner"));
    cpSync(fixturePath("telethon.txt"), join(folder, "inner", "a.txt"));
    expect(await allOf(folder, { recursive: false })).toEqual([]);
    expect(await allOf(folder)).toHaveLength(1);
  });

  test("links that lead back - each file is read once", async () => {
    mkdirSync(join(folder, "inner"));
    cpSync(fixturePath("telethon.txt"), join(folder, "inner", "a.txt"));
    symlinkSync(folder, join(folder, "inner", "back"));
    symlinkSync(join(folder, "inner", "a.txt"), join(folder, "inner", "b.txt"));
    symlinkSync(join(folder, "nowhere"), join(folder, "c.txt"));
    const found = await allOf(folder);
    expect(found.map(({ error }) => error?.message)).toEqual([
      "The file is gone, or the link leads nowhere.",
      undefined,
    ]);
  });

  test("names that say something else - a file is known by its content", async () => {
    cpSync(fixturePath("telethon-v8.session"), join(folder, "photo.jpg"));
    cpSync(fixturePath("pyrogram-v3.txt"), join(folder, "x.session"));
    expect((await allOf(folder)).map((found) => found.error ?? found.format)).toEqual(["telethon", "pyrogram"]);
  });

  test("the description of another file - is found by its session_file", async () => {
    cpSync(fixturePath("telethon-v8.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "b.json"), JSON.stringify({ session_file: "a", device: "Phone", lang_pack: "android" }));
    const account = await theOne(folder);
    expect(account.profile).toEqual({ deviceModel: "Phone" });
  });
});

describe("readAccounts() - databases in use", () => {
  test("pages in the log of another program - are read, and nothing is written beside them", async () => {
    cpSync(fixturePath("../log-in-use"), folder, { recursive: true });
    const before = stateOf(folder);
    const account = await theOne(folder);
    expect({ dcId: account.dcId, format: account.format }).toEqual({ dcId: 2, format: "telethon" });
    expect(account.peers.length).toBeGreaterThan(200);
    expect(account.warnings.join(" ")).toMatch(/program seems to have the file open.*destroys the key/);
    expect(stateOf(folder)).toEqual(before);
  });

  test("a session file - warns that its program must not run meanwhile", async () => {
    const account = await theOne(fixturePath("telethon-v8.session"));
    expect(account.warnings.join(" ")).toMatch(/uses this very key.*destroys the key/);
  });

  test("a pipe as the path - is one error at once", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    expect((await theError(join(folder, "pipe"))).message).toBe("This is not a regular file.");
    expect((await theError(folder)).message).toBe("This is not a regular file.");
  });

  test("a transaction under way - is one error that says what to do", async () => {
    cpSync(fixturePath("telethon-v7.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "a.session-journal"), Buffer.from("d9d505f920a163d700000001", "hex"));
    expect((await theError(folder)).message).toMatch(/being written.*Close the program/);
  });
});

describe("readAccounts() - large inputs", () => {
  test("files of a gigabyte - take little time and memory", async () => {
    cpSync(fixturePath("telethon-v8.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "b.txt"), "text\n");
    writeFileSync(join(folder, "c.json"), "{");
    // Of each the rest is a hole, which takes no room on the disk.
    for (const name of ["a.session", "b.txt", "c.json"]) truncateSync(join(folder, name), 1_000_000_000);
    const before = process.memoryUsage.rss();
    const found = await allOf(folder);
    expect(found.map(({ error }) => error === undefined)).toEqual([true, false, false]);
    expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000);
  });

  test("thousands of files - each is one entry", async () => {
    for (let index = 0; index < 3_000; index++) writeFileSync(join(folder, `${index}.bin`), Buffer.from([0, 1, 2]));
    const found = await allOf(folder);
    expect(found.filter(({ error }) => error instanceof AccountFileError)).toHaveLength(3_000);
  });
});

describe("readAccounts() - .json beside a session file", () => {
  function pair(description: object): string {
    cpSync(fixturePath("telethon-v8.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "a.json"), JSON.stringify(description));
    return folder;
  }

  test.each([
    [
      { app_id: "7", app_hash: "0".repeat(32) },
      { apiId: 7, apiHash: "0".repeat(32) },
    ],
    [
      { api_id: 7, api_hash: "x", device_model: "D", system_version: "S" },
      { apiId: 7, apiHash: "x", deviceModel: "D", systemVersion: "S" },
    ],
    [
      { app_id: 7, system: "S", lang_pack: "pt-br", system_lang_pack: "pt" },
      { apiId: 7, systemVersion: "S", langCode: "pt-br", systemLangCode: "pt" },
    ],
    [{ app_id: 7, lang_pack: "ios", proxy: null, twofa: "secret" }, { apiId: 7 }],
    [
      { app_id: 7, proxy: "socks5://u:p@127.0.0.1:1080" },
      { apiId: 7, proxy: { ip: "127.0.0.1", port: 1_080, socksType: 5, username: "u", password: "p" } },
    ],
    [
      { app_id: 7, proxy: [1, "proxy.example", 9, true] },
      { apiId: 7, proxy: { ip: "proxy.example", port: 9, socksType: 4 } },
    ],
    [
      { app_id: 7, proxy: [3, "proxy.example", 9, true, "u", "p"] },
      { apiId: 7, proxy: { ip: "proxy.example", port: 9, protocol: "http", username: "u", password: "p" } },
    ],
    [
      { app_id: 7, proxy: `tg://proxy?server=127.0.0.1&port=443&secret=${"ab".repeat(16)}` },
      { apiId: 7, proxy: { ip: "127.0.0.1", port: 443, secret: "ab".repeat(16) } },
    ],
  ])("%j", async (description, profile) => {
    expect({ ...(await theOne(pair(description))).profile }).toEqual(profile);
  });

  test("a proxy that cannot be used - leaves the account out, and names no password", async () => {
    const error = await theError(pair({ app_id: 7, proxy: ["https", "127.0.0.1", 80, true, "user", "hunter2"] }));
    expect(error.message).toMatch(/names a proxy that cannot be used/);
    expect(inspect(error)).not.toContain("hunter2");
  });

  test("a proxy that cannot be used, under another name - leaves the account out, too", async () => {
    cpSync(fixturePath("telethon-v8.session"), join(folder, "a.session"));
    writeFileSync(join(folder, "b.json"), JSON.stringify({ session_file: "a", proxy: "https://127.0.0.1:80" }));
    expect((await theError(folder)).message).toMatch(/names a proxy that cannot be used/);
  });

  test("its session file is missing - is said", async () => {
    pair({ app_id: 7 });
    rmSync(join(folder, "a.session"));
    expect((await theError(folder)).message).toMatch(/its session file is not beside it/);
  });
});

describe("readAccounts() - text files", () => {
  test("several strings, comments and a bad line - each line is an account or an error", async () => {
    const [one, two] = ["telethon.txt", "kurigram.txt"].map((name) => readFileSync(fixturePath(name), "utf8").trim());
    writeFileSync(join(folder, "list.txt"), `\uFEFF# mine\r\n${one}\r\n\r\nnonsense\n${two}`);
    const found = await allOf(folder);
    expect(found.map((account) => (account.error === undefined ? account.name : account.error.message))).toEqual([
      "list-2",
      expect.stringMatching(/^Line 4: /),
      "list-5",
    ]);
  });

  test("a text without a session string - is one error however many lines it has", async () => {
    writeFileSync(join(folder, "readme.md"), "words\n".repeat(5_000));
    expect((await theError(folder)).message).toMatch(/holds no session string/);
  });
});

describe("readAccounts() - tdata", () => {
  test("no passcode where there is one - is said", async () => {
    expect((await theError(fixturePath("tdata-passcode"))).message).toMatch(/Give it as the option passcode/);
  });

  test("another passcode - is said, and the passcode is not", async () => {
    const { message } = await theError(fixturePath("tdata-passcode"), { passcode: "wrong" });
    expect(message).toMatch(/another local passcode/);
    expect(message).not.toContain("wrong");
  });

  test("a passcode where there is none - is not used", async () => {
    expect((await theOne(fixturePath("tdata"), { passcode: "any" })).dcId).toBe(2);
  });

  test("one account's file is damaged - the others are read", async () => {
    cpSync(fixturePath("tdata-three"), folder, { recursive: true });
    writeFileSync(join(folder, "A7FDF864FBC10B77s"), "TDF$");
    const found = await allOf(folder);
    expect(found.map(({ error }) => error === undefined)).toEqual([true, false, true]);
  });

  test("another -key name - is read", async () => {
    cpSync(fixturePath("tdata"), folder, { recursive: true });
    cpSync(join(folder, "key_datas"), join(folder, "key_works"));
    rmSync(join(folder, "key_datas"));
    expect((await theError(folder)).message).toMatch(/missing/);
  });

  test("a folder older than version 2 - says what converts it", async () => {
    writeFileSync(join(folder, "D877F783D5D3EF8C0"), "TDF$");
    expect((await theError(folder)).message).toMatch(/older than 2\.0/);
  });
});

describe("readAccounts() - what it gives", () => {
  test("session - is in no JSON, copy or inspect output; parseSession reads it", async () => {
    const account = await theOne(fixturePath("telethon-v7.session"));
    expect(parseSession(account.session).format).toBe("gramjs");
    for (const text of [JSON.stringify(account), inspect(account), JSON.stringify({ ...account })]) {
      expect(text).not.toContain(account.session.slice(20, 60));
    }
  });

  test("profile - api hash and proxy password are in no JSON and no inspect output, but in a copy", async () => {
    const { profile } = await theOne(fixturePath("79990001122.session"));
    for (const text of [JSON.stringify(profile), inspect(profile), inspect({ profile }, { depth: 9 })]) {
      expect(text).not.toMatch(/0123456789abcdef|pass28080/);
    }
    expect(structuredClone(profile)).toMatchObject({
      apiHash: "0123456789abcdef0123456789abcdef",
      proxy: { password: "pass28080" },
    });
  });
});

describe("readAccounts() - arguments", () => {
  test.each([[undefined], [""], [7], ["a\0b"]])("path %j - OptionsError", async (path) => {
    await expect(allOf(path as string)).rejects.toThrow(OptionsError);
  });

  test("a session string as the path - is in no part of the error", async () => {
    const error = await allOf(sessionString("a")).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OptionsError);
    expect(inspect(error)).not.toContain(sessionString("a").slice(1, 100));
  });

  test("nothing at the path - OptionsError", async () => {
    await expect(allOf(join(folder, "missing"))).rejects.toThrow(/there is no file and no folder/);
  });

  test("an unknown option - OptionsError names the nearest", async () => {
    await expect(allOf(folder, { passCode: "x" })).rejects.toThrow(/Did you mean "passcode"/);
  });
});

/** Names, sizes, times of change and contents of all files. */
function stateOf(path: string): unknown {
  const { mtimeMs, size } = statSync(path);
  if (!statSync(path).isDirectory()) {
    return { mtimeMs, size, content: createHash("sha256").update(readFileSync(path)).digest("hex") };
  }
  return {
    mtimeMs,
    entries: readdirSync(path)
      .sort()
      .map((name) => [name, stateOf(join(path, name))]),
  };
}
