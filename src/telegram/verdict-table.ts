/** What an error says about the session that met it. */
export type VerdictKind = "cooldown" | "restricted" | "dead" | "retry" | "none";

/** What the verdict is about. A `"cooldown"` of scope `"session"` may be narrowed to the method by the pool's options. */
export type VerdictScope = "session" | "method" | "peer" | "request" | "proxy" | "server";

/** How long a cooldown lasts: what the code's number says (as seconds or minutes), a fixed number of seconds, or nothing. */
export type SecondsRule = "seconds" | "minutes" | number | null;

/** What is known of one error code of Telegram. */
export interface VerdictRow {
  /** The code as the documentation writes it; `X` stands for a number, a `*` at the end for any ending. */
  readonly code: string;
  /** Matches the text Telegram sends; its first group, where there is one, is the number. */
  readonly pattern: RegExp;
  readonly kind: VerdictKind;
  readonly scope: VerdictScope;
  readonly seconds: SecondsRule;
  /** The error proves that the request took no effect. */
  readonly provesNotExecuted: boolean;
  /** Who says so. */
  readonly source: string;
}

// Telegram's own documentation: core.telegram.org/api/errors and the database behind it, core.telegram.org/api/errors.json.
const official = "core.telegram.org/api/errors";

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
  rest: { readonly seconds?: SecondsRule; readonly provesNotExecuted?: boolean } = {},
): VerdictRow {
  const { seconds = null, provesNotExecuted = true } = rest;
  return Object.freeze({ code, pattern: patternOf(code), kind, scope, seconds, provesNotExecuted, source });
}

const cooldown = (scope: VerdictScope, code: string, source: string, seconds: SecondsRule = "seconds"): VerdictRow =>
  row("cooldown", scope, code, source, { seconds });
const restricted = (code: string, source: string): VerdictRow => row("restricted", "session", code, source);
const dead = (code: string, source: string): VerdictRow => row("dead", "session", code, source);
const surface = (scope: VerdictScope, code: string, source: string): VerdictRow => row("none", scope, code, source);
/** The server failed on its side: what the request did is not known. */
const failed = (code: string, source: string): VerdictRow =>
  row("retry", "server", code, source, { provesNotExecuted: false });

const day = 86_400;

const cooldowns: readonly VerdictRow[] = [
  // Telegram calls it a limit of the method with its input; the pool rests the whole session unless told otherwise.
  cooldown("session", "FLOOD_WAIT_X", `${official}; Telethon, mtcute and gotd count it per method`),
  cooldown("session", "FLOOD_PREMIUM_WAIT_X", `${official}: transfer speed of accounts without Premium`),
  cooldown("method", "FLOOD_TEST_PHONE_WAIT_X", "Telethon, gotd: test servers only"),
  cooldown(
    "peer",
    "SLOWMODE_WAIT_X",
    `${official}; Telethon: "chat-specific, not request-specific"; mtcute and gotd alike`,
  ),
  cooldown("method", "TAKEOUT_INIT_DELAY_X", `${official}; TDLib and gotd: that single request`),
  cooldown("method", "STORY_SEND_FLOOD_WEEKLY_X", `${official} (400)`),
  cooldown("method", "STORY_SEND_FLOOD_MONTHLY_X", `${official} (400)`),
  cooldown("method", "PASSWORD_TOO_FRESH_X", `${official} (400)`),
  cooldown("method", "SESSION_TOO_FRESH_X", `${official} (400)`),
  cooldown("method", "PREVIOUS_CHAT_IMPORT_ACTIVE_WAIT_XMIN", `${official} (406): minutes`, "minutes"),
  cooldown("method", "FRESH_*", `${official} (400, 406): within 24 hours of the login or the promotion`, day),
];

const sessionVerdicts: readonly VerdictRow[] = [
  dead("AUTH_KEY_UNREGISTERED", `${official} (401); TDLib logs out`),
  dead("AUTH_KEY_INVALID", `${official} (401); TDLib logs out`),
  dead("SESSION_REVOKED", `${official} (401); TDLib logs out`),
  dead("SESSION_EXPIRED", `${official} (401); TDLib logs out`),
  dead("AUTH_KEY_DUPLICATED", `${official} (406): the key was used in parallel and is invalid for good`),
  dead("USER_DEACTIVATED", `${official} (401): the account is gone`),
  dead("USER_DEACTIVATED_BAN", `${official} (401): the account is banned`),
  dead("PHONE_NUMBER_BANNED", `${official} (400): the account is banned`),
  restricted("PEER_FLOOD", `${official} (400): "spamreported"; grammers: account-wide, its duration undefined`),
  restricted("FROZEN_*", `${official} (400, and 420 for FROZEN_METHOD_INVALID); TDLib: frozen until an appeal`),
  restricted("USER_RESTRICTED", `${official} (403, 406): spamreported, cannot create chats`),
  row("retry", "session", "AUTH_KEY_PERM_EMPTY", `${official} (401): of a temporary key; TDLib treats it as a 500`),
  row("retry", "session", "CONNECTION_NOT_INITED", `${official} (400); TDLib initialises the connection again`),
  row("retry", "session", "CONNECTION_LAYER_INVALID", `${official} (400); TDLib initialises the connection again`),
  surface(
    "session",
    "SESSION_PASSWORD_NEEDED",
    `${official} (401): half logged in; TDLib, mtcute and Telethon keep it`,
  ),
  surface("session", "ACTIVE_USER_REQUIRED", `${official} (401); Telethon: the login is incomplete`),
  surface("session", "CHANNELS_TOO_MUCH", `${official} (400): the account is in too many channels`),
  surface("session", "PREMIUM_ACCOUNT_REQUIRED", `${official} (400, 403)`),
];

