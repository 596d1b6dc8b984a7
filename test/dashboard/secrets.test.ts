import { expect, test } from "vitest";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { ask, EventStream, poolOf, serve } from "./served.js";

// `ask` and `EventStream` pass everything that they read to the canary, which knows every session string.

test("every response - holds no session string, api hash, proxy password or proxy user", async () => {
  const { pool, telegram } = await openPool({ traceLeases: true });
  const profile = {
    apiId: 7,
    apiHash: "canary-api-hash",
    proxy: "socks5://canary-user:canary-password@203.0.113.7:1080",
  };
  for (const id of ["alice", "bob", "carol"]) await pool.add(id, sessionString(id), { profile });
  await pool.add("dave", sessionString("dave"), {
    profile: { proxy: { ip: "203.0.113.8", port: 1, secret: "ca".repeat(16) } },
  });
  const { origin } = await serve(pool, { authorize: () => "manage" });
  const stream = new EventStream(origin);
  await stream.until(({ frames }) => frames.length > 0);
  telegram.onConnect = (id) => {
    if (id === "bob") throw new Error(`cannot reach canary-password@203.0.113.7 with canary-api-hash`);
  };
  telegram.onCall = () => {
    throw new FakeRpcError(401, "AUTH_KEY_UNREGISTERED");
  };
  await pool.use((client) => client.call(READ), { id: "alice" }).catch(() => {});
  await pool.acquire({ id: "bob" }).catch(() => {});
  await pool.disable("carol", `sold with ${sessionString("carol")}`);
  const lease = await pool.acquire({ id: "dave" });
  await stream.until(({ frames }) => frames.length > 1);
  const headers = { origin, "x-session-pool-token": stream.hello?.token ?? "" };
  const answers = [
    ...(await Promise.all(
      ["/", "/page.js", "/page.css", "/icon.svg", "/state", "/nothing", "/?x=1"].map((path) => ask(origin, path)),
    )),
    await ask(origin, "/disable?pool=pool&id=nobody", { method: "POST", headers }),
    await ask(origin, "/enable?pool=pool&id=alice", { method: "POST", headers }),
  ];
  lease.release();
  const bytes = [...answers.map((answer) => JSON.stringify(answer)), ...stream.events.map(({ data }) => data)].join(
    "\n",
  );
  expect(bytes).not.toMatch(/canary-(user|password|api)|(ca){8}/);
  const { lists } = await poolOf(origin);
  expect(lists?.sessions?.set?.map(({ id, proxy, reason }) => [id, proxy, reason ?? null])).toEqual([
    ["alice", "SOCKS5 proxy 203.0.113.7:1080", null],
    ["bob", "SOCKS5 proxy 203.0.113.7:1080", expect.any(String)],
    ["carol", "SOCKS5 proxy 203.0.113.7:1080", "sold with [redacted]"],
    ["dave", "MTProto proxy 203.0.113.8:1", null],
  ]);
});

test("long texts - are shortened, so that a reading stays small", async () => {
  const { pool } = await openPool();
  for (let index = 0; index < 20; index++) {
    await pool.add(`s${index}`, sessionString(`s${index}`), {
      tags: Array.from({ length: 100 }, (_, tag) => `${tag} `.repeat(2_000)),
    });
    await pool.disable(`s${index}`, "why ".repeat(2_500));
  }
  const { origin } = await serve(pool);
  const { text } = await ask(origin, "/state");
  expect(text.length).toBeLessThan(20 * 8_000);
});
