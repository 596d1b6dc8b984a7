import { describe, expect, test } from "vitest";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { deferred, openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const ALICE = "5000000001";
const OWN = "users.GetUsers";
const user = (id: string) => [{ className: "User", self: true, id: BigInt(id), bot: false }];

/** A pool whose adapter can ask Telegram for the own user; every session is Alice's. */
async function openAsking(options: TestPoolOptions = {}): Promise<TestPool> {
  const clock = options.clock ?? new VirtualClock();
  const telegram = Object.assign(new FakeTelegram(clock), { ownUserRequest: () => ({ className: OWN }) });
  telegram.onCall = ({ method }) => (method === OWN ? user(ALICE) : "ok");
  return openPool({ ...options, clock, telegram });
}

const methodsOf = ({ telegram }: TestPool): string[] => telegram.calls.map(({ method }) => method);
const read = ({ pool }: TestPool, id: string): Promise<unknown> =>
  pool.use((client) => client.call(READ), { id, wait: false, retry: "none" });

describe("the first connect of a session whose account is not known", () => {
  test("asks Telegram once, before the first request of a caller, and stores the answer", async () => {
    const opened = await openAsking({ sessions: ["a"] });
    await read(opened, "a");
    expect(methodsOf(opened)).toEqual([OWN, READ]);
    expect(opened.pool.get("a")).toMatchObject({ accountId: ALICE, isBot: false });
    await settled();
    expect(opened.events("accountLearnt")).toEqual([{ id: "a", accountId: ALICE }]);
    await opened.pool.close();
    const { storage, clock, telegram } = opened;
    const later = await openPool({ storage, clock, telegram });
    await read(later, "a");
    expect(methodsOf(opened)).toEqual([OWN, READ, READ]);
  });

  test("is not asked for when the account is known", async () => {
    const opened = await openAsking();
    await opened.pool.addMany([{ id: "a", session: sessionString("a"), accountId: ALICE }]);
    await read(opened, "a");
    expect(methodsOf(opened)).toEqual([READ]);
  });

  test("the account cools down - the first lease is refused, and nothing else is sent", async () => {
    const opened = await openAsking({ sessions: ["a"] });
    const { telegram } = opened;
    await read(opened, "a");
    const answer = telegram.onCall;
    telegram.onCall = () => {
      throw flood(600);
    };
    await expect(read(opened, "a")).rejects.toThrow();
    telegram.onCall = answer;
    await opened.pool.add("b", sessionString("b"));
    telegram.calls.length = 0;
    await expect(read(opened, "b")).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE", nextReleaseIn: 600 });
    expect(methodsOf(opened)).toEqual([OWN]);
  });

  test.each([
    ["an error that is no verdict", () => Promise.reject(new FakeRpcError(400, "INPUT_METHOD_INVALID"))],
    ["an answer without the user", () => []],
  ])("%s - the session is leased all the same, and its account stays unknown", async (_, answer) => {
    const opened = await openAsking({ sessions: ["a"] });
    opened.telegram.onCall = ({ method }) => (method === OWN ? answer() : "ok");
    expect(await read(opened, "a")).toBe("ok");
    expect(opened.pool.get("a")).toMatchObject({ accountId: null, state: "free" });
  });

  test("no answer - the session is leased after a while, and a late answer counts", async () => {
    const opened = await openAsking({ sessions: ["a"] });
    const gate = deferred();
    opened.telegram.onCall = ({ method }) => (method === OWN ? gate.promise.then(() => user(ALICE)) : "ok");
    const work = watch(opened.pool.use((client) => client.call(READ), { id: "a" }));
    await settled();
    expect(work.state).toBe("pending");
    await opened.clock.advance(3_000);
    expect(work.value).toBe("ok");
    gate.resolve();
    await settled();
    expect(opened.pool.get("a")?.accountId).toBe(ALICE);
  });

  test.each([
    ["FLOOD_WAIT_60", 420, "cooling"],
    ["AUTH_KEY_UNREGISTERED", 401, "dead"],
  ] as const)("%s - is a verdict: the session is not leased", async (text, code, state) => {
    const opened = await openAsking({ sessions: ["a"] });
    opened.telegram.onCall = () => {
      throw new FakeRpcError(code, text);
    };
    await expect(read(opened, "a")).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect({ state: opened.pool.get("a")?.state, methods: methodsOf(opened) }).toEqual({ state, methods: [OWN] });
  });

  test("the connection is lost meanwhile - fails as a connect does, without a wait, and another session serves", async () => {
    const opened = await openAsking({ sessions: ["a", "b"] });
    const { pool, telegram } = opened;
    telegram.onCall = ({ id, method }) => {
      if (method !== OWN) return "ok";
      if (id === "b") return user(ALICE);
      queueMicrotask(() => telegram.handle("a").drop());
      return new Promise(() => {});
    };
    const work = watch(pool.use((client, { id }) => client.call(READ).then(() => id)));
    await settled();
    expect(work.value).toBe("b");
    expect(pool.get("a")).toMatchObject({ state: "cooling", accountId: null });
    await expect(pool.acquire({ id: "a", wait: false })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });

  test("the pool is closed meanwhile - rejects the caller", async () => {
    const { pool, telegram, clock } = await openAsking({ sessions: ["a"] });
    telegram.onCall = () => new Promise(() => {});
    const waiting = watch(pool.acquire());
    await settled();
    const closing = watch(pool.close({ timeoutMs: 1_000 }));
    await clock.advance(1_000);
    expect(closing.state).toBe("resolved");
    expect(waiting.error).toMatchObject({ code: "POOL_CLOSED" });
  });

  test("an adapter whose ownUserRequest() throws - the session is leased all the same", async () => {
    const { pool, telegram } = await openAsking({ sessions: ["a"] });
    Object.assign(telegram, {
      ownUserRequest: () => {
        throw new Error("a fault of the adapter");
      },
    });
    expect(await pool.use((client) => client.call(READ))).toBe("ok");
  });

  test("another process still has the account that an import named - what Telegram says is kept and written", async () => {
    const { pool, telegram, storage } = await openPool();
    await pool.addMany([{ id: "a", session: sessionString("a"), accountId: "111" }]);
    const lease = await pool.acquire({ id: "a" });
    const stored = await storage.read("a");
    await storage.sibling().write("a", stored?.version ?? 0, stored?.data ?? "");
    telegram.handle("a").request.onOwnUser?.({ accountId: ALICE, isBot: false });
    await settled();
    expect(pool.get("a")?.accountId).toBe(ALICE);
    expect(await storage.stored("a")).toMatchObject({ accountId: ALICE });
    lease.release();
  });

  test("a client that reports its own user by onOwnUser() - needs no request", async () => {
    const opened = await openPool({ sessions: ["a"] });
    const lease = await opened.pool.acquire({ id: "a" });
    opened.telegram.handle("a").request.onOwnUser?.({ accountId: ALICE, isBot: true });
    opened.telegram.handle("a").request.onOwnUser?.({ accountId: "not a number", isBot: true });
    expect(opened.pool.get("a")).toMatchObject({ accountId: ALICE, isBot: true });
    lease.release();
  });

  test("an adapter without ownUserRequest() - works, and the account stays unknown", async () => {
    const opened = await openPool({ sessions: ["a"] });
    await read(opened, "a");
    expect(opened.pool.get("a")?.accountId).toBeNull();
  });
});
