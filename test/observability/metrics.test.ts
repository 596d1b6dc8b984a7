import { describe, expect, test } from "vitest";
import type { CallOutcome, MetricsSnapshot } from "../../src/index.js";
import { Histogram } from "../../src/observability/histogram.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { badRequest, dead, flood, peerFlood, serverFault, slowMode } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled } from "../fakes/virtual-clock.js";

/** How often each method ended in each way. */
function callsIn({ calls }: MetricsSnapshot): Readonly<Record<string, number>> {
  return Object.fromEntries(calls.map(({ method, outcome, seconds }) => [`${method} ${outcome}`, seconds.count]));
}

describe("Histogram", () => {
  test("record() - a value at a bound belongs to the bucket of that bound", () => {
    const histogram = new Histogram([0.1, 1]);
    for (const ms of [0, 100, 101, 1_000, 1_001]) histogram.record(ms);
    expect(histogram.snapshot()).toEqual({ bounds: [0.1, 1], counts: [2, 2, 1], sum: 2.202, count: 5 });
  });
});

describe("metrics()", () => {
  test("wait and lease - are measured on the clock of the pool", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    using metrics = pool.metrics();
    const lease = await pool.acquire();
    const waiting = pool.acquire();
    await clock.advance(2_000);
    lease.release();
    const next = await waiting;
    await clock.advance(30_000);
    next.release();
    const { wait, lease: leases } = metrics.read();
    expect({ waits: wait.count, waited: wait.sum, leases: leases.count, leased: leases.sum }).toEqual({
      waits: 2,
      waited: 2,
      leases: 2,
      leased: 32,
    });
  });

  test("before the first call and after the last dispose() - nothing is recorded", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.use((client) => client.call(READ));
    const one = pool.metrics();
    const other = pool.metrics();
    expect(one.read().wait.count).toBe(0);
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    await pool.use((client) => client.call(READ));
    expect(other.read().wait.count).toBe(1);
    other[Symbol.dispose]();
    await pool.use((client) => client.call(READ));
    expect(other.read().wait.count).toBe(1);
  });

  test("floods, calls and rotations - count each answer once", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    using metrics = pool.metrics();
    telegram.onCall = ({ id }) => (id === "a" ? Promise.reject(flood(40)) : "done");
    await pool.use((client) => client.call(WRITE));
    const { floods, rotations, connected, status } = metrics.read();
    expect({ floods, rotations, connected, cooling: status.cooling }).toEqual({
      floods: [{ sessionId: "a", method: WRITE, kind: "FLOOD_WAIT", count: 1, seconds: 40 }],
      rotations: 1,
      connected: { idle: 2, used: 0 },
      cooling: 1,
    });
    expect(callsIn(metrics.read())).toEqual({ [`${WRITE} flood`]: 1, [`${WRITE} ok`]: 1 });
  });

  test("a request that the gate refuses - is neither a call nor a flood", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    using metrics = pool.metrics();
    telegram.onCall = () => Promise.reject(slowMode(40));
    const lease = await pool.acquire();
    const peer = { peer: "channel:5" };
    await expect(lease.client.call(WRITE, peer)).rejects.toThrow("SLOWMODE_WAIT_40");
    await expect(lease.client.call(WRITE, peer)).rejects.toThrow("SLOWMODE_WAIT_40");
    expect(metrics.read().floods.map(({ kind, count }) => ({ kind, count }))).toEqual([
      { kind: "SLOWMODE_WAIT", count: 1 },
    ]);
    expect(callsIn(metrics.read())).toEqual({ [`${WRITE} flood`]: 1 });
    lease.release();
  });

  test("connect - counts connects, and rotations count failed ones", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    using metrics = pool.metrics();
    telegram.onConnect = async (id) => {
      if (id === "a") throw new Error("refused");
    };
    await pool.use((client) => client.call(READ));
    const { connect, rotations } = metrics.read();
    expect({ connects: connect.count, rotations }).toEqual({ connects: 1, rotations: 1 });
  });

  test.each<[CallOutcome, () => Error]>([
    ["error", () => badRequest()],
    ["dead", () => dead()],
    ["restricted", () => peerFlood()],
    ["serverError", () => serverFault()],
  ])("calls - the outcome %s is what the error says of the session", async (outcome, error) => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    using metrics = pool.metrics();
    telegram.onCall = () => Promise.reject(error());
    await expect(pool.use((client) => client.call(WRITE), { wait: false })).rejects.toThrow();
    expect(callsIn(metrics.read())).toEqual({ [`${WRITE} ${outcome}`]: 1 });
  });

  test("deaths and restrictions - are counted by reason; a reason of the user is no label", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b", "c"] });
    using metrics = pool.metrics();
    telegram.onCall = ({ id }) => Promise.reject(id === "a" ? dead() : peerFlood());
    for (const id of ["a", "b"]) await pool.use((client) => client.call(READ), { id }).catch(() => {});
    await pool.use((_, lease) => lease.retire("the account was handed over"), { id: "c" });
    const { deaths, restrictions } = metrics.read();
    expect({ deaths, restrictions }).toEqual({
      deaths: [
        { sessionId: "a", reason: "AUTH_KEY_UNREGISTERED", count: 1 },
        { sessionId: "c", reason: "retired", count: 1 },
      ],
      restrictions: [{ sessionId: "b", reason: "PEER_FLOOD", count: 1 }],
    });
  });

  test("unknownOutcomes - counts a write that timed out or met a fault of the server, and no read", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], callTimeoutMs: 1_000 });
    using metrics = pool.metrics();
    telegram.onCall = ({ method }) => (method === READ ? new Promise(() => {}) : Promise.reject(serverFault()));
    await expect(pool.use((client) => client.call(WRITE))).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    const read = watch(pool.use((client) => client.call(READ), { retry: "none" }));
    await clock.advance(1_000);
    expect(read.error).toMatchObject({ code: "CALL_TIMEOUT" });
    telegram.onCall = () => new Promise(() => {});
    const write = watch(pool.use((client) => client.call(WRITE)));
    await clock.advance(1_000);
    expect(write.error).toMatchObject({ code: "OUTCOME_UNKNOWN" });
    expect(metrics.read().unknownOutcomes).toBe(2);
  });

  test("storage - counts operations, and failures as storageFailed does", async () => {
    const { pool, storage, events, clock } = await openPool({ sessions: ["a"] });
    using metrics = pool.metrics();
    storage.fateOfWrite = () => "fails";
    watch(pool.use((_, lease) => lease.coolDown(60)));
    await clock.advance(1_000);
    await settled();
    const { storage: operations, storageFailures } = metrics.read();
    expect(storageFailures).toBe(events("storageFailed").length);
    expect(storageFailures).toBeGreaterThan(0);
    expect(operations.count).toBeGreaterThan(1);
  });

  test("ownershipLost - counts each session once", async () => {
    const { one, clock } = await twoHosts();
    using metrics = one.pool.metrics();
    await one.pool.acquire();
    one.storage.fateOfWrite = () => "hangs";
    await clock.advance(120_000);
    expect({ counted: metrics.read().ownershipLost, events: one.events("ownershipLost").length }).toEqual({
      counted: 1,
      events: 1,
    });
  });

  test("after close() - the figures stay readable", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    using metrics = pool.metrics();
    await pool.use((client) => client.call(READ));
    await pool.close();
    const { connected, wait } = metrics.read();
    expect({ connected, waits: wait.count }).toEqual({ connected: { idle: 0, used: 0 }, waits: 1 });
  });
});
