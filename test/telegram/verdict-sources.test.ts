import { errors as gramjsErrors } from "telegram";
import { errors as teleprotoErrors } from "teleproto";
import { describe, expect, test } from "vitest";
import { VERDICT_TABLE, type VerdictRow } from "../../src/telegram/verdict-table.js";
import { affectsSession, classifyTelegramError } from "../../src/telegram/verdicts.js";
import { answers } from "./answers.js";

/*
 * Which requests each error can come from, and so whose error it is. Source: core.telegram.org/api/errors.json (the
 * methods of each error), and for those it lists for no method the text of core.telegram.org/api/errors.
 */

/** Requests that an account makes for itself. */
const ANY = ["users.GetUsers", "messages.GetHistory", "messages.SendMessage", "channels.JoinChannel", "help.GetConfig"];
/** Requests that sign in with what is in their arguments. */
const SIGN_IN = ["auth.SendCode", "auth.SignIn", "auth.CheckPassword", "auth.ImportLoginToken", "auth.SignUp"];
/** Requests that send a code to a number of their arguments. */
const CODES = ["account.SendChangePhoneCode", "account.SendVerifyPhoneCode", "account.ChangePhone"];
const NEW_CHATS = ["channels.CreateChannel", "channels.EditAdmin", "messages.CreateChat"];
const SENDING = ["messages.SendMessage", "messages.SendMedia", "messages.ForwardMessages", "messages.SendMultiMedia"];

type Owner = "session" | "method" | "peer" | "request" | "server";
type Origin = readonly [owner: Owner, methods: readonly string[]];

