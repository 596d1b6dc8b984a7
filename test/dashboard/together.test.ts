import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import express from "express";
import { describe, expect, onTestFinished, test } from "vitest";
import { dashboard } from "../../src/dashboard/index.js";
import { openPool } from "../fakes/pools.js";
import { ask, EventStream, listen, poolOf, serve, stateOf } from "./served.js";

describe("two dashboards of one pool", () => {
  test("close() of one - leaves the other as it is", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const one = await serve(pool);
    const other = await serve(pool);
    const stream = new EventStream(other.origin);
    await stream.until(({ frames }) => frames.length > 0);
    one.board.close();
    await pool.disable("alice", "on holiday");
    await stream.until(({ frames }) => frames.length > 1);
    expect(stream.frames[1]?.pools[0]?.status).toMatchObject({ free: 0, disabled: 1 });
    expect(await ask(one.origin, "/state")).toMatchObject({ status: 503 });
  });

  test("the token of one - is none for the other", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const one = await serve(pool, { authorize: () => "manage" });
    const other = await serve(pool, { authorize: () => "manage" });
    const stream = new EventStream(one.origin);
    await stream.until(({ hello }) => hello !== undefined);
    const headers = { origin: other.origin, "x-session-pool-token": stream.hello?.token ?? "" };
    const removed = await ask(other.origin, "/remove?pool=pool&id=alice", { method: "POST", headers });
    expect({ status: removed.status, isThere: pool.get("alice") !== undefined }).toEqual({
      status: 403,
      isThere: true,
    });
  });

  test("in one application - are apart, the longer path before the shorter", async () => {
    const eu = await openPool({ sessions: ["alice"] });
    const us = await openPool({ sessions: ["bob", "carol"] });
    const application = express();
    application.use("/pool/us", dashboard(us.pool));
    application.use("/pool", dashboard(eu.pool));
    const origin = await listen(createServer(application));
    const totals = await Promise.all(
      ["/pool/state", "/pool/us/state"].map(async (path) => (await stateOf(origin, path)).pools[0]?.status?.total),
    );
    expect(totals).toEqual([1, 2]);
  });
});

describe("a pool that is destroyed", () => {
  test("while a page is open - ends its stream, and stays shown as it was", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const { origin } = await serve(pool);
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    await pool.destroy(new Error("enough"));
    await stream.ended;
    expect(stream.events.at(-1)?.name).toBe("end");
    expect(await poolOf(origin)).toMatchObject({ isEnded: true, status: { total: 2 } });
  });

  test("beside one that goes on - leaves the stream open", async () => {
    const one = await openPool({ sessions: ["alice"] });
    const other = await openPool({ sessions: ["bob"] });
    const { origin } = await serve([one.pool, other.pool]);
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    await one.pool.destroy();
    await stream.until(({ frames }) => frames.some(({ pools }) => pools.some(({ isEnded }) => isEnded === true)));
    await other.pool.disable("bob");
    await stream.until(({ frames }) => frames.at(-1)?.pools[0]?.status?.disabled === 1);
    expect(stream.frames.at(-1)?.pools[0]?.name).toBe("2");
  });
});

describe("changes", () => {
  test("behind middleware that has read the body - are made", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const application = express();
    application.use(express.json(), express.urlencoded({ extended: true }));
    application.use((request, _, next) => void text(request).then(() => next(), next));
    application.use("/pool", dashboard(pool, { authorize: () => "manage" }));
    const origin = await listen(createServer(application));
    const stream = new EventStream(`${origin}/pool`);
    await stream.until(({ hello }) => hello !== undefined);
    const headers = { origin, "x-session-pool-token": stream.hello?.token ?? "" };
    const path = "/pool/disable?pool=pool&id=alice&reason=on%20holiday";
    expect(await ask(origin, path, { method: "POST", headers })).toMatchObject({ status: 200 });
    expect(pool.get("alice")).toMatchObject({ state: "disabled", reason: "on holiday" });
  });

  test.each(["x-http-method-override", "x-method-override", "x-http-method"])(
    "asked for by GET with %s - are refused",
    async (name) => {
      const { pool } = await openPool({ sessions: ["alice"] });
      const { origin } = await serve(pool, { authorize: () => "manage" });
      const headers = { [name]: "POST", origin };
      expect(await ask(origin, "/remove?pool=pool&id=alice", { headers })).toMatchObject({ status: 405 });
      expect(pool.get("alice")).toBeDefined();
    },
  );
});

describe("a hundred pages", () => {
  test("that look at once - get the same change", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const streams = Array.from({ length: 100 }, () => new EventStream(origin));
    onTestFinished(() => {
      for (const stream of streams) stream.close();
    });
    await Promise.all(streams.map((stream) => stream.until(({ frames }) => frames.length > 0)));
    await pool.disable("alice");
    await Promise.all(
      streams.map((stream) => stream.until(({ frames }) => frames.at(-1)?.pools[0]?.status?.disabled === 1)),
    );
    expect(new Set(streams.map(({ lastId }) => lastId)).size).toBe(1);
  });
});
