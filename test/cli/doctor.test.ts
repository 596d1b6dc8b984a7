import { randomBytes, randomUUID } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import pg from "pg";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { checkNode } from "../../src/cli/doctor/system-checks.js";
import { aesGcm } from "../../src/encryption/sealer.js";
import type { ClientProfile } from "../../src/options/client-profile.js";
import { SessionPool } from "../../src/session-pool.js";
import { startTestServer } from "../../src/testing/index.js";
import { isServerThere } from "../adapters/storage/servers.js";
import { ensureBuilt } from "../examples/build.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder } from "./command.js";

const redisUrl = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const hasRedis = await isServerThere("Redis", redisUrl);
const postgresUrl = process.env.POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/test";
const hasPostgres = await isServerThere("Postgres", postgresUrl);

beforeAll(ensureBuilt, 120_000);

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Answers the first step of a key exchange with a message id of its clock. */
function clockServer(aheadMs: number): Server {
  return createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      const answer = Buffer.alloc(4 + 20 + 64);
      answer.writeUInt32LE(answer.length - 4, 0);
      const now = Date.now() + aheadMs;
      const fraction = (BigInt(now % 1000) << 32n) / 1000n;
      answer.writeBigUInt64LE((BigInt(Math.floor(now / 1000)) << 32n) | fraction, 4 + 8);
      socket.write(answer);
    });
  });
}

interface Setting {
  readonly key?: string;
  readonly profile?: ClientProfile;
  readonly aheadMs?: number;
}

/** A folder with an account, and a server to ask for the time. */
async function setUp({ key, profile = {}, aheadMs = 0 }: Setting = {}): Promise<Folder> {
  const folder = new Folder();
  const port = await listen(clockServer(aheadMs));
  writeFileSync(folder.file("server.json"), JSON.stringify({ dcId: 2, host: "127.0.0.1", port, publicKey: "" }));
  writeFileSync(folder.file(".env"), "SESSION_POOL_TEST_SERVER=server.json\nAPI_ID=1\nAPI_HASH=x\n");
  if (key !== undefined) folder.environment.SESSION_POOL_KEY = key;
  await using pool = await SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
    encryption: key === undefined ? undefined : aesGcm(key),
  });
  await pool.add("alice", sessionString("alice"), { profile });
  return folder;
}

const newKey = (): string => randomBytes(32).toString("base64");

