import { describe, expect, test } from "vitest";
import {
  DuplicateSessionError,
  InvalidSessionError,
  LeaseReleasedError,
  NoSessionAvailableError,
  OptionsError,
  SessionNotFoundError,
  StorageCorruptError,
  StorageError,
} from "../../src/errors.js";
import { formatSession, parseSession } from "../../src/telegram/session-string.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

describe("add()", () => {
  test("resolves with a frozen snapshot that is on disk", async () => {
    const { pool, storage } = await openPool();
    const info = await pool.add("a", sessionString("a"), { tags: ["x"] });
    expect(info).toEqual({
      id: "a",
      state: "free",
      tags: ["x"],
      availableAt: null,
      reason: null,
      addedAt: START,
      lastUsedAt: null,
      accountId: null,
      isBot: null,
      expiresAt: null,
    });
    expect(Object.isFrozen(info) && Object.isFrozen(info.tags)).toBe(true);
    expect(await storage.stored("a")).toMatchObject({ session: sessionString("a"), tags: ["x"] });
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
  });

  test.each([
    ["U+0000", "ali\0ce", "U+0000"],
    ["half of a surrogate pair", "ali\uD800ce", "surrogate"],
    ["513 bytes", `a${"😀".repeat(128)}`, "at most 512 bytes"],
  ])("an id with %s - is refused before anything is reserved", async (_, id, reason) => {
    const { pool } = await openPool();
    const session = sessionString("a");
    const refusal: unknown = await pool.add(id, session).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(OptionsError);
    expect(String(refusal)).toContain(reason);
    await pool.add("😀".repeat(128), session);
  });

  test.each(["gramjs", "telethon", "pyrogram", "mtcute"] as const)(
    "of %s - is the session of its key, in whatever format it comes again",
    async (format) => {
      const { pool, telegram } = await openPool();
      const formats = ["gramjs", "telethon", "pyrogram", "mtcute"] as const;
      const as = (wanted: (typeof formats)[number]): string =>
        formatSession(parseSession(sessionString("one account")), wanted);
      await pool.add("a", as(format));
      for (const other of formats) {
        expect(await pool.add("a", as(other))).toMatchObject({ id: "a", state: "free" });
        await expect(pool.add("b", as(other))).rejects.toMatchObject({ code: "DUPLICATE_SESSION", sessionId: "a" });
      }
      expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
      expect({ sessions: pool.sessions().length, connects: telegram.connects.length }).toEqual({
        sessions: 1,
        connects: 1,
      });
    },
  );

  test("for a known id with its key, keeps state and cooldown; given tags and profile replace the old ones", async () => {
    const { pool, events, storage } = await openPool();
    await pool.add("a", sessionString("a"), { tags: ["x"], profile: { deviceModel: "One" } });
    const lease = await pool.acquire();
    lease.coolDown(60);
    lease.release();
    expect(await pool.add("a", sessionString("a"))).toMatchObject({
      state: "cooling",
      tags: ["x"],
      availableAt: START + 60_000,
    });
    expect(events("sessionChanged")).toEqual([]);
    expect(await pool.add("a", sessionString("a"), { tags: ["y"] })).toMatchObject({ state: "cooling", tags: ["y"] });
    expect(await storage.stored("a")).toMatchObject({ tags: ["y"], profile: { deviceModel: "One" } });
    await pool.add("a", sessionString("a"), { profile: {} });
    expect(await storage.stored("a")).toMatchObject({ tags: ["y"], profile: {} });
    expect(events("sessionChanged")).toEqual([{ id: "a" }, { id: "a" }]);
  });

  test("for a known id with another key, or a known key under another id, rejects with DuplicateSessionError", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const other = watch(pool.add("a", sessionString("b")));
    const twin = watch(pool.add("b", sessionString("a")));
    await settled();
    for (const { error } of [other, twin]) {
      expect(error).toBeInstanceOf(DuplicateSessionError);
      expect(error).toMatchObject({ sessionId: "a", message: expect.stringContaining("update(") });
    }
    expect(pool.sessions()).toHaveLength(1);
    await pool.add("b", sessionString("b"));
  });

  test("for many parallel calls with one id, or one key, lets one win", async () => {
    const { pool } = await openPool();
    await Promise.all([pool.add("a", sessionString("a")), pool.add("a", sessionString("a"))]);
    const results = await Promise.allSettled(["b", "c", "d"].map((id) => pool.add(id, sessionString("one"))));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(pool.status().total).toBe(2);
  });

  test.each([
    ["", "x"],
    ["~key:1", "x"],
    [5, "x"],
    ["a", sessionString("a"), { tags: "x" }],
    ["a", sessionString("a"), { tag: [] }],
    ["a", sessionString("a"), { profile: { proxy: { ip: "1.2.3.4", port: 1 } } }],
  ])("refuses wrong arguments: %j", async (...given) => {
    const { pool } = await openPool();
    const adding = pool.add(...(given as [string, string, object]));
    await expect(adding).rejects.toBeInstanceOf(OptionsError);
  });

  test("refuses what is no session string, and repeats nothing of it", async () => {
    const { pool, storage } = await openPool();
    for (const text of ["", "hunter2hunter2", sessionString().slice(0, -9), undefined, 5]) {
      const adding = watch(pool.add("a", text as string));
      await settled();
      expect(adding.error).toBeInstanceOf(InvalidSessionError);
      if (typeof text === "string" && text !== "") expect(String(adding.error)).not.toContain(text);
    }
    expect(storage.writes).toEqual([]);
  });

  test("when the key cannot be confirmed, rejects, leaves no record, and can be repeated", async () => {
    const { pool, storage } = await openPool();
    storage.fateOfWrite = (_, data) => (data?.includes('"isConfirmed":true') ? "fails" : "works");
    await expect(pool.add("a", sessionString("a"))).rejects.toBeInstanceOf(StorageError);
    expect([pool.sessions(), await storage.stored("a")]).toEqual([[], undefined]);
    storage.heal();
    await pool.add("b", sessionString("a"));
    expect(pool.get("b")?.state).toBe("free");
  });

  test("when the storage refuses, rejects, adds nothing, and can be repeated", async () => {
    const { pool, storage, clock } = await openPool();
    for (const fate of ["fails", "hangs"] as const) {
      storage.fateOfWrite = (id) => (id === "a" ? fate : "works");
      const adding = watch(pool.add("a", sessionString("a")));
      await clock.advance(5_000);
      expect(adding.error).toBeInstanceOf(StorageError);
      expect(pool.sessions()).toEqual([]);
    }
    storage.heal();
    await pool.add("a", sessionString("a"));
    expect(pool.status().free).toBe(1);
  });
});

