import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

describe("FLOOD_WAIT", () => {
  test("use() - another account takes over, the flooded one cools and serves again", async () => {
    const { server, open, told } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_1", times: 1 });
    await pool.invoke(message("taken over"));
    expect(textsOf(server)).toEqual(["taken over"]);
    const [wait] = server.waits();
    const flooded = wait?.account ?? "";
    const cooled = told.find(({ name }) => name === "cooled");
    expect(cooled?.event).toMatchObject({ id: flooded, seconds: 1 });
    expect(pool.get(flooded)?.state).toBe("cooling");
    expect(Math.abs(Number(pool.get(flooded)?.availableAt) - Number(cooled?.event.until))).toBeLessThan(50);
    await pool.invoke(message("served by it", "user2"), { id: flooded });
    const again = callsOf(server, "messages.SendMessage", flooded).at(-1);
    expect(again?.outcome).toBe("ok");
    expect(again?.at).toBeGreaterThanOrEqual(wait?.until ?? Number.NaN);
    expect(told.some(({ name, event }) => name === "recovered" && event.id === flooded)).toBe(true);
    expectPeace(server);
  });

  test("use() - without another account: waits, or says when one is free", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_2", times: 1 });
    const error = await rejection<NoSessionAvailableError>(pool.use(nameOf, { wait: false }), 1_000);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error).toMatchObject({ waitingCount: 1, nextReleaseIn: 2, cause: { seconds: 2 } });
    expect(Math.abs(Number(error.retryAt) - Date.now() - 2_000)).toBeLessThan(1_000);
    const early = await rejection(pool.acquire({ wait: 500 }), 300);
    expect(early).toBeInstanceOf(NoSessionAvailableError);
    expect(await pool.use(nameOf)).toBe("account1");
    expectPeace(server);
  });

  test("use() - the same waits in the middle of a queue: nothing is sent into it", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_1", skip: 3, times: 1 });
    await Promise.all(Array.from({ length: 10 }, (_, i) => pool.invoke(message(`q${i}`))));
    expect(new Set(textsOf(server)).size).toBe(10);
    expectPeace(server);
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(11);
  });

  test("open() - a cooldown survives a restart", async () => {
    const { server, open } = await stage();
    const first = await open();
    server.fail({ method: "users.GetUsers", message: "FLOOD_WAIT_2", times: 1 });
    await rejection(first.use(nameOf, { wait: false }));
    await first.close();
    const before = server.connections().length;
    const second = await open();
    expect(second.get("account1")).toMatchObject({ state: "cooling" });
    expect(await rejection(second.acquire({ wait: 100 }), 300)).toBeInstanceOf(NoSessionAvailableError);
    expect(server.connections()).toHaveLength(before);
    expect(await second.use(nameOf)).toBe("account1");
    const [wait] = server.waits();
    expect(callsOf(server, "users.GetUsers").at(-1)?.at).toBeGreaterThanOrEqual(wait?.until ?? Number.NaN);
    expect(server.connections().at(-1)?.openedAt).toBeGreaterThanOrEqual(wait?.until ?? Number.NaN);
    expectPeace(server);
  });

  test.each(["FLOOD_PREMIUM_WAIT_1", "FLOOD_WAIT_0"])("use() - %s cools the session too", async (code) => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: code, times: 1 });
    await pool.invoke(message("once"));
    expect(toldOf("cooled")).toMatchObject([{ seconds: 1 }]);
    expectPeace(server);
  });

  test("use() - inlineWaitMs: slept out inside the call, the work runs once", async () => {
    const { server, open } = await stage();
    const pool = await open({ inlineWaitMs: 3_000 });
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_1", skip: 1, times: 1 });
    let runs = 0;
    await pool.use(async (client) => {
      runs += 1;
      await client.sendMessage("user1", { message: "a" });
      await client.sendMessage("user1", { message: "b" });
    });
    expect(runs).toBe(1);
    expect(textsOf(server)).toEqual(["a", "b"]);
    expectPeace(server);
  });

  test("coolDown() - applies a wait that only the caller could read", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    const rested = await pool.use((_, lease) => {
      lease.coolDown(1);
      return lease.id;
    });
    expect(pool.get(rested)?.state).toBe("cooling");
    const error = await rejection(pool.use((client) => client.getMe(), { id: rested, wait: false }));
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(callsOf(server, "users.GetUsers")).toEqual([]);
  });
});

