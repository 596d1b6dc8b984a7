import { describe, expect, test } from "vitest";
import { readAuthorizationLife, readFreeze, readOwnUser } from "../../src/telegram/account-answers.js";

const DAY_MS = 86_400_000;

type Json = { readonly key: unknown; readonly value: unknown };
const number = (key: string, value: unknown): Json => ({ key, value: { className: "JsonNumber", value } });
const text = (key: string, value: unknown): Json => ({ key, value: { className: "JsonString", value } });

/** The answer to `help.getAppConfig`. */
const config = (...entries: readonly unknown[]): object => ({
  className: "help.AppConfig",
  hash: 1,
  config: { className: "JsonObject", value: entries },
});

const ORDINARY = number("channels_limit_default", 500);

describe("readOwnUser()", () => {
  test("the account's own user - who it is, a bot, Premium, why it is restricted", () => {
    const restrictionReason = [
      { platform: "all", reason: "terms", text: "Violated the terms." },
      { platform: "ios", reason: "porn", text: "" },
    ];
    const user = {
      className: "User",
      self: true,
      id: 7n,
      bot: true,
      premium: true,
      restricted: true,
      restrictionReason,
    };
    expect(readOwnUser([user])).toEqual({
      accountId: "7",
      isBot: true,
      isPremium: true,
      restriction: "terms (all): Violated the terms.; porn (ios)",
    });
  });

  test.each([[[]], [[{ className: "UserEmpty", id: "7" }]], [[{ className: "User", id: "7" }]], [null]])(
    "%j - not the account",
    (answer) => {
      expect(readOwnUser(answer)).toBeUndefined();
    },
  );
});

describe("readFreeze()", () => {
  test("since, until and where to appeal - a freeze, in epoch milliseconds", () => {
    const entries = [
      ORDINARY,
      number("freeze_since_date", 1_700_000_000),
      number("freeze_until_date", 1_800_000_000),
      text("freeze_appeal_url", "https://t.me/SpamBot"),
    ];
    expect(readFreeze(config(...entries))).toEqual({
      since: 1_700_000_000_000,
      until: 1_800_000_000_000,
      appealUrl: "https://t.me/SpamBot",
    });
  });

  test("since alone - a freeze without an end", () => {
    expect(readFreeze(config(number("freeze_since_date", 5)))).toEqual({ since: 5_000, until: null, appealUrl: null });
  });

  test("a configuration without a freeze, or with zeros - not frozen", () => {
    expect(readFreeze(config(ORDINARY))).toBeNull();
    expect(readFreeze(config(number("freeze_since_date", 0), number("freeze_until_date", 0)))).toBeNull();
  });

  test.each([
    ["nothing", undefined],
    ["no change", { className: "help.AppConfigNotModified" }],
    ["an empty configuration", config()],
    ["a configuration that is no object", { className: "help.AppConfig", config: { className: "JsonNull" } }],
    ["an entry without a value", config(ORDINARY, { key: "freeze_since_date" })],
    ["an entry without a key", config(ORDINARY, { value: { className: "JsonNumber", value: 5 } })],
    ["a date that is text", config(ORDINARY, text("freeze_since_date", "5"))],
    ["a negative date", config(ORDINARY, number("freeze_since_date", -1))],
    ["an end without a beginning", config(ORDINARY, number("freeze_until_date", 5))],
    ["an end that is no date", config(number("freeze_since_date", 5), number("freeze_until_date", Number.NaN))],
  ])("%s - proves neither", (_, answer) => {
    expect(readFreeze(answer)).toBeUndefined();
  });
});

describe("readAuthorizationLife()", () => {
  const other = { className: "Authorization", current: false, dateCreated: 1, dateActive: 1 };
  const current = { className: "Authorization", current: true, dateCreated: 100, dateActive: 200 };
  const answer = (authorizationTtlDays: unknown, ...authorizations: readonly unknown[]): object => ({
    className: "account.Authorizations",
    authorizationTtlDays,
    authorizations,
  });

  test("the session that asked - ends so many days after it was last active", () => {
    expect(readAuthorizationLife(answer(180, other, current))).toEqual({
      expiresAt: 200_000 + 180 * DAY_MS,
      authorizationTtlDays: 180,
    });
  });

  test("never active - so many days after it was created", () => {
    expect(readAuthorizationLife(answer(7, { ...current, dateActive: 0 }))?.expiresAt).toBe(100_000 + 7 * DAY_MS);
  });

  test.each([
    ["without the session that asked", answer(180, other)],
    ["without days", answer(undefined, current)],
    ["with no days", answer(0, current)],
    ["without dates", answer(180, { current: true })],
    ["without a list", { authorizationTtlDays: 180 }],
    ["nothing", undefined],
  ])("%s - unknown", (_, given) => {
    expect(readAuthorizationLife(given)).toBeUndefined();
  });
});
