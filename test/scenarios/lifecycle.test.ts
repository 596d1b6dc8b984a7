import { describe, expect, test } from "vitest";
import { DuplicateSessionError, LeaseReleasedError, PoolClosedError } from "../../src/index.js";
import { Api, callsOf, expectPeace, message, nameOf, rejection, stage, textsOf, until, within } from "./support.js";

const openNow = (connections: readonly { readonly closedAt: number | null }[]) =>
  connections.filter(({ closedAt }) => closedAt === null).length;

describe("connections", () => {
  test("idleTimeoutMs - closes the client, the next use connects again", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open({ idleTimeoutMs: 100 });
    expect(server.connections()).toHaveLength(0);
    await pool.use(nameOf);
    await until("it is closed", () => openNow(server.connections()) === 0);
    expect(toldOf("disconnected")).toEqual([{ id: "account1", reason: expect.any(String) }]);
    await pool.use(nameOf);
    expect(server.connections()).toHaveLength(2);
    expect(toldOf("connected")).toHaveLength(2);
  });

  test("idleTimeoutMs - a held lease is not idle", async () => {
    const { server, open } = await stage();
    const pool = await open({ idleTimeoutMs: 25 });
    using lease = await pool.acquire();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await lease.client.getMe();
    expect(server.connections()).toHaveLength(1);
  });

  test("maxConnected 2 with 6 accounts - never a third client, every caller is served", async () => {
    const { server, open } = await stage({ accounts: 6 });
    const pool = await open({ maxConnected: 2 });
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, openNow(server.connections()));
    }, 1);
    try {
      const names = await within(10_000, Promise.all(Array.from({ length: 60 }, () => pool.use(nameOf))));
      expect(new Set(names).size).toBe(6);
    } finally {
      clearInterval(watch);
    }
    expect(most).toBeLessThanOrEqual(2);
    expect(pool.status()).toMatchObject({ free: 6, leased: 0 });
  });

  test("maxConnected 1 - a flooded one makes room for the next", async () => {
    const { server, open } = await stage({ accounts: 4 });
    const pool = await open({ maxConnected: 1 });
    server.fail({ method: "messages.SendMessage", message: "FLOOD_WAIT_30", times: 3 });
    await within(5_000, pool.invoke(message("fourth")));
    expect(textsOf(server)).toEqual(["fourth"]);
    expectPeace(server);
  });

  test("profile - each session presents its own device", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    await pool.update("account1", { profile: { deviceModel: "Nokia 3310", appVersion: "1.2.3", langCode: "fi" } });
    const shown = new Map<string, unknown>();
    for (const id of ["account1", "account2"]) {
      await pool.use((client) => void shown.set(id, Reflect.get(client, "_initRequest")), { id });
    }
    expect(shown.get("account1")).toMatchObject({ deviceModel: "Nokia 3310", appVersion: "1.2.3", langCode: "fi" });
    expect(shown.get("account2")).not.toMatchObject({ deviceModel: "Nokia 3310" });
    expect(callsOf(server, "messages.SendMessage")).toEqual([]);
  });

  test("onConnect - is called once for each client", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const seen: string[] = [];
    const pool = await open({ client: { onConnect: (_, id) => void seen.push(id) } });
    for (let i = 0; i < 4; i++) await pool.use(nameOf);
    server.disconnect();
    for (let i = 0; i < 4; i++) await pool.use(nameOf);
    expect(seen.sort()).toEqual(["account1", "account2"]);
  });

  test("onConnect - may send requests, before the session is leased", async () => {
    const { open } = await stage();
    const steps: string[] = [];
    const onConnect = async (client: { getMe(): Promise<unknown> }): Promise<void> => {
      steps.push((await client.getMe()) === undefined ? "nobody" : "somebody");
    };
    const pool = await open({ client: { onConnect } });
    await pool.use(() => void steps.push("leased"));
    expect(steps).toEqual(["somebody", "leased"]);
  });
});

