import { describe, expect, test } from "vitest";
import { BUCKET_MS, Timeline } from "../../src/observability/timeline.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { START } from "../fakes/virtual-clock.js";

/** A timeline whose time and waiting callers the test moves. */
function moved() {
  const state = { now: START, waiters: 0 };
  const timeline = new Timeline(
    () => state.now,
    () => state.waiters,
  );
  return { state, timeline };
}

describe("Timeline", () => {
  test("counts within ten seconds", () => {
    const { state, timeline } = moved();
    timeline.recordCall();
    state.now += BUCKET_MS - 1;
    timeline.recordCall();
    timeline.recordFlood("a.B");
    state.now += 1;
    timeline.recordFlood("a.B");
    timeline.recordEvent("died", { id: "alice", reason: "SESSION_REVOKED" });
    expect(timeline.buckets()).toEqual([
      { at: START, calls: 2, waiters: 0, deaths: 0, restrictions: 0, floods: { "a.B": 1 } },
      { at: START + BUCKET_MS, calls: 0, waiters: 0, deaths: 1, restrictions: 0, floods: { "a.B": 1 } },
    ]);
    expect(timeline.buckets(START + BUCKET_MS)).toHaveLength(1);
  });

  test("keeps an hour", () => {
    const { state, timeline } = moved();
    for (let bucket = 0; bucket < 1_000; bucket++) {
      timeline.recordCall();
      state.now += BUCKET_MS;
    }
    expect(timeline.buckets().length).toBeLessThanOrEqual(360);
    state.now += 3_600_000;
    expect(timeline.buckets()).toEqual([]);
  });

  test("callers that go on to wait - are in every bucket in between", () => {
    const { state, timeline } = moved();
    state.waiters = 5;
    timeline.recordWaiters(5);
    state.now += 4 * BUCKET_MS;
    state.waiters = 3;
    expect(timeline.buckets().map(({ waiters }) => waiters)).toEqual([5, 3, 3, 3, 3]);
  });

  test("a wall clock that is set back - continues the last bucket", () => {
    const { state, timeline } = moved();
    timeline.recordCall();
    state.now -= 3_600_000;
    timeline.recordCall();
    expect(timeline.buckets()).toMatchObject([{ at: START, calls: 2 }]);
  });

  test("keeps the last incidents", () => {
    const { timeline } = moved();
    for (let number = 0; number < 1_000; number++) timeline.recordEvent("recovered", { id: `${number}` });
    expect(timeline.incidents()).toHaveLength(200);
    expect(timeline.incidents(998).map(({ sessionId }) => sessionId)).toEqual(["998", "999"]);
  });
});

describe("observe()", () => {
  test("counts what happens from the first call on, until everything is disposed of", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["alice", "bob"] });
    await pool.use((client) => client.call(READ));
    const observation = pool.observe();
    const other = pool.observe();
    telegram.onCall = ({ id }) => {
      if (id === "alice") throw new FakeRpcError(420, "FLOOD_WAIT_60");
    };
    await pool.use((client) => client.call(READ), { id: "alice", retry: "none" }).catch(() => {});
    using _lease = await pool.acquire({ id: "bob" });
    void pool.acquire().catch(() => {});
    observation[Symbol.dispose]();
    observation[Symbol.dispose]();
    expect(other.timeline.buckets()).toMatchObject([{ calls: 1, waiters: 1, floods: { [READ]: 1 } }]);
    other[Symbol.dispose]();
    await clock.advance(60_000);
    expect(pool.observe().timeline.buckets()).not.toMatchObject([{ calls: 1 }]);
  });

  test("read() - has the cooldowns, the holder and the proxy of each session", async () => {
    const { pool, clock } = await openPool({ sessions: ["alice", "bob"] });
    await pool.update("bob", { profile: { proxy: "socks5://user:password@203.0.113.7:1080" } });
    const lease = await pool.acquire({ id: "alice" });
    lease.coolDown(60, { method: "a.B" });
    lease.coolDown(90, { peer: "user:1" });
    lease.release();
    using observation = pool.observe();
    expect(observation.read().sessions).toMatchObject([
      {
        id: "alice",
        methods: [["a.B", clock.now() + 60_000]],
        peers: [["user:1", clock.now() + 90_000]],
        holder: { pid: process.pid, isLocal: true, isSelf: true },
        isConnected: true,
        proxy: null,
      },
      { id: "bob", methods: [], peers: [], holder: null, isConnected: false, proxy: "SOCKS5 proxy 203.0.113.7:1080" },
    ]);
  });

  test("close() - aborts ended, when nothing of the pool is left", async () => {
    const { pool, clock } = await openPool({ sessions: ["alice"] });
    const { ended } = pool.observe();
    const lease = await pool.acquire();
    const closing = pool.close();
    await clock.advance(0);
    expect(ended.aborted).toBe(false);
    lease.release();
    await closing;
    expect({ isEnded: ended.aborted, timers: clock.pending }).toEqual({ isEnded: true, timers: 0 });
  });
});
