import type { TelegramClient } from "telegram";
import { describe, expect, test } from "vitest";
import { LeaseReleasedError, NoSessionAvailableError, RotationUnsafeError } from "../../src/index.js";
import type { TlFactory } from "../../src/testing/test-server/library.js";
import { CustomFile } from "../fakes/client-library.js";
import { callsOf, expectPeace, rejection, stage, until, within } from "./support.js";

/** What GramJS cuts small files into. */
const PART = 128 * 1024;
const fileOf = (parts: number): InstanceType<typeof CustomFile> => {
  const bytes = Buffer.alloc(PART * parts, 7);
  return new CustomFile("file.bin", bytes.length, "", bytes);
};

describe("uploads", () => {
  test("uploadFile() - one connection, every part seen by the gate", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await pool.use((client) => client.uploadFile({ file: fileOf(8), workers: 4 }));
    expect(callsOf(server, "upload.SaveFilePart")).toHaveLength(8);
    expect(server.connections()).toHaveLength(1);
  });

  test("sendFile() - with a Buffer: arrives once, over the one connection", async () => {
    const { server, open } = await stage();
    const pool = await open();
    await pool.use((client) =>
      client.sendFile("user1", { file: fileOf(3), caption: "the file", forceDocument: true, workers: 2 }),
    );
    expect(server.messages().map(({ text }) => text)).toEqual(["the file"]);
    expect(server.connections()).toHaveLength(1);
    expectPeace(server);
  });

  test("uploadFile() - a flood in the middle surfaces at once and rotates", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "upload.SaveFilePart", message: "FLOOD_WAIT_30", skip: 3, times: 1 });
    await within(
      3_000,
      pool.use((client) =>
        client.sendFile("user1", { file: fileOf(6), caption: "f", forceDocument: true, workers: 1 }),
      ),
    );
    expect(toldOf("cooled")).toMatchObject([{ seconds: 30 }]);
    expect(server.messages()).toHaveLength(1);
    expect(server.inFlight()).toEqual([]);
    expectPeace(server);
  });

  test("uploadFile() - parallel parts, a flood among them: no part is sent during the wait", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "upload.SaveFilePart", message: "FLOOD_PREMIUM_WAIT_30", skip: 2, times: 1 });
    await within(
      3_000,
      pool.use((client) => client.uploadFile({ file: fileOf(32), workers: 4 })),
    );
    expectPeace(server);
  });

  test("uploadFile() - with one account: fails at once instead of waiting", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.fail({ method: "upload.SaveFilePart", message: "FLOOD_WAIT_3", skip: 1, times: 1 });
    const upload = pool.use((client) => client.uploadFile({ file: fileOf(4), workers: 1 }), { wait: false });
    const error = await rejection(upload, 1_000);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error.cause).toMatchObject({ seconds: 3 });
    expectPeace(server);
  });

  test("uploadFile() - after a message: RotationUnsafeError, the message once", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    server.fail({ method: "upload.SaveFilePart", message: "FLOOD_WAIT_30", times: 1 });
    const work = pool.use(async (client) => {
      await client.sendMessage("user1", { message: "first" });
      await client.uploadFile({ file: fileOf(2), workers: 1 });
    });
    expect(await rejection(work, 2_000)).toBeInstanceOf(RotationUnsafeError);
    expect(server.messages()).toHaveLength(1);
  });

  test("uploadFile() - refused while the session cools, before it is sent", async () => {
    const { server, open } = await stage();
    const pool = await open();
    using lease = await pool.acquire();
    await lease.client.getMe();
    lease.coolDown(30);
    const error = await rejection(lease.client.uploadFile({ file: fileOf(4), workers: 2 }), 1_000);
    expect(error).toMatchObject({ code: 420, seconds: 30 });
    expect(callsOf(server, "upload.SaveFilePart")).toEqual([]);
    expect(server.connections()).toHaveLength(1);
  });

  test("uploadFile() - in the middle of it the lease ends: LeaseReleasedError, no more parts", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    server.delay({ method: "upload.SaveFilePart", delayMs: 60 });
    const upload = rejection(lease.client.uploadFile({ file: fileOf(40), workers: 1 }), 2_000);
    await until("it is under way", () => callsOf(server, "upload.SaveFilePart").length === 3);
    lease.release();
    expect(await upload).toBeInstanceOf(LeaseReleasedError);
    const next = await within(1_000, pool.acquire());
    await next.client.getMe();
    next.release();
    expect(callsOf(server, "upload.SaveFilePart").length).toBeLessThanOrEqual(4);
  });

  test("uploadFile() - a connection cut in the middle: the parts continue over a new one", async () => {
    const { server, open } = await stage();
    const pool = await open();
    server.cut({ method: "upload.SaveFilePart", at: "before", skip: 2, times: 1 });
    await within(
      5_000,
      pool.use((client) =>
        client.sendFile("user1", { file: fileOf(5), caption: "f", forceDocument: true, workers: 1 }),
      ),
    );
    expect(server.messages()).toHaveLength(1);
    expect(server.connections()).toHaveLength(2);
  });

  test("uploadFile() - an answer that never comes: callTimeoutMs, then the next session", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ callTimeoutMs: 1_000 });
    server.mute({ method: "upload.SaveFilePart", skip: 1, times: 1 });
    await within(
      10_000,
      pool.use((client) => client.uploadFile({ file: fileOf(3), workers: 1 })),
    );
  });
});

