import type { TelegramClient } from "telegram";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { formatSession, LeaseReleasedError, parseSession, systemClock } from "../../src/index.js";
import { AuthKey, PromisedNetSockets, StringSession } from "../fakes/client-library.js";
import { bigInt, CHUNK, CHUNKS, exportAuthorizations, listFarDataCenter, location, serveFile } from "./files.js";
import { callsOf, nameOf, type OpenOptions, rejection, type Stage, stage, until, within } from "./support.js";

/** The data center in which the files are, and the account as which its connections are recorded. */
const FAR = 4;
const FAR_NAME = "far";
const FILES = "upload.GetFile";

const download = (client: TelegramClient): Promise<unknown> =>
  client.downloadFile(location(), {
    fileSize: bigInt(CHUNKS * CHUNK),
    partSizeKb: CHUNK / 1024,
    dcId: FAR,
  }) as Promise<unknown>;

/** A second data center, where a key is agreed upon already: making one needs Telegram's own secrets. */
async function twoDataCenters(
  options: OpenOptions = {},
): Promise<Stage & { pool: Awaited<ReturnType<Stage["open"]>> }> {
  const scene = await stage({ accounts: [{ name: "account1" }, { name: FAR_NAME }] });
  const { server } = scene;
  serveFile(server);
  listFarDataCenter(server);
  exportAuthorizations(server);
  server.handle("auth.ImportAuthorization", ({ tl }) =>
    tl("auth.Authorization", { user: tl("UserEmpty", { id: 1n }) }),
  );
  const farKey = new AuthKey();
  await farKey.setKey(Buffer.from(parseSession(server.sessions[1] ?? "").authKey));
  const { getAuthKey } = StringSession.prototype;
  const patched = vi.spyOn(StringSession.prototype, "getAuthKey").mockImplementation(function (this: never, dcId) {
    return dcId === FAR ? farKey : getAuthKey.call(this, dcId);
  });
  onTestFinished(() => patched.mockRestore());
  const pool = await scene.open({ ...options, add: ["account1"] });
  return { ...scene, pool };
}

const farConnections = ({ server }: Stage) => server.connections().filter(({ account }) => account === FAR_NAME);

