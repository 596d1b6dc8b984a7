import { createServer } from "node:http";
import express from "express";
import fastify from "fastify";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { dashboard } from "../../src/dashboard/index.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { ask, EventStream, listen, poolOf, serve, stateOf } from "./served.js";

const FILES = ["/", "/page.css", "/page.js", "/icon.svg"];

describe("dashboard()", () => {
  test("on node:http - serves the page, its files and the state", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { origin } = await serve(pool);
    for (const path of FILES) {
      const { status, text, headers } = await ask(origin, path);
      expect({ path, status }).toEqual({ path, status: 200 });
      expect(text.length).toBeGreaterThan(100);
      expect(headers["content-security-policy"]).toContain("default-src 'none'; script-src 'self'");
    }
    expect(await poolOf(origin)).toMatchObject({
      name: "pool",
      status: { total: 2, free: 2, waiters: 0, nextAvailableAt: null },
    });
  });

  test("below a base path - redirects to it with a slash, and serves nothing beside it", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool, { basePath: "/admin/pool" });
    expect(await ask(origin, "/admin/pool?x=1")).toMatchObject({ status: 308, headers: { location: "./pool/" } });
    for (const path of FILES) expect(await ask(origin, `/admin/pool${path}`)).toMatchObject({ status: 200 });
    for (const path of ["/", "/page.js", "/admin", "/admin/pools/"]) {
      expect(await ask(origin, path)).toMatchObject({ status: 404 });
    }
  });

  test("in Express - mounted below a path, also with a router that parses bodies", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const application = express();
    application.use(express.json());
    application.use("/admin/pool", dashboard(pool));
    const origin = await listen(createServer(application));
    expect(await ask(origin, "/admin/pool")).toMatchObject({ status: 308, headers: { location: "./pool/" } });
    for (const path of FILES) expect(await ask(origin, `/admin/pool${path}`)).toMatchObject({ status: 200 });
    expect((await stateOf(origin, "/admin/pool/state")).pools).toHaveLength(1);
  });

  test("in Fastify - as a route that is hijacked", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const application = fastify();
    onTestFinished(() => application.close());
    const board = dashboard(pool, { basePath: "/pool" });
    application.all("/pool/*", (request, reply) => {
      reply.hijack();
      board(request.raw, reply.raw);
    });
    const origin = await application.listen({ port: 0, host: "127.0.0.1" });
    for (const path of FILES) expect(await ask(origin, `/pool${path}`)).toMatchObject({ status: 200 });
    expect((await stateOf(origin, "/pool/state")).pools).toHaveLength(1);
  });

  test("several pools - by name, or numbered", async () => {
    const one = await openPool({ sessions: ["alice"] });
    const other = await openPool({ sessions: ["bob", "carol"] });
    const named = await serve({ eu: one.pool, us: other.pool });
    const listed = await serve([one.pool, other.pool]);
    expect((await stateOf(named.origin)).names).toEqual(["eu", "us"]);
    expect((await stateOf(listed.origin)).pools.map(({ name, status }) => [name, status?.total])).toEqual([
      ["1", 1],
      ["2", 2],
    ]);
  });

  test.each([[undefined], [{}], [[[]]], [{ eu: {} }]])(
    "pools that are none (%j) - throws OptionsError",
    (pools: unknown) => {
      expect(() => dashboard(pools as never)).toThrow("dashboard expects a SessionPool, or several");
    },
  );

  test("wrong options - throws an OptionsError that names them", async () => {
    const { pool } = await openPool();
    expect(() => dashboard(pool, { base: "/x" } as never)).toThrow('unknown option "base"');
    expect(() => dashboard(pool, { basePath: "pool" })).toThrow("basePath expects a path");
    expect(() => dashboard(pool, { authorize: true } as never)).toThrow("authorize expects a function");
  });

  test("other methods - are refused", async () => {
    const { pool } = await openPool();
    const { origin } = await serve(pool);
    expect(await ask(origin, "/", { method: "DELETE" })).toMatchObject({
      status: 405,
      headers: { allow: "GET, HEAD" },
    });
    expect(await ask(origin, "/disable?pool=pool&id=alice")).toMatchObject({ status: 405, headers: { allow: "POST" } });
    expect(await ask(origin, "/", { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
  });

  test("a file that has not changed - is not sent again", async () => {
    const { pool } = await openPool();
    const { origin } = await serve(pool);
    const { headers } = await ask(origin, "/page.js");
    const again = await ask(origin, "/page.js", { headers: { "if-none-match": headers.etag ?? "" } });
    expect(again).toMatchObject({ status: 304, text: "" });
  });
});

describe("the stream of a dashboard", () => {
  test("sends the whole state first, then what changes", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob", "carol"] });
    const { origin } = await serve(pool);
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    expect(stream.hello).toEqual({ access: "view", token: null, isStorage: false, pid: process.pid });
    expect(stream.frames[0]).toMatchObject({ isFull: true, pools: [{ status: { free: 3 } }] });
    telegram.onCall = () => {
      throw new FakeRpcError(420, "FLOOD_WAIT_60");
    };
    await pool.use((client) => client.call(READ), { id: "bob", retry: "none" }).catch(() => {});
    await stream.until(({ frames }) => frames.length > 1);
    const changed = stream.frames[1]?.pools[0];
    expect(stream.frames[1]?.isFull).toBe(false);
    expect(changed?.status).toMatchObject({ free: 2, cooling: 1 });
    expect(changed?.lists?.sessions?.set?.map(({ id, state, reason }) => [id, state, reason])).toEqual([
      ["bob", "cooling", "FLOOD_WAIT"],
    ]);
    expect(changed?.buckets?.at(-1)).toMatchObject({ calls: 1, floods: { [READ]: 1 } });
    expect(changed?.incidents).toMatchObject([{ kind: "cooled", sessionId: "bob", reason: `FLOOD_WAIT (${READ})` }]);
  });

  test("after a reconnect - sends what was missed, and no more", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { origin } = await serve(pool);
    const stream = new EventStream(origin);
    await stream.until(({ lastId }) => lastId !== undefined);
    const { lastId } = stream;
    stream.close();
    await stream.ended;
    await pool.disable("bob", "on holiday");
    const again = new EventStream(origin, lastId);
    await again.until(({ frames }) => frames.length > 0);
    expect(again.frames).toMatchObject([{ isFull: false, pools: [{ lists: { sessions: { set: [{ id: "bob" }] } } }] }]);
  });

  test("an id of another start - sends the whole state", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    for (const lastId of ["x.1", "", "1", "%", `${"9".repeat(400)}.1`]) {
      const stream = new EventStream(origin, lastId);
      await stream.until(({ frames }) => frames.length > 0);
      expect(stream.frames[0]?.isFull).toBe(true);
    }
  });

  test("close() of the pool - does not wait for it, ends it, and leaves nothing", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin, server } = await serve(pool);
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    await pool.close();
    await stream.ended;
    expect(stream.events.at(-1)?.name).toBe("end");
    expect(stream.frames.at(-1)?.pools[0]?.isEnded).toBe(true);
    // A page that connects again is told not to, one that is loaded sees how it ended.
    const again = new EventStream(origin, stream.lastId);
    expect(await again.status).toBe(204);
    expect(await poolOf(origin)).toMatchObject({ isEnded: true, status: { total: 1 } });
    await vi.waitFor(() =>
      server.getConnections((_, count) => {
        expect(count).toBe(0);
      }),
    );
  });

  test("close() of the dashboard - ends it, and the pool goes on", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { board, origin } = await serve(pool);
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    board.close();
    await stream.ended;
    (await pool.acquire()).release();
  });
});
