import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { aesGcm } from "../../src/encryption/sealer.js";
import { SessionPool } from "../../src/session-pool.js";
import { parseSession } from "../../src/telegram/session-string.js";
import { ensureBuilt } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder, lock } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

beforeAll(ensureBuilt, 120_000);

const ALICE = sessionString("alice");

/** Opens a pool of this process on the folder's storage. */
function openPool(folder: Folder, key?: string): Promise<SessionPool<unknown>> {
  return SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
    encryption: key === undefined ? undefined : aesGcm(key),
  });
}

async function filled(key?: string): Promise<Folder> {
  const folder = new Folder();
  await using pool = await openPool(folder, key);
  await pool.add("alice", ALICE);
  await pool.add("bob", sessionString("bob"), { profile: { keepConnected: true } });
  return folder;
}

async function states(folder: Folder, key?: string): Promise<Record<string, string>> {
  await using pool = await openPool(folder, key);
  return Object.fromEntries(pool.sessions().map(({ id, state, reason }) => [id, reason ?? state]));
}

describe("disable and enable", () => {
  test("change the stored record", async () => {
    const folder = await filled();
    expect(await folder.run(["disable", "alice", "bob", "--reason", "on holiday"])).toEqual({
      code: 0,
      stdout: "alice: disabled\nbob: disabled\n",
      stderr: "",
    });
    expect(await states(folder)).toEqual({ alice: "on holiday", bob: "on holiday" });
    expect((await folder.run(["enable", "bob", "--json"])).stdout).toBe('{\n  "changed": [\n    "bob"\n  ]\n}\n');
    expect(await states(folder)).toEqual({ alice: "on holiday", bob: "free" });
  });

  test("reach a process that has the account connected", async () => {
    const folder = await filled();
    await using pool = await openPool(folder);
    const lease = await pool.acquire({ id: "alice" });
    expect(await folder.run(["disable", "alice"])).toMatchObject({ code: 0, stdout: "alice: disabled\n" });
    lease.release();
    await expect.poll(() => pool.get("alice")?.state, { timeout: 10_000 }).toBe("disabled");
  });

  test("a storage that is locked - exit code 1, and a sentence that nothing was stored", async () => {
    const folder = await filled();
    const release = await lock(folder);
    const { code, stdout, stderr } = await folder.run(["disable", "alice"]).finally(release);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: sqlite:sessions\.db failed, and what was changed is not stored: /m);
    expect(await states(folder)).toEqual({ alice: "free", bob: "free" });
  }, 60_000);

  test("an unknown id - nothing is changed, and the nearest is named", async () => {
    const folder = await filled();
    expect(await folder.run(["disable", "bob", "alcie"])).toEqual({
      code: 1,
      stdout: "",
      stderr: 'error: There is no account "alcie"; did you mean "alice"?\n',
    });
    expect(await states(folder)).toEqual({ alice: "free", bob: "free" });
  });
});

describe("remove", () => {
  test("--yes - forgets the account", async () => {
    const folder = await filled();
    expect(await folder.run(["remove", "alice", "--yes"])).toMatchObject({ code: 0, stdout: "alice: removed\n" });
    expect(await states(folder)).toEqual({ bob: "free" });
  });

  test("without a terminal and --yes - is refused", async () => {
    const folder = await filled();
    const { code, stderr } = await folder.run(["remove", "alice"], "y\n");
    expect(stderr).toMatch(/add --yes/);
    expect(code).toBe(2);
    expect(Object.keys(await states(folder))).toEqual(["alice", "bob"]);
  });

  test("while a process has it connected - it goes when that one has finished", async () => {
    const folder = await filled();
    const pool = await openPool(folder);
    const lease = await pool.acquire({ id: "alice" });
    const { stdout } = await folder.run(["remove", "alice", "--yes"]);
    expect(stdout).toMatch(/^alice: is removed as soon as the process that has it connected has finished$/m);
    lease.release();
    await pool.close();
    expect(await states(folder)).toEqual({ bob: "free" });
  });

  test.skipIf(!hasPseudoTerminal)("at a terminal - asks for confirmation", async () => {
    const folder = await filled();
    await using first = new TerminalSession(folder, ["remove", "alice"]);
    await first.until(/Remove alice for good\? \[y\/N\] /);
    first.enter("");
    await first.until(/Nothing was changed\./);
    expect(await first.ended).toBe(1);
    await using second = new TerminalSession(folder, ["remove", "alice"]);
    await second.until(/\[y\/N\] /);
    second.enter("y");
    await second.until(/alice: removed/);
    expect(await second.ended).toBe(0);
    expect(Object.keys(await states(folder))).toEqual(["bob"]);
  });

  test.skipIf(!hasPseudoTerminal)("Ctrl-C at the question - nothing is changed, exit code 130", async () => {
    const folder = await filled();
    await using terminal = new TerminalSession(folder, ["remove", "alice"]);
    await terminal.until(/\[y\/N\] /);
    terminal.interrupt();
    expect(await terminal.ended).toBe(130);
    expect(terminal.text).toMatch(/Interrupted\./);
    expect(Object.keys(await states(folder))).toEqual(["alice", "bob"]);
  });
});

