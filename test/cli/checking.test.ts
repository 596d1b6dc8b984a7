import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createClient } from "redis";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { SessionPool } from "../../src/session-pool.js";
import { type AccountOptions, startTestServer, type TelegramTestServer } from "../../src/testing/index.js";
import { isServerThere } from "../adapters/storage/servers.js";
import { ensureBuilt } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder } from "./command.js";
import { hasPseudoTerminal, TerminalSession } from "./terminal.js";

const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const hasRedis = await isServerThere("Redis", redisUrl);

beforeAll(ensureBuilt, 120_000);

/** A folder whose settings name a test server, and whose storage holds its accounts. */
async function onServer(
  accounts: readonly (string | AccountOptions)[],
): Promise<{ folder: Folder; server: TelegramTestServer }> {
  const server = await startTestServer({
    accounts: accounts.map((account) => (typeof account === "string" ? { name: account } : account)),
  });
  onTestFinished(() => server.close());
  const folder = new Folder();
  writeFileSync(folder.file("server.json"), JSON.stringify(server.server));
  writeFileSync(folder.file(".env"), "SESSION_POOL_TEST_SERVER=server.json\n");
  return { folder, server };
}

async function fill(folder: Folder, { accounts }: TelegramTestServer): Promise<void> {
  await using pool = await SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
    trustServers: true,
  });
  for (const { name, session } of accounts) await pool.add(name, session, { profile: { keepConnected: true } });
}

describe.each(["gramjs", "teleproto"])("check with %s", (client) => {
  test("every account is alive - exit code 0; only the accounts asked for connect", async () => {
    const { folder, server } = await onServer(["alice", "bob"]);
    await fill(folder, server);
    const { code, stdout, stderr } = await folder.run(["check", "alice", "--client", client]);
    expect(stdout).toMatch(/^ID +ALIVE +ACCOUNT +DC +ABOUT\nalice +yes +700000001 +2\n1 of 1 alive\.\n$/);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(server.connections().map(({ account }) => account)).toEqual(["alice"]);
  });

  test("one is dead, one cools - exit code 1, and the storage has both states", async () => {
    const { folder, server } = await onServer(["alice", "bob", "carol"]);
    await fill(folder, server);
    server.fail({ account: "bob", code: 401, message: "SESSION_REVOKED" });
    server.fail({ account: "carol", method: "users.GetUsers", code: 420, message: "FLOOD_WAIT_300" });
    const { code, stdout } = await folder.run(["check", "--json", "--client", client]);
    expect(code).toBe(1);
    const { sessions } = JSON.parse(stdout);
    expect(sessions.map(({ id, isAlive, reason }: Record<string, unknown>) => [id, isAlive, reason])).toEqual([
      ["alice", true, null],
      ["bob", false, "SESSION_REVOKED"],
      ["carol", false, "FLOOD_WAIT"],
    ]);
    const { stdout: status } = await folder.run(["status"]);
    expect(status).toMatch(/^bob +dead +SESSION_REVOKED$/m);
    expect(status).toMatch(/^carol +cooling +\S.*FLOOD_WAIT$/m);
    expect(server.violations()).toEqual([]);
  });
});

test("a frozen, a restricted and an ending account - what is known of each, for people and as JSON", async () => {
  const frozenUntil = Date.UTC(2100, 0, 1);
  const { folder, server } = await onServer([
    { name: "alice", freeze: { since: Date.UTC(2026, 0, 1), until: frozenUntil } },
    { name: "bob", isPremium: true, restrictions: [{ reason: "terms", text: "Violated the terms." }] },
    { name: "carol", authorizationTtlDays: 7 },
  ]);
  await fill(folder, server);
  const { code, stdout } = await folder.run(["check"]);
  expect(stdout).toMatch(/^alice +yes .*frozen until \d{4}-\d\d-\d\d \d\d:\d\d, frozen since /m);
  expect(stdout).toMatch(/^bob +yes .*Premium, restricted: terms \(all\): Violated/m);
  expect(stdout).toMatch(/^carol +yes .*ends \d{4}-\d\d-\d\d \d\d:\d\d if unused$/m);
  expect(code).toBe(0);
  const { sessions, rejected, removed } = JSON.parse((await folder.run(["check", "--json"])).stdout);
  expect({ rejected, removed }).toEqual({ rejected: [], removed: [] });
  expect(sessions).toMatchObject([
    { id: "alice", isAlive: true, isFrozen: true, frozenUntil },
    { id: "bob", isAlive: true, isFrozen: false, isPremium: true },
    { id: "carol", isAlive: true, expiresAt: expect.any(Number) },
  ]);
});

