import { Api } from "telegram";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";
import { RawClient } from "./raw-client.js";

let server: TelegramTestServer;
let raw: RawClient;

beforeEach(async () => {
  server = await startTestServer({ accounts: 2 });
  raw = await RawClient.connect(server, server.accounts[0]);
});

afterEach(async () => {
  raw[Symbol.dispose]();
  await destroyClients();
  await server.close();
});

const self = (): Buffer => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }).getBytes();
const state = (): Buffer => new Api.updates.GetState().getBytes();

function flood(options: { readonly message?: string; readonly sticky?: boolean } = {}): void {
  server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_30", times: 1, ...options });
}

describe("violations()", () => {
  test("a call after the packet that acknowledged the flood - is one", async () => {
    flood();
    const { id } = await raw.call(self());
    raw.acknowledge(id);
    await raw.call(self());
    expect(server.violations()).toMatchObject([
      { method: "users.GetUsers", outcome: "FLOOD_WAIT_30", wait: { error: "FLOOD_WAIT_30", account: "account1" } },
    ]);
    expect(server.inFlight()).toEqual([]);
  });

  test("a call before the flood was acknowledged - was in flight", async () => {
    flood();
    const { id } = await raw.call(self());
    await raw.call(self());
    raw.acknowledge(id);
    expect(server.violations()).toEqual([]);
    expect(server.inFlight()).toHaveLength(1);
  });

  test("a call in the packet that acknowledges - was in flight", async () => {
    flood();
    const { id } = await raw.call(self());
    const acknowledgement = Buffer.alloc(20);
    acknowledgement.writeUInt32LE(0x62d6b459, 0);
    acknowledgement.writeUInt32LE(0x1cb5c415, 4);
    acknowledgement.writeUInt32LE(1, 8);
    acknowledgement.writeBigInt64LE(id, 12);
    const [, call] = raw.send(acknowledgement, state());
    await raw.answerTo(call);
    expect({ violations: server.violations().length, inFlight: server.inFlight().length }).toEqual({
      violations: 0,
      inFlight: 1,
    });
  });

  test("a call on a connection opened after the flood - is one", async () => {
    flood();
    await raw.call(self());
    using later = await RawClient.connect(server, server.accounts[0]);
    await later.call(state());
    expect(server.violations()).toMatchObject([{ method: "updates.GetState", connection: 2 }]);
  });

  test("a call a second after an unacknowledged flood - is one", async () => {
    flood();
    await raw.call(self());
    await vi.waitUntil(
      async () => {
        await raw.call(state());
        return server.violations().length > 0;
      },
      { timeout: 5_000, interval: 100 },
    );
    const [violation] = server.violations();
    expect(violation?.at).toBeGreaterThan((violation?.wait.toldAt ?? Number.POSITIVE_INFINITY) + 1_000);
  });

  test("scope - session counts every method, method the same one", async () => {
    flood();
    const { id } = await raw.call(self());
    raw.acknowledge(id);
    await raw.call(state());
    expect(server.violations()).toHaveLength(1);
    expect(server.violations({ scope: "method" })).toEqual([]);
    await raw.call(self());
    expect(server.violations({ scope: "method" })).toHaveLength(1);
  });

  test("another account, a ping, and a call after the end - are none", async () => {
    using other = await RawClient.connect(server, server.accounts[1]);
    flood({ message: "FLOOD_WAIT_1" });
    const { id } = await raw.call(self());
    raw.acknowledge(id);
    await other.call(self());
    const until = server.waits()[0]?.until ?? 0;
    await vi.waitUntil(() => Date.now() >= until, { timeout: 5_000 });
    await raw.call(self());
    expect({ violations: server.violations(), inFlight: server.inFlight() }).toEqual({ violations: [], inFlight: [] });
  });

  test("a wait that is not sticky - counts as well", async () => {
    flood({ sticky: false });
    const { id } = await raw.call(self());
    raw.acknowledge(id);
    await raw.call(self());
    expect(server.violations()).toMatchObject([{ outcome: "ok" }]);
  });

  test("SLOWMODE_WAIT - counts calls about the same peer in both scopes", async () => {
    const client = await connectedClient(server, server.accounts[1]);
    await client.getInputEntity("channel1");
    await client.getInputEntity("channel2");
    server.fail({ account: "account2", message: "SLOWMODE_WAIT_30", times: 1 });
    await rejection(client.sendMessage("channel1", { message: "one" }));
    await client.sendMessage("channel2", { message: "two" });
    await client.getMessages("channel1", { limit: 1 });
    const found = (scope: "session" | "method") =>
      [...server.violations({ scope }), ...server.inFlight({ scope })].map(({ method, peer }) => [method, peer]);
    expect(found("session")).toEqual([["messages.GetHistory", "channel:1000000001"]]);
    expect(found("method")).toEqual([["messages.GetHistory", "channel:1000000001"]]);
  });

  test("the connect of the library - is none, its next call is", async () => {
    flood();
    await raw.call(self());
    const client = await connectedClient(server, server.accounts[0]);
    expect(server.violations()).toEqual([]);
    await rejection(client.getMe());
    expect(server.violations()).toHaveLength(1);
  });

  test("the library, flooded - acknowledges, so that its next call is one", async () => {
    const client = await connectedClient(server, server.accounts[1]);
    flood();
    await rejection(client.getMe());
    await vi.waitUntil(
      async () => {
        await rejection(client.getMe());
        return server.violations().length > 0;
      },
      { timeout: 900 },
    );
  });
});

describe("waits()", () => {
  test("return start and length", async () => {
    flood();
    await raw.call(self());
    const [wait] = server.waits();
    expect(wait).toMatchObject({ account: "account1", method: "users.GetUsers", peer: null, seconds: 30 });
    expect((wait?.until ?? 0) - (wait?.from ?? 0)).toBe(30_000);
    expect(wait?.toldAt).toBeGreaterThanOrEqual(wait?.from ?? Number.POSITIVE_INFINITY);
  });
});

describe("clear()", () => {
  test("deletes expired waits and keeps running ones", async () => {
    flood();
    const { id } = await raw.call(self());
    raw.acknowledge(id);
    await raw.call(state());
    server.clear();
    expect(server.report()).toMatchObject({ calls: [], messages: [], violations: [], maxConnectionsPerKey: 1 });
    expect(server.connections()).toHaveLength(1);
    await raw.call(self());
    expect(server.violations()).toHaveLength(1);
  });
});
