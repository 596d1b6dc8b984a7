import { Api, type TelegramClient } from "telegram";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { forkTestServer, startTestServer, type TelegramTestServer } from "../../../src/testing/index.js";
import { connectedClient, destroyClients, rejection } from "./clients.js";

const SINCE = Date.UTC(2026, 0, 1);
const UNTIL = Date.UTC(2026, 11, 31);

let server: TelegramTestServer;
let alice: TelegramClient;
let bob: TelegramClient;

beforeEach(async () => {
  server = await startTestServer({
    accounts: [
      { name: "alice", isPremium: true, authorizationTtlDays: 30 },
      {
        name: "bob",
        restrictions: [{ reason: "terms", text: "Violated the terms." }],
        freeze: { since: SINCE, until: UNTIL },
      },
    ],
  });
  alice = await connectedClient(server, server.accounts[0]);
  bob = await connectedClient(server, server.accounts[1]);
});

afterEach(async () => {
  await destroyClients();
  await server.close();
});

const ownUser = async (client: TelegramClient): Promise<unknown> =>
  (await client.invoke(new Api.users.GetUsers({ id: [new Api.InputUserSelf()] })))[0];

/** What `help.getAppConfig` says of a freeze, by key. */
async function freezeOf(client: TelegramClient): Promise<Record<string, unknown>> {
  const { config } = (await client.invoke(new Api.help.GetAppConfig({ hash: 0 }))) as Api.help.AppConfig;
  const entries = (config as Api.JsonObject).value.map(({ key, value }) => [key, (value as Api.JsonNumber).value]);
  return Object.fromEntries(entries.filter(([key]) => String(key).startsWith("freeze_")));
}

const createChannel = (): Api.channels.CreateChannel => new Api.channels.CreateChannel({ title: "x", about: "" });

describe("users.getUsers", () => {
  test("an account with Premium, a restricted one - named in its user", async () => {
    expect(await ownUser(alice)).toMatchObject({ premium: true, restricted: false });
    const restrictionReason = [{ platform: "all", reason: "terms", text: "Violated the terms." }];
    expect(await ownUser(bob)).toMatchObject({ premium: false, restricted: true, restrictionReason });
  });
});

describe("a frozen account", () => {
  test("help.getAppConfig - says since when, until when and where to appeal, and nothing for another account", async () => {
    expect(await freezeOf(bob)).toEqual({
      freeze_since_date: SINCE / 1000,
      freeze_until_date: UNTIL / 1000,
      freeze_appeal_url: "https://t.me/SpamBot",
    });
    expect(await freezeOf(alice)).toEqual({});
  });

  test("a method that changes something - FROZEN_METHOD_INVALID; a read is answered", async () => {
    expect((await rejection(bob.invoke(createChannel()))).message).toContain("FROZEN_METHOD_INVALID");
    expect(await bob.getEntity("channel7")).toMatchObject({ title: "Channel 7" });
    await bob.invoke(new Api.account.UpdateStatus({ offline: true }));
  });
});

describe("account.getAuthorizations", () => {
  test("the account's own number of days, or 180", async () => {
    const ttlDays = async (client: TelegramClient): Promise<number> =>
      (await client.invoke(new Api.account.GetAuthorizations())).authorizationTtlDays;
    expect([await ttlDays(alice), await ttlDays(bob)]).toEqual([30, 180]);
  });
});

describe("updateAccount()", () => {
  test("the fields that are given change, the others stay", async () => {
    server.updateAccount("bob", { freeze: null, isPremium: true });
    expect(await freezeOf(bob)).toEqual({});
    expect(await ownUser(bob)).toMatchObject({ premium: true, restricted: true });
    server.updateAccount("alice", { freeze: {} });
    expect(await freezeOf(alice)).toEqual({
      freeze_since_date: expect.any(Number),
      freeze_appeal_url: "https://t.me/SpamBot",
    });
    expect((await rejection(alice.invoke(createChannel()))).message).toContain("FROZEN_METHOD_INVALID");
  });

  test("an unknown account or field, a wrong value - TypeError", () => {
    expect(() => server.updateAccount("carol", {})).toThrow("There is no account carol");
    expect(() => server.updateAccount("bob", { premium: true } as object)).toThrow(
      "premium: expected one of isPremium",
    );
    expect(() => server.updateAccount("bob", { freeze: true } as object)).toThrow("freeze: expected null or");
    expect(() => server.addAccount({ authorizationTtlDays: 0 })).toThrow("authorizationTtlDays: expected");
    expect(server.accounts.length).toBe(2);
  });

  test("a server in another process - changes there", async () => {
    await using forked = await forkTestServer({ accounts: [{ name: "alice" }] });
    await forked.updateAccount("alice", { isPremium: true });
    const client = await connectedClient(forked, forked.accounts[0]);
    expect(await ownUser(client)).toMatchObject({ premium: true });
  });
});