test("an account that is removed while others are checked - is named, and the results of the others stay", async () => {
  const { folder, server } = await onServer(["alice", "bob"]);
  await fill(folder, server);
  server.delay({ account: "alice", method: "users.GetUsers", delayMs: 3_000 });
  const checking = folder.run(["check", "--json", "--concurrency", "1"]);
  await expect
    .poll(() => server.calls().some(({ method }) => method === "users.GetUsers"), { timeout: 20_000 })
    .toBe(true);
  expect(await folder.run(["remove", "bob", "--yes"])).toMatchObject({ code: 0 });
  const { code, stdout } = await checking;
  const { sessions, removed } = JSON.parse(stdout);
  expect(sessions).toMatchObject([{ id: "alice", isAlive: true }]);
  expect({ code, removed }).toEqual({ code: 0, removed: ["bob"] });
});

test("a record that cannot be read - is not alive, and is not called unknown", async () => {
  const { folder, server } = await onServer(["alice"]);
  await fill(folder, server);
  const storage = sqlite(folder.file("sessions.db"));
  await storage.open?.();
  await storage.write("dora", 0, "{");
  await storage.close?.();
  const { code, stdout } = await folder.run(["check"]);
  expect(stdout).toMatch(/^dora: its record cannot be read \(.*\)\.\n1 of 2 alive\.$/m);
  expect(code).toBe(1);
  expect((await folder.run(["check", "dora"])).stderr).toMatch(/^error: dora: its record cannot be read /);
});

test.skipIf(!hasPseudoTerminal)("check at a terminal - a bar while it runs, and none afterwards", async () => {
  const { folder, server } = await onServer(["alice", "bob", "carol"]);
  await fill(folder, server);
  await using terminal = new TerminalSession(folder, ["check", "--concurrency", "1"], { columns: 60 });
  await terminal.until(/█+░+ 1\/3 {2}alice/);
  await terminal.until(/3 of 3 alive\./);
  expect(await terminal.ended).toBe(0);
  expect(terminal.text.match(/alice +yes/g)).toHaveLength(1);
});

test.skipIf(!hasPseudoTerminal)("check - Ctrl-C ends it, and no account stays claimed", async () => {
  const { folder, server } = await onServer(["alice"]);
  await fill(folder, server);
  server.mute({ method: "users.GetUsers" });
  await using terminal = new TerminalSession(folder, ["check", "alice"]);
  await expect
    .poll(() => server.calls().some(({ method }) => method === "users.GetUsers"), { timeout: 10_000 })
    .toBe(true);
  terminal.interrupt();
  await terminal.until(/Interrupted\./);
  expect(await terminal.ended).toBe(130);
  const { sessions } = JSON.parse((await folder.run(["status", "--json"])).stdout);
  expect(sessions).toMatchObject([{ id: "alice", state: "free", process: null }]);
});

test.skipIf(!hasRedis)("over Redis - list, check and status of one storage", async () => {
  const { folder, server } = await onServer(["alice"]);
  const prefix = `test-${randomUUID()}`;
  folder.environment.SESSION_POOL_STORAGE = `${redisUrl}?prefix=${prefix}`;
  const redisClient = await createClient({ url: redisUrl }).connect();
  onTestFinished(async () => {
    const keys = await redisClient.keys(`*${prefix}*`);
    if (keys.length > 0) await redisClient.del(keys);
    redisClient.destroy();
  });
  const { redis } = await import("../../adapters/storage/redis.js");
  const pool = await SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: redis(redisClient, { prefix }),
    trustServers: true,
  });
  for (const { name, session } of server.accounts) await pool.add(name, session);
  await pool.close();
  expect((await folder.run(["list"])).stdout).toMatch(/^alice +free/m);
  expect(await folder.run(["check"])).toMatchObject({ code: 0, stdout: expect.stringContaining("1 of 1 alive.") });
  expect(await folder.run(["disable", "alice"])).toMatchObject({ code: 0 });
  expect((await folder.run(["status"])).stdout).toMatch(/^alice +disabled/m);
});

test("a Redis that is not there - one sentence without the password", async () => {
  const folder = new Folder();
  folder.environment.SESSION_POOL_STORAGE = "redis://me:hunter2@127.0.0.1:1/0";
  const { code, stderr } = await folder.run(["list"]);
  expect(stderr).toMatch(/^error: redis:\/\/me:\*\*\*@127\.0\.0\.1:1\/0 cannot be reached: .*ECONNREFUSED/m);
  expect(stderr).not.toContain("hunter2");
  expect(code).toBe(1);
});

test.each([
  ["redis", "redis://127.0.0.1:1/0"],
  ["postgres", "postgres://me@127.0.0.1:1/sessions"],
])("a password as a parameter of a %s URL - is not shown", async (_kind, url) => {
  const folder = new Folder();
  folder.environment.SESSION_POOL_STORAGE = `${url}?password=hunter2`;
  const { code, stderr } = await folder.run(["list"]);
  expect(stderr).toMatch(`error: ${url} cannot be reached: `);
  expect(stderr).not.toContain("hunter2");
  expect(code).toBe(1);
});

test("check without API_ID and API_HASH - says where they come from", async () => {
  const { code, stderr } = await new Folder().run(["check"]);
  expect(stderr).toMatch(/^error: API_ID and API_HASH are not set\. Get both from https:\/\/my\.telegram\.org/);
  expect(code).toBe(2);
});
