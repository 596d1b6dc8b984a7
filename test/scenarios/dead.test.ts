import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/index.js";
import { Api } from "../fakes/client-library.js";
import { callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

const DEATHS: readonly (readonly [number, string])[] = [
  [401, "AUTH_KEY_UNREGISTERED"],
  [401, "AUTH_KEY_INVALID"],
  [401, "SESSION_REVOKED"],
  [401, "SESSION_EXPIRED"],
  [401, "USER_DEACTIVATED"],
  [401, "USER_DEACTIVATED_BAN"],
  [406, "AUTH_KEY_DUPLICATED"],
];

describe.each(DEATHS)("%i %s", (code, reason) => {
  test("use() - on the first call: died, another account takes over, not used again, also after a restart", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.revoke("account1", { code, message: reason });
    for (let i = 0; i < 3; i++) expect(await pool.use(nameOf)).toBe("account2");
    expect(toldOf("died")).toEqual([{ id: "account1", reason }]);
    expect(pool.get("account1")).toMatchObject({ state: "dead", reason });
    expect(await rejection(pool.acquire({ id: "account1" }), 500)).toBeInstanceOf(NoSessionAvailableError);
    await pool.close();
    const again = await open();
    expect(again.get("account1")).toMatchObject({ state: "dead", reason });
    for (let i = 0; i < 3; i++) expect(await again.use(nameOf)).toBe("account2");
    expect(server.connections().filter(({ account }) => account === "account1")).toHaveLength(1);
    expect(callsOf(server, "users.GetUsers", "account1")).toHaveLength(1);
  });

  test("use() - on initConnection: died, another account takes over", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.revoke("account1", { code, message: reason, connect: true });
    for (let i = 0; i < 3; i++) expect(await within(2_000, pool.use(nameOf))).toBe("account2");
    expect(toldOf("died")).toEqual([{ id: "account1", reason }]);
    expect(server.connections().filter(({ account }) => account === "account1")).toHaveLength(1);
  });

  test("use() - in the middle of work, after reads: rotates; after a write: RotationUnsafeError", async () => {
    const { server, open, toldOf } = await stage({ accounts: 3 });
    const pool = await open();
    server.fail({ code, message: reason, method: "messages.GetHistory", times: 1 });
    await pool.use(async (client) => {
      await client.getMe();
      await client.getMessages("user1", { limit: 1 });
    });
    expect(toldOf("died")).toHaveLength(1);
    server.fail({ code, message: reason, method: "users.GetFullUser", times: 1 });
    const error = await rejection(
      pool.use(async (client, lease) => {
        await client.sendMessage("user1", { message: "written" });
        await client.invoke(new Api.users.GetFullUser({ id: "me" }));
        return lease.id;
      }),
    );
    expect(error).toMatchObject({ code: "ROTATION_UNSAFE", cause: { errorMessage: reason } });
    expect(toldOf("died")).toHaveLength(2);
    expect(textsOf(server)).toEqual(["written"]);
  });
});

describe("dead sessions", () => {
  test("enable() - revives; update() with a new session too", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open({ add: ["account1"] });
    const rule = server.revoke("account1");
    await rejection(pool.use(nameOf));
    expect(pool.get("account1")?.state).toBe("dead");
    rule.remove();
    await pool.enable("account1");
    expect(await pool.use(nameOf)).toBe("account1");
    server.revoke("account1");
    await rejection(pool.use(nameOf));
    await pool.update("account1", { session: server.sessions[1] ?? "" });
    expect(pool.get("account1")?.state).toBe("free");
    expect(await pool.use(nameOf)).toBe("account2");
    expect(toldOf("died")).toHaveLength(2);
    expect(toldOf("recovered").length).toBeGreaterThan(0);
  });

  test("use() - when the last one dies: rejects at once with the reason, waiting callers too", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.revoke("account1");
    const jobs = Array.from({ length: 5 }, () => rejection(pool.use(nameOf), 1_000));
    for (const error of await Promise.all(jobs)) expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(callsOf(server, "users.GetUsers")).toHaveLength(1);
  });

  test.each(["dead", "restricted"])(
    "probeIntervalMs - %s: updates.getState is asked, and revives it",
    async (state) => {
      const { server, open, toldOf } = await stage();
      const pool = await open({ probeIntervalMs: 150 });
      const isDead = state === "dead";
      const rule = isDead
        ? server.revoke("account1")
        : server.fail({ account: "account1", code: 400, message: "PEER_FLOOD" });
      await rejection(pool.use(nameOf, { wait: false }));
      expect(pool.get("account1")?.state).toBe(state);
      await until("it was asked in vain", () => callsOf(server, "updates.GetState").length > 0);
      expect(pool.get("account1")?.state).toBe(state);
      rule.remove();
      await until("it is free", () => pool.get("account1")?.state === "free");
      expect(await pool.use(nameOf)).toBe("account1");
      expect(toldOf(isDead ? "died" : "restricted")).toHaveLength(1);
      await until("it was told", () => toldOf("recovered").length === 1);
      expectPeace(server);
    },
  );

  test("retire() - dead, durable", async () => {
    const { open } = await stage({ accounts: 2 });
    const pool = await open();
    const retired = await pool.use((_, lease) => {
      lease.retire("the owner said so");
      return lease.id;
    });
    await pool.close();
    const again = await open();
    expect(again.get(retired)).toMatchObject({ state: "dead", reason: "the owner said so" });
  });
});

