import { createServer } from "node:http";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { OutcomeUnknownError } from "../../src/errors.js";
import { SessionPool } from "../../src/session-pool.js";
import { ask, EventStream, listen, poolOf } from "../dashboard/served.js";
import { ensureBuilt } from "../examples/build.js";
import { type FakeClient, FakeTelegram } from "../fakes/fake-telegram.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { Folder, type RunningCommand } from "./command.js";

beforeAll(ensureBuilt, 120_000);

const PROXY = "socks5://someone:canary-of-a-password@203.0.113.7:1080";

async function open(folder: Folder): Promise<SessionPool<FakeClient>> {
  const pool = await SessionPool.open({
    client: new FakeTelegram(new VirtualClock()),
    storage: sqlite(folder.file("sessions.db")),
  });
  for (const id of ["alice", "bob", "carol"]) await pool.add(id, sessionString(id), { tags: ["eu"] });
  await pool.update("carol", { profile: { proxy: PROXY } });
  return pool;
}

async function start(
  folder: Folder,
  ...options: readonly string[]
): Promise<{ command: RunningCommand; origin: string }> {
  const command = folder.start(["dashboard", ...options]);
  onTestFinished(() => command[Symbol.asyncDispose]());
  const [, origin = ""] = await command.until(/(http:\/\/127\.0\.0\.1:\d+)\/ shows sqlite:sessions\.db until Ctrl-C\./);
  return { command, origin };
}

describe("dashboard", () => {
  test("shows the sessions of a running process, and what changes there", async () => {
    const folder = new Folder();
    await using pool = await open(folder);
    const { command, origin } = await start(folder);
    expect((await ask(origin, "/")).text).toContain("<title>Session pool</title>");
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    expect(stream.hello).toMatchObject({ access: "view", token: null, isStorage: true });
    const lease = await pool.acquire({ id: "bob" });
    lease.coolDown(600, { method: "contacts.ResolveUsername" });
    lease.retire("sold");
    lease.release();
    await stream.until(({ frames }) => frames.some(({ pools }) => pools[0]?.status?.dead === 1));
    const { status, lists, incidents } = await poolOf(origin);
    expect(status).toMatchObject({ total: 3, dead: 1, leased: null, waiters: null });
    expect(lists?.sessions?.set).toMatchObject([
      { id: "alice", state: "free", tags: ["eu"] },
      { id: "bob", state: "dead", reason: "sold", methods: [["contacts.ResolveUsername", expect.any(Number)]] },
      { id: "carol", proxy: "SOCKS5 proxy 203.0.113.7:1080" },
    ]);
    expect(incidents?.map(({ kind, sessionId }) => `${sessionId} ${kind}`)).toContain("bob died");
    command.kill("SIGINT");
    await stream.ended;
    expect(await command.ended).toBe(0);
    expect(command.text).not.toContain("canary");
  });

  test("a session that a process has connected - says which", async () => {
    const folder = new Folder();
    await using pool = await open(folder);
    using _lease = await pool.acquire({ id: "alice" });
    const { origin } = await start(folder);
    const { lists } = await poolOf(origin);
    expect(lists?.sessions?.set?.[0]).toMatchObject({
      state: "foreign",
      holder: { pid: process.pid, isLocal: true, isSelf: false },
    });
  });

  test("a checkpoint - says what is uncertain", async () => {
    const folder = new Folder();
    await using pool = await open(folder);
    const work = async (client: FakeClient, item: number): Promise<unknown> => {
      if (item === 2) throw new OutcomeUnknownError("not answered", "unknown");
      return client.call("messages.SendMessage");
    };
    const storage = sqlite(folder.file("sessions.db"));
    const checkpoint = { name: "news", storage, key: (item: number) => `user ${item}` };
    for await (const _ of pool.map([1, 2, 3], work, { checkpoint }));
    const { origin } = await start(folder);
    expect((await poolOf(origin)).lists?.runs?.set).toMatchObject([
      { name: "news", done: 2, uncertain: 1, uncertainItems: ["user 2"], hasEnded: true },
    ]);
  });

  test("every byte of it - holds no session string and no password", async () => {
    const folder = new Folder();
    await using _pool = await open(folder);
    const { origin } = await start(folder);
    for (const path of ["/", "/page.js", "/page.css", "/icon.svg", "/state", "/nothing"]) {
      // `ask` looks for session strings as well.
      const { text, headers } = await ask(origin, path);
      expect(`${JSON.stringify(headers)}${text}`).not.toMatch(/canary|someone/);
    }
  });

  test("changes nothing", async () => {
    const folder = new Folder();
    await using pool = await open(folder);
    const { origin } = await start(folder);
    for (const action of ["disable", "enable", "remove"]) {
      const answer = await ask(origin, `/${action}?pool=sqlite%3Asessions.db&id=alice`, {
        method: "POST",
        headers: { origin },
      });
      expect(answer.status).toBe(403);
    }
    expect(pool.get("alice")).toMatchObject({ state: "free" });
  });

  test("other addresses of the machine - are not listened to", async () => {
    const outer = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.family === "IPv4" && !address.internal)?.address;
    if (outer === undefined) return;
    const folder = new Folder();
    await using _pool = await open(folder);
    const { origin } = await start(folder);
    const socket = connect(Number(new URL(origin).port), outer);
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => socket.once("error", resolve));
    expect(error.code).toBe("ECONNREFUSED");
  });

  test("a port that is taken, or none - says so", async () => {
    const folder = new Folder();
    await using _pool = await open(folder);
    const taken = new URL(await listen(createServer())).port;
    expect(await folder.run(["dashboard", "--port", taken])).toMatchObject({
      code: 1,
      stderr: `error: Port ${taken} of 127.0.0.1 cannot be used: EADDRINUSE.\n`,
    });
    expect(await folder.run(["dashboard", "--port", "x"])).toMatchObject({ code: 2 });
  });

  test("without a storage - says so", async () => {
    expect(await new Folder().run(["dashboard"])).toMatchObject({ code: 1, stdout: "" });
  });

  test("--json - prints where it is", async () => {
    const folder = new Folder();
    await using _pool = await open(folder);
    const command = folder.start(["dashboard", "--json"]);
    onTestFinished(() => command[Symbol.asyncDispose]());
    await command.until(/"url": "http:\/\/127\.0\.0\.1:\d+\/"/);
    command.kill("SIGTERM");
    await vi.waitFor(async () => expect(await command.ended).toBe(0));
  });
});
