import { describe, expect, test } from "vitest";
import { memory } from "../../src/storage/memory.js";
import { decodeRecord, type SessionRecord } from "../../src/storage/record.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { FakeTelegram, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const ALICE = "5000000001";
const BOB = "5000000002";

async function openAccounts(options: TestPoolOptions = {}): Promise<TestPool> {
  const opened = await openPool(options);
  await opened.pool.addMany([
    { id: "a1", session: sessionString("a1"), accountId: ALICE },
    { id: "a2", session: sessionString("a2"), accountId: ALICE },
    { id: "b", session: sessionString("b"), accountId: BOB },
  ]);
  return opened;
}

/** Telegram answers the next request of a session with an error. */
function refuse({ telegram }: Pick<TestPool, "telegram">, id: string, error: Error): void {
  let isOver = false;
  telegram.onCall = (call) => {
    if (isOver || call.id !== id) return "ok";
    isOver = true;
    throw error;
  };
}

const call = ({ pool }: TestPool, id: string, method = READ): Promise<unknown> =>
  pool.use((client) => client.call(method), { id, retry: "none", wait: false });

async function recordOf(storage: SessionStorage, id: string): Promise<SessionRecord> {
  return decodeRecord((await storage.read(id))?.data ?? "");
}

const statesOf = ({ pool }: TestPool): Record<string, string> =>
  Object.fromEntries(pool.sessions().map(({ id, state }) => [id, state]));

describe("a flood of one session", () => {
  test("cools every session of its account, in the records too, with an event for each", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    await settled();
    expect(statesOf(opened)).toEqual({ a1: "cooling", a2: "cooling", b: "free" });
    const until = opened.pool.get("a1")?.availableAt;
    expect(opened.events("cooled")).toEqual([
      { id: "a1", until, seconds: 60, reason: "FLOOD_WAIT", refusedMethod: READ },
      { id: "a2", until, seconds: 60, reason: "FLOOD_WAIT", refusedMethod: READ, sharedBy: "a1" },
    ]);
    expect((await recordOf(opened.storage, "a2")).cooldown).toEqual({ until, reason: "FLOOD_WAIT" });
    await opened.clock.advance(60_000);
    expect(
      opened
        .events("recovered")
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(["a1", "a2"]);
  });

  test("nothing is sent by a sibling before it ends, by one in use neither", async () => {
    const opened = await openAccounts();
    const lease = await opened.pool.acquire({ id: "a2" });
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    await expect(lease.client.call(READ)).rejects.toThrow("FLOOD_WAIT_60");
    lease.release();
    await expect(call(opened, "a2")).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE", nextReleaseIn: 60 });
    expect(opened.telegram.calls.map(({ id }) => id)).toEqual(["a1"]);
  });

  test("a job rotates to another account, not to a sibling", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", flood(60));
    expect(await opened.pool.use((client, { id }) => client.call(READ).then(() => id))).toBe("b");
  });

  test("for one method or peer, keeps every session from that method or peer alone", async () => {
    const opened = await openAccounts({ cooldownScope: "method" });
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1", WRITE)).rejects.toThrow();
    await expect(call(opened, "a2", WRITE)).rejects.toThrow("FLOOD_WAIT_60");
    expect(await call(opened, "a2", READ)).toBe("ok");
    expect(await call(opened, "b", WRITE)).toBe("ok");
    const slow = new FakeRpcError(420, "SLOWMODE_WAIT_30");
    refuse(opened, "a2", slow);
    await opened.clock.advance(60_000);
    const sent = opened.pool.use((client) => client.call(WRITE, { peer: "channel:7" }), { id: "a2", retry: "none" });
    await expect(sent).rejects.toThrow();
    await expect(opened.pool.acquire({ id: "a1", peer: "channel:7", wait: false })).rejects.toMatchObject({
      nextReleaseIn: 30,
    });
  });

  test('floodsBelongTo: "session" - cools that session alone', async () => {
    const opened = await openAccounts({ floodsBelongTo: "session" });
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    expect(statesOf(opened)).toEqual({ a1: "cooling", a2: "free", b: "free" });
  });

  test("coolDown() of a lease - holds for the account", async () => {
    const opened = await openAccounts();
    const lease = await opened.pool.acquire({ id: "a1" });
    lease.coolDown(60);
    lease.release();
    expect(statesOf(opened)).toEqual({ a1: "cooling", a2: "cooling", b: "free" });
  });

  test("a wait because the login is too young - is that of the session alone, also after a restart", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", new FakeRpcError(400, "SESSION_TOO_FRESH_3600"));
    await expect(call(opened, "a1", "channels.EditCreator")).rejects.toThrow();
    expect(await call(opened, "a2", "channels.EditCreator")).toBe("ok");
    await opened.pool.close();
    const later = await openPool({ storage: opened.storage, clock: opened.clock });
    expect(await later.pool.use((client) => client.call("channels.EditCreator"), { id: "a2" })).toBeDefined();
  });
});

