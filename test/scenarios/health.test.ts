import { describe, expect, test } from "vitest";
import { sqlite } from "../../adapters/storage/sqlite.js";
import { NoSessionAvailableError, ReadOnlyLeaseError } from "../../src/index.js";
import { decodeRecord, encodeRecord } from "../../src/storage/record.js";
import type { TelegramTestServer } from "../../src/testing/index.js";
import { Api, stage, until as untilHolds } from "./support.js";

const DAY_MS = 86_400_000;
const SINCE = Date.UTC(2026, 0, 1);
const UNTIL = Date.UTC(2100, 0, 1);

const startOfSecond = (at: number): number => Math.floor(at / 1_000) * 1_000;

/** How often it was asked whether an account is frozen. */
const configCalls = (server: TelegramTestServer): number =>
  server.calls().filter(({ method }) => method === "help.GetAppConfig").length;

describe("check()", () => {
  test("an account with Premium - all that Telegram says of it, and when the session ends", async () => {
    const { server, open } = await stage({ accounts: [{ name: "alice", isPremium: true, authorizationTtlDays: 90 }] });
    const pool = await open();
    const before = startOfSecond(Date.now());
    const { expiresAt, ...health } = await pool.check("alice");
    expect(health).toEqual({
      id: "alice",
      isAlive: true,
      accountId: String(server.accounts[0]?.userId),
      isBot: false,
      isPremium: true,
      isFrozen: false,
      frozenUntil: null,
      restriction: null,
      dcId: 2,
      reason: null,
    });
    expect(expiresAt).toBeGreaterThanOrEqual(before + 90 * DAY_MS);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 90 * DAY_MS);
    expect(pool.get("alice")).toMatchObject({ accountId: health.accountId, isBot: false, expiresAt });
    expect(server.messages()).toEqual([]);
  });

  test("a restricted and a frozen account - Telegram's words and dates; the frozen one is restricted until then", async () => {
    const { open, toldOf } = await stage({
      accounts: [
        { name: "bob", restrictions: [{ platform: "android", reason: "terms", text: "Violated the terms." }] },
        { name: "carol", freeze: { since: SINCE, until: UNTIL } },
      ],
    });
    const pool = await open();
    expect(await pool.check("bob")).toMatchObject({
      isAlive: true,
      isFrozen: false,
      restriction: "terms (android): Violated the terms.",
    });
    expect(await pool.check("carol")).toMatchObject({
      isAlive: true,
      isFrozen: true,
      frozenUntil: UNTIL,
      restriction: "frozen since 2026-01-01T00:00:00.000Z, appeal at https://t.me/SpamBot",
      reason: null,
    });
    expect(toldOf("restricted")).toEqual([{ id: "carol", reason: "FROZEN_METHOD_INVALID" }]);
    expect(pool.status()).toMatchObject({ free: 1, restricted: 1 });
  });

  test("refused and unreadable answers - unknown, and the account stays alive and free", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ account: "account1", method: "help.GetAppConfig", code: 400, message: "INPUT_REQUEST_INVALID" });
    server.fail({ account: "account1", method: "account.GetAuthorizations", code: 400, message: "METHOD_INVALID" });
    server.handle("help.GetAppConfig", ({ tl }) => tl("help.AppConfigNotModified"));
    server.handle("account.GetAuthorizations", ({ tl }) =>
      tl("account.Authorizations", { authorizationTtlDays: 180, authorizations: [] }),
    );
    for (const id of ["account1", "account2"]) {
      expect(await pool.check(id)).toMatchObject({ isAlive: true, isFrozen: null, frozenUntil: null, expiresAt: null });
    }
    expect(pool.status().free).toBe(2);
  });
});

describe("FROZEN_METHOD_INVALID", () => {
  test("its end is asked for once, on the open connection, and restricts the session until then", async () => {
    const { server, open } = await stage({ accounts: [{ name: "alice" }, { name: "bob" }] });
    const pool = await open();
    const until = startOfSecond(Date.now()) + 3_000;
    server.updateAccount("alice", { freeze: { until } });
    const create = () => new Api.channels.CreateChannel({ title: "x", about: "" });
    const refused = pool.invoke(create, { id: "alice", retry: "none" });
    await expect(refused).rejects.toMatchObject({ errorMessage: "FROZEN_METHOD_INVALID" });
    await untilHolds("the end was asked for", () => configCalls(server) === 1);
    expect(pool.get("alice")).toMatchObject({ state: "restricted", reason: "FROZEN_METHOD_INVALID" });
    server.updateAccount("alice", { freeze: null });
    await untilHolds("the freeze has ended", () => pool.get("alice")?.state === "free");
    expect(Date.now()).toBeGreaterThanOrEqual(until);
    expect({ calls: configCalls(server), connects: server.connections().length }).toEqual({ calls: 1, connects: 1 });
    await expect(pool.use((client) => client.getMe(), { id: "alice" })).resolves.toMatchObject({ self: true });
  });

  test("a configuration that names no freeze - lifts nothing", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "updates.GetState", code: 420, message: "FROZEN_METHOD_INVALID" });
    await expect(pool.invoke(() => new Api.updates.GetState())).rejects.toThrow();
    await untilHolds("the end was asked for", () => configCalls(server) === 1);
    expect(pool.get("account1")).toMatchObject({ state: "restricted", reason: "FROZEN_METHOD_INVALID" });
  });

  test("probeIntervalMs - frees the account once it is thawed, not before", async () => {
    const { server, open, toldOf } = await stage({ accounts: [{ name: "alice", freeze: {} }] });
    const pool = await open({ probeIntervalMs: 50 });
    await pool.check("alice");
    expect(pool.get("alice")?.state).toBe("restricted");
    const asked = configCalls(server);
    await untilHolds("it was probed twice", () => configCalls(server) >= asked + 2);
    expect(pool.get("alice")?.state).toBe("restricted");
    server.updateAccount("alice", { freeze: null });
    await untilHolds("it is free", () => toldOf("recovered").length > 0);
    expect({ state: pool.get("alice")?.state, recovered: toldOf("recovered") }).toEqual({
      state: "free",
      recovered: [{ id: "alice" }],
    });
  });
});

