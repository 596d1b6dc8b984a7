import { createServer } from "node:http";
import { networkInterfaces } from "node:os";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { dashboard } from "../../src/dashboard/index.js";
import { openPool } from "../fakes/pools.js";
import { type Asked, ask, EventStream, serve, stateOf } from "./served.js";

/** An address of this machine that is not a loopback one. */
const outer = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === "IPv4" && !address.internal)?.address;

const PATHS = ["/", "/page.js", "/page.css", "/state", "/events", "/nothing"];

async function managed(sessions: readonly string[] = ["alice", "bob"]) {
  const { pool } = await openPool({ sessions });
  const { origin } = await serve(pool, { authorize: () => "manage" });
  const stream = new EventStream(origin);
  await stream.until(({ frames }) => frames.length > 0);
  const token = stream.hello?.token ?? "";
  const own: Asked = { method: "POST", headers: { origin, "x-session-pool-token": token } };
  return { pool, origin, token, own };
}

describe("without authorize", () => {
  test.each(["127.0.0.1", "localhost", "LOCALHOST:80", "127.9.9.9:1", "[::1]:3000"])(
    "host %s - is answered",
    async (host) => {
      const { pool } = await openPool();
      const { origin } = await serve(pool);
      expect(await ask(origin, "/state", { headers: { host } })).toMatchObject({ status: 200 });
    },
  );

  test.each([
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "0.0.0.0",
    "192.0.2.1",
    "::1",
    "localhost.",
    "127.1",
    "2130706433",
    "[::ffff:7f00:1]",
  ])("host %j - is refused with a sentence, whatever is asked for", async (host) => {
    const { pool } = await openPool();
    const { origin } = await serve(pool);
    for (const path of PATHS) {
      const { status, text } = await ask(origin, path, { headers: { host } });
      expect({ path, status }).toEqual({ path, status: 403 });
      expect(text).toBe(
        "Without authorize this dashboard answers to localhost and 127.0.0.1 only. Pass authorize to dashboard() to decide who may look.\n",
      );
    }
  });

  test.runIf(outer !== undefined)(
    "an address that is not of this machine - is refused, whatever it says of itself",
    async () => {
      const { pool } = await openPool();
      const server = createServer(dashboard(pool));
      await new Promise<void>((resolve) => server.listen(0, outer, resolve));
      onTestFinished(() => void server.close());
      const address = server.address();
      const origin = `http://${outer}:${typeof address === "object" ? address?.port : ""}`;
      for (const headers of [
        {},
        { "x-forwarded-for": "127.0.0.1" },
        { host: "localhost" },
        { forwarded: "for=127.0.0.1" },
      ]) {
        const { status, text } = await ask(origin, "/state", { headers });
        expect(status).toBe(403);
        expect(text).toContain("from its own machine only");
      }
    },
  );

  test.each(["x-forwarded-for", "x-real-ip", "forwarded", "via"])(
    "%s - shows that a proxy is in between, and is refused",
    async (name) => {
      const { pool } = await openPool();
      const { origin } = await serve(pool);
      const { status, text } = await ask(origin, "/state", { headers: { [name]: "127.0.0.1" } });
      expect(status).toBe(403);
      expect(text).toContain("came through a proxy");
    },
  );

  test("changes nothing", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { origin } = await serve(pool);
    const { status, text } = await ask(origin, "/remove?pool=pool&id=alice", { method: "POST", headers: { origin } });
    expect({ status, text }).toEqual({
      status: 403,
      text: "You may look at this dashboard, and change nothing (authorize).\n",
    });
    expect(pool.get("alice")).toBeDefined();
  });
});

