/** Files of the test server, and another data center that has them. */
import { createRequire } from "node:module";
import type { TelegramTestServer } from "../../src/testing/index.js";
import { Api } from "../fakes/client-library.js";

export const bigInt = createRequire(import.meta.url)("big-integer") as (value: number) => never;
export const CHUNK: number = 64 * 1024;
export const CHUNKS = 6;

export const location = (): InstanceType<typeof Api.InputDocumentFileLocation> =>
  new Api.InputDocumentFileLocation({
    id: bigInt(1),
    accessHash: bigInt(2),
    fileReference: Buffer.alloc(8),
    thumbSize: "",
  });

/** Teaches the test server to hand a file out. */
export function serveFile(server: TelegramTestServer): void {
  server.handle("upload.GetFile", ({ request, tl }) => {
    const at = Number(request.offset);
    const bytes = Buffer.alloc(Math.max(0, Math.min(CHUNK, CHUNKS * CHUNK - at)), 9);
    return tl("upload.File", { type: tl("storage.FileUnknown"), mtime: 1, bytes });
  });
}

/** Makes the configuration name a fourth data center, with which nobody shares a key; or the addresses given. */
export function listFarDataCenter(
  server: TelegramTestServer,
  options?: readonly Readonly<Record<string, unknown>>[],
): void {
  const { host, port } = server;
  server.handle("help.GetConfig", ({ tl }) => {
    const numbers = Object.fromEntries(CONFIG_NUMBERS.map((name) => [name, 60_000]));
    const usual = [2, 4].map((id) => ({ id, ipAddress: host, port }));
    const dcOptions = (options ?? usual).map((option) => tl("DcOption", option));
    const names = { dcTxtDomainName: "loopback.invalid", meUrlPrefix: "https://t.me/" };
    const expires = Math.floor(Date.now() / 1000) + 3_600;
    return tl("Config", {
      ...numbers,
      ...names,
      date: expires - 3_600,
      expires,
      testMode: false,
      thisDc: 2,
      dcOptions,
    });
  });
}

/** Gives leave to log in elsewhere. */
export function exportAuthorizations(server: TelegramTestServer): void {
  server.handle("auth.ExportAuthorization", ({ tl }) =>
    tl("auth.ExportedAuthorization", { id: 1n, bytes: Buffer.alloc(8) }),
  );
}

const CONFIG_NUMBERS = [
  "chatSizeMax",
  "megagroupSizeMax",
  "forwardedCountMax",
  "onlineUpdatePeriodMs",
  "offlineBlurTimeoutMs",
  "offlineIdleTimeoutMs",
  "onlineCloudTimeoutMs",
  "notifyCloudDelayMs",
  "notifyDefaultDelayMs",
  "pushChatPeriodMs",
  "pushChatLimit",
  "editTimeLimit",
  "revokeTimeLimit",
  "revokePmTimeLimit",
  "ratingEDecay",
  "stickersRecentLimit",
  "channelsReadMediaPeriod",
  "callReceiveTimeoutMs",
  "callRingTimeoutMs",
  "callConnectTimeoutMs",
  "callPacketTimeoutMs",
  "captionLengthMax",
  "messageLengthMax",
  "webfileDcId",
];