describe("a restriction or death of one session", () => {
  test.each([
    ["PEER_FLOOD", 400, { a1: "restricted", a2: "restricted", b: "free" }],
    ["FROZEN_METHOD_INVALID", 420, { a1: "restricted", a2: "restricted", b: "free" }],
    ["USER_DEACTIVATED_BAN", 401, { a1: "dead", a2: "dead", b: "free" }],
    ["USER_DEACTIVATED", 401, { a1: "dead", a2: "dead", b: "free" }],
    ["AUTH_KEY_UNREGISTERED", 401, { a1: "dead", a2: "free", b: "free" }],
    ["SESSION_REVOKED", 401, { a1: "dead", a2: "free", b: "free" }],
    ["SESSION_PASSWORD_NEEDED", 401, { a1: "restricted", a2: "free", b: "free" }],
  ] as const)("%s - concerns whom it names", async (text, code, states) => {
    const opened = await openAccounts();
    refuse(opened, "a1", new FakeRpcError(code, text));
    await expect(call(opened, "a1", WRITE)).rejects.toThrow();
    await settled();
    expect(statesOf(opened)).toEqual(states);
    const { deadReason, restriction } = await recordOf(opened.storage, "a2");
    expect(deadReason ?? restriction?.reason ?? null).toBe(states.a2 === "free" ? null : text);
  });

  test("retire() of a lease - is that of the session alone", async () => {
    const opened = await openAccounts();
    const lease = await opened.pool.acquire({ id: "a1" });
    lease.retire("bought back");
    lease.release();
    expect(statesOf(opened)).toEqual({ a1: "dead", a2: "free", b: "free" });
  });

  test("a sibling in use - its requests are refused", async () => {
    const opened = await openAccounts();
    const lease = await opened.pool.acquire({ id: "a2" });
    refuse(opened, "a1", new FakeRpcError(401, "USER_DEACTIVATED"));
    await expect(call(opened, "a1")).rejects.toThrow();
    await expect(lease.client.call(READ)).rejects.toThrow("USER_DEACTIVATED");
    expect(opened.telegram.calls.length).toBe(1);
  });
});

describe("an account that becomes known while one of its sessions cools", () => {
  test("the cooldown holds for the other at once, is written, and announced", async () => {
    const opened = await openPool({ sessions: ["x"] });
    await opened.pool.addMany([{ id: "a1", session: sessionString("a1"), accountId: ALICE }]);
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    await opened.pool.addMany([{ id: "x", session: sessionString("x"), accountId: ALICE }]);
    expect(opened.pool.get("x")?.state).toBe("cooling");
    await settled();
    expect(opened.events("cooled").at(-1)).toMatchObject({ id: "x", sharedBy: "a1", reason: "FLOOD_WAIT" });
    expect((await recordOf(opened.storage, "x")).cooldown).not.toBeNull();
  });

  test("a session that is added - cools before it was ever used, and is restricted as the others", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    refuse(opened, "b", new FakeRpcError(400, "PEER_FLOOD"));
    await expect(call(opened, "b", WRITE)).rejects.toThrow();
    await opened.pool.addMany([
      { id: "a3", session: sessionString("a3"), accountId: ALICE },
      { id: "b2", session: sessionString("b2"), accountId: BOB },
    ]);
    expect(statesOf(opened)).toMatchObject({ a3: "cooling", b2: "restricted" });
  });

  test("a new session of a dead account - is alive: it has just signed in", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", new FakeRpcError(401, "USER_DEACTIVATED"));
    await expect(call(opened, "a1")).rejects.toThrow();
    await opened.pool.addMany([{ id: "a3", session: sessionString("a3"), accountId: ALICE }]);
    expect(opened.pool.get("a3")?.state).toBe("free");
  });
});

describe("the cooldown of an account in the storage", () => {
  test("only the record of the session that was refused is written before a crash - holds for all after the restart", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", flood(60));
    const written = opened.storage.fateOfWrite;
    opened.storage.fateOfWrite = ((id: string) => (id === "a2" ? "hangs" : undefined)) as typeof written;
    await expect(call(opened, "a1")).rejects.toThrow();
    await settled();
    const copy = memory();
    for (const { id, data } of await opened.storage.list()) await copy.write(id, 0, data);
    expect((await recordOf(copy, "a2")).cooldown).toBeNull();
    const later = await openPool({ storage: new FaultyStorage(copy), clock: opened.clock });
    // The first process still owns the session that was told.
    expect(statesOf(later)).toEqual({ a1: "foreign", a2: "cooling", b: "free" });
  });

  test("the session that was refused is removed - the others keep it over a restart", async () => {
    const opened = await openAccounts();
    refuse(opened, "a1", flood(60));
    await expect(call(opened, "a1")).rejects.toThrow();
    await opened.pool.remove("a1");
    await opened.pool.close();
    const later = await openPool({ storage: opened.storage, clock: opened.clock });
    expect(statesOf(later)).toEqual({ a2: "cooling", b: "free" });
  });

  test("refused in another process - holds here for every session of the account", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const telegram = new FakeTelegram(clock);
    const open = (host: string): Promise<TestPool> =>
      openPool({ storage: new FaultyStorage(inner), clock, telegram, ownership: { host } });
    const one = await open("one");
    const two = await open("two");
    await one.pool.addMany([
      { id: "a1", session: sessionString("a1"), accountId: ALICE },
      { id: "a2", session: sessionString("a2"), accountId: ALICE },
    ]);
    await clock.advance(60_000);
    const lease = await two.pool.acquire({ id: "a2" });
    refuse(one, "a1", flood(600));
    await expect(call(one, "a1")).rejects.toThrow();
    await clock.advance(30_000);
    const refused = watch(lease.client.call(READ));
    await settled();
    expect(String(refused.error)).toContain("FLOOD_WAIT_5");
    expect(two.events("cooled").map(({ id }) => id)).toEqual(["a1", "a2"]);
    expect(telegram.calls.map(({ id }) => id)).toEqual(["a1"]);
  });
});
