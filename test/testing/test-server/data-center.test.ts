import { Api } from "telegram";
import { ConnectionTCPAbridged } from "telegram/network/index.js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";

let server: TelegramTestServer;

beforeEach(async () => {
  server = await startTestServer({ accounts: 2 });
});

afterEach(async () => {
  await destroyClients();
  await server.close();
});

const self = (): Api.users.GetUsers => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });

describe("startTestServer()", () => {
  test("connect() - resolves true and getMe() returns the account", async () => {
    const client = await connectedClient(server, server.accounts[1]);
    expect((await client.getMe()).username).toBe("account2");
    expect(server.calls().map((call) => [call.method, call.isConnect])).toEqual([
      ["help.GetConfig", true],
      ["users.GetUsers", false],
    ]);
  });

  test("connect() - works over the abridged transport", async () => {
    const client = await connectedClient(server, server.accounts[0], { connection: ConnectionTCPAbridged });
    expect((await client.getMe()).username).toBe("account1");
  });

  test("invoke() - fifty calls at once are all answered", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    const users = await Promise.all(Array.from({ length: 50 }, () => client.invoke(self())));
    expect(users.map(([user]) => user?.className)).toEqual(Array.from({ length: 50 }, () => "User"));
  });

  test("invoke() - of three calls at once a refused one leaves the others their answers", async () => {
    await using singly = await startTestServer({ sendsSingly: true });
    const client = await connectedClient(singly, singly.accounts[0]);
    singly.fail({ method: "users.getUsers", message: "PEER_FLOOD", times: 1 });
    const settled = await Promise.allSettled(Array.from({ length: 3 }, () => client.invoke(self())));
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(new Set(singly.calls().map(({ packet }) => packet)).size).toBe(2);
    await client.destroy();
  });

  test("sendMessage() - is recorded once, and read again from the history", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.sendMessage("channel7", { message: "hello" });
    await client.sendMessage("user7", { message: "hello you" });
    expect(server.messages().map(({ peer, text }) => [peer, text])).toEqual([
      ["channel:1000000007", "hello"],
      ["user:100000007", "hello you"],
    ]);
    const [message] = await client.getMessages("channel7", { limit: 5 });
    expect(message?.message).toBe("hello");
  });

  test("limit() - calls over the bucket get FLOOD_WAIT, and the seconds left while it lasts", async () => {
    server.limit("users.getUsers", { calls: 2, perMs: 60_000, waitSeconds: 7 });
    const client = await connectedClient(server, server.accounts[0]);
    await client.invoke(self());
    await client.invoke(self());
    await rejection(client.invoke(self()));
    await rejection(client.invoke(self()));
    expect(server.calls().map((call) => call.outcome)).toEqual(["ok", "ok", "ok", "FLOOD_WAIT_7", "FLOOD_WAIT_7"]);
    expect(server.waits()).toMatchObject([{ account: "account1", method: "users.GetUsers", seconds: 7 }]);
  });
});
