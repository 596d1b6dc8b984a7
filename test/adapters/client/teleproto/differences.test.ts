import { FloodWaitError, RPCError } from "teleproto/errors/index.js";
import { CdnRedirectError, MediaAbortError } from "teleproto/network/MediaScheduler.js";
import { Api } from "teleproto/tl/index.js";
import { describe, expect, test } from "vitest";
import type { ClientInternals } from "../../../../adapters/client/mtproto/library.js";
import { teleprotoDriver } from "../../../../adapters/client/teleproto/teleproto-driver.js";
import { MediaTransfers, type TransferWindows } from "../../../../adapters/client/teleproto/transfers.js";

describe("connectionOptions() - the port that is dialled", () => {
  test.each([
    [443, 443],
    [80, 80],
    [undefined, 80],
    [0, 80],
    [-16_545, 48_991],
  ])("%s: %s", (port, dialled) => {
    const client = { _testServers: true, _keepAliveInterval: 5 } as unknown as ClientInternals;
    expect(teleprotoDriver.connectionOptions(client, { port })).toEqual({
      port: dialled,
      testServers: true,
      keepAliveInterval: 5,
    });
  });
});

test("end() - nothing is queued or read any more", () => {
  const calls: string[] = [];
  const sender = { _queued: [1, 2], _lifecycle: "connected", _stopIo: () => void calls.push("stopped") };
  teleprotoDriver.stop(sender as never);
  expect({ queued: sender._queued, lifecycle: sender._lifecycle, calls }).toEqual({
    queued: [],
    lifecycle: "dead",
    calls: ["stopped"],
  });
});

test("asThrown() - gives the error that Telegram would have sent, with teleproto's own fields", () => {
  const error = new FloodWaitError({ request: new Api.help.GetConfig(), capture: 7 });
  expect(teleprotoDriver.toLibraryError(error, "FLOOD_WAIT_7")).toBe(error);
  expect(error).toMatchObject({ errorMessage: "FLOOD_WAIT_7", seconds: 7, code: 420 });
});

const windows: TransferWindows = {
  partSize: 524_288,
  cdnSupported: false,
  download: { maxSessions: 8, maxWindow: 4_194_304 },
  upload: { maxSessions: 8, maxWindow: 2_097_152 },
};

const fileOf = (bytes: Buffer) => new Api.upload.File({ type: new Api.storage.FileUnknown(), mtime: 1, bytes });

const elsewhere = (dcId: number) =>
  Object.assign(new RPCError("FILE_MIGRATE_4", new Api.help.GetConfig(), 303), { newDc: dcId });

/** Transfers whose requests are answered by `answer`; what was sent is noted. */
function transfersOn(answer: (dcId: number | undefined, request: unknown) => unknown) {
  const sent: (number | undefined)[] = [];
  const carrier = {
    invoke: async (request: never, dcId?: number) => {
      sent.push(dcId);
      return answer(dcId, request);
    },
  };
  const transfers = new MediaTransfers(
    carrier,
    { Api, errors: { RPCError } as never, transfers: { CdnRedirectError, MediaAbortError } as never },
    windows,
  );
  return { transfers, sent };
}

describe("Transfers", () => {
  test("getFile() - one request, its bytes", async () => {
    const { transfers, sent } = transfersOn(() => fileOf(Buffer.from("abc")));
    expect(await transfers.getFile(2, undefined, 0, 1024)).toEqual(Buffer.from("abc"));
    expect(sent).toEqual([2]);
  });

  test("getFile() - after FILE_MIGRATE, asks the other data center and reports it", async () => {
    const { transfers, sent } = transfersOn((dcId) => {
      if (dcId === 4) return fileOf(Buffer.from("abc"));
      throw elsewhere(4);
    });
    const told: number[] = [];
    const note = (dcId: number): void => void told.push(dcId);
    expect(await transfers.getFile(2, undefined, 0, 1024, undefined, note)).toEqual(Buffer.from("abc"));
    expect({ sent, told }).toEqual({ sent: [2, 4], told: [4] });
  });

  test("getFile() - after FILE_MIGRATE to the data center it already asks, throws Telegram's error once", async () => {
    const { transfers, sent } = transfersOn(() => {
      throw elsewhere(2);
    });
    await expect(transfers.getFile(2, undefined, 0, 1024)).rejects.toMatchObject({ newDc: 2 });
    expect(sent).toEqual([2]);
  });

  test("getFile() - a flood is not slept out, and nothing is repeated", async () => {
    const { transfers, sent } = transfersOn(() => {
      throw new FloodWaitError({ request: new Api.help.GetConfig(), capture: 3 });
    });
    await expect(transfers.getFile(2, undefined, 0, 1024)).rejects.toBeInstanceOf(FloodWaitError);
    expect(sent).toEqual([2]);
  });

  test("getFile() - a redirect to a CDN is teleproto's own error", async () => {
    const bytes = Buffer.alloc(0);
    const redirect = new Api.upload.FileCdnRedirect({
      dcId: 9,
      fileToken: bytes,
      encryptionKey: bytes,
      encryptionIv: bytes,
      fileHashes: [],
    });
    const { transfers } = transfersOn(() => redirect);
    await expect(transfers.getFile(2, undefined, 0, 1024)).rejects.toBeInstanceOf(CdnRedirectError);
  });

  test("savePart() - when its signal aborts, rejects at once, also in the middle", async () => {
    const { transfers, sent } = transfersOn(() => new Promise(() => {}));
    const abort = new AbortController();
    const part = new Api.upload.SaveFilePart({ fileId: 1n as never, filePart: 0, bytes: Buffer.alloc(1) });
    const saving = transfers.savePart(2, part, abort.signal);
    abort.abort();
    await expect(saving).rejects.toBeInstanceOf(MediaAbortError);
    await expect(transfers.savePart(2, part, abort.signal)).rejects.toBeInstanceOf(MediaAbortError);
    expect(sent).toEqual([2]);
  });

  test("opts - requests meant for eight connections use one", () => {
    const { opts } = transfersOn(() => undefined).transfers;
    expect({ upload: opts.upload, download: opts.download, partSize: opts.partSize }).toEqual({
      upload: { maxSessions: 1, maxWindow: 2_097_152 },
      download: { maxSessions: 1, maxWindow: 4_194_304 },
      partSize: 524_288,
    });
  });
});
