import { describe, expect, test } from "vitest";
import { memory } from "../../src/storage/memory.js";
import { decodeRecord, encodeRecord, type SessionRecord } from "../../src/storage/record.js";
import { FakeTelegram, PROBE, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const DAY_MS = 86_400_000;
const PROBE_MS = 3_600_000;
const AUTHORIZATIONS = "account.GetAuthorizations";

/** A pool whose session "a" has a record with these fields. `fieldsAt`: by the time at which it is opened. */
async function openWith(
  fieldsAt: (now: number) => Partial<SessionRecord>,
  options: TestPoolOptions = {},
): Promise<TestPool> {
  const storage = options.storage ?? new FaultyStorage(memory());
  const clock = options.clock ?? new VirtualClock();
  const first = await openPool({ storage, clock, sessions: ["a"] });
  await first.pool.close();
  const stored = await storage.read("a");
  if (stored === undefined) throw new Error("There is no record.");
  const data = encodeRecord({ ...decodeRecord(stored.data), ...fieldsAt(clock.now()) });
  await storage.write("a", stored.version, data);
  return openPool({ isAskable: true, ...options, storage, clock });
}

/** The answer to `account.getAuthorizations`. */
const authorizations = (authorizationTtlDays: number, activeAt: number): object => ({
  className: "account.Authorizations",
  authorizationTtlDays,
  authorizations: [{ className: "Authorization", current: true, dateCreated: 1, dateActive: activeAt / 1_000 }],
});

const callsOf = ({ telegram }: TestPool, method: string): number =>
  telegram.calls.filter((call) => call.method === method).length;

describe("expiring", () => {
  test("30 days ahead - emitted once, and again after a restart", async () => {
    const storage = new FaultyStorage(memory());
    let expiresAt = 0;
    const { pool, clock, events } = await openWith(
      (now) => {
        expiresAt = now + 32 * DAY_MS;
        return { expiresAt };
      },
      { storage },
    );
    await clock.advance(2 * DAY_MS - 1);
    expect(events("expiring")).toEqual([]);
    await clock.advance(1);
    expect(events("expiring")).toEqual([{ id: "a", expiresAt }]);
    await clock.advance(3 * DAY_MS);
    expect(events("expiring")).toHaveLength(1);
    await pool.close();
    const again = await openPool({ storage, clock });
    await clock.advance(1);
    expect(again.events("expiring")).toEqual([{ id: "a", expiresAt }]);
  });

  test("a session that is removed and added again, or has another key - emitted for each", async () => {
    const { pool, clock, telegram, events } = await openPool({ isAskable: true, sessions: ["a"] });
    telegram.onCall = ({ method }) =>
      method === "users.GetUsers"
        ? [{ className: "User", self: true, id: 7n }]
        : authorizations(20, Math.floor(clock.now() / 1_000) * 1_000);
    Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
    await pool.check("a");
    await pool.check("a");
    expect(events("expiring")).toHaveLength(1);
    await pool.update("a", { session: sessionString("b") });
    await pool.check("a");
    expect(events("expiring")).toHaveLength(2);
    await pool.remove("a");
    await pool.add("a", sessionString("a"));
    await pool.check("a");
    expect(events("expiring")).toHaveLength(3);
  });

  test("a dead session, and one whose end is not known - not emitted", async () => {
    const dead = await openWith((now) => ({ expiresAt: now + DAY_MS, deadReason: "SESSION_REVOKED" }));
    const unknown = await openPool({ isAskable: true, sessions: ["a"] });
    for (const { clock, events } of [dead, unknown]) {
      await clock.advance(DAY_MS);
      expect(events("expiring")).toEqual([]);
    }
  });

  test("a dead session that is enabled - emitted within a day", async () => {
    const { pool, clock, events } = await openWith((now) => ({
      expiresAt: now + 20 * DAY_MS,
      deadReason: "SESSION_REVOKED",
    }));
    await clock.advance(1_000);
    await pool.enable("a");
    await clock.advance(DAY_MS);
    expect(events("expiring")).toHaveLength(1);
  });

  test("a use - moves the end by the time without use that Telegram allows, and with it the event", async () => {
    const scene = await openWith((now) => ({ expiresAt: now + 31 * DAY_MS, authorizationTtlDays: 60 }), {
      idleTimeoutMs: 0,
    });
    const { pool, clock, events } = scene;
    const usedAt = clock.now();
    await pool.use((client) => client.call(READ));
    expect(pool.get("a")?.expiresAt).toBe(usedAt + 60 * DAY_MS);
    await clock.advance(30 * DAY_MS - 1);
    expect(events("expiring")).toEqual([]);
    await clock.advance(1);
    expect(events("expiring")).toEqual([{ id: "a", expiresAt: usedAt + 60 * DAY_MS }]);
  });

  test("uses within a day of the known one - leave the end as it is", async () => {
    let expiresAt = 0;
    const { pool, clock } = await openWith((now) => {
      expiresAt = now + 60 * DAY_MS;
      return { expiresAt, authorizationTtlDays: 60 };
    });
    await clock.advance(DAY_MS - 1);
    await pool.use((client) => client.call(READ));
    expect(pool.get("a")?.expiresAt).toBe(expiresAt);
    await clock.advance(1);
    await pool.use((client) => client.call(READ));
    expect(pool.get("a")?.expiresAt).toBe(expiresAt + DAY_MS);
  });

  test("the moved end - is written with the next write for another reason", async () => {
    const { pool, clock, storage } = await openWith((now) => ({ expiresAt: now + DAY_MS, authorizationTtlDays: 60 }));
    const usedAt = clock.now();
    const recorded = async () => decodeRecord((await storage.read("a"))?.data ?? "").expiresAt;
    await pool.use((client) => client.call(READ));
    await pool.disable("a", "on holiday");
    expect(await recorded()).toBe(usedAt + 60 * DAY_MS);
  });
});

describe("probeIntervalMs", () => {
  test("a session close to its end - asked when it ends, which moves it, and left alone then", async () => {
    const scene = await openWith((now) => ({ expiresAt: now + 29 * DAY_MS }), { probeIntervalMs: PROBE_MS });
    const { pool, clock, telegram } = scene;
    let answeredAt = 0;
    telegram.onCall = () => {
      answeredAt = Math.floor(clock.now() / 1_000) * 1_000;
      return authorizations(180, answeredAt);
    };
    await clock.advance(PROBE_MS);
    expect({ calls: callsOf(scene, AUTHORIZATIONS), online: telegram.online }).toEqual({ calls: 1, online: [] });
    expect(pool.get("a")).toMatchObject({ state: "free", expiresAt: answeredAt + 180 * DAY_MS });
    await clock.advance(2 * DAY_MS);
    expect(telegram.calls.length).toBe(1);
  });

  test("a session that may stay unused for a week only - touched once half of it is over", async () => {
    const week = { authorizationTtlDays: 7 };
    const scene = await openWith((now) => ({ ...week, expiresAt: now + 4 * DAY_MS }), { probeIntervalMs: PROBE_MS });
    const { clock, telegram } = scene;
    telegram.onCall = () => authorizations(7, Math.floor(clock.now() / 1_000) * 1_000);
    await clock.advance(0.5 * DAY_MS - 1);
    expect(telegram.calls.length).toBe(0);
    await clock.advance(PROBE_MS);
    expect(telegram.calls.length).toBe(1);
    await clock.advance(3 * DAY_MS);
    expect(telegram.calls.length).toBe(1);
  });

  test("a session whose end is not known - asked once it has been unused for a week, and once only", async () => {
    const scene = await openPool({ isAskable: true, sessions: ["a"], probeIntervalMs: DAY_MS });
    const { clock, telegram } = scene;
    await clock.advance(7 * DAY_MS - 1);
    expect(telegram.calls.length).toBe(0);
    await clock.advance(3 * DAY_MS);
    expect(telegram.calls.map(({ method }) => method)).toEqual([AUTHORIZATIONS]);
  });

  test("a session whose end does not move, and one that Telegram refuses the read - asked once a day", async () => {
    for (const answer of ["the end stays", "refused"]) {
      const scene = await openWith((now) => ({ expiresAt: now + 10 * DAY_MS }), { probeIntervalMs: PROBE_MS });
      const { clock, telegram } = scene;
      const activeAt = Math.floor(clock.now() / 1_000) * 1_000 - 170 * DAY_MS;
      telegram.onCall = () => {
        if (answer === "refused") throw new FakeRpcError(400, "BOT_METHOD_INVALID");
        return authorizations(180, activeAt);
      };
      await clock.advance(2 * DAY_MS + PROBE_MS);
      expect({ answer, calls: callsOf(scene, AUTHORIZATIONS) }).toEqual({ answer, calls: 3 });
    }
  });

  test("an adapter that cannot make requests - its probe is the use that moves the end", async () => {
    const clock = new VirtualClock();
    const telegram = new FakeTelegram(clock);
    const scene = await openWith((now) => ({ expiresAt: now + DAY_MS, authorizationTtlDays: 180 }), {
      clock,
      telegram,
      probeIntervalMs: PROBE_MS,
    });
    await clock.advance(PROBE_MS);
    expect({ probes: callsOf(scene, PROBE), calls: telegram.calls.length }).toEqual({ probes: 1, calls: 1 });
    expect(scene.pool.get("a")?.expiresAt).toBe(clock.now() + 180 * DAY_MS);
  });

  test("disabled, leased or connected, a bot, and without probeIntervalMs - not touched", async () => {
    const ending = (now: number) => ({ expiresAt: now + DAY_MS, isBot: null as boolean | null });
    const disabled = await openWith(ending, { probeIntervalMs: PROBE_MS });
    await disabled.pool.disable("a", "on holiday");
    const connected = await openWith(ending, { probeIntervalMs: PROBE_MS, idleTimeoutMs: Number.POSITIVE_INFINITY });
    await connected.pool.use(() => {});
    const bot = await openWith((now) => ({ ...ending(now), isBot: true }), { probeIntervalMs: PROBE_MS });
    const without = await openWith(ending);
    for (const { clock, telegram } of [disabled, connected, bot, without]) {
      await clock.advance(3 * PROBE_MS);
      expect(telegram.calls).toEqual([]);
    }
  });

  test("close() while one is touched - ends, and leaves nothing", async () => {
    const { pool, clock, telegram } = await openWith((now) => ({ expiresAt: now }), { probeIntervalMs: PROBE_MS });
    telegram.onCall = () => new Promise(() => {});
    await clock.advance(PROBE_MS);
    const closed = pool.close();
    await clock.advance(10_000);
    await closed;
    expect({ pendingTimers: clock.pending, online: telegram.online }).toEqual({ pendingTimers: 0, online: [] });
  });
});

describe("a session that connects", () => {
  test("its end - is asked for at once, once, and kept in the record", async () => {
    const storage = new FaultyStorage(memory());
    const scene = await openPool({ isAskable: true, sessions: ["a", "b"], storage });
    const { pool, clock, telegram } = scene;
    const answeredAt = Math.floor(clock.now() / 1_000) * 1_000;
    telegram.onCall = () => authorizations(180, answeredAt);
    for (const id of ["a", "b"]) await pool.use((client) => client.call(READ), { id });
    expect(telegram.calls.map(({ id, method }) => [id, method])).toEqual([
      ["a", AUTHORIZATIONS],
      ["a", READ],
      ["b", AUTHORIZATIONS],
      ["b", READ],
    ]);
    expect(pool.get("a")?.expiresAt).toBe(answeredAt + 180 * DAY_MS);
    telegram.handle("a").drop();
    await pool.use(() => {}, { id: "a" });
    await pool.close();
    const again = await openPool({ isAskable: true, storage, clock, telegram });
    await again.pool.use(() => {}, { id: "a" });
    await settled();
    expect({ calls: telegram.calls.length, expiresAt: again.pool.get("a")?.expiresAt }).toEqual({
      calls: 4,
      expiresAt: answeredAt + 180 * DAY_MS,
    });
  });

  test("an answer that does not come - no caller waits for it", async () => {
    const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    telegram.onCall = ({ method }) => (method === AUTHORIZATIONS ? new Promise(() => {}) : "ok");
    expect(await pool.use((client) => client.call(READ))).toBe("ok");
    expect(await pool.use((client) => client.call(READ))).toBe("ok");
    expect(telegram.calls.map(({ method }) => method)).toEqual([AUTHORIZATIONS, READ, READ]);
    expect(pool.get("a")).toMatchObject({ state: "free", expiresAt: null });
  });

  test("an answer that says nothing, and one that refuses the request - not asked again", async () => {
    for (const answer of ["nothing", "refused"]) {
      const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
      telegram.onCall = () => {
        if (answer === "refused") throw new FakeRpcError(400, "BOT_METHOD_INVALID");
        return "ok";
      };
      for (let turn = 0; turn < 2; turn++) {
        await pool.use(() => {});
        await settled();
        telegram.handle("a").drop();
      }
      expect({ answer, calls: telegram.calls.length, state: pool.get("a")?.state }).toEqual({
        answer,
        calls: 1,
        state: "free",
      });
    }
  });

  test("the account is asked for first - a bot is asked for nothing else", async () => {
    for (const bot of [false, true]) {
      const { pool, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
      Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
      telegram.onCall = ({ method }) =>
        method === "users.GetUsers" ? [{ className: "User", self: true, id: 7n, bot }] : authorizations(180, 1_000_000);
      await pool.use(() => {});
      await settled();
      expect(telegram.calls.map(({ method }) => method)).toEqual(["users.GetUsers", ...(bot ? [] : [AUTHORIZATIONS])]);
    }
  });

  test("refused with a wait - the session cools once; its next connections are asked after a day", async () => {
    const { pool, clock, telegram, events } = await openPool({
      isAskable: true,
      sessions: ["a"],
      idleTimeoutMs: 60_000,
    });
    const asked = (): number => telegram.calls.filter(({ method }) => method === AUTHORIZATIONS).length;
    telegram.onCall = ({ method }) => {
      if (method === AUTHORIZATIONS) throw flood(600);
      return "done";
    };
    const twoReads = watch(
      pool.use(async (client) => {
        await settled();
        await client.call(READ);
        return client.call(READ);
      }),
    );
    await clock.advance(700_000);
    expect({ result: twoReads.value, asked: asked(), cooled: events("cooled").length }).toEqual({
      result: "done",
      asked: 1,
      cooled: 1,
    });
    telegram.onCall = () => authorizations(180, 1_000_000);
    await clock.advance(DAY_MS);
    await pool.use(() => {});
    await settled();
    expect({ asked: asked(), expiresAt: pool.get("a")?.expiresAt }).toEqual({
      asked: 2,
      expiresAt: expect.any(Number),
    });
    expect(telegram.violations).toEqual([]);
  });

  test("close() while it is asked - ends, and leaves nothing", async () => {
    const { pool, clock, telegram } = await openPool({ isAskable: true, sessions: ["a", "b"] });
    telegram.onCall = () => new Promise(() => {});
    for (const id of ["a", "b"]) await pool.use(() => {}, { id });
    const closed = pool.close();
    await clock.advance(10_000);
    await closed;
    expect({ pendingTimers: clock.pending, online: telegram.online }).toEqual({ pendingTimers: 0, online: [] });
  });
});