const serverVerdicts: readonly VerdictRow[] = [
  // It proves the opposite: Telegram has this message already.
  row("none", "request", "RANDOM_ID_DUPLICATE", `${official} (500)`, { provesNotExecuted: false }),
  // Refused before it was executed, and told to try again at once: TDLib and gotd wait 1 s.
  row("retry", "request", "FLOOD_SKIP_FAILED_WAIT", "TDLib, gotd (420)"),
  failed("RPC_CALL_FAIL", `${official} (400, 500); Telethon repeats it`),
  failed("RPC_MCGET_FAIL", `${official} (400, 500); Telethon repeats it`),
  failed("INTERDC_X_CALL_ERROR", `${official} (500); Telethon repeats it`),
  failed("INTERDC_X_CALL_RICH_ERROR", `${official} (500); Telethon repeats it`),
  failed("AUTH_KEY_UNSYNCHRONIZED", "Telethon (500)"),
  failed("WORKER_BUSY_TOO_LONG_RETRY", "TDLib, mtcute and gotd (500): after 1 s"),
  failed("MSG_WAIT_FAILED", `${official} (400, 500): a request it was chained to failed`),
  failed("MSG_WAIT_TIMEOUT", `${official} (-503, 500)`),
  failed("MSG_WAIT_*", "GramJS reads every MSG_WAIT_… as one error"),
  failed("Timeout", `${official} (-503)`),
  failed("Timedout", `${official} (-503)`),
];

const callerVerdicts: readonly VerdictRow[] = [
  surface(
    "request",
    "2FA_CONFIRM_WAIT_X",
    `${official} (420): account.deleteAccount waits a week; no other account helps`,
  ),
  surface("request", "USER_MIGRATE_X", `${official} (303): the library follows`),
  surface("request", "PHONE_MIGRATE_X", `${official} (303): the library follows`),
  surface("request", "NETWORK_MIGRATE_X", `${official} (303): the library follows`),
  surface("request", "FILE_MIGRATE_X", `${official} (303): the library follows`),
  surface("request", "STATS_MIGRATE_X", `${official} (303): the library follows`),
  surface("request", "EMAIL_UNCONFIRMED_X", `${official} (400): X is the length of a code`),
  surface("request", "API_ID_INVALID", `${official} (400): the application's, not the session's`),
  surface("request", "API_ID_PUBLISHED_FLOOD", `${official} (400): the application's, not the session's`),
  surface("request", "CONNECTION_API_ID_INVALID", `${official} (400): the application's, not the session's`),
  surface("request", "UPDATE_APP_TO_LOGIN", `${official} (406): the application's, not the session's`),
  surface("request", "PHONE_NUMBER_FLOOD", `${official} (400): of a login`),
  surface("request", "PHONE_PASSWORD_FLOOD", `${official} (406): of a login`),
  surface("peer", "ALLOW_PAYMENT_REQUIRED_X", `${official} (403)`),
  surface("peer", "PRIVACY_PREMIUM_REQUIRED", `${official} (403)`),
  surface("peer", "CHAT_WRITE_FORBIDDEN", `${official} (403)`),
  surface("peer", "CHAT_RESTRICTED", `${official} (400, 403)`),
  surface("peer", "USER_BANNED_IN_CHANNEL", `${official} (400)`),
  surface("peer", "CHANNEL_PRIVATE", `${official} (400, 406)`),
  surface("peer", "CHANNEL_INVALID", `${official} (400, 406)`),
  surface("peer", "PEER_ID_INVALID", `${official} (400, 406)`),
  surface("peer", "USER_PRIVACY_RESTRICTED", `${official} (403)`),
];

/** Every error code of Telegram this package knows by name; any other is judged by its number. First match wins. */
export const verdictTable: readonly VerdictRow[] = Object.freeze([
  ...cooldowns,
  ...sessionVerdicts,
  ...serverVerdicts,
  ...callerVerdicts,
]);

const exactRows: ReadonlyMap<string, VerdictRow> = new Map(verdictTable.map((entry) => [entry.code, entry]));
const openRows: readonly VerdictRow[] = verdictTable.filter((entry) => /_X|\*$/.test(entry.code));

/** The row that knows this text (`"FLOOD_WAIT_33"`), and the number in it, if it has one. */
export function findVerdictRow(text: string): { readonly row: VerdictRow; readonly number?: string } | undefined {
  const exact = exactRows.get(text);
  if (exact !== undefined) return { row: exact };
  for (const entry of openRows) {
    const match = entry.pattern.exec(text);
    if (match === null) continue;
    return match[1] === undefined ? { row: entry } : { row: entry, number: match[1] };
  }
  return undefined;
}
