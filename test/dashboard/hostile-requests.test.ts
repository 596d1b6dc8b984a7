import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import express from "express";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { deferred } from "../../src/common/deferred.js";
import { dashboard } from "../../src/dashboard/index.js";
import { openPool } from "../fakes/pools.js";
import { ask, EventStream, listen, serve, stateOf } from "./served.js";

const VIEWERS = 100;

/** Sends bytes as they are. Resolves with the first line of the answer. */
async function send(origin: string, bytes: string): Promise<string> {
  const { port, hostname } = new URL(origin);
  const socket = connect(Number(port), hostname).setEncoding("latin1");
  onTestFinished(() => void socket.destroy());
  socket.write(bytes);
  const [text] = (await once(socket, "data")) as [string];
  return text.slice(0, text.indexOf("\r\n"));
}

describe("without authorize", () => {
  test.each(["x-forwarded-proto", "x-forwarded-host", "x-forwarded-server", "x-client-ip", "cf-connecting-ip"])(
    "%s - shows that a proxy is in between, and is refused",
    async (name) => {
      const { pool } = await openPool();
      const { origin } = await serve(pool);
      expect(await ask(origin, "/state", { headers: { [name]: "x" } })).toMatchObject({ status: 403 });
    },
  );

  test.each([
    ["HTTP/1.0, as nginx speaks by default", "GET /state HTTP/1.0\r\nHost: localhost\r\n\r\n", 403],
    ["HTTP/1.0 without a host", "GET /state HTTP/1.0\r\n\r\n", 403],
    ["two hosts", "GET /state HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n", 403],
    ["an absolute target of another host", "GET http://evil.example/state HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],
    ["a path that climbs", "GET /page.js/../state HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],
    ["an empty segment", "GET //state HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],
    ["an encoded path", "GET /%73tate HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],

    ["every server", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],
    ["TRACE", "TRACE /state HTTP/1.1\r\nHost: localhost\r\n\r\n", 405],
  ])("a request with %s - is refused", async (_, bytes, status) => {
    const { pool } = await openPool();
    const { origin } = await serve(pool);
    expect(await send(origin, bytes)).toContain(` ${status} `);
  });
});

describe("the state", () => {
  test.each([
    ["another site", { "sec-fetch-site": "cross-site" }],
    ["another origin of the site", { "sec-fetch-site": "same-site" }],
    ["another origin, by a browser that does not say from where", { origin: "http://evil.example" }],
    ["a sandbox", { origin: "null" }],
  ])("asked for by %s - is refused", async (_, headers) => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool, { authorize: () => "manage" });
    for (const path of ["/state", "/events"])
      expect(await ask(origin, path, { headers })).toMatchObject({ status: 403 });
    // A link to the page may be anywhere.
    expect(await ask(origin, "/", { headers })).toMatchObject({ status: 200 });
  });

  test("on a server that allows other origins everywhere - stays with its own", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const application = express();
    application.use((_, response, next) => {
      response.set({ "Access-Control-Allow-Origin": "*", "access-control-allow-credentials": "true" });
      next();
    });
    application.use(dashboard(pool));
    const origin = await listen(createServer(application));
    for (const path of ["/", "/state", "/nothing"]) {
      const names = Object.keys((await ask(origin, path)).headers);
      expect(names.filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
  });
});

describe("authorize", () => {
  test("whose answer cannot be read - grants nothing", async () => {
    const { pool } = await openPool();
    const answer = {
      get manage(): boolean {
        throw new Error("no");
      },
    };
    const { origin } = await serve(pool, { authorize: () => answer });
    expect(await ask(origin, "/state")).toMatchObject({ status: 403 });
  });

  test("that never settles - is refused after ten seconds", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const asked = deferred<void>();
    const { pool } = await openPool();
    const { origin } = await serve(pool, {
      authorize: () => {
        asked.resolve();
        return new Promise(() => {});
      },
    });
    const answer = ask(origin, "/state");
    await asked.promise;
    await vi.advanceTimersByTimeAsync(10_000);
    vi.useRealTimers();
    expect(await answer).toMatchObject({
      status: 503,
      text: "The function authorize of this dashboard has not answered within 10 s.\n",
    });
  });

  test("that answers when the page has left - leaves nothing", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const reads = vi.spyOn(pool, "observe");
    const asked: (() => void)[] = [];
    const { board, origin } = await serve(pool, {
      authorize: ({ headers }) =>
        headers["x-late"] === undefined ? true : new Promise((resolve) => asked.push(() => resolve("view"))),
    });
    expect(reads).toHaveBeenCalledTimes(1);
    const { port, hostname } = new URL(origin);
    for (let count = 0; count < VIEWERS; count++) {
      const socket = connect(Number(port), hostname);
      socket.write("GET /events HTTP/1.1\r\nHost: localhost\r\nx-late: 1\r\n\r\n");
      await vi.waitFor(() => expect(asked).toHaveLength(count + 1));
      socket.destroy();
      await once(socket, "close");
    }
    await stateOf(origin);
    for (const answer of asked) answer();
    const stream = new EventStream(origin);
    expect(await stream.status).toBe(200);
    board.close();
  });
});

describe("the pages", () => {
  test("more than a hundred - are refused, until one leaves", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const streams = Array.from({ length: VIEWERS }, () => new EventStream(origin));
    await Promise.all(streams.map((stream) => stream.until(({ frames }) => frames.length > 0)));
    expect(await ask(origin, "/events")).toMatchObject({ status: 503 });
    streams[0]?.close();
    await vi.waitFor(async () => {
      const stream = new EventStream(origin);
      expect(await stream.status).toBe(200);
    });
  });

  test("of a dashboard that was closed - are refused, and change nothing", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { board, origin } = await serve(pool, { authorize: () => "manage" });
    const stream = new EventStream(origin);
    await stream.until(({ frames }) => frames.length > 0);
    const headers = { origin, "x-session-pool-token": stream.hello?.token ?? "" };
    board.close();
    const closed = { status: 503, text: "This dashboard is closed.\n" };
    expect(await ask(origin, "/remove?pool=pool&id=alice", { method: "POST", headers })).toMatchObject(closed);
    for (const path of ["/", "/state", "/events"]) expect(await ask(origin, path)).toMatchObject(closed);
    // Tells browsers not to connect again.
    expect(await new EventStream(origin, stream.lastId).status).toBe(204);
    expect(pool.get("alice")).toBeDefined();
  });
});