describe("narrow cooldowns", () => {
  test("cooldownScope method - other methods continue, acquire({ method }) skips", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open({ cooldownScope: "method" });
    server.fail({ method: "contacts.ResolveUsername", account: "account1", message: "FLOOD_WAIT_30" });
    const resolve = () => pool.invoke(new Api.contacts.ResolveUsername({ username: "user9" }));
    for (let i = 0; i < 4; i++) await resolve();
    expect(toldOf("cooled")).toMatchObject([{ id: "account1", method: "contacts.ResolveUsername", seconds: 30 }]);
    expect(pool.get("account1")?.state).toBe("free");
    expect(callsOf(server, "contacts.ResolveUsername", "account1")).toHaveLength(1);
    expect(await pool.use(nameOf, { id: "account1" })).toBe("account1");
    for (const method of ["contacts.ResolveUsername", "contacts.resolveUsername"]) {
      const lease = await pool.acquire({ method });
      expect(lease.id).toBe("account2");
      const error = await rejection<NoSessionAvailableError>(pool.acquire({ method, id: "account1", wait: false }));
      expect(error.nextReleaseIn).toBeGreaterThan(25);
      lease.release();
    }
    expectPeace(server, "method");
  });

  test("cooldownScope method - a held lease is refused before sending, with the seconds left", async () => {
    const { server, open } = await stage();
    const pool = await open({ cooldownScope: "method" });
    server.fail({ method: "contacts.ResolveUsername", message: "FLOOD_WAIT_30" });
    using lease = await pool.acquire();
    const resolve = () => lease.client.invoke(new Api.contacts.ResolveUsername({ username: "user9" }));
    await rejection(resolve());
    const local = await rejection<Error & { seconds: number }>(resolve());
    expect(local.constructor.name).toBe("FloodWaitError");
    expect(local.seconds).toBeGreaterThan(28);
    expect(callsOf(server, "contacts.ResolveUsername")).toHaveLength(1);
    await lease.client.getMe();
  });

  test("SLOWMODE_WAIT - only that peer cools, use() rotates, reads of others continue", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({
      method: "messages.SendMessage",
      account: "account1",
      peer: "channel:1000000001",
      message: "SLOWMODE_WAIT_30",
    });
    for (let i = 0; i < 4; i++) await pool.invoke(message(`s${i}`, "channel1"));
    expect(server.messages().every(({ account }) => account === "account2")).toBe(true);
    expect(toldOf("cooled")).toMatchObject([{ id: "account1", peer: "channel:1000000001", seconds: 30 }]);
    expect(pool.get("account1")?.state).toBe("free");
    expect(callsOf(server, "messages.SendMessage", "account1")).toHaveLength(1);
    await pool.invoke(message("elsewhere", "channel2"), { id: "account1" });
    await pool.use((client) => client.getMessages("channel2", { limit: 1 }), { id: "account1" });
    const skipping = await pool.acquire({ peer: "channel:1000000001" });
    expect(skipping.id).toBe("account2");
    skipping.release();
    expectPeace(server);
  });

  test("SLOWMODE_WAIT everywhere - use() does not spin: it fails or waits", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    server.fail({
      method: "messages.SendMessage",
      peer: "channel:1000000001",
      message: "SLOWMODE_WAIT_1",
      times: 3,
    });
    const error = await rejection(pool.invoke(message("no", "channel1"), { wait: false }), 2_000);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error.cause).toMatchObject({ seconds: 1 });
    await within(4_000, pool.invoke(message("yes", "channel1")));
    expect(textsOf(server)).toEqual(["yes"]);
    await until("no lease", () => pool.leases().length === 0);
    expectPeace(server);
  });
});
