import { describe, expect, test } from "vitest";
import type { FakeTelegram } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";

const DAY_MS = 86_400_000;

/** What Telegram answers of the account. */
const user = (fields: object = {}) => [{ className: "User", self: true, id: 7n, ...fields }];

/** A configuration with the given dates of a freeze, in seconds. */
function config(dates: Readonly<Record<string, number | string>> = {}): object {
  const value = Object.entries({ channels_limit_default: 500, ...dates }).map(([key, date]) => ({
    key,
    value: { className: typeof date === "number" ? "JsonNumber" : "JsonString", value: date },
  }));
  return { className: "help.AppConfig", hash: 1, config: { className: "JsonObject", value } };
}

const authorizations = (authorizationTtlDays: number, activeAt: number): object => ({
  className: "account.Authorizations",
  authorizationTtlDays,
  authorizations: [{ current: true, dateCreated: 1, dateActive: Math.floor(activeAt / 1_000) }],
});

/** A fake that can be asked for the account's own user. `answers`: to other questions, by method. */
function askable<T extends FakeTelegram>(
  telegram: T,
  answer: () => unknown,
  answers: Readonly<Record<string, () => unknown>> = {},
): T {
  telegram.onCall = ({ method }) => (method === "users.GetUsers" ? answer() : answers[method]?.());
  return Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
}

