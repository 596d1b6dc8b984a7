import { Api as Gramjs } from "telegram";
import { Api as Teleproto } from "teleproto";
import { describe, expect, test } from "vitest";
import { isIdempotent, READS } from "../../src/telegram/idempotent-methods.js";
import { methodOf, type TelegramRequest } from "../../src/telegram/requests.js";
import { judgedWrites } from "./judged-writes.js";

/** Named like a read, and yet repeating it is not harmless, with the reason. */
const notReads: ReadonlyMap<string, string> = new Map([
  ["auth.CheckPassword", "logs in"],
  ["auth.CheckRecoveryPassword", "attempts are counted"],
  ["auth.ExportAuthorization", "hands out an authorisation"],
  ["auth.ExportLoginToken", "hands out a login token"],
  ["auth.RequestPasswordRecovery", "sends a code"],
  ["auth.RequestFirebaseSms", "sends a code"],
  ["account.GetPasswordSettings", "spends a password proof; attempts are counted"],
  ["account.GetTmpPassword", "hands out a password"],
  ["account.ResolveBusinessChatLink", "counts a view of the link"],
  ["chatlists.ExportChatlistInvite", "creates a link"],
  ["channels.SearchPosts", "may be paid for in later layers"],
  ["contacts.ExportContactToken", "hands out a token"],
  ["contacts.GetLocated", "may publish the own place"],
  ["messages.ExportChatInvite", "creates a link"],
  ["messages.GetBotCallbackAnswer", "presses a button"],
  ["messages.GetEmojiURL", "hands out a login link"],
  ["messages.GetInlineBotResults", "asks somebody's bot"],
  ["messages.GetMessagesViews", "may count a view"],
  ["messages.ReceivedMessages", "confirms"],
  ["messages.ReceivedQueue", "confirms"],
  ["messages.RequestAppWebView", "opens a web app"],
  ["messages.RequestEncryption", "starts a secret chat"],
  ["messages.RequestMainWebView", "opens a web app"],
  ["messages.RequestSimpleWebView", "opens a web app"],
  ["messages.RequestUrlAuth", "asks for a login"],
  ["messages.RequestWebView", "opens a web app"],
  ["messages.TranscribeAudio", "spends a trial"],
  ["messages.ViewSponsoredMessage", "counts a view"],
  ["payments.ExportInvoice", "creates a link"],
  ["payments.GetStarGiftWithdrawalUrl", "starts a withdrawal"],
  ["payments.GetStarsRevenueAdsAccountUrl", "hands out a login link"],
  ["payments.GetStarsRevenueWithdrawalUrl", "starts a withdrawal"],
  ["payments.ValidateRequestedInfo", "may save it, and asks somebody's bot"],
  ["phone.ExportGroupCallInvite", "creates a link"],
  ["phone.GetGroupCallStreamRtmpUrl", "may revoke the old key"],
  ["phone.ReceivedCall", "confirms"],
  ["phone.RequestCall", "rings"],
  ["smsjobs.GetSmsJob", "takes a job"],
  ["stats.GetBroadcastRevenueWithdrawalUrl", "starts a withdrawal"],
  ["aicompose.GetToneExample", "has an example written"],
  ["auth.CheckPaidAuth", "belongs to a login"],
  ["bots.ExportBotToken", "hands out a token, and may revoke the old one"],
  ["bots.GetRequestedWebViewButton", "takes up what a web app asked for"],
  ["bots.RequestWebViewButton", "asks for a button"],
  ["ephemeral.GetCallbackAnswer", "presses a button"],
  ["messages.CheckUrlAuthMatchCode", "attempts may be counted"],
  ["messages.RequestChatJoinWebView", "opens a web app"],
  ["messages.SummarizeText", "may spend a trial"],
  ["payments.ResolveStarGiftOffer", "accepts an offer, or declines it"],
  ["users.SuggestBirthday", "tells the user"],
]);

/** Wrappers are judged by what they carry. */
const isWrapper = (name: string): boolean => /^(?:Invoke|InitConnection$)/.test(name);

const libraries = { GramJS: requestNames(Gramjs), teleproto: requestNames(Teleproto) } as const;
const all = new Set([...libraries.GramJS, ...libraries.teleproto]);

test.each(Object.entries(libraries))("isRead() - every request of %s has been judged", (_, names) => {
  expect(names.length).toBeGreaterThan(600);
  const isJudged = (name: string): boolean => isIdempotent(name) || notReads.has(name) || judgedWrites.includes(name);
  expect(names.filter((name) => !isJudged(name) && !isWrapper(name))).toEqual([]);
});

test("isRead() - every judged name exists in a library, on one side only", () => {
  const judged = [...READS, ...notReads.keys(), ...judgedWrites];
  expect(judged.filter((name) => !all.has(name))).toEqual([]);
  expect(judged.filter((name, index) => judged.indexOf(name) !== index)).toEqual([]);
});

test.each([...all].filter(isWrapper))("methodOf() - %s is judged by the query in it", (className) => {
  expect(methodOf({ className, query: { className: "messages.GetHistory" } } as TelegramRequest)).toBe(
    "messages.GetHistory",
  );
});

describe("isRead() - by name", () => {
  test.each([
    "users.GetUsers",
    "messages.GetHistory",
    "contacts.ResolveUsername",
    "updates.GetState",
    "updates.GetDifference",
    "help.GetConfig",
    "upload.SaveFilePart",
    "upload.SaveBigFilePart",
    "messages.UploadMedia",
    "messages.GetForumTopics",
  ])("%s is a read", (name) => expect(isIdempotent(name)).toBe(true));

  test.each([
    "messages.SendMessage",
    "messages.GetBotCallbackAnswer",
    "account.UpdateStatus",
    "account.InitTakeoutSession",
    "messages.ReadHistory",
    "messages.gethistory",
    "GetHistory",
    "InvokeWithLayer",
    "messages.GetWhatALaterLayerHas",
    "constructor",
    "",
  ])("%j is a write", (name) => expect(isIdempotent(name)).toBe(false));
});

function requestNames(api: object): readonly string[] {
  return namesIn(api as Record<string, unknown>);
}

function namesIn(scope: Record<string, unknown>): string[] {
  return Object.values(scope).flatMap((entry) => {
    if (typeof entry === "object" && entry !== null) return namesIn(entry as Record<string, unknown>);
    const request = typeof entry === "function" ? instanceOf(entry as new (args: object) => object) : undefined;
    return request?.classType === "request" ? [request.className] : [];
  });
}

/** Some classes want arguments that matter here to nobody; none of those is a request. */
function instanceOf(type: new (args: object) => object): { classType: string; className: string } | undefined {
  try {
    return new type({ id: [] }) as { classType: string; className: string };
  } catch {
    return undefined;
  }
}
