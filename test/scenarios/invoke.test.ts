import { randomInt } from "node:crypto";
import { createRequire } from "node:module";
import type { Api as ApiTypes } from "telegram";
import { describe, expect, test } from "vitest";
import { OptionsError } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf } from "./support.js";

const bigInt = createRequire(import.meta.url)("big-integer") as (value: number) => never;

describe("invoke() - requests of the protocol itself", () => {
  test("Ping, PingDelayDisconnect, GetFutureSalts - are answered, and do not count as API calls", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const id = 5n as never;
    expect(await pool.invoke(new Api.Ping({ pingId: id }))).toMatchObject({ className: "Pong" });
    const delayed = new Api.PingDelayDisconnect({ pingId: id, disconnectDelay: 75 });
    expect(await pool.use((client) => client.invoke(delayed))).toMatchObject({ className: "Pong" });
    expect(await pool.invoke(new Api.GetFutureSalts({ num: 2 }))).toMatchObject({ className: "FutureSalts" });
    const calls = server.calls().filter(({ isConnect }) => !isConnect);
    expect(calls.map(({ method }) => method)).toEqual(["account.GetAuthorizations"]);
  });
});

describe("invoke() - what is no request", () => {
  const odd = (field: string): object => Object.defineProperty({}, field, { get: () => expect.fail("a getter") });
  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["null", null],
    ["a number", 5],
    ["NaN", Number.NaN],
    ["a bigint", 5n],
    ["a text", "help.GetConfig"],
    ["a symbol", Symbol("x")],
    ["true", true],
    ["a function", () => {}],
    ["a class", Api.help.GetConfig],
    ["a promise", Promise.resolve(new Api.help.GetConfig())],
    ["an array", [new Api.help.GetConfig()]],
    ["an object", {}],
    ["one without a prototype", Object.create(null)],
    ["a date", new Date()],
    ["a name alone", { className: "help.GetConfig" }],
    ["one that only looks like it", { className: "help.GetConfig", classType: "request" }],
    ["a constructor", new Api.InputUserSelf()],
    ["one whose name throws", odd("className")],
    ["one whose type throws", odd("classType")],
    ["a revoked proxy", revoked()],
  ])("a function that returns %s - OptionsError, nothing is sent", async (_, value) => {
    const { server, open } = await stage();
    const pool = await open();
    expect(await rejection(pool.invoke(() => value))).toBeInstanceOf(OptionsError);
    expect(await rejection(pool.use((client) => client.invoke(value as never)))).toBeInstanceOf(OptionsError);
    expect(server.calls().filter(({ isConnect }) => !isConnect)).toEqual([]);
    expect(pool.get("account1")?.state).toBe("free");
  });

  test("a request longer than Telegram accepts - OptionsError, the session stays usable", async () => {
    const { open } = await stage();
    const pool = await open();
    const bytes = Buffer.alloc(1_100_000);
    const request = new Api.upload.SaveFilePart({ fileId: 1n as never, filePart: 0, bytes });
    expect(await rejection(pool.invoke(request))).toBeInstanceOf(OptionsError);
    expect(await pool.use(nameOf)).toBe("account1");
  });
});

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe("invoke()", () => {
  test("resolves a peer's name for each account, and does not change the caller's object", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 2 });
    const request = message("hello", "channel7");
    const { randomId } = request;
    await pool.invoke(request);
    expect(request.peer).toBe("channel7");
    expect(String(request.randomId)).toBe(String(randomId));
    expect(textsOf(server)).toEqual(["hello"]);
    expect(new Set(callsOf(server, "contacts.ResolveUsername").map(({ account }) => account)).size).toBe(3);
    const outcomes = callsOf(server, "messages.SendMessage").map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome.startsWith("CHANNEL_"))).toEqual([]);
    expectPeace(server);
  });

  test("sends the same object twice as two messages, on any accounts", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    const request = message("twice", "channel7");
    await pool.invoke(request, { id: "account1" });
    await pool.invoke(request, { id: "account2" });
    expect(server.messages().map(({ account }) => account)).toEqual(["account1", "account2"]);
  });

  test("keeps a random id of the caller on every account", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const own = randomInt(1, 2 ** 40);
    await pool.invoke(new Api.messages.SendMessage({ peer: "user1", message: "own", randomId: bigInt(own) }));
    expect(server.messages().map(({ randomId }) => randomId)).toEqual([String(own)]);
  });

  test("after a flood that was waited for, the same account gets the same random id", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const ids: string[] = [];
    server.fail({
      method: "messages.SendMessage",
      message: "FLOOD_WAIT_1",
      times: 1,
      when: (call) => {
        ids.push(String(call.request.randomId));
        return true;
      },
    });
    await pool.invoke(message("again"));
    expect(server.messages().map(({ randomId }) => randomId)).toEqual(ids);
    expectPeace(server);
  });

  test("with a function, builds a request for each account", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    let made = 0;
    await pool.invoke(() => {
      made += 1;
      return message(`made ${made}`, "channel7");
    });
    expect(made).toBe(2);
    expect(textsOf(server)).toEqual(["made 2"]);
  });

  test.each([
    ["InvokeWithoutUpdates", (query: ApiTypes.AnyRequest) => new Api.InvokeWithoutUpdates({ query })],
    ["InvokeWithTakeout", (query: ApiTypes.AnyRequest) => new Api.InvokeWithTakeout({ takeoutId: bigInt(5), query })],
    [
      "both",
      (query: ApiTypes.AnyRequest) =>
        new Api.InvokeWithTakeout({ takeoutId: bigInt(5), query: new Api.InvokeWithoutUpdates({ query }) }),
    ],
  ])("judges a wrapper by the query in it (%s)", async (_, wrap) => {
    const { server, open, toldOf } = await stage({ accounts: 3 });
    const pool = await open({ cooldownScope: "method" });
    server.fail({ method: "users.GetUsers", message: "RPC_CALL_FAIL", code: 500, times: 1 });
    const self = () => new Api.users.GetUsers({ id: [new Api.InputUserSelf()] });
    await pool.invoke(wrap(self()));
    expect(callsOf(server, "users.GetUsers")).toHaveLength(2);
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_30", times: 1 });
    await pool.invoke(wrap(self()));
    expect(toldOf("cooled")).toMatchObject([{ method: "users.GetUsers" }]);
    server.fail({ method: "account.UpdateStatus", message: "RPC_CALL_FAIL", code: 500, times: 1 });
    const error = await rejection(pool.invoke(wrap(new Api.account.UpdateStatus({ offline: true }))));
    expect(error).toMatchObject({ code: "OUTCOME_UNKNOWN" });
    expect(callsOf(server, "account.UpdateStatus")).toHaveLength(1);
    expectPeace(server, "method");
  });

  test("rebuilds a wrapped send with a peer's name for each account", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const peerOf = async (client: { getInputEntity(name: string): Promise<ApiTypes.TypeInputPeer> }) =>
      client.getInputEntity("channel7");
    await pool.use(async (client) =>
      client.invoke(
        new Api.InvokeWithoutUpdates({
          query: new Api.messages.SendMessage({ peer: await peerOf(client), message: "wrapped" }),
        }),
      ),
    );
    expect(textsOf(server)).toEqual(["wrapped"]);
    expectPeace(server);
  });

  test("refuses what is no request before a lease is held for long", async () => {
    const { server, open } = await stage();
    const pool = await open();
    for (const wrong of [undefined, null, 5, {}, "messages.SendMessage"]) {
      const error = await rejection(pool.invoke(wrong as never), 1_000);
      expect(error).toBeInstanceOf(Error);
    }
    const error = await rejection(
      pool.invoke(() => undefined as never),
      1_000,
    );
    expect(error).toBeInstanceOf(Error);
    expect(pool.status()).toMatchObject({ free: 1, leased: 0 });
    expect(server.messages()).toEqual([]);
  });

  test("knows the request's method: skips a session that cools for it", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ cooldownScope: "method" });
    server.fail({ account: "account1", method: "contacts.ResolveUsername", message: "FLOOD_WAIT_30" });
    const resolve = () => pool.invoke(new Api.contacts.ResolveUsername({ username: "user1" }));
    await resolve();
    const leasedBefore = callsOf(server, "contacts.ResolveUsername", "account1").length;
    for (let i = 0; i < 5; i++) await resolve();
    expect(callsOf(server, "contacts.ResolveUsername", "account1")).toHaveLength(leasedBefore);
    expectPeace(server, "method");
  });
});
