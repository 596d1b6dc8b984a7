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
    ["updates.GetState", getState],
    ["account.UpdateStatus", () => true],
    ["auth.LogOut", logOut(services)],
  ];
}
