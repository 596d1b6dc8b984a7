import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { COMMANDS } from "../../src/cli/command-list.js";
import { SessionPool } from "../../src/session-pool.js";
import { ensureBuilt, root } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder } from "./command.js";

beforeAll(ensureBuilt, 120_000);

/** Opens a pool of this process on the folder's storage. */
function openPool(folder: Folder): Promise<SessionPool<unknown>> {
  return SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
  });
}

/** A storage with accounts in several states. */
async function filled(): Promise<Folder> {
  const folder = new Folder();
  await using pool = await openPool(folder);
  for (const id of ["alice", "bob", "carol"]) await pool.add(id, sessionString(id), { tags: ["eu"] });
  await pool.disable("bob", "on holiday");
  const lease = await pool.acquire({ id: "carol" });
  lease.coolDown(3_600);
  lease.release();
  return folder;
}

describe("a session string in the wrong place", () => {
  const session = sessionString("misplaced");
  const cases = [
    ["import", session],
    ["import", `./${session}`],
    ["check", session],
    [session],
    ["help", session],
    [`--${session}`],
    ["list", session],
    ["list", `--${session}`],
    ["list", `--json=${session}`],
    ["list", "--storage", session],
    ["check", "--concurrency", session],
    ["export", session, "--yes"],
    ["login", session],
    ["login", "alice", "--client", session],
    ["doctor", session],
  ];
  test.each(cases)("%# - is not repeated", async (...words) => {
    const folder = new Folder();
    folder.environment.API_ID = "1";
    folder.environment.API_HASH = "0123456789abcdef0123456789abcdef";
    for (const options of [[], ["--json"]]) {
      const { code, stdout, stderr } = await folder.run([...words, ...options]);
      expect(`${stdout}${stderr}`).not.toContain(session.slice(100, 140));
      expect(code).toBeGreaterThan(0);
    }
  });
});

