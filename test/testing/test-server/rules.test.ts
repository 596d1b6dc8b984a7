import { Api } from "telegram";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RpcError, startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";
import { SERVICE } from "../../../src/testing/test-server/messages.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";
import { RawClient, request } from "./raw-client.js";

let server: TelegramTestServer;

beforeEach(async () => {
  server = await startTestServer({ accounts: 2 });
});

afterEach(async () => {
  await destroyClients();
  await server.close();
});

const getSelf = (): Api.users.GetUsers => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
const self = (): Buffer => getSelf().getBytes();
const state = (): Buffer => new Api.updates.GetState().getBytes();
const outcomes = (): readonly string[] => server.calls().map(({ outcome }) => outcome);
const connect = (index = 0): Promise<RawClient> => RawClient.connect(server, server.accounts[index]);

describe("rule()", () => {
  test("a method or an account there is not - throws", () => {
    expect(() => server.mute({ method: "users.getUzers" })).toThrow("There is no method users.getUzers");
    expect(() => server.mute({ account: "nobody" })).toThrow("There is no account nobody");
  });

  test("skip and times - it acts on those in between", async () => {
    using raw = await connect();
    const rule = server.fail({ message: "RPC_CALL_FAIL", code: 500, skip: 1, times: 2 });
    for (let i = 0; i < 4; i++) await raw.call(self());
    expect(outcomes()).toEqual(["ok", "RPC_CALL_FAIL", "RPC_CALL_FAIL", "ok"]);
    expect(rule.hits).toBe(2);
  });

  test("account, method and when - it leaves the others alone", async () => {
    using one = await connect(0);
    using two = await connect(1);
    server.fail({ account: "account1", method: ["users.getUsers", "help.getConfig"], message: "PEER_FLOOD" });
    server.fail({ message: "CHANNEL_PRIVATE", when: (call) => call.method === "updates.GetState" });
    expect((await one.call(self())).error).toBe("PEER_FLOOD");
    expect((await two.call(self())).error).toBeUndefined();
    expect((await two.call(state())).error).toBe("CHANNEL_PRIVATE");
  });

  test("remove() - ends it", async () => {
    using raw = await connect();
    const rule = server.fail({ message: "PEER_FLOOD" });
    expect((await raw.call(self())).error).toBe("PEER_FLOOD");
    rule.remove();
    rule.remove();
    expect((await raw.call(self())).error).toBeUndefined();
  });

  test("several that decide - the first made does, and delays add up", async () => {
    using raw = await connect();
    server.delay({ delayMs: 20 });
    server.delay({ delayMs: 30 });
    server.fail({ message: "PEER_FLOOD" });
    server.fail({ message: "CHAT_RESTRICTED" });
    const sentAt = Date.now();
    expect((await raw.call(self())).error).toBe("PEER_FLOOD");
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(49);
  });
});

describe("limit()", () => {
  test("each account and method - has a bucket of its own", async () => {
    using one = await connect(0);
    using two = await connect(1);
    server.limit(["users.GetUsers", "updates.GetState"], { calls: 1, perMs: 60_000 });
    for (const raw of [one, two]) {
      expect((await raw.call(self())).error).toBeUndefined();
      expect((await raw.call(state())).error).toBeUndefined();
    }
    expect((await two.call(state())).error).toBe("FLOOD_WAIT_60");
    expect((await two.call(self())).error).toBe("FLOOD_WAIT_60");
  });

  test("shape: window - all calls are allowed again at once", async () => {
    using raw = await connect();
    server.limit("users.GetUsers", { calls: 2, perMs: 1_000, shape: "window" });
    const outcomes = async () => [await raw.call(self()), await raw.call(self()), await raw.call(self())];
    const expected = [undefined, undefined, "FLOOD_WAIT_1"];
    expect((await outcomes()).map(({ error }) => error)).toEqual(expected);
    // The window has begun when the server answered, which may be later than when the call arrived.
    const windowEnd = Date.now() + 1_000;
    await vi.waitUntil(() => Date.now() > windowEnd, { timeout: 5_000, interval: 10 });
    expect((await outcomes()).map(({ error }) => error)).toEqual(expected);
  });

  test("when the bucket filled again - calls pass", async () => {
    using raw = await connect();
    server.limit("users.GetUsers", { calls: 1, perMs: 100 });
    await raw.call(self());
    expect((await raw.call(self())).error).toBe("FLOOD_WAIT_1");
    await vi.waitUntil(async () => (await raw.call(self())).error === undefined, { timeout: 5_000, interval: 100 });
    const [wait] = server.waits();
    const passed = server.calls().at(-1);
    expect(passed?.at).toBeGreaterThanOrEqual(wait?.until ?? Number.POSITIVE_INFINITY);
  });
});

