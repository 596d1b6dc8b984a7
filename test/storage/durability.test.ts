import { describe, expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { SessionPool } from "../../src/session-pool.js";
import { memory } from "../../src/storage/memory.js";
import { FakeTelegram, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood, peerFlood } from "../fakes/telegram-errors.js";
import { START, settled, VirtualClock } from "../fakes/virtual-clock.js";

/** Closes the pool and opens another on what it wrote, `ms` later. */
async function restart({ pool, storage, clock }: TestPool, ms = 0): Promise<TestPool> {
  await pool.close();
  const later = new VirtualClock();
  later.skip(clock.now() - START + ms);
  return openPool({ storage, clock: later });
}

describe("events and writes", () => {
  test.each([
    ["cooled", flood(60)],
    ["died", dead()],
    ["restricted", peerFlood()],
  ] as const)("%s is emitted only when the record is written", async (name, error) => {
    const { pool, telegram, storage, events } = await openPool({ sessions: ["a"] });
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    telegram.onCall = () => {
      throw error;
    };
    const work = watch(pool.use((client) => client.call(READ), { retry: "none" }));
    await settled();
    expect({ emitted: events(name), work: work.state, free: pool.status().free }).toEqual({
      emitted: [],
      work: "pending",
      free: 0,
    });
    gate.resolve();
    await settled();
    expect({ emitted: events(name).length, workError: work.error }).toEqual({ emitted: 1, workError: error });
  });

  test.each(["fails", "hangs"] as const)(
    "when a storage %s: memory continues, the failure is reported once, the event follows after storageTimeoutMs",
    async (fate) => {
      const { pool, telegram, storage, clock, events } = await openPool({ sessions: ["a", "b"] });
      await Promise.all(["a", "b"].map((id) => pool.use((client) => client.call(READ), { id })));
      telegram.calls.length = 0;
      storage.fateOfWrite = () => fate;
      telegram.onCall = ({ id }) => {
        if (id === "a") throw flood(60);
        return id;
      };
      const work = watch(pool.use((client) => client.call(WRITE)));
      await settled();
      expect({ calls: telegram.calls.length, work: work.state, cooled: events("cooled") }).toEqual({
        calls: 2,
        work: "pending",
        cooled: [],
      });
      await clock.advance(5_000);
      expect({ workValue: work.value, cooled: events("cooled").length }).toEqual({ workValue: "b", cooled: 1 });
      if (fate === "hangs") expect(events("storageFailed")).toHaveLength(1);
      expect(events("storageFailed")[0]?.error).toBeInstanceOf(StorageError);
      expect(pool.get("a")?.state).toBe("cooling");
      storage.heal();
      await clock.advance(30_000);
      expect(await storage.stored("a")).toMatchObject({ cooldown: { until: START + 60_000 } });
    },
  );

  test("writes of one session are coalesced, never parallel, and the last state wins", async () => {
    const { pool, storage } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    storage.writes.length = 0;
    for (let seconds = 10; seconds < 60; seconds++) lease.coolDown(seconds);
    await settled();
    gate.resolve();
    await settled();
    expect({ writes: storage.writes.length, mostAtOnce: storage.mostAtOnce }).toEqual({ writes: 2, mostAtOnce: 1 });
    expect(await storage.stored("a")).toMatchObject({ cooldown: { until: START + 59_000 } });
  });

  test("use() and release() write nothing of their own", async () => {
    const { pool, storage } = await openPool({ sessions: ["a"] });
    (await pool.acquire()).release();
    storage.writes.length = 0;
    for (let turn = 0; turn < 10; turn++) await pool.use((client) => client.call(READ));
    expect(storage.writes).toEqual([]);
  });
});

describe("restarting a process", () => {
  test("keeps cooldowns to the millisecond: of sessions, methods and peers", async () => {
    const first = await openPool({ sessions: ["a", "b"] });
    const [a, b] = [await first.pool.acquire({ id: "a" }), await first.pool.acquire({ id: "b" })];
    await first.clock.advance(137);
    a.coolDown(3_600);
    b.coolDown(100, { method: READ });
    b.coolDown(200, { peer: "channel:5" });
    a.release();
    b.release();
    const { pool, clock } = await restart(first, 50_000);
    expect(pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 137 + 3_600_000, reason: "coolDown" });
    const byMethod = watch(pool.acquire({ id: "b", method: READ, wait: false }));
    const byPeer = watch(pool.acquire({ id: "b", peer: "channel:5", wait: false }));
    await settled();
    expect(byMethod.error).toMatchObject({ retryAt: START + 137 + 100_000 });
    expect(byPeer.error).toMatchObject({ retryAt: START + 137 + 200_000 });
    const waiting = watch(pool.acquire({ id: "a" }));
    await clock.advance(3_549_999);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect(waiting.state).toBe("resolved");
  });

  test("frees what has expired while nothing ran", async () => {
    const first = await openPool({ sessions: ["a"] });
    const lease = await first.pool.acquire();
    lease.coolDown(60);
    lease.release();
    const { pool } = await restart(first, 60_000);
    expect(pool.get("a")?.state).toBe("free");
  });

  test("keeps death, restriction, disabling, tags, dates and the session string", async () => {
    const first = await openPool({ sessions: ["a", "b"] });
    await first.pool.add("c", sessionString("c"), { tags: ["x", "y"], profile: { deviceModel: "Pixel" } });
    first.telegram.onCall = ({ id }) => {
      throw id === "a" ? dead() : peerFlood();
    };
    await first.clock.advance(5_000);
    await first.pool.use((client) => client.call(READ), { id: "a" }).catch(() => {});
    await first.pool.use((client) => client.call(READ), { id: "b" }).catch(() => {});
    await first.pool.disable("c", "on holiday");
    const { pool, telegram } = await restart(first, 1_000);
    expect(pool.sessions()).toEqual(
      [
        {
          id: "a",
          state: "dead",
          tags: [],
          availableAt: null,
          reason: "AUTH_KEY_UNREGISTERED",
          addedAt: START,
          lastUsedAt: null,
          accountId: null,
          isBot: null,
          expiresAt: null,
        },
        {
          id: "b",
          state: "restricted",
          tags: [],
          availableAt: null,
          reason: "PEER_FLOOD",
          addedAt: START,
          lastUsedAt: null,
          accountId: null,
          isBot: null,
          expiresAt: null,
        },
        {
          id: "c",
          state: "disabled",
          tags: ["x", "y"],
          availableAt: null,
          reason: "on holiday",
          addedAt: START,
          lastUsedAt: null,
          accountId: null,
          isBot: null,
          expiresAt: null,
        },
      ].map((info) => ({ ...info, lastUsedAt: expect.toSatisfy((at) => at === null || at === START + 5_000) })),
    );
    expect(await pool.exportSession("c")).toBe(sessionString("c"));
    await pool.enable("c");
    await pool.use((client) => client.call(READ));
    expect(telegram.handle("c").request.profile).toEqual({ deviceModel: "Pixel" });
    await expect(pool.acquire({ id: "a" })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });

  test("ends a restriction restrictedForMs after it began", async () => {
    const first = await openPool({ sessions: ["a"], restrictedForMs: 100_000 });
    first.telegram.onCall = () => {
      throw peerFlood();
    };
    await first.pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    const { pool, clock, events } = await restart(first, 40_000);
    await clock.advance(59_999);
    expect(pool.status().restricted).toBe(1);
    await clock.advance(1);
    expect({ free: pool.status().free, recovered: events("recovered") }).toEqual({ free: 1, recovered: [{ id: "a" }] });
  });
});

describe("the wall clock", () => {
  test.each([3_600_000, -3_600_000])("jumps by %d ms: nothing is freed early or kept longer", async (jump) => {
    const made = await openPool({ sessions: ["a"] });
    const { pool, clock, storage } = made;
    const lease = await pool.acquire();
    lease.coolDown(7_200);
    lease.release();
    const waiting = watch(pool.acquire({ wait: 7_200_000 }));
    await settled();
    clock.turnWall(jump);
    expect(pool.status().nextAvailableAt).toBe(clock.now() + 7_200_000);
    await expect(pool.acquire({ wait: false })).rejects.toMatchObject({
      nextReleaseIn: 7_200,
      retryAt: clock.now() + 7_200_000,
    });
    await clock.advance(7_199_999);
    expect(waiting.state).toBe("pending");
    await pool.add("a", sessionString("a"), { tags: ["x"] });
    expect(await storage.stored("a")).toMatchObject({ cooldown: { until: clock.now() + 1 } });
    await clock.advance(1);
    expect(waiting.state).toBe("resolved");
  });
});

describe("a shared storage", () => {
  const both = async (): Promise<[TestPool, TestPool]> => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const first = await openPool({ storage: new FaultyStorage(inner), clock, sessions: ["a"] });
    return [first, await openPool({ storage: new FaultyStorage(inner), clock })];
  };

  test("when two pools add one key under two ids, one wins and the other's error names the holder", async () => {
    const [inner, clock] = [memory(), new VirtualClock()];
    const [one, two] = [
      await openPool({ storage: new FaultyStorage(inner), clock }),
      await openPool({ storage: new FaultyStorage(inner), clock }),
    ];
    const results = await Promise.allSettled([
      one.pool.add("a", sessionString("k")),
      two.pool.add("b", sessionString("k")),
    ]);
    const won = results.findIndex(({ status }) => status === "fulfilled");
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(results[1 - won]).toMatchObject({ reason: { code: "DUPLICATE_SESSION", sessionId: ["a", "b"][won] } });
    const { pool } = await openPool({ storage: new FaultyStorage(inner), clock });
    expect(pool.sessions().map(({ id }) => id)).toEqual([["a", "b"][won]]);
  });

  test("when another process added an id meanwhile, it is loaded", async () => {
    const [one, two] = await both();
    await one.pool.add("new", sessionString("new"), { tags: ["x"] });
    expect(await two.pool.add("new", sessionString("new"))).toMatchObject({ tags: ["x"] });
    await expect(two.pool.add("new", sessionString("other"))).rejects.toMatchObject({
      code: "DUPLICATE_SESSION",
      sessionId: "new",
    });
    await two.pool.add("more", sessionString("other"));
  });

  test("when another process's cooldown is longer, it is merged with the next write, in every count", async () => {
    const [one, two] = await both();
    const lease = await one.pool.acquire();
    lease.coolDown(3_600);
    lease.release();
    await settled();
    await one.pool.close();
    await two.pool.update("a", { tags: ["x"] });
    expect(two.pool.get("a")).toMatchObject({ state: "cooling", availableAt: START + 3_600_000 });
    expect(two.pool.status()).toMatchObject({ free: 0, cooling: 1 });
    await expect(two.pool.acquire({ wait: false })).rejects.toMatchObject({ retryAt: START + 3_600_000 });
    expect(await two.storage.stored("a")).toMatchObject({ tags: ["x"], cooldown: { until: START + 3_600_000 } });
  });

  test("when another process wrote a death or disabling, the next write does not undo it", async () => {
    const [one, two] = await both();
    const lease = await one.pool.acquire();
    lease.retire("banned");
    await one.pool.disable("a", "off");
    await two.pool.update("a", { tags: ["x"] });
    expect(await two.storage.stored("a")).toMatchObject({ deadReason: "banned", disabledReason: "off", tags: ["x"] });
  });
});

