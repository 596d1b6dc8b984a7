import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api as GramjsApi } from "telegram";
import { Api as TeleprotoApi } from "teleproto";
import { describe, expect, onTestFinished, test } from "vitest";
import { gramjs } from "../../../adapters/client/gramjs.js";
import { teleproto } from "../../../adapters/client/teleproto.js";
import { sqlite } from "../../../adapters/storage/sqlite.js";
import type { ClientAdapter } from "../../../src/adapter.js";
import { SessionPool } from "../../../src/index.js";
import { forkTestServer, startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";

const OPTIONS = { apiId: 1, apiHash: "hash" };

/** A test server that speaks with both libraries, and a database. */
async function scene() {
  const server = await startTestServer({ accounts: 2 });
  const directory = mkdtempSync(join(tmpdir(), "moving-"));
  onTestFinished(async () => {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { server, file: join(directory, "sessions.db") };
}

const open = <Client extends object>(client: ClientAdapter<Client>, file: string) =>
  SessionPool.open({ client, storage: sqlite(file), trustServers: true });

const adapters = ({ clientOptions }: TelegramTestServer) => ({
  old: gramjs({ ...OPTIONS, clientOptions }),
  next: teleproto({ ...OPTIONS, clientOptions }),
});

describe("switching from GramJS to teleproto", () => {
  test("keeps sessions, cooldowns and peers of the database, also on the way back", async () => {
    const { server, file } = await scene();
    const { old, next } = adapters(server);
    const before = await open(old, file);
    for (const { name, session } of server.accounts) await before.add(name, session);
    await before.invoke(new GramjsApi.messages.SendMessage({ peer: "user1", message: "one" }), { id: "account1" });
    server.fail({ account: "account2", method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const flooded = before.invoke(new GramjsApi.messages.SendMessage({ peer: "user1", message: "x" }), {
      id: "account2",
      wait: false,
    });
    await expect(flooded).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    await before.close();

    const after = await open(next, file);
    expect(after.sessions().map(({ id, state }) => [id, state])).toEqual([
      ["account1", "free"],
      ["account2", "cooling"],
    ]);
    const resolved = server.calls().filter(({ method }) => method === "contacts.ResolveUsername").length;
    await after.invoke(new TeleprotoApi.messages.SendMessage({ peer: "user1", message: "two" }));
    expect(server.calls().filter(({ method }) => method === "contacts.ResolveUsername")).toHaveLength(resolved);
    expect(await after.exportSession("account1")).toBe(server.accounts[0]?.session);
    await after.close();

    const back = await open(adapters(server).old, file);
    await back.invoke(new GramjsApi.messages.SendMessage({ peer: "user1", message: "three" }));
    await back.close();
    expect(server.messages().map(({ text }) => text)).toEqual(["one", "two", "three"]);
    expect(server.violations()).toEqual([]);
  });
});

describe("a test server with both libraries", () => {
  test("answers each client in its own layer, at the same time", async () => {
    const { server, file } = await scene();
    const { old, next } = adapters(server);
    const [first, second] = await Promise.all([open(old, file), open(next, `${file}2`)]);
    const [one, two] = server.accounts;
    await first.add("one", one?.session ?? "");
    await second.add("two", two?.session ?? "");
    const [me, you] = await Promise.all([
      first.use(async (client) => {
        await client.sendMessage("channel1", { message: "by GramJS" });
        return client.getMe();
      }),
      second.use(async (client) => {
        await client.sendMessage("channel1", { message: "by teleproto" });
        return client.getMe();
      }),
    ]);
    expect({ me, you }).toMatchObject({ me: { username: "account1" }, you: { username: "account2" } });
    expect(
      server
        .messages()
        .map(({ text }) => text)
        .sort(),
    ).toEqual(["by GramJS", "by teleproto"]);
    await Promise.all([first.close(), second.close()]);
  });

  test("in a process of its own - the same", async () => {
    await using server = await forkTestServer({ library: "teleproto" });
    const { clientOptions } = server;
    const pool = await SessionPool.open({ client: teleproto({ ...OPTIONS, clientOptions }), trustServers: true });
    await pool.add("a", server.sessions[0] ?? "");
    expect(await pool.use((client) => client.getMe())).toMatchObject({ username: "account1" });
    await pool.close();
    expect((await server.calls()).filter(({ isConnect }) => isConnect)).toHaveLength(1);
  });

  test("when the option library names one, loads only that one and does not understand clients of the other", async () => {
    const server = await startTestServer({ library: "teleproto" });
    onTestFinished(() => server.close());
    const { old, next } = adapters(server);
    const pool = await SessionPool.open({ client: next, trustServers: true });
    await pool.add("a", server.sessions[0] ?? "");
    expect(await pool.use((client) => client.getMe())).toMatchObject({ username: "account1" });
    await pool.close();
    const other = await SessionPool.open({ client: old, trustServers: true });
    await other.add("a", server.sessions[0] ?? "");
    await expect(other.use((client) => client.sendMessage("user1", { message: "x" }))).rejects.toThrow();
    await other.close();
    await expect(startTestServer({ library: "mtcute" as never })).rejects.toThrow('library: expected "telegram" or');
  });
});
