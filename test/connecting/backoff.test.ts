import { describe, expect, test } from "vitest";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const PROXY = { ip: "10.0.0.1", port: 1080, socksType: 5 as const };
const OTHER = { ...PROXY, ip: "10.0.0.2" };

const refused = (): never => {
  throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
};
const crowded = (): never => {
  throw Object.assign(new Error("transport error"), { code: -429 });
};

/** Three sessions behind a proxy, one behind another, one behind none. */
async function behindProxies(): Promise<TestPool> {
  const made = await openPool({ idleTimeoutMs: 0, connectTimeoutMs: 10_000 });
  for (const id of ["a", "b", "c"]) await made.pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
  await made.pool.add("d", sessionString("d"), { profile: { proxy: OTHER } });
  await made.pool.add("e", sessionString("e"));
  return made;
}

const states = ({ pool }: TestPool): string =>
  pool
    .sessions()
    .map(({ id, state, reason }) => `${id} ${state}${reason === null ? "" : ` ${reason}`}`)
    .join(", ");

describe("a proxy that fails", () => {
  test("twice - only those sessions back off; three times in a row - all sessions behind it", async () => {
    const made = await behindProxies();
    const { pool, telegram } = made;
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b"]) await pool.acquire({ id }).catch(() => {});
    expect(states(made)).toBe("a cooling connect failed, b cooling connect failed, c free, d free, e free");
    await pool.acquire({ id: "c" }).catch(() => {});
    expect(states(made)).toBe("a cooling proxyFailed, b cooling proxyFailed, c cooling proxyFailed, d free, e free");
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe(`${READ} by d`);
  });

  test("one session tries first; the others follow as soon as it has connected", async () => {
    const made = await behindProxies();
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    await pool.disable("d");
    await pool.disable("e");
    telegram.onConnect = () => {};
    const before = telegram.connects.length;
    const waiting = ["a", "b", "c"].map((id) => watch(pool.acquire({ id })));
    await clock.advance(1_200);
    expect(waiting.map(({ state }) => state)).toEqual(["resolved", "resolved", "resolved"]);
    expect(telegram.connects.slice(before).map(({ id }) => id)[0]).toBe("c");
  });

  test("works again - its failures count against none of its sessions", async () => {
    const made = await behindProxies();
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    telegram.onConnect = () => {};
    const first = watch(pool.acquire({ id: "c" }));
    await clock.advance(1_300);
    expect(first.state).toBe("resolved");
    telegram.onConnect = refused;
    const at = clock.now();
    await pool.acquire({ id: "a" }).catch(() => {});
    expect(pool.get("a")).toMatchObject({ reason: "connect failed", availableAt: at + 1_000 });
  });

  test("of the client adapter's own options - sessions without a proxy of theirs back off together", async () => {
    const clock = new VirtualClock();
    const telegram = Object.assign(new FakeTelegram(clock), { proxy: PROXY });
    const made = await openPool({ sessions: ["a", "b", "c", "d"], telegram, clock, connectTimeoutMs: 10_000 });
    await made.pool.add("e", sessionString("e"), { profile: { proxy: OTHER } });
    telegram.onConnect = (id) => (id === "e" ? undefined : refused());
    const errors = [];
    for (const id of ["a", "b", "c"]) errors.push(await made.pool.acquire({ id }).catch((error: unknown) => error));
    expect(String(errors[0])).toContain("through its proxy 10.0.0.1:1080");
    expect(errors[0]).toMatchObject({ code: "CONNECT_FAILED", cause: { code: "ECONNREFUSED" } });
    expect(states(made)).toBe(
      "a cooling proxyFailed, b cooling proxyFailed, c cooling proxyFailed, d cooling proxyFailed, e free",
    );
  });

  test("by URL - is the same proxy as the one in fields", async () => {
    const made = await behindProxies();
    await made.pool.update("c", { profile: { proxy: "socks5://10.0.0.1:1080" } });
    made.telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await made.pool.acquire({ id }).catch(() => {});
    expect(made.pool.get("a")?.reason).toBe("proxyFailed");
  });

  test("still dead - one connect each time, ever later, for all of them together", async () => {
    const made = await behindProxies();
    const { pool, telegram, clock } = made;
    await pool.disable("d");
    await pool.disable("e");
    telegram.onConnect = refused;
    watch(pool.use((client) => client.call(READ)));
    await clock.advance(600_000);
    expect(telegram.connects.length).toBeLessThan(20);
    expect(made.events("disconnected").map((event) => event.reason)).toEqual(["proxyFailed"]);
  });

  test("a client that is connected by it - stays, and serves on", async () => {
    const { pool, telegram, events } = await openPool({ connectTimeoutMs: 10_000 });
    for (const id of ["a", "b", "c", "d"]) await pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
    (await pool.acquire({ id: "d" })).release();
    telegram.onConnect = refused;
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    await settled();
    expect({ online: telegram.online, disconnected: events("disconnected") }).toEqual({
      online: ["d"],
      disconnected: [{ id: "c", reason: "proxyFailed" }],
    });
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe(`${READ} by d`);
  });

  test("one session that is added meanwhile, or lost its connection - does not connect by it either", async () => {
    const { pool, telegram } = await openPool({ connectTimeoutMs: 10_000, idleTimeoutMs: 60_000 });
    for (const id of ["a", "b", "c", "d"]) await pool.add(id, sessionString(id), { profile: { proxy: PROXY } });
    (await pool.acquire({ id: "d" })).release();
    telegram.onConnect = refused;
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    await pool.add("e", sessionString("e"), { profile: { proxy: PROXY } });
    telegram.handle("d").drop();
    const before = telegram.connects.length;
    for (const id of ["d", "e"]) await pool.acquire({ id, wait: false }).catch(() => {});
    expect(telegram.connects).toHaveLength(before);
    expect(["d", "e"].map((id) => pool.get(id)?.reason)).toEqual(["proxyFailed", "proxyFailed"]);
  });

  test.each([
    ["user name", { username: "u1" }, { username: "u2" }],
    ["password", { username: "u", password: "old" }, { username: "u", password: "new" }],
    ["secret", { socksType: undefined, secret: "00".repeat(16) }, { socksType: undefined, secret: "11".repeat(16) }],
    ["type", { socksType: 4 as const }, { socksType: 5 as const }],
    ["kind", { socksType: 5 as const }, { socksType: undefined, protocol: "http" as const }],
  ])("with another %s counts as another proxy", async (_, bad, good) => {
    const made = await openPool({ connectTimeoutMs: 10_000 });
    const { pool, telegram } = made;
    for (const id of ["a", "b", "c"])
      await pool.add(id, sessionString(id), { profile: { proxy: { ...PROXY, ...bad } } });
    for (const id of ["d", "e"]) await pool.add(id, sessionString(id), { profile: { proxy: { ...PROXY, ...good } } });
    telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await pool.acquire({ id }).catch(() => {});
    expect(states(made)).toBe("a cooling proxyFailed, b cooling proxyFailed, c cooling proxyFailed, d free, e free");
  });
});

