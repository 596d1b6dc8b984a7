import { describe, expect, test } from "vitest";
import { authKeyFingerprint, parseSession } from "../../src/telegram/session-string.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled } from "../fakes/virtual-clock.js";

/** The record that reserves an auth key. */
function reservationOf(name: string): string {
  return `~key:${authKeyFingerprint(parseSession(sessionString(name)).authKey)}`;
}

test("update() - to another key and back under one lease: the key stays the session's, the other one is free", async () => {
  const { pool, storage } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  await pool.update("a", { session: sessionString("another") });
  await pool.update("a", { session: sessionString("a") });
  lease.release();
  await settled();
  expect(await storage.stored(reservationOf("a"))).toMatchObject({ id: "a", isConfirmed: true });
  expect(await storage.stored(reservationOf("another"))).toBeUndefined();
});

test("remove() - whose record cannot be deleted yet: the session has gone, and the record follows", async () => {
  const { pool, storage, clock, events } = await openPool({ sessions: ["a"] });
  await pool.use((client) => client.call(READ));
  storage.fateOfWrite = (_, data) => (data === null ? "fails" : "works");
  expect(await pool.remove("a")).toBe(true);
  expect({ session: pool.get("a"), record: await storage.stored("a") }).toEqual({
    session: undefined,
    record: expect.objectContaining({ isRemoved: true }),
  });
  expect(events("storageFailed")).toHaveLength(1);
  storage.heal();
  await clock.advance(20_000);
  expect(await storage.stored("a")).toBeUndefined();
  await pool.add("b", sessionString("a"));
});

test("add() and update() - with the key of a session that is being removed: refused until its lease has ended, which the message says", async () => {
  const { pool } = await openPool({ sessions: ["a", "b"] });
  const lease = await pool.acquire({ id: "a" });
  await pool.remove("a");
  const refused = {
    code: "DUPLICATE_SESSION",
    sessionId: "a",
    message: expect.stringContaining('"a", which is being removed: a lease of it runs'),
  };
  await expect(pool.add("again", sessionString("a"))).rejects.toMatchObject(refused);
  await expect(pool.update("b", { session: sessionString("a") })).rejects.toMatchObject(refused);
  lease.release();
  await settled();
  await pool.add("again", sessionString("a"));
});

test("remove() - whose key cannot be released: the session is gone, and the key can be added", async () => {
  const { pool, storage, events } = await openPool({ sessions: ["a"] });
  storage.fateOfWrite = (id, data) => (id.startsWith("~key:") && data === null ? "fails" : "works");
  expect(await pool.remove("a")).toBe(true);
  expect({
    session: pool.get("a"),
    record: await storage.stored("a"),
    failures: events("storageFailed").length,
  }).toEqual({ session: undefined, record: undefined, failures: 1 });
  await pool.add("b", sessionString("a"));
});

test("remove() - that fails: the session stays, and waiting callers get it", async () => {
  const { pool, storage, clock } = await openPool({ sessions: ["a", "b"] });
  await pool.acquire({ id: "b" });
  storage.fateOfWrite = () => "hangs";
  const removed = watch(pool.remove("a"));
  const waiting = [watch(pool.acquire())];
  await settled();
  waiting.push(watch(pool.acquire()));
  await settled();
  expect(waiting.map(({ state }) => state)).toEqual(["pending", "pending"]);
  await clock.advance(4_000);
  storage.heal();
  await clock.advance(2_000);
  expect({ removed: removed.state, id: waiting[0]?.value?.id, state: pool.get("a")?.state }).toEqual({
    removed: "rejected",
    id: "a",
    state: "leased",
  });
  waiting[0]?.value?.release();
  await settled();
  expect(waiting[1]?.value?.id).toBe("a");
});

test("close() - during update(): the former key is given back before the storage is closed", async () => {
  const storage = new FaultyStorage();
  const { pool } = await openPool({ storage, sessions: ["a"] });
  storage.fateOfRead = () => new Promise((resolve) => setImmediate(resolve));
  storage.fateOfWrite = storage.fateOfRead;
  const close = storage.close.bind(storage);
  storage.close = async () => {
    storage.fateOfRead = () => "fails";
    storage.fateOfWrite = () => "fails";
    await close();
  };
  const updated = pool.update("a", { session: sessionString("another") });
  await pool.close();
  await updated;
  expect(await storage.stored(reservationOf("a"))).toBeUndefined();
});

test("remove() - that fails after the last lease has ended meanwhile: the session stays", async () => {
  const { pool, storage, clock } = await openPool({ sessions: ["a"] });
  const lease = await pool.acquire();
  storage.fateOfWrite = () => "hangs";
  const removed = watch(pool.remove("a"));
  await settled();
  lease.release();
  expect(pool.get("a")).toBeUndefined();
  await clock.advance(5_000);
  storage.heal();
  expect({ removed: removed.state, state: pool.get("a")?.state, free: pool.status().free }).toEqual({
    removed: "rejected",
    state: "free",
    free: 1,
  });
  await clock.advance(10_000);
  expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  expect(await storage.stored("a")).toMatchObject({ isRemoved: false });
});