describe("allowFrozen", () => {
  test("a frozen account reads what others may not, and a write is not sent", async () => {
    const { server, open } = await stage({ accounts: [{ name: "alice", freeze: {} }] });
    const pool = await open();
    await pool.check("alice");
    expect(pool.get("alice")?.state).toBe("restricted");
    await expect(pool.use((client) => client.getMe(), { wait: false })).rejects.toBeInstanceOf(NoSessionAvailableError);
    const title = await pool.use(async (client) => (await client.getEntity("channel7")) as { title?: string }, {
      allowFrozen: true,
    });
    expect(title).toMatchObject({ title: "Channel 7" });
    server.clear();
    const written = pool.use((client) => client.sendMessage("channel7", { message: "no" }), { allowFrozen: true });
    await expect(written).rejects.toBeInstanceOf(ReadOnlyLeaseError);
    expect(server.calls().map(({ method }) => method)).not.toContain("messages.SendMessage");
    expect({ messages: server.messages(), state: pool.get("alice")?.state }).toEqual({
      messages: [],
      state: "restricted",
    });
  });

  test("check() - asks a frozen account again, and frees it once it is thawed", async () => {
    const { server, open, toldOf } = await stage({ accounts: [{ name: "alice", freeze: { since: SINCE } }] });
    const pool = await open();
    for (let turn = 0; turn < 2; turn++) {
      expect(await pool.check("alice")).toMatchObject({ isAlive: true, isFrozen: true, frozenUntil: null });
      expect(pool.get("alice")?.state).toBe("restricted");
    }
    server.handle("help.GetAppConfig", ({ tl }) => tl("help.AppConfigNotModified"));
    server.updateAccount("alice", { freeze: null });
    expect(await pool.check("alice")).toMatchObject({ isAlive: true, isFrozen: true });
    expect(pool.get("alice")?.state).toBe("restricted");
    server.handle("help.GetAppConfig", ({ tl }) =>
      tl("help.AppConfig", {
        hash: 1,
        config: tl("JsonObject", {
          value: [tl("JsonObjectValue", { key: "channels_limit_default", value: tl("JsonNumber", { value: 500 }) })],
        }),
      }),
    );
    expect(await pool.check("alice")).toMatchObject({ isAlive: true, isFrozen: false });
    expect(pool.get("alice")?.state).toBe("free");
    await untilHolds("it is reported", () => toldOf("recovered").length === 1);
  });
});

describe("expiring", () => {
  test("an account whose unused sessions end soon - emitted once it is known, and again after a restart", async () => {
    const { open, toldOf } = await stage({ accounts: [{ name: "alice", authorizationTtlDays: 20 }, { name: "bob" }] });
    const pool = await open();
    const { expiresAt } = await pool.check("alice");
    await pool.check("bob");
    expect(toldOf("expiring")).toEqual([{ id: "alice", expiresAt }]);
    await pool.close();
    await open();
    await untilHolds("it was told again", () => toldOf("expiring").length === 2);
  });
});

describe("probeIntervalMs", () => {
  test("an unused session close to its end - one read moves its end, and its client disconnects", async () => {
    const { server, file, open, toldOf } = await stage({ accounts: [{ name: "alice" }, { name: "bob" }] });
    const first = await open();
    for (const id of ["alice", "bob"]) await first.check(id);
    await first.close();
    const storage = sqlite(file);
    await storage.open?.();
    const stored = await storage.read("alice");
    const record = decodeRecord(stored?.data ?? "");
    const data = encodeRecord({ ...record, expiresAt: Date.now() + DAY_MS, lastUsedAt: null });
    await storage.write("alice", stored?.version ?? 0, data);
    await storage.close?.();
    server.clear();
    const pool = await open({ probeIntervalMs: 50, add: [] });
    await untilHolds("its end has moved", () => (pool.get("alice")?.expiresAt ?? 0) > Date.now() + 179 * DAY_MS);
    await untilHolds("its client is gone", () => toldOf("disconnected").some(({ reason }) => /kept from/.test(reason)));
    const calls = server.calls().filter(({ isConnect }) => !isConnect);
    expect(calls.map(({ account, method }) => [account, method])).toEqual([["alice", "account.GetAuthorizations"]]);
    expect(toldOf("expiring")).toMatchObject([{ id: "alice" }]);
    expect(pool.status()).toMatchObject({ free: 2 });
  });
});