describe("export", () => {
  test("prints the session string, and nothing else on stdout", async () => {
    const folder = await filled();
    expect(await folder.run(["export", "alice", "--yes"])).toEqual({ code: 0, stdout: `${ALICE}\n`, stderr: "" });
    const { stdout } = await folder.run(["export", "alice", "--format", "telethon", "--yes", "--json"]);
    const { session } = JSON.parse(stdout);
    expect(parseSession(session).format).toBe("telethon");
    expect(parseSession(session).authKey).toEqual(parseSession(ALICE).authKey);
  });

  test("an unknown format - the error names the known ones", async () => {
    const { code, stderr } = await (await filled()).run(["export", "alice", "--format", "tdlib"]);
    expect({ code, firstLine: stderr.split("\n")[0] }).toEqual({
      code: 2,
      firstLine: 'error: There is no format "tdlib": choose gramjs, teleproto, telethon, pyrogram, mtcute.',
    });
  });
});

describe("rotate-keys", () => {
  const [older, newer] = [randomBytes(32).toString("base64"), randomBytes(32).toString("base64")];

  test("encrypts everything with the first key", async () => {
    const folder = await filled(older);
    writeFileSync(folder.file(".env"), `SESSION_POOL_KEY=${newer},${older}\n`);
    const { code, stdout } = await folder.run(["rotate-keys"]);
    expect(stdout).toBe(
      "2 of 2 accounts were encrypted again; all of them have the first key of SESSION_POOL_KEY now.\n",
    );
    expect(code).toBe(0);
    expect(await states(folder, newer)).toEqual({ alice: "free", bob: "free" });
  });

  test("--from-plaintext - encrypts plain records", async () => {
    const folder = await filled();
    folder.environment.SESSION_POOL_KEY = newer;
    expect(await folder.run(["rotate-keys"])).toMatchObject({ code: 1 });
    expect(await folder.run(["rotate-keys", "--from-plaintext"])).toMatchObject({ code: 0 });
    expect(await states(folder, newer)).toEqual({ alice: "free", bob: "free" });
  });

  test.skipIf(!hasPseudoTerminal)(
    "at a terminal - shows a bar; Ctrl-C ends it before the last account, and another run goes on",
    async () => {
      const folder = await filled(older);
      {
        await using pool = await openPool(folder, older);
        await pool.addMany(
          Array.from({ length: 6_000 }, (_, index) => ({ id: `many${index}`, session: sessionString(`many${index}`) })),
        );
      }
      writeFileSync(folder.file(".env"), `SESSION_POOL_KEY=${newer},${older}\n`);
      const storage = sqlite(folder.file("sessions.db"));
      await storage.open?.();
      const rewritten = async (): Promise<number> =>
        (await storage.list()).filter(({ id, version }) => !id.startsWith("~") && version > 1).length;
      await using terminal = new TerminalSession(folder, ["rotate-keys"]);
      await terminal.until(/█*░+ \d+\/6002 {2}encrypted/);
      await expect.poll(rewritten, { timeout: 30_000, interval: 20 }).toBeGreaterThan(0);
      terminal.interrupt();
      expect(await terminal.ended).toBe(130);
      expect(await rewritten()).toBeLessThan(6_002);
      await storage.close?.();
      expect(await folder.run(["rotate-keys"])).toMatchObject({ code: 0 });
      expect(Object.keys(await states(folder, newer))).toHaveLength(6_002);
    },
  );

  test("without a key, or with a wrong one - exits with one sentence that says what to do", async () => {
    const folder = await filled(older);
    expect((await folder.run(["rotate-keys"])).stderr).toMatch(/^error: SESSION_POOL_KEY is not set\. Make a key/);
    expect((await folder.run(["disable", "alice"])).stderr).toMatch(
      /^error: The accounts in sqlite:sessions\.db are encrypted: put/,
    );
    folder.environment.SESSION_POOL_KEY = newer;
    expect((await folder.run(["disable", "alice"])).stderr).toMatch(
      /^error: SESSION_POOL_KEY opens no account in sqlite/,
    );
    folder.environment.SESSION_POOL_KEY = "hunter2";
    const { code, stderr } = await folder.run(["disable", "alice"]);
    expect(stderr).not.toContain("hunter2");
    expect(code).toBe(2);
  });
});
