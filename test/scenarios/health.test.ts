import { describe, expect, test } from "vitest";
import { stage } from "./support.js";

const DAY_MS = 86_400_000;
const SINCE = Date.UTC(2026, 0, 1);
const UNTIL = Date.UTC(2100, 0, 1);

const startOfSecond = (at: number): number => Math.floor(at / 1_000) * 1_000;

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
