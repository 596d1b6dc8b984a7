import { describe, expect, test } from "vitest";
import { memory } from "../../src/storage/memory.js";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const KEPT = { profile: { keepConnected: true } };

describe("profile.keepConnected", () => {
  test("connects without a lease, and stays connected without one", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], idleTimeoutMs: 0 });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect({ online: telegram.online, state: pool.get("a")?.state, referencedTimers: clock.referenced }).toEqual({
      online: ["a"],
      state: "free",
      referencedTimers: 1,
    });
    await pool.use((client) => client.call(READ), { id: "a" });
    await pool.use((client) => client.call(READ), { id: "b" });
    await clock.advance(3_600_000);
    expect({ online: telegram.online, connects: telegram.connects.length }).toEqual({ online: ["a"], connects: 2 });
  });

  test("connects at once after a restart, and no more when it is switched off", async () => {
    const storage = new FaultyStorage();
    const first = await openPool({ storage });
    await first.pool.add("a", sessionString("a"), KEPT);
    await settled();
    await first.pool.close();
    expect(first.telegram.online).toEqual([]);
    const { pool, telegram, clock } = await openPool({ storage });
    await settled();
    expect(telegram.online).toEqual(["a"]);
    await pool.update("a", { profile: {} });
    await clock.advance(600_000);
    expect(telegram.online).toEqual([]);
  });

  test("keepConnected: false of the pool - connects for a caller only, and holds no process alive", async () => {
    const { pool, telegram, clock } = await openPool({ keepConnected: false, idleTimeoutMs: 1_000 });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect({ online: telegram.online, referencedTimers: clock.referenced }).toEqual({
      online: [],
      referencedTimers: 0,
    });
    await pool.use((client) => client.call(READ));
    expect(telegram.online).toEqual(["a"]);
    await clock.advance(2_000);
    expect(telegram.online).toEqual([]);
  });

  test("reconnects after a lost connection, with growing delays while that fails", async () => {
    const { pool, telegram, clock } = await openPool();
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    telegram.onConnect = () => {
      throw new Error("no way");
    };
    telegram.handle("a").drop();
    await clock.advance(60_000);
    expect(telegram.connects.length).toBeLessThan(10);
    telegram.onConnect = () => {};
    await clock.advance(60_000);
    expect(telegram.online).toEqual(["a"]);
  });

  test("when the connection is lost under a lease that sends nothing more, reconnects after the lease", async () => {
    const { pool, telegram, clock } = await openPool();
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    const lease = await pool.acquire();
    telegram.handle("a").drop();
    await settled();
    lease.release();
    await clock.advance(1_000);
    expect(telegram.online).toEqual(["a"]);
  });

  test("when a caller gives up while it connects, connects nevertheless", async () => {
    const storage = new FaultyStorage();
    const first = await openPool({ storage });
    await first.pool.add("a", sessionString("a"), KEPT);
    await first.pool.close();
    const clock = new VirtualClock();
    const telegram = new FakeTelegram(clock);
    telegram.onConnect = () => new Promise(() => {});
    const { pool } = await openPool({ storage, clock, telegram });
    const abort = new AbortController();
    const acquired = watch(pool.acquire({ signal: abort.signal }));
    await settled();
    telegram.onConnect = () => {};
    abort.abort();
    await clock.advance(1_000);
    expect({ acquired: acquired.state, online: telegram.online }).toEqual({ acquired: "rejected", online: ["a"] });
  });

  test("keeps the process alive, connected or not, while it is on", async () => {
    const { pool, telegram, clock } = await openPool();
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect(clock.referenced).toBe(1);
    telegram.onConnect = () => {
      throw new Error("no way");
    };
    telegram.handle("a").drop();
    await clock.advance(100_000);
    expect({ state: pool.get("a")?.state, referencedTimers: clock.referenced }).toEqual({
      state: "cooling",
      referencedTimers: 1,
    });
    await pool.disable("a");
    expect(clock.referenced).toBe(0);
    await pool.enable("a");
    expect(clock.referenced).toBe(1);
    await pool.update("a", { profile: {} });
    expect(clock.referenced).toBe(0);
    await pool.update("a", KEPT);
    expect(clock.referenced).toBe(1);
    await pool.remove("a");
    expect(clock.referenced).toBe(0);
  });

  test("does not keep the process alive when the session is dead, and after close()", async () => {
    const { pool, telegram, clock } = await openPool();
    telegram.onConnect = (id) => {
      if (id === "a") throw dead();
    };
    await pool.add("a", sessionString("a"), KEPT);
    await pool.add("b", sessionString("b"), KEPT);
    await clock.advance(60_000);
    expect({ state: pool.get("a")?.state, referencedTimers: clock.referenced }).toEqual({
      state: "dead",
      referencedTimers: 1,
    });
    await pool.close();
    expect({ online: telegram.online, pendingTimers: clock.pending }).toEqual({ online: [], pendingTimers: 0 });
  });

  test("when the server ends each connection at once, does not reconnect repeatedly within one turn of the event loop", async () => {
    const { pool, telegram, clock } = await openPool();
    telegram.onConnect = (id) => void settled().then(() => telegram.handle(id).drop());
    await pool.add("a", sessionString("a"), KEPT);
    for (let turn = 0; turn < 100; turn++) await clock.advance(100);
    expect(telegram.connects.length).toBeGreaterThan(5);
    expect(telegram.connects.length).toBeLessThan(15);
  });

  // From the tenth microtask on the connect has ended: the loss of an established connection is tested above.
  test.each(Array.from({ length: 10 }, (_, turns) => turns))(
    "when the connection is lost %i microtasks after it was made, reconnects",
    async (turns) => {
      const { pool, telegram, clock } = await openPool();
      await pool.add("a", sessionString("a"), KEPT);
      await settled();
      pool.once("connected", async ({ id }) => {
        for (let turn = 0; turn < turns; turn++) await undefined;
        telegram.handle(id).drop();
      });
      // The end of add() looks after the session, too: what is tested is a reconnect by the pool alone.
      telegram.handle("a").drop();
      await clock.advance(5_000);
      expect({ online: telegram.online, connects: telegram.connects.length }).toEqual({ online: ["a"], connects: 3 });
    },
  );

  test("does not connect while the session cools, and does when that ends", async () => {
    const { pool, telegram, clock } = await openPool();
    await pool.add("a", sessionString("a"), KEPT);
    telegram.onCall = () => {
      throw flood(60);
    };
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    telegram.handle("a").drop();
    await clock.advance(59_999);
    expect(telegram.online).toEqual([]);
    await clock.advance(1);
    expect(telegram.online).toEqual(["a"]);
  });

  test("closes when disabled, dead or removed; connects when enabled", async () => {
    const { pool, telegram } = await openPool();
    for (const id of ["a", "b", "c"]) await pool.add(id, sessionString(id), KEPT);
    await settled();
    await pool.disable("a");
    (await pool.acquire({ id: "b" })).retire("banned");
    await pool.remove("c");
    await settled();
    expect(telegram.online.filter((id) => id !== "b")).toEqual([]);
    await pool.enable("a");
    await settled();
    expect(telegram.online).toContain("a");
  });

  test("is kept by one process; when that ends, by the other one", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const telegram = new FakeTelegram(clock);
    const one = await openPool({ storage: new FaultyStorage(inner), clock, telegram });
    await one.pool.add("a", sessionString("a"), KEPT);
    await settled();
    const two = await openPool({ storage: new FaultyStorage(inner), clock, telegram });
    await settled();
    expect({ connects: telegram.connects.length, state: two.pool.get("a")?.state }).toEqual({
      connects: 1,
      state: "foreign",
    });
    await one.pool.close();
    await clock.advance(20_000);
    expect({ online: telegram.online, violations: telegram.violations }).toEqual({ online: ["a"], violations: [] });
  });

  test("when maxConnected is reached, waits for a place", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], maxConnected: 1 });
    const lease = await pool.acquire({ id: "b" });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect(telegram.online).toEqual(["b"]);
    lease.release();
    await clock.advance(30_000);
    expect(telegram.online).toEqual(["a"]);
  });

  test("when kept sessions fill maxConnected, a lease of another session takes a place until it is idle", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["c"], maxConnected: 2 });
    for (const id of ["a", "b"]) await pool.add(id, sessionString(id), KEPT);
    await settled();
    const lease = await pool.acquire({ id: "c" });
    expect(telegram.online.length).toBe(2);
    expect(telegram.online).toContain("c");
    await clock.advance(60_000);
    expect(telegram.connects.length).toBe(3);
    lease.release();
    await clock.advance(60_000);
    expect([...telegram.online].sort()).toEqual(["a", "b"]);
  });

  test("close() ends it, and leaves no timer", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], maxConnected: 1 });
    await pool.acquire({ id: "b" });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    const closed = watch(pool.destroy());
    await clock.advance(60_000);
    expect({ closed: closed.state, online: telegram.online, pendingTimers: clock.pending }).toEqual({
      closed: "resolved",
      online: [],
      pendingTimers: 0,
    });
  });
});