/** Of every row of the table: whose error it is in answer to which requests. */
const ORIGINS: Readonly<Record<string, readonly Origin[]>> = {
  FLOOD_WAIT_X: [
    ["session", ANY],
    ["method", [...SIGN_IN, ...CODES]],
  ],
  FLOOD_PREMIUM_WAIT_X: [["session", ["upload.GetFile", "upload.SaveFilePart"]]],
  FLOOD_TEST_PHONE_WAIT_X: [["method", ["auth.SendCode"]]],
  SLOWMODE_WAIT_X: [["peer", SENDING]],
  TAKEOUT_INIT_DELAY_X: [["method", ["account.InitTakeoutSession"]]],
  STORY_SEND_FLOOD_WEEKLY_X: [["method", ["stories.CanSendStory", "stories.SendStory"]]],
  STORY_SEND_FLOOD_MONTHLY_X: [["method", ["stories.CanSendStory", "stories.SendStory"]]],
  STORY_SEND_FLOOD_X: [["method", ["stories.SendStory"]]],
  PASSWORD_TOO_FRESH_X: [["method", ["channels.EditCreator", "payments.GetStarsRevenueWithdrawalUrl"]]],
  SESSION_TOO_FRESH_X: [["method", ["channels.EditCreator", "payments.GetStarsRevenueWithdrawalUrl"]]],
  PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_XMIN: [["method", ["messages.InitHistoryImport"]]],
  "FRESH_*": [["method", ["account.SendChangePhoneCode", "account.ResetAuthorization", "auth.ResetAuthorizations"]]],
  AUTH_KEY_UNREGISTERED: [["session", [...ANY, ...SIGN_IN]]],
  AUTH_KEY_INVALID: [["session", [...ANY, ...SIGN_IN]]],
  SESSION_REVOKED: [["session", ANY]],
  SESSION_EXPIRED: [["session", ANY]],
  AUTH_KEY_DUPLICATED: [["session", [...ANY, ...SIGN_IN]]],
  USER_DEACTIVATED: [
    ["session", [...ANY, ...CODES]],
    ["request", SIGN_IN],
  ],
  USER_DEACTIVATED_BAN: [
    ["session", [...ANY, ...CODES]],
    ["request", SIGN_IN],
  ],
  PEER_FLOOD: [["session", [...SENDING, "contacts.AddContact", "channels.InviteToChannel"]]],
  "FROZEN_*": [["session", ["channels.JoinChannel", "messages.GetHistory", "updates.GetChannelDifference"]]],
  USER_RESTRICTED: [
    ["method", NEW_CHATS],
    ["session", SENDING],
  ],
  SESSION_PASSWORD_NEEDED: [
    ["session", ANY],
    ["request", [...SIGN_IN, "auth.ExportLoginToken"]],
  ],
  AUTH_KEY_PERM_EMPTY: [["session", ANY]],
  CONNECTION_NOT_INITED: [["session", ANY]],
  CONNECTION_LAYER_INVALID: [["session", ["help.GetConfig", "contacts.ResolveUsername"]]],
  ACTIVE_USER_REQUIRED: [["session", ANY]],
  CHANNELS_TOO_MUCH: [["session", ["channels.JoinChannel", "messages.ImportChatInvite"]]],
  PREMIUM_ACCOUNT_REQUIRED: [["session", ["stories.SendStory", "account.UpdateColor"]]],
  RANDOM_ID_DUPLICATE: [["request", SENDING]],
  FLOOD_SKIP_FAILED_WAIT: [["request", ANY]],
  RPC_CALL_FAIL: [["server", ANY]],
  RPC_MCGET_FAIL: [["server", ANY]],
  INTERDC_X_CALL_ERROR: [["server", ANY]],
  INTERDC_X_CALL_RICH_ERROR: [["server", ANY]],
  AUTH_KEY_UNSYNCHRONIZED: [["server", ["auth.CheckPassword"]]],
  WORKER_BUSY_TOO_LONG_RETRY: [["server", ANY]],
  MSG_WAIT_FAILED: [["server", SENDING]],
  MSG_WAIT_TIMEOUT: [["server", SENDING]],
  "MSG_WAIT_*": [["server", SENDING]],
  Timeout: [["server", ["messages.GetInlineBotResults"]]],
  Timedout: [["server", ["messages.GetInlineBotResults"]]],
  "2FA_CONFIRM_WAIT_X": [["request", ["account.DeleteAccount"]]],
  PREMIUM_SUB_ACTIVE_UNTIL_X: [["request", ["payments.ApplyGiftCode"]]],
  PHONE_NUMBER_BANNED: [["request", ["auth.SendCode", "auth.CheckPhone", ...CODES]]],
  USER_MIGRATE_X: [["request", [...ANY, ...SIGN_IN]]],
  PHONE_MIGRATE_X: [["request", SIGN_IN]],
  NETWORK_MIGRATE_X: [["request", SIGN_IN]],
  FILE_MIGRATE_X: [["request", ["upload.GetFile"]]],
  STATS_MIGRATE_X: [["request", ["stats.GetBroadcastStats"]]],
  EMAIL_UNCONFIRMED_X: [["request", ["account.UpdatePasswordSettings"]]],
  API_ID_INVALID: [["request", ["auth.SendCode", "help.GetConfig"]]],
  API_ID_PUBLISHED_FLOOD: [["request", ["auth.SendCode", "auth.ExportLoginToken"]]],
  CONNECTION_API_ID_INVALID: [["request", ["help.GetConfig"]]],
  UPDATE_APP_TO_LOGIN: [["request", ["auth.SendCode", "auth.SignIn"]]],
  PHONE_NUMBER_FLOOD: [["request", ["auth.SendCode", "auth.SignUp"]]],
  PHONE_PASSWORD_FLOOD: [["request", ["auth.SendCode"]]],
  FRESH_CHANGE_ADMINS_FORBIDDEN: [["peer", ["channels.EditAdmin"]]],
  ALLOW_PAYMENT_REQUIRED_X: [["peer", SENDING]],
  PRIVACY_PREMIUM_REQUIRED: [["peer", SENDING]],
  CHAT_WRITE_FORBIDDEN: [["peer", SENDING]],
  CHAT_RESTRICTED: [["peer", SENDING]],
  USER_BANNED_IN_CHANNEL: [["peer", [...SENDING, "channels.InviteToChannel"]]],
  CHANNEL_PRIVATE: [["peer", [...SENDING, "channels.GetChannels"]]],
  CHANNEL_INVALID: [["peer", [...SENDING, "channels.GetChannels"]]],
  PEER_ID_INVALID: [["peer", [...SENDING, "messages.GetHistory"]]],
  USER_PRIVACY_RESTRICTED: [["peer", ["channels.InviteToChannel", "messages.SendMessage"]]],
};

function thrown(library: "gramjs" | "teleproto", errorCode: number, errorMessage: string, className: string): unknown {
  const answer = { errorCode, errorMessage } as never;
  const request = { className } as never;
  return library === "gramjs"
    ? gramjsErrors.RPCMessageToError(answer, request)
    : teleprotoErrors.RPCMessageToError(answer, request);
}

/** An answer that Telegram gives by this row, and its number. */
function answerOf({ code, pattern }: VerdictRow): readonly [number, string] {
  const known = answers.find(([, text]) =>
    code.includes("_X") || code.endsWith("*") ? pattern.test(text) : text === code,
  );
  if (known !== undefined) return [known[0], known[1]];
  return code.startsWith("MSG") ? [-503, code] : [420, code.replace("X", "4")];
}