describe("a back-off ends with its cause", () => {
  /** "a" has failed so often that it rests for minutes. */
  async function failedOften(): Promise<TestPool> {
    const made = await openPool({ connectTimeoutMs: 10_000 });
    const { pool, telegram, clock } = made;
    await pool.add("a", sessionString("a"), { profile: { proxy: PROXY } });
    telegram.onConnect = refused;
    for (let times = 0; times < 12; times++) {
      await pool.acquire({ id: "a" }).catch(() => {});
      await clock.advance(400_000);
    }
    await pool.acquire({ id: "a" }).catch(() => {});
    expect(restOf(made)).toBeGreaterThan(200_000);
    return made;
  }
  const restOf = ({ pool, clock }: TestPool): number => (pool.get("a")?.availableAt ?? clock.now()) - clock.now();

  test.each<[string, (made: TestPool) => Promise<unknown>]>([
    ["update() to another proxy", ({ pool }) => pool.update("a", { profile: { proxy: OTHER } })],
    ["update() to no proxy", ({ pool }) => pool.update("a", { profile: {} })],
    ["update() to another session string", ({ pool }) => pool.update("a", { session: sessionString("new") })],
    ["enable()", ({ pool }) => pool.enable("a")],
    [
      "remove() and add()",
      async ({ pool }) => {
        await pool.remove("a");
        await pool.add("a", sessionString("a"), { profile: { proxy: PROXY } });
      },
    ],
  ])("%s - it is free, and its next failure is a first one", async (_, change) => {
    const made = await failedOften();
    const { pool } = made;
    await change(made);
    expect(pool.get("a")?.state).toBe("free");
    await pool.acquire({ id: "a" }).catch(() => {});
    expect(restOf(made)).toBe(1_000);
  });

  test("update() of tags - does not end it", async () => {
    const made = await failedOften();
    await made.pool.update("a", { tags: ["x"] });
    expect(restOf(made)).toBeGreaterThan(200_000);
  });

  test("by another process's update() - ends, too", async () => {
    const { one, two, telegram, clock } = await twoHosts();
    telegram.onConnect = () => {
      throw Object.assign(new Error("transport error"), { code: -404 });
    };
    await two.pool.acquire({ id: "a" }).catch(() => {});
    await clock.advance(1_000);
    await two.pool.acquire({ id: "a" }).catch(() => {});
    await one.pool.update("a", { profile: { proxy: PROXY } });
    await clock.advance(20_000);
    expect(two.pool.get("a")?.state).toBe("free");
  });
});