describe("doctor", () => {
  test("everything is in order - exit code 0", async () => {
    const folder = await setUp({ key: newKey() });
    const { code, stdout, stderr } = await folder.run(["doctor"]);
    expect(stdout).not.toMatch(/^(warn|fail)/m);
    for (const line of [
      /^ok {4}Node\.js: /m,
      /^ok {4}SQLite: /m,
      /^ok {4}client library: gramjs, teleproto$/m,
      /^ok {4}clock: agrees with 127\.0\.0\.1:\d+ \(within /m,
      /^ok {4}file mode: /m,
      /^ok {4}file owner: this user$/m,
      /^ok {4}storage: sqlite:sessions\.db answers/m,
      /^ok {4}durability: /m,
      /^ok {4}records: 1 account, readable$/m,
      /^ok {4}encryption: SESSION_POOL_KEY opens every account$/m,
      /^Everything is in order\.$/m,
    ]) {
      expect(stdout).toMatch(line);
    }
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test("a clock that is wrong - a warning", async () => {
    const { code, stdout } = await (await setUp({ aheadMs: 90_000 })).run(["doctor"]);
    expect(stdout).toMatch(/^warn {2}clock: this machine is 1 min (29|30|31) s behind 127\.0\.0\.1/m);
    expect(code).toBe(0);
  });

  test("a file that others can read - fails and says the command", async () => {
    const folder = await setUp();
    chmodSync(folder.file("sessions.db"), 0o644);
    const { code, stdout } = await folder.run(["doctor"]);
    expect(stdout).toMatch(/^fail {2}file mode: other users can reach \S+ \(644\)\n {6}chmod 600 \S+sessions\.db$/m);
    expect(code).toBe(1);
  });

  test("another key, or none - fails and names the account", async () => {
    const folder = await setUp({ key: newKey() });
    folder.environment.SESSION_POOL_KEY = newKey();
    expect((await folder.run(["doctor"])).stdout).toMatch(/^fail {2}encryption: alice cannot be opened: /m);
    delete folder.environment.SESSION_POOL_KEY;
    const { code, stdout } = await folder.run(["doctor"]);
    expect(stdout).toMatch(/^fail {2}encryption: the accounts are encrypted and SESSION_POOL_KEY is not set$/m);
    expect(code).toBe(1);
  });

  test("a text that is no key - fails, and is not repeated", async () => {
    const folder = await setUp();
    folder.environment.SESSION_POOL_KEY = "hunter2";
    const { code, stdout } = await folder.run(["doctor"]);
    expect(stdout).toMatch(/^fail {2}encryption: SESSION_POOL_KEY is no key: /m);
    expect(stdout).not.toContain("hunter2");
    expect(code).toBe(1);
  });

  test("the clock of a test server", async () => {
    const folder = await setUp();
    const server = await startTestServer();
    onTestFinished(() => server.close());
    writeFileSync(folder.file("server.json"), JSON.stringify(server.server));
    const { stdout } = await folder.run(["doctor"]);
    expect(stdout).toContain(`ok    clock: agrees with 127.0.0.1:${server.port} (within `);
  });

  test("a record that cannot be read - fails", async () => {
    const folder = await setUp();
    const storage = sqlite(folder.file("sessions.db"));
    await storage.open?.();
    await storage.write("bob", 0, "{}");
    await storage.close?.();
    const { code, stdout } = await folder.run(["doctor", "--json"]);
    const { findings } = JSON.parse(stdout);
    expect(findings).toContainEqual(expect.objectContaining({ check: "records", level: "fail" }));
    expect(code).toBe(1);
  });

  test("proxies - each is reached, or fails; no password is printed", async () => {
    const port = await listen(createServer((socket) => socket.on("error", () => {})));
    const proxy = { ip: "127.0.0.1", socksType: 5, username: "me", password: "hunter2" } as const;
    const good = await (await setUp({ profile: { proxy: { ...proxy, port } } })).run(["doctor"]);
    expect(good.stdout).toContain(`ok    proxy: SOCKS5 proxy 127.0.0.1:${port} accepts connections (1 account)`);
    const bad = await (await setUp({ profile: { proxy: { ...proxy, port: 1 } } })).run(["doctor"]);
    expect(bad.stdout).toMatch(/^fail {2}proxy: SOCKS5 proxy 127\.0\.0\.1:1 cannot be reached \(.*ECONNREFUSED/m);
    expect(bad.code).toBe(1);
    expect(good.stdout + bad.stdout).not.toContain("hunter2");
  });

  test("no storage yet - a warning; a server that is not there - fails", async () => {
    const folder = await setUp();
    expect(await folder.run(["doctor", "--storage", "sqlite:other.db"])).toMatchObject({ code: 0 });
    const { code, stdout } = await folder.run(["doctor", "--storage", "redis://127.0.0.1:1"]);
    expect(stdout).toMatch(/^fail {2}storage: redis:\/\/127\.0\.0\.1:1 cannot be reached/m);
    expect(code).toBe(1);
  });

  test.skipIf(!hasRedis)("Redis - durability, eviction, its clock", async () => {
    const folder = await setUp();
    const { stdout } = await folder.run(["doctor", "--storage", `${redisUrl}?prefix=test-${randomUUID()}`]);
    expect(stdout).toMatch(/^(ok|warn|fail) +durability: append/m);
    expect(stdout).toMatch(/^(ok|fail) +eviction: maxmemory-policy /m);
    expect(stdout).toMatch(/^ok +storage clock: agrees with Redis/m);
  });

  test.skipIf(!hasPostgres)("Postgres - durability, its clock", async () => {
    const folder = await setUp();
    const table = `cli_${randomBytes(4).toString("hex")}`;
    const client = new pg.Client({ connectionString: postgresUrl });
    await client.connect();
    onTestFinished(async () => {
      await client.query(`DROP TABLE IF EXISTS ${table}, ${table}_peers`);
      await client.end();
    });
    folder.environment.SESSION_POOL_STORAGE = `${postgresUrl}?table=${table}`;
    const { stdout } = await folder.run(["doctor"]);
    expect(stdout).toMatch(/^(ok|fail) +durability: synchronous_commit /m);
    expect(stdout).toMatch(/^ok +storage clock: agrees with Postgres/m);
  });
});

test.each([
  ["20.19.0", "ok"],
  ["20.18.1", "fail"],
  ["21.7.0", "fail"],
  ["22.11.0", "fail"],
  ["22.12.0", "ok"],
  ["26.0.0", "ok"],
])("checkNode() - %s: %s", (version, level) => {
  expect(checkNode(version).level).toBe(level);
});
