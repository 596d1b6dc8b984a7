import type { FloodWaitError } from "telegram/errors/index.js";
import { describe, expect, test } from "vitest";
import { OutcomeUnknownError, RotationUnsafeError } from "../../src/index.js";
import { errors } from "../fakes/client-library.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf } from "./support.js";

describe('retry "safe"', () => {
  test("use() - a flood after a write that took effect: RotationUnsafeError, the first message once", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", skip: 1, times: 1 });
    const error = await rejection(
      pool.use(async (client) => {
        await client.sendMessage("user1", { message: "a" });
        await client.sendMessage("user1", { message: "b" });
      }),
    );
    expect(error).toBeInstanceOf(RotationUnsafeError);
    expect(error.cause).toBeInstanceOf(errors.FloodWaitError);
    expect(textsOf(server)).toEqual(["a"]);
    expect(toldOf("cooled")).toHaveLength(1);
    expectPeace(server);
  });

  test("use() - a flood after reads and a refused write: rotates", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 2 });
    await pool.use(async (client) => {
      await client.getMe();
      await client.getEntity("channel3");
      await client.sendMessage("channel3", { message: "third time" });
    });
    expect(textsOf(server)).toEqual(["third time"]);
    expectPeace(server);
  });

  test("use() - a write refused with the caller's own error, then a flood: not executed, so it rotates", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "CHAT_WRITE_FORBIDDEN", code: 403, times: 1 });
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1, skip: 0 });
    await pool.use(async (client) => {
      await client.sendMessage("channel1", { message: "x" }).catch(() => {});
      await client.sendMessage("channel2", { message: "y" });
    });
    expect(new Set(textsOf(server))).toEqual(new Set(["x", "y"]));
    expectPeace(server);
  });

  test("use() - a swallowed flood is the caller's decision", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    let runs = 0;
    await pool.use(async (client) => {
      runs += 1;
      await client.sendMessage("user1", { message: "x" }).catch(() => {});
    });
    expect(runs).toBe(1);
    expect(pool.status().cooling).toBe(1);
  });

  test.each(["RPC_CALL_FAIL", "INTERNAL_SERVER_ERROR"])(
    "use() - 500 %s on a write: OutcomeUnknownError",
    async (text) => {
      const { server, open } = await stage({ accounts: 2 });
      const pool = await open();
      server.fail({ method: ["messages.SendMessage", "account.UpdateStatus"], message: text, code: 500 });
      const error = await rejection<OutcomeUnknownError>(pool.invoke(message("once")));
      expect(error).toBeInstanceOf(OutcomeUnknownError);
      expect(error.executed).toBe("unknown");
      expect(error.cause).toMatchObject({ code: 500 });
      const held = await rejection(
        pool.use((client) => client.invoke(new Api.account.UpdateStatus({ offline: true }))),
      );
      expect(held).toBeInstanceOf(OutcomeUnknownError);
      expect(callsOf(server, "messages.SendMessage")).toHaveLength(1);
      expect(callsOf(server, "account.UpdateStatus")).toHaveLength(1);
    },
  );

  test("use() - 500 on a read: repeated, the caller sees the answer", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "users.GetUsers", message: "RPC_CALL_FAIL", code: 500, times: 1 });
    expect(await pool.use(nameOf)).toBe("account1");
  });

  test.each([
    [400, "CONNECTION_NOT_INITED"],
    [400, "CONNECTION_LAYER_INVALID"],
    [401, "AUTH_KEY_PERM_EMPTY"],
  ])("%i %s - the connection is replaced, and the refused request is sent over the new one", async (code, text) => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    await pool.use(nameOf);
    server.fail({ method: "messages.SendMessage", code, message: text, times: 1 });
    await pool.invoke(message("once"));
    expect(textsOf(server)).toEqual(["once"]);
    expect(server.connections()).toHaveLength(2);
    expect({ state: pool.get("account1")?.state, died: toldOf("died") }).toEqual({ state: "free", died: [] });
    expectPeace(server);
  });

  test("420 FLOOD_SKIP_FAILED_WAIT on a write proves non-execution: it is sent again on the same session", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    server.fail({ method: "messages.SendMessage", code: 420, message: "FLOOD_SKIP_FAILED_WAIT", times: 1 });
    await pool.invoke(message("once"));
    expect({ texts: textsOf(server), cooled: toldOf("cooled") }).toEqual({ texts: ["once"], cooled: [] });
  });

  test.each([0, 9])(
    "use() - 50 parallel sends, the one after %i floods: nothing is sent during the wait",
    async (skip) => {
      const { server, open } = await stage({ accounts: 2 });
      const pool = await open();
      const rule = server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_2", skip, times: 1 });
      const results: PromiseSettledResult<unknown>[] = [];
      let runs = 0;
      const work = pool.use(async (client) => {
        runs += 1;
        const first = runs === 1;
        const sends = Array.from({ length: 50 }, (_, i) => client.sendMessage("user1", { message: `p${i}` }));
        const settled = await Promise.allSettled(sends);
        if (first) results.push(...settled);
        const failed = settled.find((one) => one.status === "rejected");
        if (failed?.status === "rejected") throw failed.reason;
      });
      if (skip === 0) await work;
      else expect(await rejection(work)).toBeInstanceOf(RotationUnsafeError);
      expect(rule.hits).toBe(1);
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(skip);
      expect(textsOf(server)).toHaveLength(skip === 0 ? 50 : skip);
      expect(server.inFlight()).toEqual([]);
      expectPeace(server);
    },
  );

  test("use() - Promise.all of reads and writes with a flooded read: the write decides", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "users.GetFullUser", message: "FLOOD_WAIT_30", times: 1 });
    server.delay({ method: "messages.SendMessage", delayMs: 150 });
    const error = await rejection(
      pool.use(async (client) => {
        const peer = await client.getInputEntity("user1");
        await Promise.all([
          client.sendMessage(peer, { message: "out" }),
          client.invoke(new Api.users.GetFullUser({ id: new Api.InputUserSelf() })),
          client.getMe(),
        ]);
      }),
    );
    expect(error).toBeInstanceOf(RotationUnsafeError);
    expect(textsOf(server)).toEqual(["out"]);
    expectPeace(server);
  });

  test("use() - Promise.all of a flooded write and slow reads: rotates", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    server.delay({ method: "users.GetUsers", delayMs: 150 });
    await pool.use((client) => Promise.all([client.getMe(), client.sendMessage("user1", { message: "out" })]));
    expect(textsOf(server)).toEqual(["out"]);
    expectPeace(server);
  });
});

