/** The effect of an error on the session on which it occurred. */
export type VerdictKind = "cooldown" | "restricted" | "dead" | "retry" | "none";

/** The scope of a verdict. The option `cooldownScope` may narrow a cooldown of the session to the method. */
export type VerdictScope = "session" | "method" | "peer" | "request" | "proxy" | "server";

/**
 * The duration of a cooldown: the number in the code (as seconds, as minutes, or as seconds or the Unix time of its end), a
 * fixed number of seconds, or none.
 */
export type SecondsRule = "seconds" | "minutes" | "secondsOrDate" | number | null;

/** The meaning of an error for certain methods. */
export interface MethodException {
  /** Full names of methods: `"auth.SignIn"`. */
  readonly methods: ReadonlySet<string>;
  readonly kind: VerdictKind;
  readonly scope: VerdictScope;
}

/** The meaning of one error code of Telegram. */
export interface VerdictRow {
  /** The code as in the documentation; `X` stands for a number, and `*` at the end for any suffix. */
  readonly code: string;
  /** Matches the text that Telegram sends; the first group, if there is one, is the number. */
  readonly pattern: RegExp;
  readonly kind: VerdictKind;
  readonly scope: VerdictScope;
  readonly seconds: SecondsRule;
  /** Whether the error proves that the request had no effect. */
  readonly provesNotExecuted: boolean;
  /** The source of this meaning. */
  readonly source: string;
  /** Methods for which the error means something else, such as a statement about their arguments. */
  readonly exception?: MethodException;
}

// Telegram's own documentation: core.telegram.org/api/errors and the database behind it, core.telegram.org/api/errors.json.
const OFFICIAL = "core.telegram.org/api/errors";

function patternOf(code: string): RegExp {
  const text = code
    .replace(/_X(?=_)/, "_\\w+?")
    .replace(/_X(MIN)?$/, "(?:_(\\S+?)$1)?")
    .replace(/\*$/, "[A-Z0-9_]+");
  return new RegExp(`^${text}$`);
}

function row(
  kind: VerdictKind,
  scope: VerdictScope,
  code: string,
  source: string,
  rest: Partial<Pick<VerdictRow, "seconds" | "provesNotExecuted" | "exception">> = {},
): VerdictRow {
  const { seconds = null, provesNotExecuted = true, ...exception } = rest;
  return Object.freeze({
    code,
    pattern: patternOf(code),
    kind,
    scope,
    seconds,
    provesNotExecuted,
    source,
    ...exception,
  });
}

const cooldown = (scope: VerdictScope, code: string, source: string, seconds: SecondsRule = "seconds"): VerdictRow =>
  row("cooldown", scope, code, source, { seconds });
const restricted = (code: string, source: string, exception?: MethodException): VerdictRow =>
  row("restricted", "session", code, source, exception && { exception });
const dead = (code: string, source: string, exception?: MethodException): VerdictRow =>
  row("dead", "session", code, source, exception && { exception });
const surface = (scope: VerdictScope, code: string, source: string): VerdictRow => row("none", scope, code, source);
/** A failure of the server: whether the request had an effect is unknown. */
const failed = (code: string, source: string): VerdictRow =>
  row("retry", "server", code, source, { provesNotExecuted: false });

const DAY_SECONDS = 86_400;

/**
 * Methods that sign in with their arguments: a phone number, a token or a passkey. Errors about an account concern the one
 * that signs in. Source: core.telegram.org/api/auth, core.telegram.org/api/qr-login.
 */
