import { fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { Api } from "telegram";
import { describe, expect, test, vi } from "vitest";
import { startTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";
import { RawClient } from "./raw-client.js";

const self = (): Buffer => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }).getBytes();

describe("pause()", () => {
  test("ends connections and accepts none, until resume() on the same port", async () => {
    await using server = await startTestServer();
    const { port } = server;
    using raw = await RawClient.connect(server, server.accounts[0]);
    await server.pause();
    await raw.closed;
    const refused = await rejection(RawClient.connect(server, server.accounts[0]));
    expect(refused).toMatchObject({ code: "ECONNREFUSED" });
    await server.resume();
    using again = await RawClient.connect(server, server.accounts[0]);
    expect((await again.call(self())).error).toBeUndefined();
    expect(server.port).toBe(port);
  });
});

describe("connections()", () => {
  test("maxConnectionsPerKey() - counts simultaneous connections", async () => {
    await using server = await startTestServer({ accounts: 2 });
    const [one, two] = server.accounts;
    using first = await RawClient.connect(server, one);
    first[Symbol.dispose]();
    await vi.waitUntil(() => server.connections()[0]?.closedAt !== null);
    using _second = await RawClient.connect(server, one);
    using _other = await RawClient.connect(server, two);
    expect(server.maxConnectionsPerKey()).toBe(1);
    using _third = await RawClient.connect(server, one);
    expect([server.maxConnectionsPerKey(), server.maxConnectionsPerKey("account2")]).toEqual([2, 1]);
    expect(server.connections().map(({ account }) => account)).toEqual([
      "account1",
      "account1",
      "account2",
      "account1",
    ]);
  });

  test("disconnect() - ends those of the account", async () => {
    await using server = await startTestServer({ accounts: 2 });
    using one = await RawClient.connect(server, server.accounts[0]);
    using two = await RawClient.connect(server, server.accounts[1]);
    server.disconnect("account1");
    await one.closed;
    expect((await two.call(self())).error).toBeUndefined();
  });

  test("a client that does not speak MTProto - is disconnected and not recorded", async () => {
    await using server = await startTestServer();
    const socket = connect(server.port, server.host);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await closed;
    expect(server.connections()).toEqual([]);
  });
});

describe("startTestServer()", () => {
  test("latencyMs - everything takes that long", async () => {
    await using server = await startTestServer({ latencyMs: 40 });
    using raw = await RawClient.connect(server, server.accounts[0]);
    const sentAt = Date.now();
    await raw.call(self());
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(39);
  });

  test("record - keeps nothing, or the newest", async () => {
    await using none = await startTestServer({ record: false });
    await using some = await startTestServer({ record: 2 });
    for (const server of [none, some]) {
      using raw = await RawClient.connect(server, server.accounts[0]);
      for (let i = 0; i < 5; i++) await raw.call(self());
    }
    expect({ callsInNone: none.calls().length, callsInSome: some.calls().length }).toEqual({
      callsInNone: 0,
      callsInSome: 2,
    });
    expect(none.maxConnectionsPerKey()).toBe(1);
  });

  test("accounts - takes names, and sessions of an earlier test server", async () => {
    await using first = await startTestServer({ accounts: [{ name: "alice" }] });
    const session = first.sessions[0] ?? "";
    await using second = await startTestServer({ accounts: [{ name: "alice", session }] });
    const client = await connectedClient(second, second.accounts[0]);
    expect((await client.getMe()).username).toBe("alice");
    expect(() => second.addAccount({ name: "alice" })).toThrow("There is an account alice already");
    expect(() => second.addAccount({ session })).toThrow("is another account's");
    expect(() => second.addAccount({ session: "nonsense" })).toThrow("Expected a StringSession");
    await destroyClients();
  });

  test("a port that is taken - rejects", async () => {
    await using server = await startTestServer();
    const refused = await rejection(startTestServer({ port: server.port }));
    expect(refused).toMatchObject({ code: "EADDRINUSE" });
    await server.pause();
    await using squatter = await startTestServer({ port: server.port });
    expect(await rejection(server.resume())).toMatchObject({ code: "EADDRINUSE" });
    await squatter.close();
    await server.resume();
  });

  test("an unknown option, or one of the wrong type - rejects", async () => {
    expect((await rejection(startTestServer({ latency: 5 } as never))).message).toContain(
      'unknown option "latency". Did you mean "latencyMs"?',
    );
    expect((await rejection(startTestServer({ port: -1 }))).message).toBe("port: expected a port, got -1");
  });
});

describe("close()", () => {
  test("twice - is the same promise, and connections are ended", async () => {
    const server = await startTestServer();
    using raw = await RawClient.connect(server, server.accounts[0]);
    server.delay({ delayMs: 60_000 });
    raw.send(self());
    expect(server.close()).toBe(server.close());
    await server.close();
    await raw.closed;
  });

  test("nothing of it is left - the process ends", async () => {
    const script = fileURLToPath(new URL("./ending-process.ts", import.meta.url));
    const child = fork(script, { execArgv: ["--import", "tsx"], stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const exit = once(child, "exit");
    const [resources] = (await once(child, "message")) as [readonly string[]];
    expect(resources).not.toContain("Timeout");
    expect(await exit).toEqual([0, null]);
  });
});
