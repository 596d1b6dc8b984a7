import type { Account } from "../accounts.js";
import type { TlFactory, TlObject } from "../library.js";
import type { ServerHandler, Services } from "../services.js";

const CONFIG_LIFETIME_SECONDS = 3_600;

function getConfig(services: Services): ServerHandler {
  return ({ tl, authorization: { dcId } }) => {
    const date = Math.floor(Date.now() / 1000);
    const addresses = services.dataCenters.all().map(({ id, port }) => ({ id, ipAddress: services.host, port }));
    return tl("Config", {
      date,
      expires: date + CONFIG_LIFETIME_SECONDS,
      testMode: false,
      thisDc: dcId,
      dcOptions: addresses.map((address) => tl("DcOption", address)),
      dcTxtDomainName: "loopback.invalid",
      chatSizeMax: 200,
      megagroupSizeMax: 200_000,
      forwardedCountMax: 100,
      onlineUpdatePeriodMs: 210_000,
      offlineBlurTimeoutMs: 5_000,
      offlineIdleTimeoutMs: 30_000,
      onlineCloudTimeoutMs: 300_000,
      notifyCloudDelayMs: 30_000,
      notifyDefaultDelayMs: 1_500,
      pushChatPeriodMs: 60_000,
      pushChatLimit: 2,
      editTimeLimit: 172_800,
      revokeTimeLimit: 2_147_483_647,
      revokePmTimeLimit: 2_147_483_647,
      ratingEDecay: 2_419_200,
      stickersRecentLimit: 200,
      channelsReadMediaPeriod: 604_800,
      callReceiveTimeoutMs: 20_000,
      callRingTimeoutMs: 90_000,
      callConnectTimeoutMs: 30_000,
      callPacketTimeoutMs: 10_000,
      meUrlPrefix: "https://t.me/",
      captionLengthMax: 1_024,
      messageLengthMax: 4_096,
      webfileDcId: dcId,
    });
  };
}

/** Some of what the real configuration holds for every account. Source: core.telegram.org/api/config. */
const APP_CONFIG: Readonly<Record<string, number | string>> = {
  channels_limit_default: 500,
  channels_limit_premium: 1_000,
  upload_max_fileparts_default: 4_000,
  telegram_antispam_user_id: "5434988373",
};

/** Telegram names the freeze of an account in its configuration. Source: core.telegram.org/api/auth#frozen-accounts. */
function freezeConfig({ state: { freeze } }: Account): Readonly<Record<string, number | string>> {
  if (freeze === null) return {};
  const { since = Date.now(), until, appealUrl = "https://t.me/SpamBot" } = freeze;
  return {
    freeze_since_date: toSeconds(since),
    ...(until === undefined ? {} : { freeze_until_date: toSeconds(until) }),
    freeze_appeal_url: appealUrl,
  };
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function jsonValue(tl: TlFactory, key: string, value: number | string): TlObject {
  const json = typeof value === "number" ? tl("JsonNumber", { value }) : tl("JsonString", { value });
  return tl("JsonObjectValue", { key, value: json });
}

const getAppConfig: ServerHandler = ({ owner, tl }) => {
  const entries = Object.entries({ ...APP_CONFIG, ...freezeConfig(owner) });
  const config = tl("JsonObject", { value: entries.map(([key, value]) => jsonValue(tl, key, value)) });
  return tl("help.AppConfig", { hash: 1, config });
};

const getState: ServerHandler = ({ tl }) =>
  tl("updates.State", { pts: 1, qts: 0, date: Math.floor(Date.now() / 1000), seq: 1, unreadCount: 0 });

function logOut(services: Services): ServerHandler {
  return ({ authorization, tl }) => {
    services.accounts.signOut(authorization);
    return tl("auth.LoggedOut");
  };
}

/** What an account asks about itself and the test server. */
export function accountHandlers(services: Services): ReadonlyArray<readonly [string, ServerHandler]> {
  return [
    ["help.GetConfig", getConfig(services)],
    ["help.GetAppConfig", getAppConfig],
    ["updates.GetState", getState],
    ["account.UpdateStatus", () => true],
    ["auth.LogOut", logOut(services)],
  ];
}
