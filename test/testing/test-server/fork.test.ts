import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { Api } from "telegram";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { gramjs } from "../../../adapters/client/gramjs.js";
import { login } from "../../../src/login/index.js";
import { type ForkedTestServer, forkTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";

let server: ForkedTestServer;

beforeAll(async () => {
  server = await forkTestServer({ accounts: 2 });
});

afterEach(async () => {
  await destroyClients();
  await server.clearRules();
});

afterAll(() => server.close());

/** Whether somebody listens. */
async function isReachable(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const isOpen = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return isOpen;
}

describe("forkTestServer()", () => {
  test("login() - signs in there, by code and by QR code", async () => {
    const client = gramjs({ apiId: 1, apiHash: "x", server: await server.server() });
    const { phone = "" } = server.accounts[1] ?? {};
    const code = async (): Promise<string> => (await server.sentCodes(phone)).at(-1)?.code ?? "";
    const byCode = await login(client, { phone: () => phone, code });
    const byQrCode = await login(client, { qr: (url) => server.acceptLogin("account2", url) });
    expect(byCode.accountId).toBe(byQrCode.accountId);
    expect(await server.authorizationCount("account2")).toBe(3);
    await server.clear();
  });

  test("a client - connects, and its calls are reported", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.sendMessage("channel7", { message: "hello" });
    const report = await server.report();
    expect(report.messages).toMatchObject([{ account: "account1", text: "hello" }]);
    expect(report.calls.map(({ method }) => method)).toEqual([
      "help.GetConfig",
      "contacts.ResolveUsername",
      "messages.SendMessage",
    ]);
    expect(report).toMatchObject({ violations: [], inFlight: [], duplicates: [], maxConnectionsPerKey: 1 });
    expect(await server.messages()).toEqual(report.messages);
  });

  test("rules - are made, counted and removed there", async () => {
    const client = await connectedClient(server, server.accounts[1]);
    const limit = await server.limit("updates.getState", { calls: 1, perMs: 60_000, waitSeconds: 9 });
    await client.invoke(new Api.updates.GetState());
    await rejection(client.invoke(new Api.updates.GetState()));
    expect(await limit.hits()).toBe(1);
    const revoked = await server.revoke("account2");
    expect((await rejection(client.getMe())).message).toContain("AUTH_KEY_UNREGISTERED");
    await revoked.remove();
    expect((await client.getMe()).username).toBe("account2");
    expect(await server.waits()).toMatchObject([{ account: "account2", seconds: 9 }]);
  });

  test("a rule that is wrong - rejects", async () => {
    expect((await rejection(server.mute({ account: "nobody" }))).message).toBe("There is no account nobody");
    expect((await rejection(server.mute({ when: () => true }))).message).toContain("`when`");
  });

  test("pause() and resume() - it is away meanwhile", async () => {
    await server.pause();
    expect(await isReachable(server.port)).toBe(false);
    await server.resume();
    expect(await isReachable(server.port)).toBe(true);
  });

  test("an unknown option - rejects with its name", async () => {
    expect((await rejection(forkTestServer({ latency: 1 } as never))).message).toContain("latency");
  });

  test("close() - ends the process, and later calls reject", async () => {
    const other = await forkTestServer();
    await other.close();
    expect(await isReachable(other.port)).toBe(false);
    await rejection(other.calls());
  });

  test("the parent is gone - it ends, too", async () => {
    const script = fileURLToPath(new URL("./abandoning-parent.ts", import.meta.url));
    const parent = fork(script, { execArgv: ["--import", "tsx"], stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const [port] = (await once(parent, "message")) as [number];
    expect(await isReachable(port)).toBe(true);
    parent.kill("SIGKILL");
    await vi.waitUntil(async () => !(await isReachable(port)), { timeout: 10_000, interval: 50 });
  });
});
