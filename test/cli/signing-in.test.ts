import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createClient } from "redis";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { RESERVED_PREFIXES } from "../../src/options/validators.js";
import { startTestServer, type TelegramTestServer, type TestServerOptions } from "../../src/testing/index.js";
import { isServerThere } from "../adapters/storage/servers.js";
import { remember } from "../canary/session-finder.js";
import { ensureBuilt } from "../examples/build.js";
import { sessionString } from "../fakes/sessions.js";
import { Folder, lock } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const hasRedis = await isServerThere("Redis", redisUrl);

const PHONE = "+99 966 123 45";
const PASSWORD = "correct horse battery";

type Account = NonNullable<Exclude<TestServerOptions["accounts"], number>>[number];

beforeAll(ensureBuilt, 120_000);

/** A folder whose settings name a server, on which Alice has an account. */
async function alices(account: Account = {}, options: TestServerOptions = {}) {
  const server = await startTestServer({ accounts: [{ name: "alice", phone: PHONE, ...account }], ...options });
  onTestFinished(() => server.close());
  for (const session of server.sessions) remember(session);
  const folder = new Folder();
  writeFileSync(folder.file("server.json"), JSON.stringify(server.server));
  writeFileSync(folder.file(".env"), "SESSION_POOL_TEST_SERVER=server.json\n");
  return { server, folder };
}

const codeOf = (server: TelegramTestServer): string => server.sentCodes(PHONE).at(-1)?.code ?? "";

describe.skipIf(!hasPseudoTerminal).each(["gramjs", "teleproto"])("login with %s at a terminal", (client) => {
  test("by QR code, with the password of the two-step verification", async () => {
    const { server, folder } = await alices({ password: PASSWORD, passwordHint: "a horse" });
    const words = ["login", "alice", "--client", client];
    await using terminal = new TerminalSession(folder, words, { columns: 100, rows: 40 });
    await terminal.until(/██ ▄▄▄▄▄ █.*█ ▄▄▄▄▄ ██/);
    const [, url = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
    server.acceptLogin("alice", url);
    await terminal.until(/Password of the two-step verification \(hint: a horse\): /);
    terminal.enter("wrong");
    await terminal.until(/The password is wrong\.\nPassword/);
    terminal.enter(PASSWORD);
    await terminal.until(/alice is signed in \(account 700000001\)\./);
    expect(await terminal.ended).toBe(0);
    expect(terminal.output).not.toContain(PASSWORD);
    expect(server.authorizationCount("alice")).toBe(2);
    expect(await folder.run(["check", "--client", client])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^alice +yes +700000001 /m),
    });
  });

  test("by phone: a wrong number, a wrong code, the right ones and the password", async () => {
    const { server, folder } = await alices({ password: PASSWORD });
    await using terminal = new TerminalSession(folder, ["login", "--phone", "--client", client], { columns: 120 });
    await terminal.until(/Phone number, with the country code: /);
    terminal.enter("+1 234");
    await terminal.until(/Telegram knows no such number\.\nPhone number/);
    terminal.enter(PHONE);
    await terminal.until(/The code was sent as a message in Telegram, to the devices/);
    await terminal.until(/Code \(5 digits\), or r to have it sent by SMS, after 1 min: /);
    terminal.enter(codeOf(server) === "00000" ? "11111" : "00000");
    await terminal.until(/The code is wrong\.\nCode/);
    terminal.enter(codeOf(server));
    await terminal.until(/Password of the two-step verification: /);
    terminal.enter(PASSWORD);
    await terminal.until(/700000001 is signed in \(account 700000001\)\./);
    expect(await terminal.ended).toBe(0);
    expect((await folder.run(["list"])).stdout).toMatch(/^700000001 +free/m);
    expect(JSON.parse((await folder.run(["list", "--json"])).stdout).sessions).toMatchObject([
      { id: "700000001", accountId: "700000001", lastUsedAt: null },
    ]);
  });
});