const SIGN_IN_METHODS: readonly string[] = [
  "auth.SendCode",
  "auth.ResendCode",
  "auth.CancelCode",
  "auth.CheckPhone",
  "auth.RequestFirebaseSms",
  "auth.ReportMissingCode",
  "auth.ResetLoginEmail",
  "auth.SignIn",
  "auth.SignUp",
  "auth.CheckPassword",
  "auth.CheckRecoveryPassword",
  "auth.RequestPasswordRecovery",
  "auth.RecoverPassword",
  "auth.ImportBotAuthorization",
  "auth.ImportWebTokenAuthorization",
  "auth.ExportLoginToken",
  "auth.ImportLoginToken",
  "auth.InitPasskeyLogin",
  "auth.FinishPasskeyLogin",
  "auth.InitFirebasePnvLogin",
  "auth.FinishFirebasePnvLogin",
  "auth.FirebasePnvSignUp",
  "auth.CheckPaidAuth",
];

/** Methods that send a code to, or take one for, a phone number or mail address, by which Telegram counts them. */
const CODE_METHODS: readonly string[] = [
  ...SIGN_IN_METHODS,
  "account.SendChangePhoneCode",
  "account.ChangePhone",
  "account.SendConfirmPhoneCode",
  "account.ConfirmPhone",
  "account.SendVerifyPhoneCode",
  "account.VerifyPhone",
  "account.SendVerifyEmailCode",
  "account.VerifyEmail",
];

const OF_THE_ONE_WHO_SIGNS_IN: MethodException = { methods: new Set(SIGN_IN_METHODS), kind: "none", scope: "request" };
const COUNTED_BY_NUMBER: MethodException = { methods: new Set(CODE_METHODS), kind: "cooldown", scope: "method" };
/** A restriction of certain methods: the account can use all others. */
const OF_NEW_CHATS: MethodException = {
  methods: new Set(["channels.CreateChannel", "channels.EditAdmin", "messages.CreateChat"]),
  kind: "restricted",
  scope: "method",
};