describe("backedOff", () => {
  test("reports the end and the reason; no recovered follows", async () => {
    const { pool, telegram, clock, events } = await openPool({ sessions: ["a"] });
    telegram.onConnect = refused;
    const at = clock.now();
    await pool.acquire({ id: "a" }).catch(() => {});
    await settled();
    expect(events("backedOff")).toEqual([{ id: "a", until: at + 1_000, reason: "connect failed" }]);
    await clock.advance(2_000);
    expect({ state: pool.get("a")?.state, recovered: events("recovered") }).toEqual({ state: "free", recovered: [] });
  });

  test("of a proxy - once for each session that backs off with it", async () => {
    const made = await behindProxies();
    made.telegram.onConnect = (id) => (["a", "b", "c"].includes(id) ? refused() : undefined);
    for (const id of ["a", "b", "c"]) await made.pool.acquire({ id }).catch(() => {});
    await settled();
    const told = made.events("backedOff").map(({ id, reason }) => `${id} ${reason}`);
    expect(told).toEqual(["a connect failed", "b connect failed", "c proxyFailed", "a proxyFailed", "b proxyFailed"]);
  });

  test("beside a flood - recovered follows the flood", async () => {
    const { pool, telegram, clock, events } = await openPool({ sessions: ["a"] });
    telegram.onCall = () => {
      telegram.onCall = () => "ok";
      throw new FakeRpcError(420, "FLOOD_WAIT_10");
    };
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    await clock.advance(10_000);
    expect(events("recovered")).toEqual([{ id: "a" }]);
    telegram.handle("a").drop();
    telegram.onConnect = refused;
    await pool.acquire({ id: "a" }).catch(() => {});
    await clock.advance(2_000);
    expect(events("recovered")).toEqual([{ id: "a" }]);
  });
});

describe("-404, which nothing authenticates", () => {
  const unknownKey = (): never => {
    throw Object.assign(new Error("transport error"), { code: -404 });
  };

  test("however often - the session is never dead: it is held back for hours and tried again", async () => {
    const { pool, telegram, clock, storage, events } = await openPool({ sessions: ["a"] });
    telegram.onConnect = unknownKey;
    const rests: number[] = [];
    for (let times = 0; times < 8; times++) {
      await pool.acquire({ id: "a" }).catch(() => {});
      const { state, availableAt, reason } = pool.get("a") ?? {};
      expect({ state, reason }).toEqual({ state: "cooling", reason: "TRANSPORT_404" });
      rests.push(((availableAt ?? 0) - clock.now()) / 1000);
      await clock.advance((availableAt ?? 0) - clock.now());
    }
    expect(rests).toEqual([1, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 86_400]);
    expect({ died: events("died"), record: await storage.stored("a") }).toEqual({
      died: [],
      record: expect.objectContaining({ deadReason: null }),
    });
    telegram.onConnect = () => {};
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  });

  test("a connect that works - resets the count; enable() ends the back-off", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], idleTimeoutMs: 0 });
    telegram.onConnect = unknownKey;
    await pool.acquire({ id: "a" }).catch(() => {});
    await clock.advance(1_000);
    await pool.acquire({ id: "a" }).catch(() => {});
    await pool.enable("a");
    telegram.onConnect = () => {};
    await pool.use((client) => client.call(READ));
    await settled();
    telegram.onConnect = unknownKey;
    await pool.acquire({ id: "a" }).catch(() => {});
    expect((pool.get("a")?.availableAt ?? 0) - clock.now()).toBe(1_000);
  });

  test("to requests of a session that is connected - not dead either", async () => {
    const { pool, telegram, clock, events } = await openPool({ sessions: ["a"] });
    telegram.onCall = unknownKey;
    for (let times = 0; times < 4; times++) {
      const used = watch(pool.use((client) => client.call(READ), { wait: false }));
      await clock.advance(60_000);
      expect(used.state).toBe("rejected");
    }
    expect({ died: events("died"), isDead: pool.get("a")?.state === "dead" }).toEqual({ died: [], isDead: false });
  });
});

test("-429 - suspends connects from that address for a while, with or without a proxy, and keeps connections", async () => {
  const made = await behindProxies();
  const { pool, telegram, clock } = made;
  const lease = await pool.acquire({ id: "d" });
  await pool.add("f", sessionString("f"));
  telegram.onConnect = (id) => (id === "e" ? crowded() : undefined);
  await pool.acquire({ id: "e" }).catch(() => {});
  expect(states(made)).toBe("a free, b free, c free, d leased, e cooling proxyFailed, f cooling proxyFailed");
  expect(await lease.client.call(READ)).toBe(`${READ} by d`);
  telegram.onConnect = () => {};
  await clock.advance(1_200);
  (await pool.acquire({ id: "e" })).release();
  expect(pool.get("f")?.state).toBe("free");
});
