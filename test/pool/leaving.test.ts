import { expect, test } from "vitest";
import { authKeyFingerprint, parseSession } from "../../src/telegram/session-string.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
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
  expect([pool.get("a"), await storage.stored("a")]).toEqual([undefined, expect.objectContaining({ isRemoved: true })]);
  expect(events("storageFailed")).toHaveLength(1);
  storage.heal();
  await clock.advance(20_000);
  expect(await storage.stored("a")).toBeUndefined();
  await pool.add("b", sessionString("a"));
});

test("remove() - whose key cannot be given back: the session has gone, and the key can be added", async () => {
  const { pool, storage, events } = await openPool({ sessions: ["a"] });
  storage.fateOfWrite = (id, data) => (id.startsWith("~key:") && data === null ? "fails" : "works");
  expect(await pool.remove("a")).toBe(true);
  expect([pool.get("a"), await storage.stored("a"), events("storageFailed").length]).toEqual([undefined, undefined, 1]);
  await pool.add("b", sessionString("a"));
});

test("remove() - that fails: the session stays, and who wanted it gets it", async () => {
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
  expect([removed.state, waiting[0]?.value?.id, pool.get("a")?.state]).toEqual(["rejected", "a", "leased"]);
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
  expect(pool.get("a")).toBeDefined();
  await clock.advance(5_000);
  storage.heal();
  expect([removed.state, pool.get("a")?.state, pool.status().free]).toEqual(["rejected", "free", 1]);
  await clock.advance(10_000);
  expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  expect(await storage.stored("a")).toMatchObject({ isRemoved: false });
});