describe("adding and removing during work", () => {
  test("add() - one key under two ids is refused", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const error = await rejection(pool.add("second", server.sessions[0] ?? ""));
    expect(error).toBeInstanceOf(DuplicateSessionError);
    expect(error).toMatchObject({ sessionId: "account1" });
  });

  test("remove() - with a lease: it ends first, then nothing is left", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open();
    const lease = await pool.acquire({ id: "account1" });
    const removal = pool.remove("account1");
    await lease.client.getMe();
    await expect(rejection(pool.acquire({ id: "account1", wait: false }), 500)).resolves.toBeInstanceOf(Error);
    lease.release();
    expect(await within(1_000, removal)).toBe(true);
    await until("its client is gone", () => openNow(server.connections()) === 0);
    expect(pool.get("account1")).toBeUndefined();
    expect(await pool.remove("account1")).toBe(false);
    await pool.add("renamed", server.sessions[0] ?? "");
    expect(await pool.use(nameOf, { id: "renamed" })).toBe("account1");
  });

  test("disable() - the current lease ends first; enable() brings it back", async () => {
    const { open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    await pool.disable("account1", "maintenance");
    await lease.client.getMe();
    lease.release();
    expect(pool.get("account1")).toMatchObject({ state: "disabled", reason: "maintenance" });
    await rejection(pool.use(nameOf), 500);
    await pool.enable("account1");
    expect(await pool.use(nameOf)).toBe("account1");
  });

  test("update({ session }) - in the middle of a lease never opens a second client for one key", async () => {
    const { server, open } = await stage({ accounts: 2 });
    const pool = await open({ add: ["account1"] });
    const lease = await pool.acquire();
    await lease.client.getMe();
    const updated = pool.update("account1", { session: server.sessions[1] ?? "" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    lease.release();
    await within(2_000, updated);
    expect(await within(2_000, pool.use(nameOf))).toBe("account2");
    await until("one client is left", () => openNow(server.connections()) === 1);
  });
});

describe("the end", () => {
  test("close() - waits for the lease, refuses the queue, ends every connection", async () => {
    const { server, open } = await stage();
    const pool = await open();
    const lease = await pool.acquire();
    const queued = rejection(pool.use(nameOf));
    const closing = pool.close();
    expect(await queued).toBeInstanceOf(PoolClosedError);
    await lease.client.getMe();
    lease.release();
    await within(1_000, closing);
    await until("no connection", () => openNow(server.connections()) === 0);
    expect(pool.close()).toBe(closing);
    expect(await rejection(pool.use(nameOf))).toBeInstanceOf(PoolClosedError);
    expect(pool.get("account1")?.id).toBe("account1");
    expect(pool.status().total).toBe(1);
  });

  test("close() - calls in flight: revoked after timeoutMs, reported as leaked", async () => {
    const { server, open, toldOf } = await stage();
    const pool = await open();
    server.mute({ method: "users.GetUsers" });
    const work = rejection(pool.use(nameOf));
    await until("it is under way", () => callsOf(server, "users.GetUsers").length === 1);
    const started = Date.now();
    await within(2_000, pool.close({ timeoutMs: 150 }));
    expect(Date.now() - started).toBeGreaterThanOrEqual(145);
    expect(["POOL_CLOSED", "LEASE_RELEASED"]).toContain(((await work) as Error & { code: string }).code);
    expect(toldOf("leaked")).toMatchObject([{ id: "account1" }]);
    await until("no connection", () => openNow(server.connections()) === 0);
  });

  test("destroy() - at once, with the reason as the cause, for leases, queue and connects", async () => {
    const { server, open } = await stage({ accounts: 3 });
    const pool = await open({ maxConnected: 2 });
    server.mute({ method: "users.GetUsers" });
    server.ignore({ account: "account2" });
    const held = await pool.acquire({ id: "account1" });
    const flying = rejection(held.client.getMe());
    const connecting = rejection(pool.acquire({ id: "account2" }));
    const queued = rejection(pool.acquire({ id: "account1" }));
    await until("it is under way", () => callsOf(server, "users.GetUsers").length === 1);
    const reason = new Error("the plug was pulled");
    await within(500, pool.destroy(reason));
    for (const error of [await queued, await connecting, await flying]) {
      expect(error, error.message).toBeInstanceOf(Error);
      expect(error.cause ?? reason).toBe(reason);
    }
    expect((await queued).cause).toBe(reason);
    expect(await rejection(held.client.getMe(), 100)).toBeInstanceOf(Error);
    held.release();
    await until("no connection", () => openNow(server.connections()) === 0);
  });

  test("maxLeaseMs - a lease held too long is revoked, the next holder is not disturbed", async () => {
    const { open, toldOf } = await stage();
    const pool = await open({ maxLeaseMs: 150, traceLeases: true });
    const lease = await pool.acquire();
    await lease.client.getMe();
    const next = await within(2_000, pool.acquire());
    expect(lease.signal.aborted).toBe(true);
    expect(await rejection(lease.client.getMe(), 100)).toBeInstanceOf(LeaseReleasedError);
    lease.release();
    expect(pool.leases()).toHaveLength(1);
    await next.client.invoke(new Api.users.GetUsers({ id: [new Api.InputUserSelf()] }));
    next.release();
    expect(toldOf("leaked")).toMatchObject([{ id: "account1", stack: expect.stringContaining("lifecycle.test") }]);
  });
});