describe("check()", () => {
  test("an answer that names the account - alive, with the account", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user({ premium: true }));
    expect(await pool.check("a")).toEqual({
      id: "a",
      isAlive: true,
      accountId: "7",
      isBot: false,
      isPremium: true,
      isFrozen: null,
      frozenUntil: null,
      restriction: null,
      expiresAt: null,
      dcId: 2,
      reason: null,
    });
    expect(pool.status().leased).toBe(0);
  });

  test("a restricted account - Telegram's own words", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    const restrictionReason = [{ platform: "all", reason: "terms", text: "Violated the terms." }];
    askable(telegram, () => user({ restricted: true, restrictionReason }));
    expect(await pool.check("a")).toMatchObject({ isAlive: true, restriction: "terms (all): Violated the terms." });
  });

  test.each([
    ["nothing", []],
    ["an empty user", [{ className: "UserEmpty", id: 7n }]],
    ["another user", [{ className: "User", id: 7n }]],
    ["no list", null],
  ])("%s as the answer - not alive", async (_, answer) => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => answer);
    expect(await pool.check("a")).toMatchObject({
      isAlive: false,
      accountId: null,
      isPremium: null,
      reason: expect.stringContaining("does not contain the account"),
    });
  });

  test("a dead session - not alive, and dead from now on without being asked again", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => {
      throw dead();
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "AUTH_KEY_UNREGISTERED" });
    expect(pool.get("a")?.state).toBe("dead");
    const calls = telegram.calls.length;
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "AUTH_KEY_UNREGISTERED" });
    expect(telegram.calls.length).toBe(calls);
  });

  test.each([5, 3_600])("a flood of %i s - cools the session, which is not asked before its end", async (seconds) => {
    const { pool, telegram, clock } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => {
      throw flood(seconds);
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "FLOOD_WAIT" });
    expect(pool.get("a")?.state).toBe("cooling");
    telegram.onCall = () => user();
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "not asked: cooling: FLOOD_WAIT" });
    expect(telegram.calls.length).toBe(1);
    await clock.advance(seconds * 1_000);
    expect(await pool.check("a")).toMatchObject({ isAlive: true });
  });

  test("a disabled session - is not asked", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user());
    await pool.disable("a", "on holiday");
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "not asked: disabled: on holiday" });
    expect(telegram.calls).toEqual([]);
  });

  test("a session of another process - is not asked, and the check ends", async () => {
    const { one, two, clock, telegram } = await twoHosts();
    const lease = await one.pool.acquire({ id: "a" });
    // From here on: the process that connects the session asks for its account.
    askable(telegram, () => user());
    const first = two.pool.check("a");
    await clock.advance(75_000);
    expect(await first).toMatchObject({ isAlive: false, reason: expect.stringMatching(/^not asked: /) });
    expect(await two.pool.check("a")).toMatchObject({ reason: "not asked: another process has it connected" });
    expect(telegram.calls).toEqual([]);
    lease.release();
    await one.pool.close();
    await clock.advance(60_000);
    expect(await two.pool.check("a")).toMatchObject({ isAlive: true });
  });

  test("an unknown id, wrong options, an aborted signal - rejects", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user());
    await expect(pool.check("b")).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    await expect(pool.check("a", { signl: 1 } as object)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    const reason = new Error("stop");
    await expect(pool.check("a", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await pool.close();
    await expect(pool.check("a")).rejects.toMatchObject({ code: "POOL_CLOSED" });
  });

  test("an adapter that cannot check - not alive, with that as the reason", async () => {
    const { pool } = await openPool();
    await pool.add("a", sessionString("a"));
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: expect.stringContaining("ownUserRequest") });
  });

  test("every question answered - all of it, and what lasts is in the session's info", async () => {
    const { pool, telegram, clock } = await openPool({ isAskable: true, sessions: ["a"] });
    const now = clock.now();
    askable(telegram, () => user(), {
      "help.GetAppConfig": () => config(),
      "account.GetAuthorizations": () => authorizations(180, now),
    });
    const expiresAt = Math.floor(now / 1_000) * 1_000 + 180 * DAY_MS;
    expect(await pool.check("a")).toMatchObject({ isAlive: true, isFrozen: false, frozenUntil: null, expiresAt });
    expect(pool.get("a")).toMatchObject({ accountId: "7", isBot: false, expiresAt, state: "free" });
    expect(telegram.calls.map(({ method }) => method)).toEqual([
      "users.GetUsers",
      "help.GetAppConfig",
      "account.GetAuthorizations",
    ]);
  });

  test("a bot - its authorizations are not asked for", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user({ bot: true }), { "help.GetAppConfig": () => config() });
    expect(await pool.check("a")).toMatchObject({ isAlive: true, isBot: true, isFrozen: false, expiresAt: null });
    expect(telegram.calls.map(({ method }) => method)).toEqual(["users.GetUsers", "help.GetAppConfig"]);
  });

  test("a question refused with a wait - what it would have said is unknown, and nothing follows it", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user(), {
      "help.GetAppConfig": () => {
        throw flood(60);
      },
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: true, isFrozen: null, expiresAt: null, reason: null });
    expect(telegram.calls.map(({ method }) => method)).toEqual(["users.GetUsers", "help.GetAppConfig"]);
    expect(pool.get("a")?.state).toBe("cooling");
  });

  test("dead by the last question - not alive", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    askable(telegram, () => user(), {
      "account.GetAuthorizations": () => {
        throw dead();
      },
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "AUTH_KEY_UNREGISTERED" });
  });

  test("a freeze - alive and frozen; restricted until Telegram's date, across a restart", async () => {
    const storage = new FaultyStorage();
    const { pool, telegram, clock, events } = await openPool({ isAskable: true, sessions: ["a"], storage });
    const until = Math.floor(clock.now() / 1_000) * 1_000 + 3_600_000;
    const dates = { freeze_since_date: 1_700_000_000, freeze_until_date: until / 1_000 };
    askable(telegram, () => user(), { "help.GetAppConfig": () => config(dates) });
    expect(await pool.check("a")).toMatchObject({
      isAlive: true,
      isFrozen: true,
      frozenUntil: until,
      restriction: "frozen since 2023-11-14T22:13:20.000Z",
      reason: null,
    });
    expect(pool.get("a")).toMatchObject({ state: "restricted", reason: "FROZEN_METHOD_INVALID" });
    expect(events("restricted")).toEqual([{ id: "a", reason: "FROZEN_METHOD_INVALID" }]);
    await pool.close();
    const again = await openPool({ storage, clock });
    await clock.advance(until - clock.now() - 1);
    expect(again.pool.get("a")?.state).toBe("restricted");
    await clock.advance(1);
    expect(again.pool.get("a")?.state).toBe("free");
  });

  test("a freeze whose date is past, or that has none - restricted without an end", async () => {
    const { pool, telegram, clock } = await openPool({ isAskable: true, sessions: ["a", "b"] });
    const dates: Record<string, number>[] = [{ freeze_since_date: 5 }, { freeze_since_date: 5, freeze_until_date: 6 }];
    askable(telegram, () => user(), { "help.GetAppConfig": () => config(dates.shift()) });
    expect(await pool.check("a")).toMatchObject({ isFrozen: true, frozenUntil: null });
    expect(await pool.check("b")).toMatchObject({ isFrozen: true, frozenUntil: 6_000 });
    await clock.advance(2 * DAY_MS);
    expect(pool.status().restricted).toBe(2);
  });
});