describe("authorize", () => {
  test.each([[false], [null], [undefined], [0], [1], ["all"], [""], [{}], [{ manage: "yes" }]])(
    "answer %j - grants nothing",
    async (answer) => {
      const { pool } = await openPool();
      const { origin } = await serve(pool, { authorize: () => answer as never });
      for (const path of PATHS) expect(await ask(origin, path)).toMatchObject({ status: 403 });
    },
  );

  test.each([["view"], [true], [{ manage: false }], [Promise.resolve("view")]])(
    "answer %j - lets look, and change nothing",
    async (answer) => {
      const { pool } = await openPool({ sessions: ["alice"] });
      const { origin } = await serve(pool, { authorize: () => answer as never });
      const headers = { host: "pool.example", "x-forwarded-for": "203.0.113.9", origin: "http://pool.example" };
      expect(await ask(origin, "/state", { headers })).toMatchObject({ status: 200 });
      expect(await ask(origin, "/disable?pool=pool&id=alice", { method: "POST", headers })).toMatchObject({
        status: 403,
      });
      const stream = new EventStream(origin);
      await stream.until(({ hello }) => hello !== undefined);
      expect(stream.hello).toMatchObject({ access: "view", token: null });
    },
  );

  test.each([
    [
      "throws",
      () => {
        throw new Error("no");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no"))],
  ])("a function that %s - grants nothing, and warns once", async (_, authorize) => {
    const warnings: string[] = [];
    const note = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", note);
    onTestFinished(() => void process.off("warning", note));
    const { pool } = await openPool();
    const { origin } = await serve(pool, { authorize });
    expect(await ask(origin, "/state")).toMatchObject({ status: 403 });
    expect(await ask(origin, "/")).toMatchObject({ status: 403 });
    expect(warnings.filter((text) => text.startsWith("authorize of the dashboard failed"))).toHaveLength(1);
  });
});

describe("changes", () => {
  test.each([["manage"], [{ manage: true }]])(
    "granted by %j - disable, enable and remove a session",
    async (answer) => {
      const { pool } = await openPool({ sessions: ["alice", "bob"] });
      const { origin } = await serve(pool, { authorize: () => answer as never });
      const stream = new EventStream(origin);
      await stream.until(({ hello }) => hello !== undefined);
      const own: Asked = { method: "POST", headers: { origin, "x-session-pool-token": stream.hello?.token ?? "" } };
      const done = { status: 200, text: '{"ok":true,"message":null}' };
      expect(await ask(origin, "/disable?pool=pool&id=alice&reason=on%20holiday", own)).toMatchObject(done);
      expect(pool.get("alice")).toMatchObject({ state: "disabled", reason: "on holiday" });
      expect(await ask(origin, "/enable?pool=pool&id=alice", own)).toMatchObject(done);
      expect(pool.get("alice")).toMatchObject({ state: "free" });
      expect(await ask(origin, "/remove?pool=pool&id=bob", own)).toMatchObject(done);
      expect(pool.sessions().map(({ id }) => id)).toEqual(["alice"]);
      expect((await stateOf(origin)).pools[0]?.status?.total).toBe(1);
    },
  );

  test.each([
    ["of another site", { "sec-fetch-site": "cross-site" }],
    ["of another origin of the same site", { "sec-fetch-site": "same-site" }],
    ["typed by the user", { "sec-fetch-site": "none" }],
    ["with a foreign Origin", { origin: "http://evil.example" }],
    ["with the Origin of a sandbox", { origin: "null" }],
    ["without any origin", {}],
  ])("a request %s - is refused, even with the token", async (_, headers) => {
    const { pool, origin, token } = await managed();
    const asked: Asked = { method: "POST", headers: { ...headers, "x-session-pool-token": token } };
    expect(await ask(origin, "/remove?pool=pool&id=alice", asked)).toMatchObject({
      status: 403,
      text: "Changes are taken from the page of this dashboard only.\n",
    });
    expect(pool.get("alice")).toBeDefined();
  });

  test.each(["", "x", "null"])("token %j - is refused", async (token) => {
    const { pool, origin } = await managed();
    for (const site of [{ origin }, { "sec-fetch-site": "same-origin" }]) {
      const asked: Asked = { method: "POST", headers: { ...site, "x-session-pool-token": token } };
      expect(await ask(origin, "/remove?pool=pool&id=alice", asked)).toMatchObject({ status: 403 });
    }
    expect(pool.get("alice")).toBeDefined();
  });

  test("an unknown pool or session - is refused", async () => {
    const { origin, own } = await managed();
    expect(await ask(origin, "/remove?pool=other&id=alice", own)).toMatchObject({ status: 404 });
    expect(await ask(origin, "/disable?pool=pool&id=nobody", own)).toMatchObject({
      status: 409,
      text: '{"ok":false,"message":"There is no session \\"nobody\\"."}',
    });
  });

  test("a session that is leased - goes with its lease", async () => {
    const { pool, origin, own } = await managed();
    const lease = await pool.acquire({ id: "alice" });
    expect(await ask(origin, "/remove?pool=pool&id=alice", own)).toMatchObject({ status: 200 });
    expect(pool.get("alice")).toMatchObject({ state: "leased" });
    lease.release();
    await vi.waitFor(() => expect(pool.get("alice")).toBeUndefined());
  });
});
