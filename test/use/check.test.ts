import { describe, expect, test } from "vitest";
import type { FakeTelegram } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";

const OWN_USER = { method: "users.GetUsers" };

/** What Telegram answers of the account. */
const user = (fields: object = {}) => [{ className: "User", self: true, id: 7n, ...fields }];

/** A fake that can be asked for the account's own user. */
function askable<T extends FakeTelegram>(telegram: T, answer: () => unknown): T {
  telegram.onCall = answer;
  return Object.assign(telegram, {
    ownUserRequest: () => OWN_USER,
    invoke: (client: { call(method: string): Promise<unknown> }, request: typeof OWN_USER) =>
      client.call(request.method),
  });
}

describe("check()", () => {
  test("an answer that names the account - alive, with the account", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
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
    const { pool, telegram } = await openPool({ sessions: ["a"] });
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
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    askable(telegram, () => answer);
    expect(await pool.check("a")).toMatchObject({
      isAlive: false,
      accountId: null,
      isPremium: null,
      reason: expect.stringContaining("does not contain the account"),
    });
  });

  test("a dead session - not alive, and dead from now on without being asked again", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    askable(telegram, () => {
      throw dead();
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "AUTH_KEY_UNREGISTERED" });
    expect(pool.get("a")?.state).toBe("dead");
    const calls = telegram.calls.length;
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "AUTH_KEY_UNREGISTERED" });
    expect(telegram.calls.length).toBe(calls);
  });

  test("a flood - cools the session, which is not asked before its end", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    askable(telegram, () => {
      throw flood(3_600);
    });
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "FLOOD_WAIT" });
    expect(pool.get("a")?.state).toBe("cooling");
    telegram.onCall = () => user();
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: expect.stringMatching(/^not asked: /) });
    expect(telegram.calls.length).toBe(1);
    await clock.advance(3_600_000);
    expect(await pool.check("a")).toMatchObject({ isAlive: true });
  });

  test("a disabled session - is not asked", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    askable(telegram, () => user());
    await pool.disable("a", "on holiday");
    expect(await pool.check("a")).toMatchObject({ isAlive: false, reason: "not asked: disabled: on holiday" });
    expect(telegram.calls).toEqual([]);
  });

  test("a session of another process - is not asked, and the check ends", async () => {
    const { one, two, clock, telegram } = await twoHosts();
    askable(telegram, () => user());
    const lease = await one.pool.acquire({ id: "a" });
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
    const { pool, telegram } = await openPool({ sessions: ["a"] });
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
});
