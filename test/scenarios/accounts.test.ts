import { describe, expect, test } from "vitest";
import { Api, PromisedNetSockets } from "../fakes/client-library.js";
import { SHARED_SERVERS } from "./shared-storages.js";
import {
  callsOf,
  expectPeace,
  nameOf,
  type OpenOptions,
  type Pool,
  rejection,
  type Stage,
  stage,
  until,
  within,
} from "./support.js";

const OWN = "users.GetUsers";
const ENDING = "account.GetAuthorizations";
const DAY_MS = 86_400_000;
const getState = () => new Api.updates.GetState();

describe("the account of a session", () => {
  test("is learned at the first connect, as is the session's end, by one request each, and never asked for again", async () => {
    const { server, open, toldOf } = await stage();
    const [account] = server.accounts;
    const pool = await open({ add: [] });
    await pool.add("a", account?.session ?? "");
    expect(pool.get("a")?.accountId).toBeNull();
    await pool.invoke(getState);
    const { expiresAt } = pool.get("a") ?? {};
    const known = { accountId: String(account?.userId), isBot: false };
    expect(pool.get("a")).toMatchObject(known);
    expect(
      server
        .calls()
        .filter(({ isConnect }) => !isConnect)
        .map(({ method }) => method),
    ).toEqual([OWN, ENDING, "updates.GetState"]);
    await until("its end is known", () => (pool.get("a")?.expiresAt ?? 0) > Date.now() + 179 * DAY_MS);
    await until("it is written", () => toldOf("accountLearnt").length === 1);
    expect(toldOf("accountLearnt")).toEqual([{ id: "a", accountId: known.accountId }]);
    await pool.close();
    const again = await open({ add: [] });
    expect(again.get("a")).toMatchObject({ ...known, expiresAt });
    await again.invoke(getState);
    expect([OWN, ENDING].map((method) => callsOf(server, method).length)).toEqual([1, 1]);
    expectPeace(server);
  });

  test("a client that sees its own user by itself - the account is learned without a request", async () => {
    const { server, open } = await stage();
    const pool = await open({ add: [] });
    await pool.add("a", server.accounts[0]?.session ?? "");
    const rule = server.fail({ method: OWN, message: "INPUT_METHOD_INVALID" });
    await pool.invoke(getState);
    expect(pool.get("a")?.accountId).toBeNull();
    rule.remove();
    await pool.use(nameOf);
    expect(pool.get("a")?.accountId).toBe(String(server.accounts[0]?.userId));
  });
});

/** A pool with two sessions of one account. */
async function twoSessions(options: OpenOptions = {}): Promise<Stage & { readonly pool: Pool }> {
  const scene = await stage({ accounts: [{ name: "alice" }] });
  const { server } = scene;
  const client = { server: server.server, clientOptions: { networkSocket: PromisedNetSockets } };
  const pool = await scene.open({ client, connectTimeoutMs: 60_000, ...options });
  await within(60_000, pool.duplicate("alice", "laptop"));
  return { ...scene, pool };
}

describe("two sessions of one account", () => {
  test("a flood of one - the other sends nothing before it ends, over a restart neither", async () => {
    const { server, open, pool, toldOf } = await twoSessions();
    expect(pool.get("laptop")?.accountId).toBe(pool.get("alice")?.accountId);
    server.fail({ account: "alice", method: "updates.GetState", message: "FLOOD_WAIT_30", times: 1 });
    await rejection(pool.invoke(getState, { id: "alice", wait: false, retry: "none" }));
    expect(await rejection(pool.invoke(getState, { id: "laptop", wait: false }))).toMatchObject({
      code: "NO_SESSION_AVAILABLE",
    });
    expect(toldOf("cooled").map(({ id, sharedBy }) => [id, sharedBy])).toEqual([
      ["alice", undefined],
      ["laptop", "alice"],
    ]);
    await pool.close();
    const again = await open({ add: [] });
    expect(again.status()).toMatchObject({ total: 2, cooling: 2 });
    expect(callsOf(server, "updates.GetState")).toHaveLength(1);
    expectPeace(server);
  });
});

describe("two sessions of one account, each in a process of its own", () => {
  test.each(SHARED_SERVERS)("over $name - a flood of one holds for the other", async ({ connect }) => {
    const create = await connect();
    if (create === undefined) return;
    const { server, open, pool } = await twoSessions({ storage: create(), idleTimeoutMs: 50 });
    await until("laptop is given up", () => pool.status().foreign + pool.status().free === 2 && isIdle(server));
    const other = await open({ storage: create(), add: [], ownership: { host: "another" } });
    await within(10_000, other.invoke(getState, { id: "laptop", wait: 8_000 }));
    const { length: before } = callsOf(server, "updates.GetState");
    server.fail({ account: "alice", method: "updates.GetState", message: "FLOOD_WAIT_30", times: 1 });
    await rejection(pool.invoke(getState, { id: "alice", wait: false, retry: "none" }));
    await until("the other process knows", () => other.get("laptop")?.availableAt !== null);
    expect(other.get("laptop")).toMatchObject({ state: "cooling", reason: "FLOOD_WAIT" });
    expect(
      await rejection(other.invoke(getState, { account: other.get("laptop")?.accountId ?? "", wait: false })),
    ).toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect(callsOf(server, "updates.GetState")).toHaveLength(before + 1);
    expectPeace(server);
  });
});

function isIdle(server: Stage["server"]): boolean {
  return server.connections().every(({ closedAt }) => closedAt !== null);
}