describe("paths", () => {
  test("a last segment that looks like a scheme or a host - is redirected to below itself", async () => {
    const { pool } = await openPool();
    const application = express();
    application.use("/:tenant", dashboard(pool));
    const origin = await listen(createServer(application));
    for (const name of ["https:evil.example", "javascript:alert(1)", "pool"]) {
      const { status, headers } = await ask(origin, `/${name}`);
      const location = new URL(headers.location ?? "", `${origin}/${name}`).href;
      expect({ status, location }).toEqual({ status: 308, location: `${origin}/${name}/` });
    }
  });

  test("a base path below an Express router - is taken off", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const router = express.Router();
    router.use(dashboard(pool, { basePath: "/admin" }));
    const origin = await listen(createServer(express().use("/app", router)));
    expect((await stateOf(origin, "/app/admin/state")).pools).toHaveLength(1);
    expect(await ask(origin, "/app/admin")).toMatchObject({ status: 308 });
    expect(await ask(origin, "/app/state")).toMatchObject({ status: 404 });
  });
});

describe("bodies", () => {
  test.each([
    ["a form", { "content-type": "application/x-www-form-urlencoded" }],
    ["text", { "content-type": "text/plain" }],
  ])("of %s - count for nothing", async (_, type) => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool, { authorize: () => "manage" });
    const headers = { ...type, origin };
    expect(await ask(origin, "/remove?pool=pool&id=alice", { method: "POST", headers })).toMatchObject({ status: 403 });
    expect(pool.get("alice")).toBeDefined();
  });

  test("that never end - do not keep the answer", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool, { authorize: () => "manage" });
    for (const length of ["Content-Length: 9007199254740991", "Transfer-Encoding: chunked"]) {
      const bytes = `POST /remove?pool=pool&id=alice HTTP/1.1\r\nHost: localhost\r\n${length}\r\n\r\n`;
      expect(await send(origin, bytes)).toContain(" 403 ");
    }
  });
});