describe("address of another data center", () => {
  const V4 = "149.154.167.92";
  const V6 = "2001:67c:4e8:f004::a";
  const option = (ipAddress: string, fields: object = {}) => ({ id: FAR, ipAddress, port: 443, ...fields });
  const v6 = option(V6, { ipv6: true });
  const HOME_V6 = "2001:67c:4e8:f002::a";

  test.each([
    ["home by IPv6: by IPv6", HOME_V6, [option(V4), v6], V6],
    ["home by IPv4: by IPv4", undefined, [v6, option(V4)], V4],
    ["home by IPv4, and nothing but IPv6 is named: by IPv6", undefined, [v6], V6],
    [
      "addresses for other purposes are none",
      undefined,
      [
        option("1.1.1.1", { cdn: true }),
        option("1.1.1.2", { tcpoOnly: true }),
        option("1.1.1.3", { mediaOnly: true }),
        option("1.1.1.4", { secret: Buffer.alloc(16, 1) }),
        option(V4),
      ],
      V4,
    ],
  ])("%s", async (_, home, options, expected) => {
    const dialled: string[] = [];
    const { server, pool } = await twoDataCenters({
      client: { clientOptions: { networkSocket: recordingSocket(dialled, () => server.port) } as never },
    });
    listFarDataCenter(server, options);
    if (home !== undefined) {
      const session = parseSession(server.sessions[0] ?? "");
      await pool.update("account1", {
        session: formatSession({ ...session, authKey: session.authKey, serverAddress: home }, "gramjs"),
      });
    }
    expect(await within(8_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect(dialled.at(-1)).toBe(expected);
  });
});

/** A socket class that notes where it is to go, and goes to the test server. */
function recordingSocket(dialled: string[], port: () => number): unknown {
  return class extends PromisedNetSockets {
    override connect(_: number, host: string): ReturnType<InstanceType<typeof PromisedNetSockets>["connect"]> {
      dialled.push(host);
      return super.connect(port(), "127.0.0.1");
    }
  };
}

describe("files in another data center", () => {
  test("use one connection, authorized once, closed with the client", async () => {
    const scene = await twoDataCenters();
    const { server, pool } = scene;
    for (let i = 0; i < 2; i++) expect(await within(8_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect(callsOf(server, FILES, FAR_NAME).length).toBeGreaterThanOrEqual(2 * CHUNKS);
    expect(callsOf(server, FILES, "account1")).toEqual([]);
    expect(callsOf(server, "auth.ExportAuthorization")).toHaveLength(1);
    expect(farConnections(scene)).toHaveLength(1);
    await pool.close();
    await until("both are closed", () => server.connections().every(({ closedAt }) => closedAt !== null));
  });

  test("are refused while the session cools, before a connection is opened", async () => {
    const scene = await twoDataCenters();
    using lease = await scene.pool.acquire();
    lease.coolDown(30);
    expect(await rejection(download(lease.client))).toMatchObject({ code: 420, seconds: 30 });
    expect(farConnections(scene)).toEqual([]);
  });

  test("a flood there cools the session, and stops the rest", async () => {
    const { server, pool } = await twoDataCenters();
    server.fail({ method: FILES, message: "FLOOD_WAIT_40", skip: 2, times: 1 });
    await rejection(pool.use(download, { wait: false }));
    expect(pool.get("account1")).toMatchObject({ state: "cooling", reason: "FLOOD_WAIT" });
    const { length } = callsOf(server, FILES);
    await rejection(pool.use(download, { wait: false }));
    expect(callsOf(server, FILES)).toHaveLength(length);
    expect(server.violations()).toEqual([]);
  });

  test("when the lease ends in the middle: LeaseReleasedError, no more parts", async () => {
    const { server, pool } = await twoDataCenters();
    server.delay({ method: FILES, delayMs: 50 });
    const lease = await pool.acquire();
    const file = rejection(download(lease.client));
    await until("it is under way", () => callsOf(server, FILES).length >= 1);
    lease.release();
    expect(await file).toBeInstanceOf(LeaseReleasedError);
    const { length } = callsOf(server, FILES);
    await pool.use(nameOf);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(callsOf(server, FILES).length).toBeLessThanOrEqual(length + 1);
  });

  test("a 401 from there does not kill the account: it is authorized again, and the file arrives", async () => {
    const scene = await twoDataCenters();
    const { server, pool, toldOf } = scene;
    server.fail({ method: FILES, code: 401, message: "AUTH_KEY_UNREGISTERED", skip: 1, times: 1 });
    expect(await within(10_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect({ state: pool.get("account1")?.state, died: toldOf("died") }).toEqual({ state: "free", died: [] });
    expect(callsOf(server, "auth.ExportAuthorization")).toHaveLength(2);
    expect(farConnections(scene)).toHaveLength(2);
  });

  test("repeated 401s from there: ConnectError, and the account stays usable", async () => {
    const { server, pool, toldOf } = await twoDataCenters();
    server.fail({ method: FILES, code: 401, message: "AUTH_KEY_UNREGISTERED" });
    const error = await rejection(pool.use(download));
    expect(error).toMatchObject({ code: "CONNECT_FAILED", cause: { errorMessage: "AUTH_KEY_UNREGISTERED" } });
    expect(toldOf("died")).toEqual([]);
    expect(await pool.use(nameOf)).toBe("account1");
  });

  test("when its connection is half-open: a ping detects it without a call; the next download opens another", async () => {
    // A minute in three seconds.
    const clock = { ...systemClock, setTimer: (ms: number, run: () => void) => systemClock.setTimer(ms / 20, run) };
    const patience = {
      callTimeoutMs: 200_000,
      connectTimeoutMs: 100_000,
      storageTimeoutMs: 100_000,
      idleTimeoutMs: 10_000_000,
    };
    const scene = await twoDataCenters({ clock, ...patience });
    const { server, pool } = scene;
    await within(8_000, pool.use(download));
    const rule = server.ignore({ account: FAR_NAME });
    await until("it is given up", () => farConnections(scene).every(({ closedAt }) => closedAt !== null));
    rule.remove();
    expect(await within(8_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect(farConnections(scene)).toHaveLength(2);
    expect(server.connections().filter(({ account }) => account === "account1")).toHaveLength(1);
  });

  test("when its connection is cut in the middle: the parts continue", async () => {
    const scene = await twoDataCenters();
    const { server, pool } = scene;
    server.cut({ method: FILES, at: "before", skip: 2, times: 1 });
    expect(await within(10_000, pool.use(download))).toHaveLength(CHUNKS * CHUNK);
    expect(server.connections().filter(({ account }) => account === "account1")).toHaveLength(1);
  });

  test("an expired file reference: Telegram's own error, and the session stays usable", async () => {
    const { server, pool, toldOf } = await twoDataCenters();
    server.fail({ method: FILES, code: 400, message: "FILE_REFERENCE_EXPIRED" });
    expect(await rejection(pool.use(download))).toMatchObject({ code: 400, errorMessage: "FILE_REFERENCE_EXPIRED" });
    expect({ state: pool.get("account1")?.state, cooled: toldOf("cooled"), died: toldOf("died") }).toEqual({
      state: "free",
      cooled: [],
      died: [],
    });
  });
});