describe("other policies", () => {
  test('retry "any" - repeats the whole work', async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", skip: 1, times: 1 });
    await pool.use(
      async (client) => {
        await client.sendMessage("user1", { message: "a" });
        await client.sendMessage("user1", { message: "b" });
      },
      { retry: "any" },
    );
    expect(textsOf(server)).toEqual(["a", "a", "b"]);
    expect(server.violations()).toEqual([]);
  });

  test('retry "none" - Telegram\'s own error comes out, the session still cools', async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 1 });
    const error = await rejection<FloodWaitError>(pool.invoke(message("x"), { retry: "none" }));
    expect(error).toBeInstanceOf(errors.FloodWaitError);
    expect(error.seconds).toBe(30);
    expect(pool.status().cooling).toBe(1);
  });

  test('retry "none" - a 500 on a write comes out unchanged', async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "RPC_CALL_FAIL", code: 500 });
    const error = await rejection(pool.invoke(message("x"), { retry: "none" }));
    expect(error).toBeInstanceOf(errors.RPCError);
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(1);
  });

  test("maxAttempts - the last error of Telegram itself", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open();
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30" });
    const error = await rejection(pool.invoke(message("x"), { maxAttempts: 2 }));
    expect(error).toBeInstanceOf(errors.FloodWaitError);
    expect(callsOf(server, "messages.SendMessage")).toHaveLength(2);
    expectPeace(server);
  });

  test("use() - the caller's own errors come through unchanged and are not repeated", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    const own = new Error("FLOOD_WAIT_30");
    let runs = 0;
    const error = await rejection(
      pool.use(async (client) => {
        runs += 1;
        await client.getMe();
        throw own;
      }),
    );
    expect(error).toBe(own);
    expect(runs).toBe(1);
    expect(pool.status().free).toBe(2);
    const invalid = await rejection(pool.invoke(new Api.contacts.ResolveUsername({ username: "nobody1" })));
    expect(invalid).toBeInstanceOf(errors.RPCError);
    expect(invalid).toMatchObject({ errorMessage: "USERNAME_NOT_OCCUPIED" });
    expect(callsOf(server, "contacts.ResolveUsername")).toHaveLength(1);
  });
});
