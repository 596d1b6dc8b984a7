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

/** A data center that speaks with both libraries, and a database. */
async function scene() {
  const dataCenter = await startTestServer({ accounts: 2 });
  const directory = mkdtempSync(join(tmpdir(), "moving-"));
  onTestFinished(async () => {
    await dataCenter.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { dataCenter, file: join(directory, "sessions.db") };
}

const open = <Client extends object>(client: ClientAdapter<Client>, file: string) =>
  SessionPool.open({ client, storage: sqlite(file), trustServers: true });

const adapters = ({ clientOptions }: TelegramTestServer) => ({
  old: gramjs({ ...OPTIONS, clientOptions }),
  next: teleproto({ ...OPTIONS, clientOptions }),
});

describe("a bot that moves from GramJS to teleproto", () => {
  test("its database goes on: sessions, cooldowns, peers; and back again", async () => {
    const { dataCenter, file } = await scene();
    const { old, next } = adapters(dataCenter);
    const before = await open(old, file);
    for (const { name, session } of dataCenter.accounts) await before.add(name, session);
    await before.invoke(new GramjsApi.messages.SendMessage({ peer: "user1", message: "one" }), { id: "account1" });
    dataCenter.fail({ account: "account2", method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
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
    const resolved = dataCenter.calls().filter(({ method }) => method === "contacts.ResolveUsername").length;
    await after.invoke(new TeleprotoApi.messages.SendMessage({ peer: "user1", message: "two" }));
    expect(dataCenter.calls().filter(({ method }) => method === "contacts.ResolveUsername")).toHaveLength(resolved);
    expect(await after.exportSession("account1")).toBe(dataCenter.accounts[0]?.session);
    await after.close();

    const back = await open(adapters(dataCenter).old, file);
    await back.invoke(new GramjsApi.messages.SendMessage({ peer: "user1", message: "three" }));
    await back.close();
    expect(dataCenter.messages().map(({ text }) => text)).toEqual(["one", "two", "three"]);
    expect(dataCenter.violations()).toEqual([]);
  });
});

describe("a data center with both libraries", () => {
  test("each client is answered in its own layer, at the same time", async () => {
    const { dataCenter, file } = await scene();
    const { old, next } = adapters(dataCenter);
    const [first, second] = await Promise.all([open(old, file), open(next, `${file}2`)]);
    const [one, two] = dataCenter.accounts;
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
    expect([me, you]).toMatchObject([{ username: "account1" }, { username: "account2" }]);
    expect(
      dataCenter
        .messages()
        .map(({ text }) => text)
        .sort(),
    ).toEqual(["by GramJS", "by teleproto"]);
    await Promise.all([first.close(), second.close()]);
  });

  test("in a process of its own - the same", async () => {
    await using dataCenter = await forkTestServer({ library: "teleproto" });
    const { clientOptions } = dataCenter;
    const pool = await SessionPool.open({ client: teleproto({ ...OPTIONS, clientOptions }), trustServers: true });
    await pool.add("a", dataCenter.sessions[0] ?? "");
    expect(await pool.use((client) => client.getMe())).toMatchObject({ username: "account1" });
    await pool.close();
    expect((await dataCenter.calls()).filter(({ isConnect }) => isConnect)).toHaveLength(1);
  });

  test("library: only that one is loaded, a client of the other one is not understood", async () => {
    const dataCenter = await startTestServer({ library: "teleproto" });
    onTestFinished(() => dataCenter.close());
    const { old, next } = adapters(dataCenter);
    const pool = await SessionPool.open({ client: next, trustServers: true });
    await pool.add("a", dataCenter.sessions[0] ?? "");
    expect(await pool.use((client) => client.getMe())).toMatchObject({ username: "account1" });
    await pool.close();
    const other = await SessionPool.open({ client: old, trustServers: true });
    await other.add("a", dataCenter.sessions[0] ?? "");
    await expect(other.use((client) => client.sendMessage("user1", { message: "x" }))).rejects.toThrow();
    await other.close();
    await expect(startTestServer({ library: "mtcute" as never })).rejects.toThrow('library: expected "telegram" or');
  });
});
