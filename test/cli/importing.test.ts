import { randomUUID } from "node:crypto";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { formatSession, parseSession } from "../../src/telegram/session-string.js";
import { isServerThere } from "../adapters/storage/servers.js";
import { ensureBuilt, root } from "../examples/build.js";
import { Folder } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const hasRedis = await isServerThere("Redis", redisUrl);

/** Of the fixture `tdata-passcode`. */
const PASSCODE = "open sesame 11";

beforeAll(ensureBuilt, 120_000);

/** A folder with a copy of these files of other programs, in `accounts`. */
function withFiles(...names: readonly string[]): Folder {
  const folder = new Folder();
  for (const name of names) {
    cpSync(join(root, "test/import/fixtures", name), folder.file(`accounts/${name}`), { recursive: true });
  }
  return folder;
}

/** A text file with this number of session strings. */
function withStrings(count: number): Folder {
  const folder = withFiles("telethon.txt");
  const session = parseSession(readFileSync(folder.file("accounts/telethon.txt"), "utf8").trim());
  const strings = Array.from({ length: count }, (_, index) => {
    const authKey = Buffer.alloc(256, 7);
    authKey.writeUInt32BE(index, 0);
    return formatSession({ ...session, authKey }, "telethon");
  });
  writeFileSync(folder.file("accounts/telethon.txt"), strings.join("\n"));
  return folder;
}

test.skipIf(!hasPseudoTerminal)("import - Ctrl-C says what was added, and another import adds the rest", async () => {
  const folder = withStrings(20_000);
  await using terminal = new TerminalSession(folder, ["import", "accounts"]);
  await terminal.until(/\d+ read:/);
  terminal.interrupt();
  await terminal.until(
    /^\d+ added, 0 known, 0 refused\.[\s\S]*^The import was interrupted\. Import again to add the rest\./m,
  );
  expect(await terminal.ended).toBe(130);
  const { stdout } = await folder.run(["import", "accounts", "--json"]);
  const { added, known, refused } = JSON.parse(stdout);
  expect({ all: added.length + known.length, refused }).toEqual({ all: 20_000, refused: [] });
});

describe("import", () => {
  test("says what it did with each file; the exit code is 1 when one was refused", async () => {
    const folder = withFiles("telethon-v7.session", "pyrogram-v3.session", "broken.session");
    const { code, stdout, stderr } = await folder.run(["import", "accounts", "--tag", "imported"]);
    expect(stdout).toMatch(/^added {4}telethon-v7 \(telethon, \S*telethon-v7\.session\)$/m);
    expect(stdout).toMatch(/^added {4}pyrogram-v3 \(pyrogram, \S*pyrogram-v3\.session\)$/m);
    expect(stdout).toMatch(/^refused {2}\S*broken\.session: \S/m);
    expect(stdout).toMatch(/^2 added, 0 known, 1 refused\.$/m);
    expect([code, stderr]).toEqual([1, ""]);
    expect((await folder.run(["list"])).stdout).toMatch(/^telethon-v7 +free +imported /m);
    const again = await folder.run(["import", "accounts/telethon-v7.session", "accounts/pyrogram-v3.session"]);
    expect(again.stdout).toMatch(/^0 added, 2 known, 0 refused\.$/m);
    expect(again.code).toBe(0);
  });

  test("--dry-run - adds nothing, makes no storage", async () => {
    const folder = withFiles("telethon-v7.session");
    const { code, stdout } = await folder.run(["import", "accounts", "--dry-run"]);
    expect(stdout).toMatch(/^would add {2}telethon-v7 /m);
    expect(stdout).toMatch(/^1 would be added, 0 known, 0 refused\.$/m);
    expect(code).toBe(0);
    expect(existsSync(folder.file("sessions.db"))).toBe(false);
  });

  test("--json - one document without a session string", async () => {
    const folder = withFiles("telethon.txt", "79990001122.session", "79990001122.json");
    const { stdout, stderr } = await folder.run(["import", "accounts", "--json"]);
    const { isDryRun, added, known, refused } = JSON.parse(stdout);
    expect([isDryRun, added.length, known, refused, stderr]).toEqual([false, 2, [], [], ""]);
    expect(stdout).not.toMatch(/[A-Za-z0-9+/_-]{200}/);
  });

  test("a path that is not there - is refused in one sentence", async () => {
    const folder = new Folder();
    const { code, stdout, stderr } = await folder.run(["import", "nowhere"]);
    expect([code, stdout, stderr]).toEqual([1, "", 'error: There is no file and no folder "nowhere".\n']);
  });

  test.skipIf(!hasPseudoTerminal)("tdata with a passcode - it is asked for, and not shown", async () => {
    const folder = withFiles("tdata-passcode");
    await using terminal = new TerminalSession(folder, ["import", "accounts", "--passcode"], { columns: 120 });
    await terminal.until(/Local passcode of Telegram Desktop: /);
    terminal.enter(PASSCODE);
    await terminal.until(/^added {4}\d+ \(tdata, /m);
    await terminal.until(/warning: Telegram Desktop .* "telegram-session-pool duplicate ID NEWID"/);
    expect(await terminal.ended).toBe(0);
    expect(terminal.output).not.toContain(PASSCODE);
  });

  test("tdata with a passcode that was not given - says how to give it", async () => {
    const { code, stdout } = await withFiles("tdata-passcode").run(["import", "accounts"]);
    expect(stdout).toMatch(/^refused {2}accounts\/tdata-passcode: .* Add --passcode\.$/m);
    expect(code).toBe(1);
  });

  test.skipIf(!hasRedis)("into Redis", async () => {
    const folder = withFiles("telethon-v7.session", "pyrogram-v3.session");
    const prefix = `test-${randomUUID()}`;
    folder.environment.SESSION_POOL_STORAGE = `${redisUrl}?prefix=${prefix}`;
    const redisClient = await createClient({ url: redisUrl }).connect();
    onTestFinished(async () => {
      const keys = await redisClient.keys(`*${prefix}*`);
      if (keys.length > 0) await redisClient.del(keys);
      redisClient.destroy();
    });
    expect(await folder.run(["import", "accounts"])).toMatchObject({ code: 0 });
    expect((await folder.run(["status"])).stdout).toMatch(/^2 accounts: 2 free$/m);
  });
});