describe("list", () => {
  test("lists every account of the storage", async () => {
    const folder = await filled();
    const { code, stdout, stderr } = await folder.run(["list"]);
    expect(stdout).toMatch(/^ID +STATE +TAGS +ADDED +LAST USED\nalice +free +eu +\d{4}-/);
    expect(stdout).toMatch(/^bob +disabled +eu /m);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test("--json - one document", async () => {
    const folder = await filled();
    const { sessions, rejected } = JSON.parse((await folder.run(["list", "--json"])).stdout);
    expect(sessions.map(({ id, state }: { id: string; state: string }) => [id, state])).toEqual([
      ["alice", "free"],
      ["bob", "disabled"],
      ["carol", "cooling"],
    ]);
    expect(rejected).toEqual([]);
  });

  test("a storage that is not there - is said, and not made", async () => {
    const folder = new Folder();
    const { code, stdout, stderr } = await folder.run(["list", "--storage", "sqlite:session.db"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: There is no storage \S+session\.db yet\./);
    expect(existsSync(folder.file("session.db"))).toBe(false);
  });
});

test.each(["list", "status"])("%s of an empty file - no accounts, and it stays empty", async (name) => {
  const folder = new Folder();
  writeFileSync(folder.file("sessions.db"), "");
  expect(await folder.run([name])).toMatchObject({ code: 0, stderr: "" });
  expect(statSync(folder.file("sessions.db")).size).toBe(0);
});

describe("status", () => {
  test("prints a line for each account, totals, and when the next one is free", async () => {
    const folder = await filled();
    const { code, stdout } = await folder.run(["status"]);
    expect(stdout).toMatch(/^alice +free$/m);
    expect(stdout).toMatch(/^bob +disabled +on holiday$/m);
    expect(stdout).toMatch(/^carol +cooling +\S.* \((1 h|59 min \d+ s)\) +\S/m);
    expect(stdout).toMatch(/^3 accounts: 1 free, 1 cooling, 1 disabled$/m);
    expect(stdout).toMatch(/^Next free: now\.$/m);
    expect(code).toBe(0);
  });

  test("agrees with a pool on the same records", async () => {
    const folder = await filled();
    const { sessions, status } = JSON.parse((await folder.run(["status", "--json"])).stdout);
    await using pool = await openPool(folder);
    for (const session of pool.sessions()) {
      const shown = sessions.find(({ id }: { id: string }) => id === session.id);
      const { availableAt, ...rest } = session;
      expect(shown).toMatchObject(rest);
      expect(Math.abs((shown.availableAt ?? 0) - (availableAt ?? 0))).toBeLessThan(1_000);
    }
    const { waiters: _, leased: __, nextAvailableAt: ___, ...counts } = pool.status();
    expect(status).toMatchObject(counts);
  });

  test("beside a process that has an account connected - names the process and writes nothing", async () => {
    const folder = await filled();
    await using pool = await openPool(folder);
    const lease = await pool.acquire({ id: "alice" });
    const before = statSync(folder.file("sessions.db")).mtimeMs;
    const { sessions, status } = JSON.parse((await folder.run(["status", "--json"])).stdout);
    expect(sessions[0]).toMatchObject({ id: "alice", state: "foreign", process: { pid: process.pid, isLocal: true } });
    expect(status).toMatchObject({ free: 0, foreign: 1 });
    expect(statSync(folder.file("sessions.db")).mtimeMs).toBe(before);
    lease.release();
  });

  test("a record that cannot be read - is named, and the others are shown", async () => {
    const folder = await filled();
    const storage = sqlite(folder.file("sessions.db"));
    await storage.open?.();
    await storage.write("dora", 0, "{");
    await storage.close?.();
    const { code, stdout } = await folder.run(["status"]);
    expect(stdout).toMatch(/^dora: its record cannot be read \(it is not JSON\)\.$/m);
    expect(stdout).toMatch(/^3 accounts: .*, 1 unreadable$/m);
    expect(code).toBe(0);
  });

  test("--watch --json - is refused", async () => {
    const { code, stdout, stderr } = await (await filled()).run(["status", "--watch", "--json"]);
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error.code).toBe("USAGE");
    expect(stderr).toMatch(/choose one of them/);
  });
});

describe("the command line", () => {
  const mistakes: readonly (readonly [readonly string[], RegExp])[] = [
    [["staus"], /^error: There is no command "staus"\. Did you mean "status"\?$/m],
    [["status", "--jsno"], /^error: "status" has no option --jsno\. Did you mean --json\?$/m],
    [["status", "alice"], /^error: "alice" is too much: telegram-session-pool status/m],
    [["list", "--storage"], /^error: --storage needs a value: --storage URL\.$/m],
    [["list", "--json=yes"], /^error: --json takes no value\.$/m],
    [["list", "--storage", "sessions.db"], /Did you mean sqlite:sessions\.db\?$/m],
    [["list", "--storage", "mysql://localhost"], /^error: The storage must be sqlite:FILE.*; got "mysql:…"\.$/m],
    [["--json", "list"], /^error: A command comes first/m],
  ];

  test.each(mistakes)("%j - exit code 2, and what to do", async (words, message) => {
    const { code, stderr } = await new Folder().run(words);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  test.each([
    "redis://me:hunter2@127.0.0.1",
    "postgres://me@127.0.0.1/sessions?password=hunter2",
    "postgres://me@127.0.0.1/sessions?table=t&ssl%50assword=hunter2",
  ])("a password in an option (%s) - is refused and not repeated", async (url) => {
    const { code, stderr } = await new Folder().run(["list", "--storage", url]);
    expect(stderr).toMatch(/every user of this machine can see/);
    expect(stderr).not.toContain("hunter2");
    expect(code).toBe(2);
  });

  test.each(Object.keys(COMMANDS))("%s --help - fits a screen and shows one example", async (name) => {
    const { code, stdout } = await new Folder().run([name, "--help"]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.filter((line) => line.startsWith("Example: "))).toHaveLength(1);
    expect(code).toBe(0);
  });

  test("every command and every option is in docs/cli.md", async () => {
    const page = readFileSync(join(root, "docs/cli.md"), "utf8");
    for (const [name, { load }] of Object.entries(COMMANDS)) {
      expect(page).toContain(`| \`${name}`);
      for (const option of Object.keys((await load()).options)) expect(page).toContain(`--${option}`);
    }
  });

  test("--version and --help print and exit with 0", async () => {
    const folder = new Folder();
    expect((await folder.run(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await folder.run(["--help"])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: /) });
    expect(await folder.run([])).toMatchObject({ code: 2 });
  });
});

test("--help --json - prints one JSON document, for the program and for one command", async () => {
  const folder = new Folder();
  const [program, command, helped] = await Promise.all([
    folder.run(["--help", "--json"]),
    folder.run(["status", "--help", "--json"]),
    folder.run(["help", "status", "--json"]),
  ]);
  expect(JSON.parse(program.stdout)).toMatchObject({ commands: { status: expect.any(String) } });
  expect(JSON.parse(command.stdout)).toMatchObject({ command: "status", options: { watch: { type: "boolean" } } });
  expect(JSON.parse(helped.stdout)).toEqual(JSON.parse(command.stdout));
});
