import { describe, expect, test } from "vitest";
import { memory } from "../../src/records/memory-storage.js";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const KEPT = { profile: { keepConnected: true } };

describe("profile.keepConnected", () => {
  test("connects without a lease, and stays connected without one", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], idleTimeoutMs: 0 });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect([telegram.online, pool.get("a")?.state, clock.referenced]).toEqual([["a"], "free", 0]);
    await pool.use((client) => client.call(READ), { id: "a" });
    await pool.use((client) => client.call(READ), { id: "b" });
    await clock.advance(3_600_000);
    expect([telegram.online, telegram.connects.length]).toEqual([["a"], 2]);
  });

  test("at once after a restart, and no more when it is switched off", async () => {
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

  test("a lost connection is made again, later and later while that fails", async () => {
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

  test("nothing connects while it cools; when that ends, it does", async () => {
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

  test("disabled, dead or removed it is closed; enabled it comes back", async () => {
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

  test("one process keeps it connected; when it ends, the other one does", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const telegram = new FakeTelegram(clock);
    const one = await openPool({ storage: new FaultyStorage(inner), clock, telegram });
    await one.pool.add("a", sessionString("a"), KEPT);
    await settled();
    const two = await openPool({ storage: new FaultyStorage(inner), clock, telegram });
    await settled();
    expect([telegram.connects.length, two.pool.get("a")?.state]).toEqual([1, "foreign"]);
    await one.pool.close();
    await clock.advance(20_000);
    expect([telegram.online, telegram.violations]).toEqual([["a"], []]);
  });

  test("when maxConnected leaves no room it waits for some", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], maxConnected: 1 });
    const lease = await pool.acquire({ id: "b" });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    expect(telegram.online).toEqual(["b"]);
    lease.release();
    await clock.advance(30_000);
    expect(telegram.online).toEqual(["a"]);
  });

  test("close() ends it, and leaves no timer", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["b"], maxConnected: 1 });
    await pool.acquire({ id: "b" });
    await pool.add("a", sessionString("a"), KEPT);
    await settled();
    const closed = watch(pool.destroy());
    await clock.advance(60_000);
    expect([closed.state, telegram.online, clock.pending]).toEqual(["resolved", [], 0]);
  });
});
