import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { OptionsError } from "../../src/errors.js";
import { type ImportProgress, type ImportReport, importAccounts } from "../../src/import/index.js";
import { SessionPool } from "../../src/session-pool.js";
import { memory } from "../../src/storage/memory.js";
import { formatSession, parseSession } from "../../src/telegram/session-string.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { fixturePath, keyOf } from "./fixtures.js";

const PASSCODE = "open sesame 11";
const PHONE = "79990001122";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "accounts-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function copy(...names: readonly string[]): void {
  for (const name of names) cpSync(fixturePath(name), join(folder, name), { recursive: true });
}

const idsOf = (entries: readonly { readonly id: string | null }[]) => entries.map(({ id }) => id);

describe("importAccounts()", () => {
  test("a folder of everything - adds each account once, and says of each other file why not", async () => {
    const { pool } = await openPool();
    const report = await importAccounts(pool, fixturePath("."), { passcode: PASSCODE, tags: ["imported"] });
    expect(pool.sessions()).toHaveLength(report.added.length);
    expect(idsOf(report.added)).toContain("5986561200");
    // Two text files repeat the session files of their names, one key is in three text files.
    expect(idsOf(report.known)).toEqual(["kurigram", "pyrogram-v3"]);
    const duplicates = report.refused.filter(({ reason }) => reason.includes('"pyrogram-290"'));
    expect(idsOf(duplicates)).toEqual(["pyrogram-294", "pyrogram-322"]);
    expect(report.refused.every(({ reason }) => /\.$/.test(reason))).toBe(true);
    expect(pool.get("kurigram")?.tags).toEqual(["imported"]);
    expect(keyOf(await pool.exportSession("kurigram"))).toBe(
      JSON.parse(readFileSync(fixturePath("expected.json"), "utf8"))["kurigram.session"].authKeySha256,
    );
  });

  test("the same folder again - everything is known", async () => {
    copy("telethon-v7.session", "tdata");
    const { pool } = await openPool();
    const first = await importAccounts(pool, folder);
    const again = await importAccounts(pool, folder);
    expect({ added: again.added, known: idsOf(again.known), refused: again.refused }).toEqual({
      added: [],
      known: idsOf(first.added),
      refused: [],
    });
  });

  test("dryRun - reports the same and adds nothing", async () => {
    copy("telethon-v7.session", "kurigram.session", "kurigram.txt", "broken.session");
    const { pool } = await openPool();
    await importAccounts(pool, join(folder, "kurigram.session"));
    const preview = await importAccounts(pool, folder, { dryRun: true });
    expect(idsOf(pool.sessions())).toEqual(["kurigram"]);
    const report = await importAccounts(pool, folder);
    expect(idsOf(preview.added)).toEqual(idsOf(report.added));
    expect(idsOf(preview.known).sort()).toEqual(idsOf(report.known).sort());
    expect(preview.refused.map(({ path }) => path).sort()).toEqual(report.refused.map(({ path }) => path).sort());
  });

  test("dryRun of a key that the pool has under another id - is refused with that id", async () => {
    copy("kurigram.session");
    const { pool } = await openPool();
    await importAccounts(pool, folder, { name: () => "mine" });
    const { refused } = await importAccounts(pool, folder, { dryRun: true });
    expect(refused).toEqual([
      { path: join(folder, "kurigram.session"), id: "kurigram", reason: expect.stringContaining('"mine"') },
    ]);
  });

  test("the same key under another id - is refused with that id, without dryRun as well", async () => {
    copy("kurigram.session");
    const { pool } = await openPool();
    await importAccounts(pool, folder, { name: () => "mine" });
    const { refused } = await importAccounts(pool, folder);
    expect(refused[0]?.reason).toContain('"mine"');
  });
});

describe("importAccounts() - accounts that the pool has", () => {
  test("tags and profile - stay as they are", async () => {
    copy(`${PHONE}.session`, `${PHONE}.json`);
    const { pool, storage } = await openPool();
    await importAccounts(pool, folder, { tags: ["first"] });
    const proxy = { ip: "127.0.0.1", port: 9_050, socksType: 5 as const };
    await pool.update("5012345678", { profile: { proxy, deviceModel: "Mine" } });
    const { known } = await importAccounts(pool, folder, { tags: ["second"] });
    expect(idsOf(known)).toEqual(["5012345678"]);
    expect(pool.get("5012345678")?.tags).toEqual(["first"]);
    expect((await storage.stored("5012345678"))?.profile).toEqual({ proxy, deviceModel: "Mine" });
  });

  test("another account of that id - is refused with what to do", async () => {
    mkdirSync(join(folder, "a"));
    mkdirSync(join(folder, "b"));
    cpSync(fixturePath("telethon.txt"), join(folder, "a", "main.txt"));
    cpSync(fixturePath("kurigram.txt"), join(folder, "b", "main.txt"));
    const { pool } = await openPool();
    const preview = await importAccounts(pool, folder, { dryRun: true });
    const { refused } = await importAccounts(pool, folder);
    expect(refused).toEqual([
      {
        path: join(folder, "b", "main.txt"),
        id: "main",
        reason: expect.stringMatching(/another account.*Rename the file/),
      },
    ]);
    expect(preview.refused).toEqual(refused);
  });
});