describe("albums", () => {
  const photo = (): Buffer => Object.assign(Buffer.alloc(2_000, 3), { name: "a.png" });
  const album = (client: TelegramClient) => client.sendFile("user1", { file: [photo(), photo()] } as never);

  /** Two accounts on a test server that takes albums. */
  async function albums() {
    const { server, open } = await stage({ accounts: 2 });
    const photoOf = (tl: TlFactory) =>
      tl("Photo", {
        id: 5n,
        accessHash: 6n,
        fileReference: Buffer.alloc(8),
        date: 1,
        dcId: 2,
        sizes: [tl("PhotoSize", { type: "x", w: 1, h: 1, size: 9 })],
      });
    server.handle("messages.UploadMedia", ({ tl }) => tl("MessageMediaPhoto", { photo: photoOf(tl) }));
    server.handle("messages.SendMultiMedia", ({ request, tl }) => {
      const media = request.multiMedia as readonly { readonly randomId: unknown }[];
      const messageOf = (id: number) =>
        tl("Message", { id, out: true, peerId: tl("PeerUser", { userId: 100_000_001n }), date: 1, message: "" });
      const updates = media.flatMap(({ randomId }, index) => [
        tl("UpdateMessageID", { id: 100 + index, randomId }),
        tl("UpdateNewMessage", { message: messageOf(100 + index), pts: 1, ptsCount: 1 }),
      ]);
      return tl("Updates", { updates, users: [], chats: [], date: 1, seq: 0 });
    });
    const sent = () => callsOf(server, "messages.SendMultiMedia").filter(({ outcome }) => outcome === "ok");
    return { server, pool: await open(), sent };
  }

  test.each([
    ["messages.SendMultiMedia", 0],
    ["messages.UploadMedia", 1],
  ])("sendFile() - a flood of %s, %i calls later: the other account sends the album, once", async (method, skip) => {
    const { server, pool, sent } = await albums();
    server.fail({ method, message: "FLOOD_WAIT_30", skip, times: 1 });
    await within(5_000, pool.use(album));
    expect(sent().map(({ account }) => account)).toEqual(["account2"]);
    expectPeace(server);
  });

  test("sendFile() - the connection is cut in answer to messages.uploadMedia: continues over a new one", async () => {
    const { server, pool, sent } = await albums();
    server.cut({ method: "messages.UploadMedia", at: "after", times: 1 });
    await within(8_000, pool.use(album));
    expect(sent()).toHaveLength(1);
  });
});