describe("fail()", () => {
  test("a wait - continues for that account and method, with the seconds left rounded up", async () => {
    using one = await connect(0);
    using two = await connect(1);
    server.fail({ message: "FLOOD_WAIT_2", times: 1 });
    expect((await one.call(self())).error).toBe("FLOOD_WAIT_2");
    expect((await one.call(self())).error).toBe("FLOOD_WAIT_2");
    expect((await one.call(state())).error).toBeUndefined();
    expect((await two.call(self())).error).toBeUndefined();
    await vi.waitUntil(async () => (await one.call(self())).error === "FLOOD_WAIT_1", {
      timeout: 5_000,
      interval: 100,
    });
    expect(server.waits()).toHaveLength(1);
  });

  test("a wait that is not sticky - is sent once", async () => {
    using raw = await connect();
    server.fail({ message: "FLOOD_WAIT_30", sticky: false, times: 1 });
    expect((await raw.call(self())).error).toBe("FLOOD_WAIT_30");
    expect((await raw.call(self())).error).toBeUndefined();
    expect(server.waits()).toMatchObject([{ error: "FLOOD_WAIT_30" }]);
  });

  test("SLOWMODE_WAIT - continues for that peer only", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.getInputEntity("channel1");
    await client.getInputEntity("channel2");
    server.fail({ method: "messages.sendMessage", message: "SLOWMODE_WAIT_9", times: 1 });
    await rejection(client.sendMessage("channel1", { message: "one" }));
    await rejection(client.sendMessage("channel1", { message: "two" }));
    await client.sendMessage("channel2", { message: "three" });
    expect(outcomes().slice(-3)).toEqual(["SLOWMODE_WAIT_9", "SLOWMODE_WAIT_9", "ok"]);
    expect(server.waits()).toMatchObject([{ peer: "channel:1000000001" }]);
  });

  test("executes - the call takes effect and is refused", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.getInputEntity("channel1");
    server.fail({ message: "INTERNAL", code: 500, executes: true, times: 1 });
    await rejection(client.sendMessage("channel1", { message: "once" }));
    expect(server.messages().map(({ text }) => text)).toEqual(["once"]);
    expect(server.calls().at(-1)).toMatchObject({ outcome: "INTERNAL", executed: true });
  });

  test("three parallel sends, the first one flooded - the others get MSG_WAIT_FAILED first", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    const peer = await client.getInputEntity("channel1");
    server.clear();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_60", times: 1 });
    const first = client.invoke(new Api.messages.SendMessage({ peer, message: "1" }));
    for (const message of ["2", "3"])
      void client.invoke(new Api.messages.SendMessage({ peer, message })).catch(() => 0);
    await rejection(first);
    await vi.waitUntil(() => server.calls().length >= 3);
    expect(outcomes().slice(0, 3)).toEqual(["FLOOD_WAIT_60", "MSG_WAIT_FAILED", "MSG_WAIT_FAILED"]);
  });
});

describe("mute()", () => {
  test("applies the call, acknowledges it and never answers", async () => {
    using raw = await connect();
    await raw.call(self());
    server.mute({ method: "updates.getState" });
    const [id] = raw.send(state());
    const [acknowledgement] = (await raw.receive()).messages;
    expect(acknowledgement?.body.readUInt32LE(0)).toBe(SERVICE.acknowledgement);
    expect(acknowledgement?.body.readBigInt64LE(12)).toBe(id);
    expect((await raw.call(self())).error).toBeUndefined();
    expect(server.calls()[1]).toMatchObject({ outcome: "unanswered", executed: true });
  });

  test("executes: false - the call takes no effect", async () => {
    using raw = await connect();
    server.mute({ method: "updates.getState", executes: false });
    raw.send(state());
    await raw.call(self());
    expect(server.calls()[0]).toMatchObject({ outcome: "unanswered", executed: false });
  });
});

describe("cut()", () => {
  test("before - the connection ends and nothing took effect", async () => {
    using raw = await connect();
    server.cut({ at: "before" });
    raw.send(self());
    await raw.closed;
    expect(server.calls()).toMatchObject([{ outcome: "cut", executed: false }]);
    expect(server.connections()[0]?.closedAt).not.toBeNull();
  });

  test("after - the library sends it again, and the message is there once", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.getInputEntity("channel1");
    server.cut({ method: "messages.sendMessage", at: "after", times: 1 });
    expect((await rejection(client.sendMessage("channel1", { message: "once" }))).message).toContain(
      "RANDOM_ID_DUPLICATE",
    );
    expect(server.messages()).toHaveLength(1);
    expect(server.duplicates({ key: ({ text }) => text })).toEqual([]);
    const sends = server.calls().filter(({ method }) => method === "messages.SendMessage");
    expect(sends).toMatchObject([
      { outcome: "cut", executed: true, connection: 1 },
      { outcome: "RANDOM_ID_DUPLICATE", executed: false, connection: 2 },
    ]);
  });
});

