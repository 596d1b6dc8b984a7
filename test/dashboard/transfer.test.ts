import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { gunzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Frame } from "../../src/dashboard/frames.js";
import { LiveFeed } from "../../src/dashboard/live-feed.js";
import { PoolSource } from "../../src/dashboard/pool-source.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { ask, serve, stateOf } from "./served.js";

interface Transfer {
  readonly headers: IncomingMessage["headers"];
  readonly bytes: Buffer;
}

/** Asks as a browser does, and keeps the bytes as they come. */
async function transfer(origin: string, path: string, accepted: string): Promise<Transfer> {
  const request = get(`${origin}${path}`, { headers: { "accept-encoding": accepted }, agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { headers: response.headers, bytes: Buffer.concat(chunks) };
}

async function openMany(count: number) {
  const { pool } = await openPool();
  await pool.addMany(
    Array.from({ length: count }, (_, index) => ({
      id: `session-${index}`,
      session: sessionString(`s${index}`),
      tags: [`group-${index % 10}`],
    })),
  );
  return pool;
}

describe("the state and the files", () => {
  test.each(["gzip", "br;q=1, GZIP ;q=0.5", "gzip, deflate, br, zstd"])(
    "where %s is accepted - are compressed",
    async (accepted) => {
      const { pool } = await openPool({ sessions: ["alice"] });
      const { origin } = await serve(pool);
      for (const path of ["/", "/page.js", "/page.css", "/icon.svg", "/state"]) {
        const { headers, bytes } = await transfer(origin, path, accepted);
        expect(headers).toMatchObject({ "content-encoding": "gzip", vary: "accept-encoding" });
        const { text } = await ask(origin, path);
        const length = (content: string): number => content.replace(/"at":\d+/g, "").length;
        expect(length(gunzipSync(bytes).toString())).toBe(length(text));
      }
    },
  );

  test.each(["", "identity", "gzip;q=0", "gzip; q=0.000, br", "xgzip"])(
    "where gzip is not accepted (%j) - are plain",
    async (accepted) => {
      const { pool } = await openPool({ sessions: ["alice"] });
      const { origin } = await serve(pool);
      for (const path of ["/page.js", "/state"]) {
        expect((await transfer(origin, path, accepted)).headers["content-encoding"]).toBeUndefined();
      }
    },
  );

  test("5,000 free sessions - take 100 kB", async () => {
    const { origin } = await serve(await openMany(5_000));
    const { bytes } = await transfer(origin, "/state", "gzip");
    expect(bytes.length).toBeLessThan(100_000);
    const [pool] = (JSON.parse(gunzipSync(bytes).toString()) as Frame).pools;
    expect(pool?.lists?.sessions?.set).toHaveLength(5_000);
  });
});

describe("a row", () => {
  test("without anything to say - has no field for it", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const [found] = (await stateOf(origin)).pools[0]?.lists?.sessions?.set ?? [];
    expect(found).toEqual({ id: "alice", state: "free", addedAt: expect.any(Number) });
  });

  test("that says less than before - loses its fields", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const row = async () => (await stateOf(origin)).pools[0]?.lists?.sessions?.set?.[0];
    await pool.disable("alice", "on holiday");
    expect(await row()).toMatchObject({ state: "disabled", reason: "on holiday" });
    await pool.enable("alice");
    expect(await row()).not.toHaveProperty("reason");
  });
});

describe("many who ask for the state", () => {
  test("in one second - get what was read within it, once that has taken a fifth of it", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const source = new PoolSource("pool", pool);
    const feed = new LiveFeed([source]);
    onTestFinished(() => feed.close());
    let now = 1_000_000;
    const time = vi.spyOn(performance, "now").mockImplementation(() => now);
    onTestFinished(() => time.mockRestore());
    const original = source.read.bind(source);
    const counted = vi.spyOn(source, "read").mockImplementation(() => {
      now += 50;
      return original();
    });
    for (let count = 0; count < 50; count++) await feed.snapshot();
    expect(counted).toHaveBeenCalledTimes(4);
    now += 1_000;
    await feed.snapshot();
    expect(counted).toHaveBeenCalledTimes(5);
  });

  test.each([0, 5_000])("with keepAliveTimeout %i - leave no timeout of theirs on the connection", async (ms) => {
    const { pool } = await openPool({ sessions: ["a"] });
    const { origin, server } = await serve(pool);
    server.keepAliveTimeout = ms;
    const connected = once(server, "connection") as Promise<[Socket]>;
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const [answer] = (await once(get(`${origin}/state`, { agent }), "response")) as [IncomingMessage];
    await once(answer.resume(), "end");
    const [socket] = await connected;
    await vi.waitFor(() => expect(socket.timeout ?? 0).toBeLessThan(20_000));
    if (ms === 0) expect(socket.timeout).toBe(0);
    else expect(socket.timeout).toBeGreaterThanOrEqual(ms);
  });

  test("and wait for it - are refused from the hundred and first on, until some leave", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const snapshot = vi.spyOn(LiveFeed.prototype, "snapshot").mockReturnValue(new Promise(() => {}));
    onTestFinished(() => snapshot.mockRestore());
    const { port, hostname } = new URL(origin);
    const sockets = Array.from({ length: 100 }, () => {
      const socket = connect(Number(port), hostname);
      socket.write("GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n");
      return socket;
    });
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
    });
    await vi.waitFor(() => expect(snapshot).toHaveBeenCalledTimes(100));
    expect(await ask(origin, "/state")).toMatchObject({ status: 503 });
    snapshot.mockRestore();
    sockets[0]?.destroy();
    await vi.waitFor(async () => expect(await ask(origin, "/state")).toMatchObject({ status: 200 }));
  });
});