describe.each([
  [400, "PEER_FLOOD"],
  [420, "FROZEN_METHOD_INVALID"],
  [403, "USER_RESTRICTED"],
  [401, "SESSION_PASSWORD_NEEDED"],
])("%i %s", (code, reason) => {
  test("use() - restricts the session, another account takes over", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ account: "account1", method: "messages.SendMessage", code, message: reason });
    for (let i = 0; i < 3; i++) await pool.invoke(message(`r${i}`));
    expect(toldOf("restricted")).toEqual([{ id: "account1", reason }]);
    expect(toldOf("died")).toEqual([]);
    expect(pool.get("account1")).toMatchObject({ state: "restricted", reason });
    expect(textsOf(server)).toEqual(["r0", "r1", "r2"]);
    await pool.close();
    const again = await open();
    expect(again.get("account1")).toMatchObject({ state: "restricted", reason });
    expect(again.status()).toMatchObject({ restricted: 1, free: 1 });
    expect(await rejection(again.acquire({ id: "account1" }), 500)).toBeInstanceOf(NoSessionAvailableError);
    server.clearRules();
    await again.enable("account1");
    await again.invoke(message("again"), { id: "account1" });
    expectPeace(server);
  });
});

describe("errors about an argument", () => {
  const sendCode = (phoneNumber: string) => () =>
    new Api.auth.SendCode({ phoneNumber, apiId: 1, apiHash: "x", settings: new Api.CodeSettings({}) });

  test.each([
    [400, "PHONE_NUMBER_BANNED"],
    [401, "USER_DEACTIVATED_BAN"],
    [401, "SESSION_PASSWORD_NEEDED"],
    [420, "PREMIUM_SUB_ACTIVE_UNTIL_1790000000"],
  ])(
    "use() - %i %s in answer to auth.sendCode comes out unchanged, once, and no session is affected",
    async (code, text) => {
      const { server, open, told } = await stage({ accounts: 3 });
      const pool = await open();
      server.fail({ method: "auth.SendCode", code, message: text });
      await expect(pool.invoke(sendCode("+15550000"))).rejects.toMatchObject({ errorMessage: text });
      expect(callsOf(server, "auth.SendCode")).toHaveLength(1);
      expect(pool.status()).toMatchObject({ free: 3, dead: 0, restricted: 0, cooling: 0 });
      expect(told.filter(({ name }) => ["died", "restricted", "cooled"].includes(name))).toEqual([]);
    },
  );

  test("use() - a flood of auth.sendCode cools nothing but auth.sendCode", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "auth.SendCode", message: "FLOOD_WAIT_80000", sticky: false });
    await rejection(pool.invoke(sendCode("+15550000"), { wait: false }), 2_000);
    expect(toldOf("cooled").map((event) => (event as { method?: string }).method)).toEqual([
      "auth.SendCode",
      "auth.SendCode",
    ]);
    expect(pool.status()).toMatchObject({ free: 2, cooling: 0 });
    expect(await pool.use(nameOf)).toMatch(/^account/);
  });
});

describe("USER_RESTRICTED in answer to channels.createChannel", () => {
  const create = () => new Api.channels.CreateChannel({ title: "x", about: "" });

  test("use() - keeps the account only from creating chats, for restrictedForMs", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open({ restrictedForMs: 1_500 });
    server.fail({ method: "channels.CreateChannel", code: 406, message: "USER_RESTRICTED", times: 2 });
    await rejection(pool.invoke(create, { wait: false }), 2_000);
    expect(callsOf(server, "channels.CreateChannel")).toHaveLength(2);
    expect(toldOf("cooled")).toMatchObject([
      { method: "channels.CreateChannel", seconds: 2 },
      { method: "channels.CreateChannel", seconds: 2 },
    ]);
    expect(toldOf("restricted")).toEqual([]);
    expect(pool.status()).toMatchObject({ free: 2, restricted: 0 });
    await pool.invoke(message("goes on writing"));
    expect(textsOf(server)).toEqual(["goes on writing"]);
  });
});

test("restrictedForMs - USER_RESTRICTED in answer to anything else ends by itself; FROZEN and a missing password do not", async () => {
  const { server, open } = await stage({ accounts: 3 });
  const pool = await open({ restrictedForMs: 200 });
  const reasons = ["USER_RESTRICTED", "FROZEN_METHOD_INVALID", "SESSION_PASSWORD_NEEDED"];
  for (const [index, reason] of reasons.entries()) {
    const id = `account${index + 1}`;
    server.fail({ account: id, method: "messages.SendMessage", code: 403, message: reason, times: 1 });
    await rejection(pool.invoke(message("no"), { id }), 2_000);
    expect(pool.get(id)).toMatchObject({ state: "restricted", reason });
  }
  await until("USER_RESTRICTED has ended", () => pool.get("account1")?.state === "free");
  expect(pool.get("account2")).toMatchObject({ state: "restricted", availableAt: null });
  expect(pool.get("account3")).toMatchObject({ state: "restricted", availableAt: null });
});