describe("update()", () => {
  test("with a new session string, frees a dead session and drops the old key", async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a"] });
    telegram.onCall = () => {
      throw dead();
    };
    await pool.use((client) => client.call(READ)).catch(() => {});
    expect(pool.get("a")?.state).toBe("dead");
    telegram.onCall = () => "fine";
    await pool.update("a", { session: sessionString("a2") });
    expect(pool.get("a")?.state).toBe("free");
    expect(await pool.use((client) => client.call(READ))).toBe("fine");
    expect(await pool.exportSession("a")).toBe(sessionString("a2"));
    expect(events("sessionChanged")).toEqual([{ id: "a" }]);
    await pool.add("b", sessionString("a"));
    await expect(pool.add("c", sessionString("a2"))).rejects.toMatchObject({ sessionId: "a" });
  });

  test("with a key of another id rejects with DuplicateSessionError, for an unknown id with SessionNotFoundError", async () => {
    const { pool } = await openPool({ sessions: ["a", "b"] });
    await expect(pool.update("a", { session: sessionString("b") })).rejects.toMatchObject({
      code: "DUPLICATE_SESSION",
      sessionId: "b",
    });
    await expect(pool.update("x", { tags: [] })).rejects.toBeInstanceOf(SessionNotFoundError);
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
  });

  test("under a lease, the next lease has the new key, even if the connection was replaced meanwhile", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const former = telegram.handle("a");
    await pool.update("a", { session: sessionString("a2") });
    former.drop();
    await lease.client.call(READ).catch(() => {});
    lease.release();
    await settled();
    (await pool.acquire()).release();
    expect(telegram.handle("a").fingerprint).not.toBe(former.fingerprint);
    expect(telegram.violations).toEqual([]);
  });

  test("with new tags, serves callers that wait for them and rejects those that can no longer be served", async () => {
    const { pool } = await openPool();
    await pool.add("a", sessionString("a"), { tags: ["x"] });
    await pool.add("b", sessionString("b"), { tags: ["y"] });
    await pool.acquire({ id: "a" });
    const [onX, onY] = [watch(pool.acquire({ tags: ["x"] })), await pool.acquire({ tags: ["y"] })];
    await settled();
    await pool.update("a", { tags: ["z"] });
    await settled();
    expect(onX.error).toBeInstanceOf(NoSessionAvailableError);
    onY.release();
  });
});

describe("remove()", () => {
  test("deletes the session, its record and its key; a second call resolves false", async () => {
    const { pool, storage, telegram } = await openPool({ sessions: ["a"] });
    (await pool.acquire()).release();
    expect(await pool.remove("a")).toBe(true);
    expect(await pool.remove("a")).toBe(false);
    expect({ session: pool.get("a"), records: await storage.list(), online: telegram.online }).toEqual({
      session: undefined,
      records: [],
      online: [],
    });
    await pool.add("b", sessionString("a"));
  });

  test("under a lease, waits for its end, then removes the session", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    expect(await pool.remove("a")).toBe(true);
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    lease.release();
    await settled();
    expect({ total: pool.status().total, sessions: pool.sessions(), online: telegram.online }).toEqual({
      total: 0,
      sessions: [],
      online: [],
    });
    expect(() => lease.coolDown(5)).toThrow(LeaseReleasedError);
    expect(pool.status()).toMatchObject({ total: 0, free: 0, cooling: 0 });
  });

  test("after it, a dead session can be added again under its id", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    telegram.onCall = () => {
      throw dead();
    };
    await pool.use((client) => client.call(READ)).catch(() => {});
    await pool.remove("a");
    telegram.onCall = () => "fine";
    await pool.add("a", sessionString("new"));
    expect(await pool.use((client) => client.call(READ))).toBe("fine");
  });
});