const COOLDOWNS: readonly VerdictRow[] = [
  // A limit of the method with its input, by the documentation; the pool cools the session, or by option the method.
  // A flood of login codes usually concerns the number, and must not cool every session that requests one for it.
  row("cooldown", "session", "FLOOD_WAIT_X", `${OFFICIAL}; Telethon, mtcute and gotd count it per method`, {
    seconds: "seconds",
    exception: COUNTED_BY_NUMBER,
  }),
  cooldown("session", "FLOOD_PREMIUM_WAIT_X", `${OFFICIAL}: transfer speed of accounts without Premium`),
  cooldown("method", "FLOOD_TEST_PHONE_WAIT_X", "Telethon, gotd: test servers only"),
  cooldown(
    "peer",
    "SLOWMODE_WAIT_X",
    `${OFFICIAL}; Telethon: "chat-specific, not request-specific"; mtcute and gotd alike`,
  ),
  cooldown("method", "TAKEOUT_INIT_DELAY_X", `${OFFICIAL}; TDLib and gotd: that single request`),
  // The documentation says seconds; the official apps read the Unix time of the end.
  cooldown("method", "STORY_SEND_FLOOD_WEEKLY_X", `${OFFICIAL} (400); Telegram for Android: a date`, "secondsOrDate"),
  cooldown("method", "STORY_SEND_FLOOD_MONTHLY_X", `${OFFICIAL} (400); Telegram for Android: a date`, "secondsOrDate"),
  cooldown("method", "STORY_SEND_FLOOD_X", "TDLib (420): for the caller, not slept out", "secondsOrDate"),
  cooldown("method", "PASSWORD_TOO_FRESH_X", `${OFFICIAL} (400)`),
  cooldown("method", "SESSION_TOO_FRESH_X", `${OFFICIAL} (400)`),
  cooldown("method", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_XMIN", `${OFFICIAL} (406): minutes`, "minutes"),
  cooldown("method", "FRESH_*", `${OFFICIAL} (406): within 24 hours of the login`, DAY_SECONDS),
];

const SESSION_VERDICTS: readonly VerdictRow[] = [
  dead("AUTH_KEY_UNREGISTERED", `${OFFICIAL} (401); TDLib logs out`),
  dead("AUTH_KEY_INVALID", `${OFFICIAL} (401); TDLib logs out`),
  dead("SESSION_REVOKED", `${OFFICIAL} (401); TDLib logs out`),
  dead("SESSION_EXPIRED", `${OFFICIAL} (401); TDLib logs out`),
  dead("AUTH_KEY_DUPLICATED", `${OFFICIAL} (406): the key was used in parallel and is invalid for good`),
  dead("USER_DEACTIVATED", `${OFFICIAL} (401): the account is gone`, OF_THE_ONE_WHO_SIGNS_IN),
  dead("USER_DEACTIVATED_BAN", `${OFFICIAL} (401): the account is banned`, OF_THE_ONE_WHO_SIGNS_IN),
  restricted("PEER_FLOOD", `${OFFICIAL} (400): "spamreported"; grammers: account-wide, its duration undefined`),
  restricted(
    "FROZEN_*",
    `${OFFICIAL} (400, and 420 for FROZEN_METHOD_INVALID); TDLib: frozen until an appeal, or deleted on a date that help.getAppConfig names`,
  ),
  restricted(
    "USER_RESTRICTED",
    `${OFFICIAL} (403, 406): spamreported, cannot create chats; telegramdesktop/tdesktop#1969: goes on reading and writing`,
    OF_NEW_CHATS,
  ),
  // The answer to every request until the password has been entered.
  restricted(
    "SESSION_PASSWORD_NEEDED",
    `${OFFICIAL} (401): half logged in; TDLib, mtcute and Telethon keep it`,
    OF_THE_ONE_WHO_SIGNS_IN,
  ),
  row("retry", "session", "AUTH_KEY_PERM_EMPTY", `${OFFICIAL} (401): of a temporary key; TDLib treats it as a 500`),
  row("retry", "session", "CONNECTION_NOT_INITED", `${OFFICIAL} (400); TDLib initialises the connection again`),
  row("retry", "session", "CONNECTION_LAYER_INVALID", `${OFFICIAL} (400); TDLib initialises the connection again`),
  surface("session", "ACTIVE_USER_REQUIRED", `${OFFICIAL} (401); Telethon: the login is incomplete`),
  surface("session", "CHANNELS_TOO_MUCH", `${OFFICIAL} (400): the account is in too many channels`),
  surface("session", "PREMIUM_ACCOUNT_REQUIRED", `${OFFICIAL} (400, 403)`),
];

const SERVER_VERDICTS: readonly VerdictRow[] = [
  // Proves the opposite: Telegram already has this message.
  row("none", "request", "RANDOM_ID_DUPLICATE", `${OFFICIAL} (500)`, { provesNotExecuted: false }),
  // Refused before it was executed, to be retried at once: TDLib and gotd wait 1 s.
  row("retry", "request", "FLOOD_SKIP_FAILED_WAIT", "TDLib, gotd (420)"),
  failed("RPC_CALL_FAIL", `${OFFICIAL} (400, 500); Telethon repeats it`),
  failed("RPC_MCGET_FAIL", `${OFFICIAL} (400, 500); Telethon repeats it`),
  failed("INTERDC_X_CALL_ERROR", `${OFFICIAL} (500); Telethon repeats it`),
  failed("INTERDC_X_CALL_RICH_ERROR", `${OFFICIAL} (500); Telethon repeats it`),
  failed("AUTH_KEY_UNSYNCHRONIZED", "Telethon (500)"),
  failed("WORKER_BUSY_TOO_LONG_RETRY", "TDLib, mtcute and gotd (500): after 1 s"),
  failed("MSG_WAIT_FAILED", `${OFFICIAL} (400, 500): a request it was chained to failed`),
  failed("MSG_WAIT_TIMEOUT", `${OFFICIAL} (-503, 500)`),
  failed("MSG_WAIT_*", "GramJS reads every MSG_WAIT_… as one error"),
  failed("Timeout", `${OFFICIAL} (-503)`),
  failed("Timedout", `${OFFICIAL} (-503)`),
];

const CALLER_VERDICTS: readonly VerdictRow[] = [
  surface(
    "request",
    "2FA_CONFIRM_WAIT_X",
    `${OFFICIAL} (420): account.deleteAccount waits a week; no other account helps`,
  ),
  surface("request", "PREMIUM_SUB_ACTIVE_UNTIL_X", `${OFFICIAL} (420): a date; TDLib: no wait`),
  surface("request", "USER_MIGRATE_X", `${OFFICIAL} (303): the library follows`),
  surface("request", "PHONE_MIGRATE_X", `${OFFICIAL} (303): the library follows`),
  surface("request", "NETWORK_MIGRATE_X", `${OFFICIAL} (303): the library follows`),
  surface("request", "FILE_MIGRATE_X", `${OFFICIAL} (303): the library follows`),
  surface("request", "STATS_MIGRATE_X", `${OFFICIAL} (303): the library follows`),
  surface("request", "EMAIL_UNCONFIRMED_X", `${OFFICIAL} (400): X is the length of a code`),
  surface("request", "API_ID_INVALID", `${OFFICIAL} (400): the application's, not the session's`),
  surface("request", "API_ID_PUBLISHED_FLOOD", `${OFFICIAL} (400): the application's, not the session's`),
  surface("request", "CONNECTION_API_ID_INVALID", `${OFFICIAL} (400): the application's, not the session's`),
  surface("request", "UPDATE_APP_TO_LOGIN", `${OFFICIAL} (406): the application's, not the session's`),
  surface("request", "PHONE_NUMBER_BANNED", `${OFFICIAL} (400): the number in the request, not the account that asks`),
  surface("request", "PHONE_NUMBER_FLOOD", `${OFFICIAL} (400): of a login`),
  surface("request", "PHONE_PASSWORD_FLOOD", `${OFFICIAL} (406): of a login`),
  surface("peer", "FRESH_CHANGE_ADMINS_FORBIDDEN", `${OFFICIAL} (400, 406): within 24 hours of the promotion there`),
  surface("peer", "ALLOW_PAYMENT_REQUIRED_X", `${OFFICIAL} (403)`),
  surface("peer", "PRIVACY_PREMIUM_REQUIRED", `${OFFICIAL} (403)`),
  surface("peer", "CHAT_WRITE_FORBIDDEN", `${OFFICIAL} (403)`),
  surface("peer", "CHAT_RESTRICTED", `${OFFICIAL} (400, 403)`),
  surface("peer", "USER_BANNED_IN_CHANNEL", `${OFFICIAL} (400)`),
  surface("peer", "CHANNEL_PRIVATE", `${OFFICIAL} (400, 406)`),
  surface("peer", "CHANNEL_INVALID", `${OFFICIAL} (400, 406)`),
  surface("peer", "PEER_ID_INVALID", `${OFFICIAL} (400, 406)`),
  surface("peer", "USER_PRIVACY_RESTRICTED", `${OFFICIAL} (403)`),
];

/** The known error codes of Telegram; others are classified by their number. The first match counts. */
export const VERDICT_TABLE: readonly VerdictRow[] = Object.freeze([
  ...COOLDOWNS,
  ...SESSION_VERDICTS,
  ...SERVER_VERDICTS,
  ...CALLER_VERDICTS,
]);

const EXACT_ROWS: ReadonlyMap<string, VerdictRow> = new Map(VERDICT_TABLE.map((entry) => [entry.code, entry]));
const OPEN_ROWS: readonly VerdictRow[] = VERDICT_TABLE.filter((entry) => /_X|\*$/.test(entry.code));

/** The row that matches a text (`"FLOOD_WAIT_33"`), and the number in it, if there is one. */
export function findVerdictRow(text: string): { readonly row: VerdictRow; readonly number?: string } | undefined {
  const exact = EXACT_ROWS.get(text);
  if (exact !== undefined) return { row: exact };
  for (const entry of OPEN_ROWS) {
    const match = entry.pattern.exec(text);
    if (match === null) continue;
    return match[1] === undefined ? { row: entry } : { row: entry, number: match[1] };
  }
  return undefined;
}