describe.skipIf(!hasPseudoTerminal)("login", () => {
  test("a QR code that expires - is replaced by another one in the same place", async () => {
    const { server, folder } = await alices({}, { loginTokenMs: 4_000 });
    await using terminal = new TerminalSession(folder, ["login", "alice"], { columns: 100, rows: 40 });
    const [, first = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
    const [, second = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
    expect(second).not.toBe(first);
    server.acceptLogin("alice", second);
    await terminal.until(/alice is signed in/);
    expect(await terminal.ended).toBe(0);
  });

  test("Ctrl-C while the code is shown - nothing is stored, no login is left at Telegram", async () => {
    const { server, folder } = await alices();
    await using terminal = new TerminalSession(folder, ["login", "alice"], { columns: 100, rows: 40 });
    await terminal.until(/tg:\/\/login\?token=/);
    terminal.interrupt();
    await terminal.until(/Interrupted\./);
    expect(await terminal.ended).toBe(130);
    expect(server.authorizationCount("alice")).toBe(1);
    expect((await folder.run(["list"])).stdout).toBe("sqlite:sessions.db holds no accounts.\n");
  });

  test("Ctrl-C at the password - exit code 130, nothing is stored", async () => {
    const { server, folder } = await alices({ password: PASSWORD });
    await using terminal = new TerminalSession(folder, ["login", "alice", "--phone"]);
    await terminal.until(/Phone number/);
    terminal.enter(PHONE);
    await terminal.until(/Code \(5 digits\)/);
    terminal.enter(codeOf(server));
    await terminal.until(/Password of the two-step verification: /);
    terminal.interrupt();
    expect(await terminal.ended).toBe(130);
    expect((await folder.run(["list"])).stdout).toBe("sqlite:sessions.db holds no accounts.\n");
  });

  test("an id that is there - is refused before anybody signs in; --replace gives it the new session", async () => {
    const { server, folder } = await alices();
    const signIn = async (words: readonly string[]): Promise<void> => {
      await using terminal = new TerminalSession(folder, words, { columns: 100, rows: 40 });
      const [, url = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
      server.acceptLogin("alice", url);
      await terminal.until(/alice is signed in/);
      expect(await terminal.ended).toBe(0);
    };
    await signIn(["login", "alice"]);
    expect(await folder.run(["login", "alice"])).toMatchObject({
      code: 1,
      stderr: 'error: There is an account "alice" already: choose another id, or add --replace.\n',
    });
    await signIn(["login", "alice", "--replace"]);
    expect(await folder.run(["check"])).toMatchObject({ code: 0 });
  });

  test("a terminal that is too small for the code - says so, and shows the link", async () => {
    const { folder } = await alices();
    await using terminal = new TerminalSession(folder, ["login", "alice"], { columns: 30, rows: 24 });
    await terminal.until(/The terminal is too small for the QR code/);
    terminal.interrupt();
    expect(await terminal.ended).toBe(130);
  });

  test.skipIf(!hasRedis)("into Redis", async () => {
    const { server, folder } = await alices();
    const prefix = `test-${randomUUID()}`;
    folder.environment.SESSION_POOL_STORAGE = `${redisUrl}?prefix=${prefix}`;
    const redisClient = await createClient({ url: redisUrl }).connect();
    onTestFinished(async () => {
      const keys = await redisClient.keys(`*${prefix}*`);
      if (keys.length > 0) await redisClient.del(keys);
      redisClient.destroy();
    });
    await using terminal = new TerminalSession(folder, ["login", "alice"], { columns: 100, rows: 40 });
    const [, url = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
    server.acceptLogin("alice", url);
    await terminal.until(/alice is signed in/);
    expect(await terminal.ended).toBe(0);
    expect((await folder.run(["status"])).stdout).toMatch(/^alice +free/m);
  });
});

test("login in a pipe - answers are the lines of stdin; the flood of Telegram is said with its seconds", async () => {
  const { server, folder } = await alices({ code: "12345" });
  const { code, stdout, stderr } = await folder.run(["login", "alice", "--phone", "--json"], `${PHONE}\n12345\n`);
  expect(stderr).toMatch(/^The code was sent as a message in Telegram/);
  expect(JSON.parse(stdout)).toEqual({ id: "alice", accountId: "700000001" });
  expect(code).toBe(0);
  server.fail({ method: "auth.SendCode", code: 420, message: "FLOOD_WAIT_300" });
  const flooded = await folder.run(["login", "bob", "--phone"], `${PHONE}\n`);
  expect(flooded.stderr).toMatch(/300/);
  expect(flooded.code).toBe(1);
});

test("login --replace, and the storage is locked - exit code 1, and how to end the new session", async () => {
  const { folder } = await alices({ code: "12345" });
  const answers = `${PHONE}\n12345\n`;
  await folder.run(["login", "alice", "--phone"], answers);
  const release = await lock(folder);
  const { code, stderr } = await folder
    .run(["login", "alice", "--phone", "--replace", "--yes"], answers)
    .finally(release);
  expect(stderr).toMatch(/could not be stored: .* End it in Telegram \(Settings, Devices\)/);
  expect(code).toBe(1);
  expect(await folder.run(["check"])).toMatchObject({ code: 0 });
}, 60_000);

describe("login ID, before anyone signs in", () => {
  const answers = `${PHONE}\n12345\n`;

  test.each(["+49 151 2345678", "+491512345678", "0151-2345-678", "491512345678"])(
    "a phone number as the id - is refused and not repeated: %s",
    async (number) => {
      const { server, folder } = await alices({ code: "12345" });
      const { code, stdout, stderr } = await folder.run(["login", "--phone", number, "--json"], answers);
      expect(stderr).toMatch(
        /^error: The ID is a phone number\. The number is asked for; it belongs in no command line\.$/m,
      );
      expect(`${stdout}${stderr}`).not.toContain(number);
      expect(code).toBe(2);
      expect(server.sentCodes(PHONE)).toEqual([]);
    },
  );

  test("a phone number behind the id - is not repeated", async () => {
    const { stderr } = await new Folder().run(["login", "alice", "+491512345678"]);
    expect(stderr).toMatch(/^error: A phone number is too much: /);
    expect(stderr).not.toContain("2345");
  });

  test.each([
    ["x".repeat(600), /^error: The id is too long/m],
    [`${RESERVED_PREFIXES.key}x`, /^error: Ids that start with .* are reserved/m],
    [sessionString("misplaced"), /^error: The ID is a session string/m],
  ])("an id that cannot be stored - is refused (%#)", async (id, message) => {
    const { server, folder } = await alices({ code: "12345" });
    const { code, stderr } = await folder.run(["login", id, "--phone"], answers);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(server.sentCodes(PHONE)).toEqual([]);
  });

  test("the id of a record that cannot be read - is refused", async () => {
    const { server, folder } = await alices({ code: "12345" });
    const storage = sqlite(folder.file("sessions.db"));
    await storage.open?.();
    await storage.write("alice", 0, "not a record");
    await storage.close?.();
    const { code, stderr } = await folder.run(["login", "alice", "--phone"], answers);
    expect(stderr).toMatch(/^error: There is a record "alice" that cannot be read: /m);
    expect(code).toBe(1);
    expect(server.sentCodes(PHONE)).toEqual([]);
  });
});

describe("login --replace", () => {
  const BOBS_PHONE = "+99 966 543 21";

  async function signedIn() {
    const accounts = [
      { name: "alice", phone: PHONE, code: "12345" },
      { name: "bob", phone: BOBS_PHONE, code: "12345" },
    ];
    const { server, folder } = await alices({}, { accounts });
    await folder.run(["login", "alice", "--phone"], `${PHONE}\n12345\n`);
    return { server, folder };
  }

  test("by another account - is refused, and that one is signed out again", async () => {
    const { server, folder } = await signedIn();
    const words = ["login", "alice", "--phone", "--replace"];
    const { code, stderr } = await folder.run(words, `${BOBS_PHONE}\n12345\n`);
    expect(stderr).toMatch(
      /^error: Another account has signed in: 700000002, not 700000001\. It was signed out again/m,
    );
    expect(code).toBe(1);
    expect(server.authorizationCount("bob")).toBe(1);
    expect((await folder.run(["check"])).stdout).toMatch(/^alice +yes +700000001 /m);
  });

  test.skipIf(!hasPseudoTerminal).each(["gramjs", "teleproto"])(
    "by another account with a QR code, with %s - is refused, too",
    async (client) => {
      const { server, folder } = await signedIn();
      const words = ["login", "alice", "--replace", "--client", client];
      await using terminal = new TerminalSession(folder, words, { columns: 100, rows: 40 });
      const [, url = ""] = await terminal.until(/(tg:\/\/login\?token=\S+)\n/);
      server.acceptLogin("bob", url);
      await terminal.until(/Another account has signed in: 700000002, not 700000001\./);
      expect(await terminal.ended).toBe(1);
      expect(server.authorizationCount("bob")).toBe(1);
    },
  );

  test("of an account that Telegram no longer knows - asks before anyone signs in", async () => {
    const { server, folder } = await signedIn();
    server.fail({ method: "users.GetUsers", code: 401, message: "SESSION_REVOKED" });
    const words = ["login", "alice", "--phone", "--replace"];
    const answers = `${BOBS_PHONE}\n12345\n`;
    expect(await folder.run(words, answers)).toMatchObject({ code: 2, stderr: expect.stringMatching(/add --yes/) });
    expect(server.authorizationCount("bob")).toBe(1);
    expect(await folder.run([...words, "--yes"], answers)).toMatchObject({
      code: 0,
      stdout: "alice is signed in (account 700000002).\n",
    });
  });
});

describe("duplicate", () => {
  test("a second session with a key of its own", async () => {
    const { server, folder } = await alices({ code: "12345" });
    await folder.run(["login", "alice", "--phone"], `${PHONE}\n12345\n`);
    expect(await folder.run(["duplicate", "alice", "alice-laptop"])).toEqual({
      code: 0,
      stdout: "alice-laptop is a second session of alice.\n",
      stderr: "",
    });
    expect(server.authorizationCount("alice")).toBe(3);
    expect((await folder.run(["check"])).stdout).toMatch(/2 of 2 alive\./);
  });

  test.skipIf(!hasPseudoTerminal)("an account with a password - it is asked for", async () => {
    const { server, folder } = await alices({ code: "12345", password: PASSWORD, passwordHint: "a horse" });
    await folder.run(["login", "alice", "--phone"], `${PHONE}\n12345\n${PASSWORD}\n`);
    await using terminal = new TerminalSession(folder, ["duplicate", "alice", "alice-laptop"]);
    await terminal.until(/Password of the two-step verification \(hint: a horse\): /);
    terminal.enter(PASSWORD);
    await terminal.until(/alice-laptop is a second session of alice\./);
    expect(await terminal.ended).toBe(0);
    expect(server.authorizationCount("alice")).toBe(3);
  });

  test.skipIf(!hasPseudoTerminal)("stderr goes into a file - the password is not echoed", async () => {
    const { folder } = await alices({ code: "12345", password: PASSWORD });
    await folder.run(["login", "alice", "--phone"], `${PHONE}\n12345\n${PASSWORD}\n`);
    await using terminal = new TerminalSession(folder, ["duplicate", "alice", "alice-laptop"], { stderr: "err.txt" });
    await expect
      .poll(() => existsSync(folder.file("err.txt")) && readFileSync(folder.file("err.txt"), "utf8"), {
        timeout: 10_000,
      })
      .toContain("Password of the two-step verification: ");
    terminal.enter(PASSWORD);
    await terminal.until(/alice-laptop is a second session of alice\./);
    expect(await terminal.ended).toBe(0);
    expect(terminal.output).not.toContain(PASSWORD);
  });

  test("an id that is there, or one that is not - one sentence", async () => {
    const { folder } = await alices({ code: "12345" });
    await folder.run(["login", "alice", "--phone"], `${PHONE}\n12345\n`);
    expect((await folder.run(["duplicate", "alice", "alice"])).stderr).toBe(
      'error: There is an account "alice" already.\n',
    );
    expect((await folder.run(["duplicate", "alcie", "bob"])).stderr).toBe(
      'error: There is no account "alcie"; did you mean "alice"?\n',
    );
  });
});
