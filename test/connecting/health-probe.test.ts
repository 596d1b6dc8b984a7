import { describe, expect, test } from "vitest";
import { OptionsError } from "../../src/errors.js";
import { memory } from "../../src/storage/memory.js";
import { FakeTelegram, PROBE, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const PROBE_MS = 3_600_000;

/** What `help.getAppConfig` answers: with the date of a freeze, in seconds, if it is frozen. */
function config(since?: number, until?: number): object {
  const dates = { channels_limit_default: 500, freeze_since_date: since, freeze_until_date: until };
  const value = Object.entries(dates)
    .filter(([, date]) => date !== undefined)
    .map(([key, date]) => ({ key, value: { className: "JsonNumber", value: date } }));
  return { className: "help.AppConfig", hash: 1, config: { className: "JsonObject", value } };
}

/** A pool whose one session Telegram has refused with this answer; from then on it answers. */
async function refusedBy(code: number, message: string, options: TestPoolOptions = {}): Promise<TestPool> {
  const scene = await openPool({ sessions: ["a"], probeIntervalMs: PROBE_MS, ...options });
  const { pool, telegram } = scene;
  telegram.onCall = () => {
    throw new FakeRpcError(code, message);
  };
  await pool.use((client) => client.call(READ), { id: "a" }).catch(() => {});
  telegram.onCall = () => "answered";
  return scene;
}

const probesOf = ({ telegram }: TestPool): number => telegram.calls.filter(({ method }) => method === PROBE).length;

describe("probeIntervalMs", () => {
  test.each([
    [401, "SESSION_REVOKED", "dead"],
    [401, "USER_DEACTIVATED_BAN", "dead"],
    [400, "PEER_FLOOD", "restricted"],
  ])("%i %s - asked after that long, and free when it is answered", async (code, message, state) => {
    const scene = await refusedBy(code, message);
    const { pool, clock, events, telegram } = scene;
    await clock.advance(PROBE_MS - 1);
    expect({ state: pool.get("a")?.state, reason: pool.get("a")?.reason, probes: probesOf(scene) }).toEqual({
      state,
      reason: message,
      probes: 0,
    });
    await clock.advance(1);
    expect({ state: pool.get("a")?.state, probes: probesOf(scene), recovered: events("recovered") }).toEqual({
      state: "free",
      probes: 1,
      recovered: [{ id: "a" }],
    });
    expect(await pool.use((client) => client.call(READ))).toBe("answered");
    expect({ violations: telegram.violations, referencedTimers: clock.referenced }).toEqual({
      violations: [],
      referencedTimers: 0,
    });
    await clock.advance(PROBE_MS * 3);
    expect(probesOf(scene)).toBe(1);
  });

  test("FROZEN_METHOD_INVALID - free only once Telegram's configuration, complete, names no freeze", async () => {
    const scene = await refusedBy(420, "FROZEN_METHOD_INVALID", { isAskable: true });
    const { pool, clock, telegram, events } = scene;
    const answers: unknown[] = ["answered", config(5), { className: "help.AppConfigNotModified" }, config()];
    telegram.onCall = ({ method }) => (method === "help.GetAppConfig" ? answers.shift() : "answered");
    const states: unknown[] = [];
    for (let probe = 0; probe < 4; probe++) {
      await clock.advance(PROBE_MS);
      states.push(pool.get("a")?.state);
    }
    expect(states).toEqual(["restricted", "restricted", "restricted", "free"]);
    expect({
      probes: probesOf(scene),
      recovered: events("recovered"),
      restricted: events("restricted").length,
    }).toEqual({
      probes: 0,
      recovered: [{ id: "a" }],
      restricted: 1,
    });
  });

  test("FROZEN_METHOD_INVALID with an adapter that cannot be asked about it - not asked, and not free", async () => {
    const clock = new VirtualClock();
    const telegram = new FakeTelegram(clock);
    const scene = await refusedBy(420, "FROZEN_METHOD_INVALID", { clock, telegram });
    await clock.advance(PROBE_MS * 3);
    expect({ state: scene.pool.get("a")?.state, calls: telegram.calls.length }).toEqual({
      state: "restricted",
      calls: 1,
    });
  });

  test("serves a caller that waits for the session", async () => {
    const { pool, clock } = await refusedBy(401, "SESSION_REVOKED", { sessions: ["a", "b"] });
    const lease = await pool.acquire({ id: "b" });
    const acquired = watch(pool.acquire());
    await clock.advance(PROBE_MS);
    expect({ acquired: acquired.state, acquiredId: acquired.value?.id }).toEqual({
      acquired: "resolved",
      acquiredId: "a",
    });
    acquired.value?.release();
    lease.release();
  });

  test("refused again - the state stays, is reported once, and the session is probed again", async () => {
    const scene = await refusedBy(400, "PEER_FLOOD", { restrictedForMs: Number.POSITIVE_INFINITY });
    const { pool, clock, telegram, events } = scene;
    telegram.onCall = () => {
      throw new FakeRpcError(400, "PEER_FLOOD");
    };
    await clock.advance(PROBE_MS * 3);
    expect({ state: pool.get("a")?.state, probes: probesOf(scene), online: telegram.online }).toEqual({
      state: "restricted",
      probes: 3,
      online: [],
    });
    expect(events("restricted")).toHaveLength(1);
    telegram.onCall = () => "answered";
    await clock.advance(PROBE_MS);
    expect({ state: pool.get("a")?.state, recovered: events("recovered") }).toEqual({
      state: "free",
      recovered: [{ id: "a" }],
    });
  });

  test("refused with a wait, or not to be connected - the session cools, and is probed after it", async () => {
    const scene = await refusedBy(401, "AUTH_KEY_UNREGISTERED");
    const { pool, clock, telegram } = scene;
    telegram.onCall = () => {
      throw flood(2 * (PROBE_MS / 1_000));
    };
    await clock.advance(PROBE_MS);
    telegram.onCall = () => "answered";
    await clock.advance(PROBE_MS * 2 - 1);
    expect({ probes: probesOf(scene), connects: telegram.connects.length, state: pool.get("a")?.state }).toEqual({
      probes: 1,
      connects: 2,
      state: "dead",
    });
    telegram.onConnect = () => {
      throw new Error("no way");
    };
    await clock.advance(PROBE_MS);
    telegram.onConnect = () => {};
    await clock.advance(PROBE_MS * 2);
    expect({ state: pool.get("a")?.state, probes: probesOf(scene) }).toEqual({ state: "free", probes: 2 });
  });

  test("retired or disabled by a person - not asked", async () => {
    const scene = await refusedBy(401, "SESSION_REVOKED", { sessions: ["a", "b"] });
    const { pool, clock } = scene;
    using lease = await pool.acquire({ id: "b" });
    lease.retire("banned");
    lease.release();
    await pool.disable("a", "holiday");
    await clock.advance(PROBE_MS * 3);
    expect({ probes: probesOf(scene), stateOfA: pool.get("a")?.state, stateOfB: pool.get("b")?.state }).toEqual({
      probes: 0,
      stateOfA: "disabled",
      stateOfB: "dead",
    });
    await pool.enable("a");
    expect(pool.get("a")?.state).toBe("free");
  });

  test("disabled while it is asked - stays disabled", async () => {
    const { pool, clock, telegram } = await refusedBy(401, "SESSION_REVOKED");
    let answer: (value: unknown) => void = () => {};
    telegram.onCall = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    await clock.advance(PROBE_MS);
    const disabled = pool.disable("a", "holiday");
    answer("answered");
    await disabled;
    await settled();
    expect(pool.get("a")).toMatchObject({ state: "disabled", reason: "holiday" });
  });

  test("after a restart - counts from zero, and what it found is on disk", async () => {
    const storage = new FaultyStorage(memory());
    const first = await refusedBy(401, "SESSION_REVOKED", { storage });
    await first.pool.close();
    const clock = new VirtualClock();
    const second = await openPool({ storage, clock, telegram: new FakeTelegram(clock), probeIntervalMs: PROBE_MS });
    expect(second.pool.get("a")?.state).toBe("dead");
    await clock.advance(PROBE_MS);
    expect(second.pool.get("a")?.state).toBe("free");
    await second.pool.close();
    const third = await openPool({ storage });
    expect(third.pool.get("a")?.state).toBe("free");
  });

  test("many of them - one at a time", async () => {
    const sessions = ["a", "b", "c", "d"];
    const { pool, clock, telegram } = await openPool({ sessions, probeIntervalMs: PROBE_MS, idleTimeoutMs: 0 });
    telegram.onCall = () => {
      throw new FakeRpcError(401, "SESSION_REVOKED");
    };
    await Promise.allSettled(sessions.map((id) => pool.use((client) => client.call(READ), { id })));
    let most = 0;
    telegram.onCall = () => {
      most = Math.max(most, telegram.online.length);
      return "answered";
    };
    await clock.advance(PROBE_MS);
    expect({ most, free: pool.status().free }).toEqual({ most: 1, free: 4 });
  });

  test("close() during a probe - ends, and leaves nothing", async () => {
    const { pool, clock, telegram } = await refusedBy(401, "SESSION_REVOKED");
    telegram.onCall = () => new Promise(() => {});
    await clock.advance(PROBE_MS);
    const closed = watch(pool.close());
    await clock.advance(10_000);
    expect({ closed: closed.state, pendingTimers: clock.pending, online: telegram.online }).toEqual({
      closed: "resolved",
      pendingTimers: 0,
      online: [],
    });
  });

  test("none by default; not a number - OptionsError", async () => {
    const scene = await refusedBy(401, "SESSION_REVOKED", { probeIntervalMs: undefined as never });
    await scene.clock.advance(PROBE_MS * 24);
    expect({ state: scene.pool.get("a")?.state, probes: probesOf(scene) }).toEqual({ state: "dead", probes: 0 });
    await expect(openPool({ probeIntervalMs: 0 })).rejects.toBeInstanceOf(OptionsError);
  });
});