describe("failTransport()", () => {
  test("-429 on connect - the library connects again", async () => {
    const rule = server.failTransport({ code: -429, on: "connect", times: 1 });
    const client = await connectedClient(server, server.accounts[0]);
    expect((await client.getMe()).username).toBe("account1");
    expect({ hits: rule.hits, connections: server.connections().length }).toEqual({ hits: 1, connections: 2 });
  });

  test("-404 from now on - every packet of that account gets it", async () => {
    using one = await connect(0);
    using two = await connect(1);
    await one.call(self());
    server.failTransport({ account: "account1", code: -404 });
    for (let i = 0; i < 2; i++) {
      one.send(self());
      expect((await one.receive()).transportError).toBe(-404);
    }
    expect((await two.call(self())).error).toBeUndefined();
  });

  test("on connect - packets after the first one pass", async () => {
    server.failTransport({ code: -404, on: "connect" });
    using raw = await RawClient.connect(server, server.accounts[0], false);
    raw.send(self());
    expect((await raw.receive()).transportError).toBe(-404);
    raw.send(self());
    expect((await raw.receive()).messages[0]?.body.readUInt32LE(0)).toBe(SERVICE.badServerSalt);
  });
});

describe("ignore()", () => {
  test("leaves packets unanswered until it is removed", async () => {
    const rule = server.ignore({ account: "account1" });
    using raw = await RawClient.connect(server, server.accounts[0], false);
    raw.send(request(SERVICE.ping, 8));
    await vi.waitUntil(() => rule.hits === 1);
    rule.remove();
    raw.send(request(SERVICE.ping, 8));
    expect((await raw.receive()).messages).toHaveLength(1);
    expect(server.calls()).toEqual([]);
  });
});

describe("revoke()", () => {
  test("accepts the connection, then answers everything with AUTH_KEY_UNREGISTERED", async () => {
    server.revoke("account1");
    const client = await connectedClient(server, server.accounts[0]);
    expect(await rejection(client.getMe())).toMatchObject({ code: 401, errorMessage: "AUTH_KEY_UNREGISTERED" });
  });

  test("connect - the initConnection is refused, too, with an error of choice", async () => {
    const rule = server.revoke("account1", { code: 406, message: "AUTH_KEY_DUPLICATED", connect: true });
    const refusal = await rejection(connectedClient(server, server.accounts[0]));
    expect(refusal).toMatchObject({ code: 406, errorMessage: "AUTH_KEY_DUPLICATED" });
    expect(server.calls()).toMatchObject([{ method: "help.GetConfig", isConnect: true, executed: false }]);
    rule.remove();
    expect(await connectedClient(server, server.accounts[0])).toMatchObject({ connected: true });
  });

  test("after auth.logOut - the account is revoked", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    await client.invoke(new Api.auth.LogOut());
    expect((await rejection(client.getMe())).message).toContain("AUTH_KEY_UNREGISTERED");
  });
});

describe("handle()", () => {
  test("answers a method by either of its names", async () => {
    const client = await connectedClient(server, server.accounts[0]);
    server.handle("help.getNearestDc", ({ account, tl }) =>
      tl("NearestDc", { country: account, thisDc: 2, nearestDc: 2 }),
    );
    expect((await client.invoke(new Api.help.GetNearestDc())).country).toBe("account1");
    server.handle("help.getNearestDc", () => new Api.NearestDc({ country: "XX", thisDc: 2, nearestDc: 2 }));
    expect((await client.invoke(new Api.help.GetNearestDc())).country).toBe("XX");
    server.handle("help.GetNearestDc", () => {
      throw new RpcError(420, "FLOOD_WAIT_5");
    });
    await rejection(client.invoke(new Api.help.GetNearestDc()));
    expect(server.calls().at(-1)).toMatchObject({ outcome: "FLOOD_WAIT_5", executed: false });
    expect(server.waits()).toMatchObject([{ method: "help.GetNearestDc", seconds: 5 }]);
  });

  test("a handler that throws by mistake - is warned of and answered with 500", async () => {
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    using raw = await connect();
    server.handle("updates.getState", () => Promise.reject(new Error("a mistake")));
    expect((await raw.call(state())).error).toBe("HANDLER_FAILED");
    expect((await warned).message).toContain("a mistake");
  });
});