test("a session that another process removed - is gone with the next write", async () => {
  const { pool, storage } = await openPool({ sessions: ["a", "b"] });
  await storage.write("a", (await storage.read("a"))?.version ?? 0, null);
  await pool.update("a", { tags: ["x"] }).catch(() => {});
  await settled();
  expect({ session: pool.get("a"), total: pool.status().total }).toEqual({ session: undefined, total: 1 });
});

test("recovered - for a session that was free again when it was loaded, is emitted after open() has resolved", async () => {
  const one = await openPool({ sessions: ["a"] });
  const lease = await one.pool.acquire();
  lease.coolDown(5);
  lease.release();
  await one.pool.close();
  one.clock.skip(4_000);
  const { pool, clock, events } = await openPool({ storage: one.storage, clock: one.clock });
  expect(pool.get("a")?.state).toBe("cooling");
  await new Promise(setImmediate);
  await clock.advance(1_000);
  expect(events("recovered")).toEqual([{ id: "a" }]);
});

describe("open()", () => {
  test("rejects with StorageError when the storage cannot be listed, and closes it", async () => {
    const storage = new FaultyStorage();
    storage.fateOfList = () => "fails";
    const clock = new VirtualClock();
    await expect(SessionPool.open({ client: new FakeTelegram(clock), storage, clock })).rejects.toBeInstanceOf(
      StorageError,
    );
    expect({ isClosed: storage.isClosed, writes: storage.writes, pendingTimers: clock.pending }).toEqual({
      isClosed: true,
      writes: [],
      pendingTimers: 0,
    });
  });

  test("when the storage never answers, ends by storageTimeoutMs", async () => {
    const storage = new FaultyStorage();
    storage.fateOfList = () => "hangs";
    const clock = new VirtualClock();
    const opening = watch(SessionPool.open({ client: new FakeTelegram(clock), storage, clock }));
    await clock.advance(60_000);
    expect(opening.error).toBeInstanceOf(StorageError);
  });
});