describe("classifyTelegramError() - source of an error", () => {
  test("every row of the table is checked", () => {
    expect(Object.keys(ORIGINS).sort()).toEqual(VERDICT_TABLE.map(({ code }) => code).sort());
  });

  const cases = VERDICT_TABLE.flatMap((row) =>
    (ORIGINS[row.code] ?? []).flatMap(([owner, methods]) =>
      methods.map((method) => [row.code, method, owner, ...answerOf(row)] as const),
    ),
  );

  test.each(cases)("%s of %s belongs to the %s", (_, method, owner, code, text) => {
    const verdicts = [
      classifyTelegramError(thrown("gramjs", code, text, method)),
      classifyTelegramError(thrown("teleproto", code, text, method)),
      classifyTelegramError({ code, errorMessage: text }, { method }),
    ];
    for (const verdict of verdicts) {
      expect(verdict.scope).toBe(owner);
      if (owner === "request" || owner === "peer") expect(["none", "retry", "cooldown"]).toContain(verdict.kind);
      if (owner === "request") expect(affectsSession(verdict)).toBe(false);
    }
  });

  test("an error about an argument or a peer never retires the session", () => {
    const isTaking = ({ kind, scope }: VerdictRow): boolean =>
      (kind === "dead" || kind === "restricted") && scope !== "session";
    expect(VERDICT_TABLE.filter(isTaking)).toEqual([]);
  });
});

describe("classifyTelegramError() - where Telegram's text is unknown, the number decides", () => {
  const WORDS = ["No workers running", "Internal error!", "пусто", "a", "", "x".repeat(2_000)];
  const EXPECTED: readonly (readonly [number, string, boolean])[] = [
    [500, "retry", false],
    [-500, "retry", false],
    [502, "retry", false],
    [-503, "retry", false],
    [420, "cooldown", true],
    [303, "none", true],
    [400, "none", true],
    [401, "none", true],
    [403, "none", true],
    [406, "none", true],
  ];

  test.each(EXPECTED)("%i", (code, kind, provesNotExecuted) => {
    for (const words of WORDS) {
      for (const library of ["gramjs", "teleproto"] as const) {
        const error = thrown(library, code, words, "messages.SendMessage");
        expect(classifyTelegramError(error), `${library}: ${words}`).toMatchObject({
          kind,
          provesNotExecuted,
          code: `ERROR_${Math.abs(code)}`,
        });
      }
      if (words.length === 0 || words.length > 300) continue;
      const plain = { code, errorMessage: words, message: `${code}: ${words}` };
      expect(classifyTelegramError(plain)).toMatchObject({ kind, provesNotExecuted });
    }
  });

  test("a flood in words cools for a minute", () => {
    const error = thrown("gramjs", 420, "Too many requests", "messages.SendMessage");
    expect(classifyTelegramError(error)).toMatchObject({ scope: "session", seconds: 60, isGuess: true });
  });

  test("a known death with another number is none", () => {
    for (const code of [400, 403, 500]) {
      expect(classifyTelegramError(thrown("gramjs", code, "USER_DEACTIVATED", "users.GetUsers")).kind).not.toBe("dead");
    }
  });
});

describe("classifyTelegramError() - dates", () => {
  const now = 1_790_000_000_000;

  test.each([
    ["STORY_SEND_FLOOD_WEEKLY_1790000600", 600],
    ["STORY_SEND_FLOOD_MONTHLY_1790086400", 86_400],
    ["STORY_SEND_FLOOD_WEEKLY_1780000000", 1],
    ["STORY_SEND_FLOOD_WEEKLY_600", 600],
  ])("%s is a wait of %i s", (text, seconds) => {
    for (const library of ["gramjs", "teleproto"] as const) {
      const error = thrown(library, 400, text, "stories.SendStory");
      expect(classifyTelegramError(error, { now })).toMatchObject({ kind: "cooldown", scope: "method", seconds });
    }
  });

  test("an unknown flood whose number is a date is no wait, and none is longer than an hour", () => {
    const kindOf = (text: string) => classifyTelegramError(thrown("teleproto", 420, text, "payments.ApplyGiftCode"));
    expect(kindOf("NEW_UNTIL_1790000600")).toMatchObject({ kind: "none", code: "NEW_UNTIL" });
    expect(kindOf("NEW_WAIT_7200")).toMatchObject({ kind: "cooldown", seconds: 3_600, isGuess: true });
    expect(kindOf("NEW_WAIT_99999999999999")).toMatchObject({ kind: "cooldown", seconds: 3_600, isGuess: true });
    expect(kindOf("NEW_WAIT_0")).toMatchObject({ kind: "cooldown", seconds: 1 });
  });
});