describe("importAccounts() - ids", () => {
  test("a phone number as the name of a file - the user id is the id", async () => {
    copy(`${PHONE}.session`, `${PHONE}.json`);
    const { pool } = await openPool();
    expect(idsOf((await importAccounts(pool, folder)).added)).toEqual(["5012345678"]);
  });

  test("a phone number and no user id - the id is made of the key's fingerprint", async () => {
    copy(`${PHONE}.session`);
    const { pool } = await openPool();
    expect(idsOf((await importAccounts(pool, folder)).added)).toEqual([expect.stringMatching(/^account-[0-9a-f]{8}$/)]);
  });

  test("a phone number in the name of a file - is no part of the id", async () => {
    cpSync(fixturePath("telethon-v8.session"), join(folder, `${PHONE}_telethon.session`));
    const { pool } = await openPool();
    expect(idsOf((await importAccounts(pool, folder)).added)).toEqual([expect.stringMatching(/^account-[0-9a-f]{8}$/)]);
  });

  test("with name - the id is what it returns", async () => {
    copy(`${PHONE}.session`, `${PHONE}.json`);
    const { pool } = await openPool();
    const { added } = await importAccounts(pool, folder, { name: ({ name }) => `+${name}` });
    expect(idsOf(added)).toEqual([`+${PHONE}`]);
  });

  test("name that returns nothing or throws - that entry is refused, the others are added", async () => {
    copy("telethon-v7.session", "telethon-v8.session", "kurigram.session");
    const { pool } = await openPool();
    const name = ({ name }: { readonly name: string }): string => {
      if (name === "kurigram") throw new Error("no");
      return name === "telethon-v7" ? "" : name;
    };
    const { added, refused } = await importAccounts(pool, folder, { name });
    expect({ added: idsOf(added), refused: refused.map(({ reason }) => reason) }).toEqual({
      added: ["telethon-v8"],
      refused: [expect.stringContaining("gave no id"), expect.stringContaining("gave no id")],
    });
  });
});

describe("importAccounts() - profiles and secrets", () => {
  test("the description beside a file - is the session's profile; given fields win; its password is nowhere", async () => {
    copy(`${PHONE}.session`, `${PHONE}.json`);
    const { pool, storage } = await openPool();
    const report = await importAccounts(pool, folder, { profile: { deviceModel: "Other" } });
    expect((await storage.stored("5012345678"))?.profile).toMatchObject({
      apiId: 23_456,
      apiHash: "0123456789abcdef0123456789abcdef",
      deviceModel: "Other",
      proxy: { ip: "127.0.0.1", password: "pass28080" },
    });
    const stored = JSON.stringify(await storage.list());
    expect(stored).not.toContain("hunter898916");
    expect(inspect(report, { depth: 9 })).not.toMatch(/hunter898916|pass28080|0123456789abcdef/);
  });

  test("peers of a file - are in the session's peer cache", async () => {
    copy("telethon-v7.session");
    const storage = memory();
    const clock = new VirtualClock();
    await using pool = await SessionPool.open({ client: new FakeTelegram(clock), storage, clock });
    await importAccounts(pool, folder);
    await clock.advance(3_000);
    expect(await storage.peers?.load("telethon-v7")).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id: "1004", username: "friend4" }),
        expect.objectContaining({ id: "-1002004", username: "chan4" }),
      ]),
    );
  });

  test("tdata - warns that the key must not be used from two places", async () => {
    copy("tdata");
    const { pool } = await openPool();
    const { added } = await importAccounts(pool, folder);
    expect(added[0]?.warnings.join(" ")).toMatch(/closed or signed out.*pool\.duplicate/);
  });
});

describe("importAccounts() - control", () => {
  test("onProgress - is called for every entry, and one that throws stops nothing", async () => {
    copy("telethon-v7.session", "telethon-v8.session", "broken.session");
    const { pool } = await openPool();
    const seen: ImportProgress[] = [];
    const { added } = await importAccounts(pool, folder, {
      onProgress: (progress) => {
        seen.push(progress);
        throw new Error("no");
      },
    });
    expect(added).toHaveLength(2);
    expect(seen.at(-1)).toMatchObject({ read: 3, added: 2, known: 0, refused: 1 });
  });

  test("signal - the import ends with its reason, what was added stays", async () => {
    const strings = Array.from({ length: 300 }, (_, index) => {
      const authKey = Buffer.alloc(256, 1 + (index % 250));
      authKey.writeUInt16BE(index, 0);
      return formatSession(
        { ...parseSession(readFileSync(fixturePath("telethon.txt"), "utf8").trim()), authKey },
        "telethon",
      );
    });
    writeFileSync(join(folder, "many.txt"), strings.join("\n"));
    const { pool } = await openPool();
    const controller = new AbortController();
    const reason = new Error("enough");
    const onAborted = vi.fn((report: ImportReport) => void report);
    const run = importAccounts(pool, folder, {
      signal: controller.signal,
      onProgress: ({ read }) => read === 100 && controller.abort(reason),
      onAborted,
    });
    await expect(run).rejects.toBe(reason);
    expect(pool.sessions().length).toBeLessThan(300);
    expect(onAborted).toHaveBeenCalledOnce();
    const report = onAborted.mock.calls[0]?.[0];
    expect(report?.added.map(({ id }) => id).sort()).toEqual(
      pool
        .sessions()
        .map(({ id }) => id)
        .sort(),
    );
    expect({ known: report?.known, refused: report?.refused }).toEqual({ known: [], refused: [] });
  });

  test.each<[string, unknown[]]>([
    ["no pool", [{}, "."]],
    ["no path", [undefined, 7]],
    ["an unknown option", [undefined, ".", { dryrun: true }]],
    ["name that is no function", [undefined, ".", { name: "x" }]],
    ["nothing at the path", [undefined, "/nowhere/at/all"]],
  ])("%s - OptionsError", async (_, [given, ...values]) => {
    const { pool } = await openPool();
    await expect(Reflect.apply(importAccounts, undefined, [given ?? pool, ...values])).rejects.toThrow(OptionsError);
  });
});