describe("remove() - whose record is gone already", () => {
  test("of a session that is connected - it is removed, and others are leased", async () => {
    const { one, two, inner } = await twoHosts({ sessions: ["b"] });
    (await two.pool.acquire({ id: "a" })).release();
    const stored = await inner.read("a");
    await inner.write("a", stored?.version ?? 0, null);
    expect(await two.pool.remove("a")).toBe(true);
    expect(two.pool.get("a")).toBeUndefined();
    expect(await two.pool.use((client) => client.call(READ))).toBe(`${READ} by b`);
    await two.pool.add("c", sessionString("a"));
    expect(one.pool.status().total).toBeGreaterThan(0);
  });

  test("by two processes at once, one of which is claiming it - both resolve true", async () => {
    const { one, two, clock } = await twoHosts();
    two.storage.fateOfWrite = () => new Promise((resolve) => clock.setTimer(60, () => resolve(undefined)));
    const leasing = watch(two.pool.acquire({ id: "a" }).then((lease) => lease.release()));
    await clock.advance(10);
    const removals = [watch(one.pool.remove("a")), watch(two.pool.remove("a"))];
    await clock.advance(30_000);
    two.storage.heal();
    await clock.advance(30_000);
    expect(leasing.state).not.toBe("pending");
    expect(removals.map(({ state, value }) => [state, value])).toEqual([
      ["resolved", true],
      ["resolved", true],
    ]);
    for (const { pool } of [one, two])
      expect({ session: pool.get("a"), total: pool.status().total }).toEqual({ session: undefined, total: 0 });
    await two.pool.add("b", sessionString("a"));
  });
});

test("hold() - of a session without a record: the caller is rejected, and nothing spins", async () => {
  const { pool, storage } = await openPool({ sessions: ["a"] });
  // A way nobody knows of: the ledger forgets the record while the session stays.
  const read = storage.read.bind(storage);
  const write = storage.write.bind(storage);
  storage.write = async (id, expected, data) => (id === "a" ? undefined : write(id, expected, data));
  storage.read = async (id) => (id === "a" ? undefined : read(id));
  const used = watch(pool.use((client) => client.call(READ)));
  await settled();
  await settled();
  expect(used.state).toBe("rejected");
});

describe("a session that was removed", () => {
  test("whose client closes slowly - is not shown, not counted and not exported from the release on", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    let isClosed = (): void => {};
    telegram.onClose = (id) => (id === "a" ? new Promise<void>((resolve) => (isClosed = resolve)) : undefined);
    const lease = await pool.acquire({ id: "a" });
    await pool.remove("a");
    expect({ state: pool.get("a")?.state, total: pool.status().total }).toEqual({ state: "leased", total: 2 });
    lease.release();
    for (let turn = 0; turn < 2; turn++) {
      expect({ session: pool.get("a"), ids: pool.sessions().map(({ id }) => id), total: pool.status().total }).toEqual({
        session: undefined,
        ids: ["b"],
        total: 1,
      });
      await expect(pool.exportSession("a")).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
      await settled();
    }
    isClosed();
  });

  test("while the storage is slow - is not shown and not counted either", async () => {
    const { pool, storage } = await openPool({ sessions: ["a", "b"] });
    let go = (): void => {};
    storage.fateOfWrite = () => new Promise<void>((resolve) => (go = resolve));
    const removed = pool.remove("a");
    await settled();
    expect({
      session: pool.get("a"),
      sessions: pool.sessions().length,
      total: pool.status().total,
      free: pool.status().free,
    }).toEqual({ session: undefined, sessions: 1, total: 1, free: 1 });
    storage.heal();
    go();
    expect(await removed).toBe(true);
  });
});

describe("a record that cannot be deleted", () => {
  test("in a storage of one process - is tried again until it is gone, and the key is free", async () => {
    const storage = new FaultyStorage();
    storage.shared = false;
    const { pool, clock } = await openPool({ storage, sessions: ["a"] });
    await pool.use((client) => client.call(READ));
    storage.fateOfWrite = (_, data) => (data === null ? "fails" : "works");
    expect(await pool.remove("a")).toBe(true);
    await clock.advance(5_000);
    expect(await storage.stored("a")).toMatchObject({ isRemoved: true });
    storage.heal();
    await clock.advance(30_000);
    expect([await storage.stored("a"), await storage.stored(reservationOf("a"))]).toEqual([undefined, undefined]);
    await pool.add("b", sessionString("a"));
  });

  test("until close() - is tried once more then", async () => {
    const storage = new FaultyStorage();
    storage.shared = false;
    const { pool } = await openPool({ storage, sessions: ["a"] });
    await pool.use((client) => client.call(READ));
    storage.fateOfWrite = (_, data) => (data === null ? "fails" : "works");
    await pool.remove("a");
    storage.heal();
    await pool.close();
    expect(await storage.stored("a")).toBeUndefined();
  });
});

test("add() - while another process adds and removes the same id: it is added", async () => {
  const { one, two, clock } = await twoHosts();
  await one.pool.remove("a");
  await clock.advance(1_000);
  const write = two.storage.write.bind(two.storage);
  let races = 2;
  two.storage.write = async (id, expected, data) => {
    if (id !== "a" || expected !== 0 || races-- <= 0) return write(id, expected, data);
    await one.pool.add("a", sessionString("a"));
    const version = await write(id, expected, data);
    await one.pool.remove("a");
    return version;
  };
  expect(await two.pool.add("a", sessionString("a"))).toMatchObject({ id: "a", state: "free" });
});

test.each(["update", "disable", "enable", "exportSession", "remove"] as const)(
  "%s() - an id that is no text: OptionsError",
  async (call) => {
    const { pool } = await openPool({ sessions: ["a"] });
    for (const id of [Symbol("a"), Object.create(null), 1, undefined, null, ""]) {
      await expect(Reflect.apply(pool[call], pool, [id, {}])).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
    }
  },
);