describe("disable() and enable()", () => {
  test("disable() lets the lease finish, is durable, and gives the reason", async () => {
    const { pool, storage, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    await pool.disable("a", "on holiday");
    expect(pool.get("a")?.state).toBe("leased");
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    lease.release();
    await settled();
    expect(pool.get("a")).toMatchObject({ state: "disabled", reason: "on holiday" });
    expect(await storage.stored("a")).toMatchObject({ disabledReason: "on holiday" });
    expect(telegram.online).toEqual([]);
    await expect(pool.acquire({ id: "a" })).rejects.toBeInstanceOf(NoSessionAvailableError);
  });

  test("enable() revives dead, restricted and disabled sessions; a cooldown stays", async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ id }) => {
      throw id === "a" ? dead() : flood(60);
    };
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    await pool.disable("b");
    await pool.enable("a");
    await pool.enable("b");
    expect({ stateOfA: pool.get("a")?.state, stateOfB: pool.get("b")?.state }).toEqual({
      stateOfA: "free",
      stateOfB: "cooling",
    });
    expect(events("recovered")).toEqual([{ id: "a" }]);
    await expect(pool.enable("x")).rejects.toBeInstanceOf(SessionNotFoundError);
    await expect(pool.disable("x")).rejects.toBeInstanceOf(SessionNotFoundError);
  });
});

test("acquire({ id }) - unknown: SessionNotFoundError; known without the tags: NoSessionAvailableError", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  await expect(pool.acquire({ id: "x" })).rejects.toBeInstanceOf(SessionNotFoundError);
  await expect(pool.acquire({ id: "a", tags: ["x"] })).rejects.toBeInstanceOf(NoSessionAvailableError);
});

test("a record whose session string cannot be read - is set aside however it was damaged, and the others load", async () => {
  const session = sessionString("a");
  const damages: Readonly<Record<string, string>> = {
    cutOff: session.slice(0, -1),
    cutInTheMiddle: session.slice(0, 200),
    headLost: session.slice(9),
    charactersLost: session.slice(0, 100) + session.slice(104),
    charactersDoubled: session.slice(0, 104) + session.slice(100),
    otherVersion: `9${session.slice(1)}`,
    zeroBytes: `${session.slice(0, 100)}\0\0\0\0${session.slice(104)}`,
    notText: `${session.slice(0, 100)}\ufffd${session.slice(101)}`,
    wrappedLine: `${session.slice(0, 100)}\n${session.slice(100)}`,
    twice: session + session,
    addressLost: `${session.slice(0, 8)}AAAA${session.slice(12)}`,
    keyOfZeros: session.slice(0, 29) + "A".repeat(session.length - 29),
    anotherText: "hello",
  };
  const storage = new FaultyStorage();
  const { pool: first } = await openPool({ storage });
  await first.add("good", sessionString("good"));
  await first.add("a", session);
  const record = JSON.parse((await storage.read("a"))?.data ?? "");
  for (const [id, text] of Object.entries(damages)) {
    await storage.write(id, 0, JSON.stringify({ ...record, session: text }));
  }
  await first.remove("a");
  const { pool } = await openPool({ storage: new FaultyStorage(storage) });
  expect(pool.rejected().map(({ id }) => id)).toEqual(Object.keys(damages));
  expect(pool.sessions().map(({ id }) => id)).toEqual(["good"]);
});

test("a rejected record - is not in sessions(), cannot be added over, is left alone, and goes by remove()", async () => {
  const storage = new FaultyStorage();
  const damaged = {
    empty: "",
    text: "not json",
    newer: '{"v":99}',
    list: "[1]",
    old: '{"v":0}',
    half: '{"v":1,"session":"x"}',
  };
  for (const [id, data] of Object.entries(damaged)) await storage.write(id, 0, data);
  const first = await openPool({ storage });
  await first.pool.add("good", sessionString("good"));
  await settled();
  expect(first.pool.rejected().map(({ id }) => id)).toEqual(Object.keys(damaged));
  expect(first.pool.sessions().map(({ id }) => id)).toEqual(["good"]);
  const { pool, events } = await openPool({ storage: new FaultyStorage(storage) });
  await settled();
  expect(events("recordRejected").map(({ id }) => id)).toEqual(Object.keys(damaged));
  expect(pool.get("good")?.state).toBe("free");
  for (const [id, data] of Object.entries(damaged)) {
    await expect(pool.add(id, sessionString())).rejects.toBeInstanceOf(StorageCorruptError);
    await expect(pool.update(id, { tags: [] })).rejects.toBeInstanceOf(StorageCorruptError);
    expect((await storage.read(id))?.data).toBe(data);
  }
  expect(await pool.remove("newer")).toBe(true);
  expect(await storage.read("newer")).toBeUndefined();
  expect(pool.rejected()).toHaveLength(5);
  await pool.add("newer", sessionString());
});
