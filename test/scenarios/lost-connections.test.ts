import { describe, expect, test } from "vitest";
import { ConnectError, OutcomeUnknownError } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

const updateStatus = () => new Api.account.UpdateStatus({ offline: true });

describe.each(["before", "after"] as const)("connection cut %s execution", (at) => {
  test("use() - a read is sent again", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    server.cut({ method: "users.GetUsers", at, times: 1 });
    expect(await within(3_000, pool.use(nameOf))).toBe("account1");
    expect(callsOf(server, "users.GetUsers")).toHaveLength(2);
    expect(toldOf("disconnected")).toHaveLength(1);
    expect(toldOf("connected")).toHaveLength(2);
    await until("the old connection is closed", () => server.connections()[0]?.closedAt !== null);
  });

  test("invoke() - a message goes out once, on the same session", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.cut({ method: "messages.SendMessage", at, times: 1 });
    const sent = pool.invoke(message("once"));
    if (at === "before") await within(3_000, sent);
    else expect(await rejection(sent, 3_000)).toMatchObject({ code: "OUTCOME_UNKNOWN", executed: "yes" });
    expect(textsOf(server)).toEqual(["once"]);
    const calls = callsOf(server, "messages.SendMessage");
    expect(calls).toHaveLength(2);
    expect(new Set(calls.map(({ account }) => account)).size).toBe(1);
    expectPeace(server);
  });

  test("invoke() - a message that is cut off every time is sent twice at most", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.cut({ method: "messages.SendMessage", at });
    expect(await rejection(pool.invoke(message("once")), 5_000)).toBeInstanceOf(OutcomeUnknownError);
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(2);
    expect(textsOf(server).length).toBeLessThanOrEqual(1);
  });

  test("invoke() - a write that Telegram would execute twice is not sent again", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.cut({ method: "account.UpdateStatus", at, times: 1 });
    const error = await rejection<OutcomeUnknownError>(pool.invoke(updateStatus()), 3_000);
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(error.executed).toBe("unknown");
    expect(callsOf(server, "account.UpdateStatus")).toHaveLength(1);
  });

  test("use() - several parallel calls: each settles, none takes effect twice", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.cut({ method: "messages.SendMessage", at, skip: 4, times: 1 });
    await pool.use(async (client) => {
      const peer = await client.getInputEntity("user1");
      const texts = Array.from({ length: 10 }, (_, i) => `m${i}`);
      const work = [...texts.map((text) => client.sendMessage(peer, { message: text })), client.getMe()];
      await within(5_000, Promise.allSettled(work));
    });
    expect(new Set(textsOf(server)).size).toBe(10);
    expectPeace(server);
  });
});

describe("outages", () => {
  test("use() - the server pauses between jobs: the session backs off, then serves again", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    await Promise.all([pool.use(nameOf), pool.use(nameOf)]);
    await server.pause();
    await until("both noticed", () => toldOf("disconnected").length === 2);
    const error = await rejection(pool.use(nameOf), 2_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(pool.status()).toMatchObject({ cooling: 2, free: 0 });
    expect(pool.status().nextAvailableAt).toBeGreaterThan(Date.now());
    await server.resume();
    expect(await within(4_000, pool.use(nameOf))).toMatch(/account/);
    expectPeace(server);
  });

  test("use() - the server pauses in the middle of a read: it fails or succeeds in time, no storm of connects", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.delay({ method: "users.GetFullUser", delayMs: 60_000 });
    const work = pool.invoke(new Api.users.GetFullUser({ id: new Api.InputUserSelf() }), { wait: false });
    work.catch(() => {});
    await until("it is under way", () => callsOf(server, "users.GetFullUser").length === 1);
    await server.pause();
    const error = await rejection(work, 4_000);
    expect(["CONNECT_FAILED", "NO_SESSION_AVAILABLE"]).toContain((error as Error & { code: string }).code);
    server.clearRules();
    await server.resume();
    expect(await within(5_000, pool.use(nameOf))).toBe("account1");
    expect(server.connections().length).toBeLessThan(5);
  });

  test("use() - when nothing listens: ConnectError in time, rotation never hammers", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    await server.pause();
    const error = await rejection(pool.use(nameOf), 2_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(pool.status().cooling).toBe(3);
    const direct = await rejection(pool.acquire({ id: "account1", wait: false }), 500);
    expect(direct).toMatchObject({ code: "NO_SESSION_AVAILABLE", waitingCount: 1 });
    await server.resume();
    expect(await within(4_000, pool.use(nameOf, { id: "account2" }))).toBe("account2");
  });

  test("acquire({ id }) - ConnectError with the cause", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await server.pause();
    const error = await rejection(pool.acquire({ id: "account1" }), 2_000);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error).toMatchObject({ sessionId: "account1" });
    await server.resume();
  });

  test("use() - nothing connects while the session cools, however often it is requested", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_2", times: 1 });
    await rejection(pool.use(nameOf, { wait: false }));
    server.disconnect();
    const before = server.connections().length;
    const waiting = pool.use(nameOf);
    for (let i = 0; i < 20; i++) await rejection(pool.acquire({ wait: false }));
    expect(await within(4_000, waiting)).toBe("account1");
    const later = server.connections().slice(before);
    expect(later).toHaveLength(1);
    expect(later[0]?.openedAt).toBeGreaterThanOrEqual(server.waits()[0]?.until ?? Number.NaN);
    expectPeace(server);
  });

  test("lease - a connection lost between two calls: the second connects again", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    using lease = await pool.acquire();
    await lease.client.getMe();
    server.disconnect();
    await until("it noticed", () => toldOf("disconnected").length === 1);
    await within(2_000, lease.client.sendMessage("user1", { message: "after" }));
    expect(textsOf(server)).toEqual(["after"]);
  });

  test("use() - does not notice a salt that expires", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await pool.use(nameOf);
    server.changeSalt("account1");
    await within(2_000, pool.invoke(message("salted")));
    expect(textsOf(server)).toEqual(["salted"]);
  });
});
