import type { TelegramClient } from "telegram";
import { describe, expect, test } from "vitest";
import { LeaseReleasedError } from "../../src/index.js";
import { startChild } from "./child-processes.js";
import { bigInt, CHUNK, CHUNKS, exportAuthorizations, listFarDataCenter, location, serveFile } from "./files.js";
import { callsOf, expectPeace, nameOf, rejection, stage, until, within } from "./support.js";

const download = (client: TelegramClient) =>
  client.downloadFile(location(), { fileSize: bigInt(CHUNKS * CHUNK), partSizeKb: CHUNK / 1024 });

describe("downloads", () => {
  test("downloadFile() - over the one connection, every part seen by the gate", async () => {
    const { server, open } = await stage();
    serveFile(server);
    const pool = await open();
    const file = await within(
      3_000,
      pool.use((client) => download(client)),
    );
    expect(file).toHaveLength(CHUNKS * CHUNK);
    expect(callsOf(server, "upload.GetFile").length).toBeGreaterThanOrEqual(CHUNKS);
    expect(server.connections()).toHaveLength(1);
  });

  test("downloadFile() - a flood in the middle surfaces at once and rotates", async () => {
    const { server, open, toldOf } = await stage({ accounts: 2 });
    serveFile(server);
    server.fail({ method: "upload.GetFile", message: "FLOOD_WAIT_30", skip: 2, times: 1 });
    const pool = await open();
    const file = await within(
      3_000,
      pool.use((client) => download(client)),
    );
    expect(file).toHaveLength(CHUNKS * CHUNK);
    // Several parts may have been on the wire: each answer tells of the same wait.
    const told = toldOf("cooled");
    expect(told).toEqual(told.map(() => expect.objectContaining({ id: told[0]?.id, seconds: 30 })));
    expect(told.length).toBeGreaterThan(0);
    expect(server.inFlight()).toEqual([]);
    expectPeace(server);
  });

  test("downloadFile() - refused while the session cools", async () => {
    const { server, open } = await stage();
    serveFile(server);
    const pool = await open();
    using lease = await pool.acquire();
    lease.coolDown(30);
    const error = await rejection(download(lease.client), 1_000);
    expect(error).toMatchObject({ code: 420, seconds: 30 });
    expect(callsOf(server, "upload.GetFile")).toEqual([]);
  });

  test("downloadFile() - when the lease ends in the middle: LeaseReleasedError, no more parts", async () => {
    const { server, open } = await stage();
    serveFile(server);
    server.delay({ method: "upload.GetFile", delayMs: 50 });
    // teleproto has several parts under way; GramJS knows no such option.
    const twoAtOnce = { downloadPool: { download: { maxWindow: 2 * CHUNK } } } as object;
    const pool = await open({ client: { clientOptions: twoAtOnce } });
    const lease = await pool.acquire();
    const file = rejection(download(lease.client), 2_000);
    await until("it is under way", () => callsOf(server, "upload.GetFile").length >= 2);
    const sent = callsOf(server, "upload.GetFile").length;
    lease.release();
    expect(await file).toBeInstanceOf(LeaseReleasedError);
    await pool.use(nameOf);
    expect(callsOf(server, "upload.GetFile").length).toBeLessThanOrEqual(sent + 1);
    expect(sent).toBeLessThan(CHUNKS);
  });
});

/** In a process of its own: a client that loops without a pause can be ended only from outside. */
describe("another data center that cannot be reached", () => {
  test.each([
    ["not in the configuration", ["download", "invoke"]],
    ["no leave to log in there", ["download", "invoke", "cooling", "FILE_MIGRATE_4"]],
    ["it knows no key of ours", ["download", "invoke", "cooling", "FILE_MIGRATE_4", "USER_MIGRATE_4"]],
    ["leave to log in there never comes", ["download", "invoke", "released"]],
  ])(
    "settles in time, the session stays usable (%s)",
    async (obstacle, jobs) => {
      const scene = await stage();
      const { server } = scene;
      serveFile(server);
      if (obstacle !== "not in the configuration") listFarDataCenter(server);
      if (obstacle === "it knows no key of ours") exportAuthorizations(server);
      if (obstacle === "leave to log in there never comes") server.mute({ method: "auth.ExportAuthorization" });
      const child = startChild(scene, "far-data-center", jobs.join());
      for (const job of jobs) {
        await child.said(`${job} begins`);
        const method = job === "FILE_MIGRATE_4" ? "upload.GetFile" : "users.GetUsers";
        if (job.includes("MIGRATE")) server.fail({ method, code: 303, message: job, times: 1 });
        child.tell("go");
        const { error } = await within(10_000, child.said(`${job} settled`));
        expect(error, job).toEqual(expect.any(String));
        if (job === "released") expect(error).toBe("LeaseReleasedError");
        if (job === "cooling") expect(error).toMatch(/FloodWait|RPCError/);
        expect(await within(10_000, child.said(`${job} over`)), job).toMatchObject({ name: "account1", isSame: true });
      }
      child.tell("end");
      expect(await within(2_000, child.ended)).toBe(0);
      expect(server.maxConnectionsPerKey()).toBe(1);
    },
    60_000,
  );
});
