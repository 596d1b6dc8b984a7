import { describe, expect, test } from "vitest";
import { AcquireTimeoutError, AttemptTimeoutError, ConnectError } from "../../src/errors.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { badRequest, dead } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

const KEPT = { profile: { keepConnected: true } };
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `s${index}`);

function refuse(): never {
  throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
}

/** Connects that take so long, from now on; those of sessions that are down fail then. */
function connectsTake({ telegram, clock }: TestPool, ms: number, down: ReadonlySet<string> = new Set()): void {
  telegram.onConnect = (id) =>
    new Promise<void>((resolve, reject) => {
      clock.setTimer(ms, () => (down.has(id) ? reject(new Error("connect ETIMEDOUT")) : resolve()));
    });
}

/** Keeps a session from work for an hour. */
async function rest({ pool }: TestPool, id: string): Promise<void> {
  const lease = await pool.acquire({ id });
  lease.coolDown(3_600);
  lease.release();
}

describe("ConnectError", () => {
  test.each([
    [2, 2],
    [3, 2],
    [10, 10],
    [1, 5],
  ])("for %i callers and %i sessions that cannot connect, rejects every caller at once", async (callers, sessions) => {
    const { pool, telegram } = await openPool({ sessions: ids(sessions) });
    telegram.onConnect = refuse;
    const works = Array.from({ length: callers }, () => watch(pool.use((client) => client.call(READ))));
    await settled();
    expect(works.map(({ error }) => error instanceof ConnectError)).toEqual(works.map(() => true));
    expect(telegram.connects.length).toBe(sessions);
  });

  test("is thrown as soon as another caller has failed on the last session", async () => {
    const made = await openPool({ sessions: ["a", "b"] });
    const { pool, clock } = made;
    connectsTake(made, 300, new Set(["a", "b"]));
    const first = watch(pool.acquire({ id: "a" }));
    await clock.advance(200);
    const others = [watch(pool.acquire({ id: "b" })), watch(pool.acquire()), watch(pool.acquire({ id: "a" }))];
    await clock.advance(100);
    expect([first.error, others[2]?.error]).toEqual([expect.any(ConnectError), expect.any(ConnectError)]);
    expect(others[1]?.state).toBe("pending");
    await clock.advance(200);
    expect(others.map(({ error }) => error instanceof ConnectError)).toEqual([true, true, true]);
  });

  test("is not thrown for failures before the call began: those sessions are retried", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    telegram.onConnect = refuse;
    await expect(pool.acquire()).rejects.toBeInstanceOf(ConnectError);
    telegram.onConnect = () => {};
    const waiting = watch(pool.acquire());
    await clock.advance(1_000);
    expect(waiting.value?.id).toBe("a");
  });

  test("does not count a session that has connected since", async () => {
    const made = await openPool({ sessions: ["a", "b"] });
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => (id === "a" ? refuse() : undefined);
    const lease = await pool.acquire({ id: "b" });
    const waiting = watch(pool.acquire());
    await clock.advance(10);
    lease.release();
    await settled();
    expect(waiting.value?.id).toBe("b");
  });

  test("does not count a session whose back-off an update ended", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const lease = await pool.acquire({ id: "b" });
    telegram.onConnect = refuse;
    const waiting = watch(pool.acquire());
    await settled();
    expect(waiting.state).toBe("pending");
    telegram.onConnect = () => {};
    await pool.enable("a");
    await settled();
    expect(waiting.value?.id).toBe("a");
    lease.release();
  });

  test("counts sessions behind a proxy that has failed", async () => {
    const { pool, telegram } = await openPool();
    const profile = {
      proxy: { ip: "192.0.2.7", port: 1080, socksType: 5 as const, username: "me", password: "proxy-password" },
    };
    for (const id of ids(6)) await pool.add(id, sessionString(id), { profile });
    telegram.onConnect = refuse;
    const work = watch(pool.use((client) => client.call(READ)));
    await settled();
    expect({ workError: work.error, connects: telegram.connects.length }).toEqual({
      workError: expect.any(ConnectError),
      connects: 3,
    });
    expect((work.error as Error).message).toContain("through its proxy 192.0.2.7:1080: connect ECONNREFUSED");
    expect((work.error as Error).message).not.toMatch(/me@|proxy-password/);
  });

  test("a connect through a proxy that does not end - the message names the proxy", async () => {
    const { pool, telegram, clock } = await openPool({ connectTimeoutMs: 1_000 });
    await pool.add("a", sessionString("a"), { profile: { proxy: { ip: "2001:db8::1", port: 443, socksType: 5 } } });
    telegram.onConnect = () => new Promise(() => {});
    const work = watch(pool.use((client) => client.call(READ)));
    await clock.advance(1_000);
    expect((work.error as Error).message).toBe(
      'Session "a" could not connect through its proxy 2001:db8::1:443 within 1000 ms (connectTimeoutMs).',
    );
  });
});

describe("a connect that the application's own mistake fails", () => {
  test.each(["API_ID_INVALID", "API_ID_PUBLISHED_FLOOD"])(
    "%s - ConnectError that says so, after one session",
    async (code) => {
      const { pool, telegram, clock } = await openPool({ sessions: ids(5) });
      telegram.onConnect = () => {
        throw badRequest(code);
      };
      const works = [watch(pool.use((client) => client.call(READ))), watch(pool.acquire({ id: "s4" }))];
      await settled();
      const message = expect.stringMatching(new RegExp(`${code}.*Check apiId and apiHash of the client adapter`));
      for (const { error } of works) expect(error).toMatchObject({ code: "CONNECT_FAILED", message });
      expect({ connects: telegram.connects.length, reason: pool.get("s2")?.reason }).toEqual({
        connects: 2,
        reason: code,
      });
      telegram.onConnect = () => {};
      await clock.advance(1_000);
      expect(await pool.use((_, lease) => lease.id)).toBe("s0");
      expect(pool.status().free).toBe(5);
    },
  );

  test("an apiId of the session's own - that session alone fails", async () => {
    const { pool, telegram } = await openPool();
    await pool.add("own", sessionString("own"), { profile: { apiId: 1, apiHash: "0123456789abcdef0123456789abcdef" } });
    await pool.add("b", sessionString("b"));
    telegram.onConnect = (id) => {
      if (id === "own") throw badRequest("API_ID_INVALID");
    };
    expect(await pool.use((_, lease) => lease.id)).toBe("b");
    await expect(pool.acquire({ id: "own", wait: false })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });
});

describe("waking waiters", () => {
  test("when the next session fails, the caller can get the first one again", async () => {
    const made = await openPool({ sessions: ["a", "b", "c"] });
    const { pool, telegram, clock } = made;
    await rest(made, "c");
    const down = new Set(["b"]);
    telegram.onConnect = () => refuse();
    for (let times = 0; times < 8; times++) {
      await pool.acquire({ id: "b" }).catch(() => {});
      await clock.advance((pool.get("b")?.availableAt ?? 0) - clock.now());
    }
    telegram.onConnect = async (id) => {
      if (id === "b") await new Promise<void>((resolve) => void clock.setTimer(5_000, resolve));
      if (down.has(id) || clock.now() === began) refuse();
    };
    const began = clock.now();
    const waiting = watch(pool.acquire());
    await clock.advance(5_000);
    expect(waiting.value?.id).toBe("a");
  });

  test("when a session found no place at first, its caller is served once there is one", async () => {
    const made = await openPool({ maxConnected: 1 });
    const { pool, clock } = made;
    await pool.add("s1", sessionString("s1"), { tags: ["t"] });
    await pool.add("s2", sessionString("s2"), { tags: ["t"] });
    await rest(made, "s2");
    connectsTake(made, 300);
    await pool.add("kept", sessionString("kept"), KEPT);
    const waiting = watch(pool.acquire({ tags: ["t"] }));
    await clock.advance(1_000);
    expect(waiting.value?.id).toBe("s1");
  });
});

describe("maxConnected", () => {
  test("does not close a session that was just leased to make room", async () => {
    const { pool, telegram } = await openPool({ sessions: ["s1", "s2", "s3"], maxConnected: 2 });
    for (const id of ["s1", "s2"]) (await pool.acquire({ id })).release();
    telegram.handle("s1").drop();
    const leases = await Promise.all([pool.acquire({ id: "s1" }), pool.acquire({ id: "s3" })]);
    expect(leases.map(({ id }) => id)).toEqual(["s1", "s3"]);
    expect([...telegram.online].sort()).toEqual(["s1", "s3"]);
  });

  test("a lease takes the place of a session that the pool itself connects", async () => {
    const made = await openPool({ sessions: ["s1"], maxConnected: 1 });
    const { pool, telegram, clock } = made;
    connectsTake(made, 300);
    await pool.add("kept", sessionString("kept"), KEPT);
    await settled();
    expect(telegram.connects.map(({ id }) => id)).toEqual(["kept"]);
    const acquired = watch(pool.acquire({ id: "s1" }));
    await clock.advance(300);
    expect({ acquiredId: acquired.value?.id, online: telegram.online }).toEqual({ acquiredId: "s1", online: ["s1"] });
    acquired.value?.release();
  });

  test("when two callers wait beside a kept session that cannot connect, the event loop turns and both are served", async () => {
    const { pool, telegram, clock } = await openPool({ maxConnected: 1 });
    for (const id of ["s1", "s2"]) await pool.add(id, sessionString(id), { tags: ["t"] });
    telegram.onConnect = (id) => (id === "kept" ? new Promise(() => {}) : undefined);
    await pool.add("kept", sessionString("kept"), KEPT);
    await settled();
    const works = [1, 2, 3].map(() => watch(pool.use((_, { id }) => id, { tags: ["t"] })));
    await clock.advance(1_000);
    expect(works.map(({ state }) => state)).toEqual(["resolved", "resolved", "resolved"]);
  });

  test("when two callers wait while a dead session is probed, the event loop turns and both are served", async () => {
    const made = await openPool({ sessions: ["s1", "s2", "dead"], maxConnected: 1, probeIntervalMs: 10_000 });
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => {
      if (id === "dead") throw dead();
    };
    await pool.acquire({ id: "dead" }).catch(() => {});
    telegram.onConnect = (id) => (id === "dead" ? new Promise(() => {}) : undefined);
    await clock.advance(10_000);
    const works = Array.from({ length: 4 }, () => watch(pool.use((_, { id }) => id)));
    await clock.advance(1_000);
    expect(works.map(({ state }) => state)).toEqual(works.map(() => "resolved"));
  });

  test("when callers gave up two leases of one connecting session, its place goes to others", async () => {
    const made = await openPool({ sessions: ["a", "b"], maxConnected: 1, leasesPerSession: 2 });
    const { pool, telegram, clock } = made;
    telegram.onConnect = (id) => (id === "a" ? new Promise(() => {}) : undefined);
    const abort = new AbortController();
    const gone = [1, 2].map(() => watch(pool.acquire({ id: "a", signal: abort.signal })));
    await settled();
    abort.abort();
    const works = [1, 2, 3].map(() => watch(pool.use((_, { id }) => id, { id: "b" })));
    await clock.advance(1_000);
    expect(gone.map(({ state }) => state)).toEqual(["rejected", "rejected"]);
    expect(works.map(({ value }) => value)).toEqual(["b", "b", "b"]);
  });
});

describe("connects that hang", () => {
  test("wait: false - connectTimeoutMs in all, not for each session", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ids(20), connectTimeoutMs: 1_000 });
    telegram.onConnect = () => new Promise(() => {});
    const work = watch(pool.use((client) => client.call(READ), { wait: false }));
    await clock.advance(1_000);
    expect({ workError: work.error, connects: telegram.connects.length }).toEqual({
      workError: expect.any(ConnectError),
      connects: 1,
    });
  });

  test("wait: false - others are tried in the remaining time", async () => {
    const made = await openPool({ sessions: ids(20), connectTimeoutMs: 1_000 });
    connectsTake(made, 400, new Set(ids(20)));
    const work = watch(made.pool.use((client) => client.call(READ), { wait: false }));
    await made.clock.advance(1_000);
    expect(work.error).toMatchObject({ code: "CONNECT_FAILED", message: expect.stringContaining("1000 ms") });
    expect(made.telegram.connects.length).toBe(3);
  });

  test("wait: ms - AcquireTimeoutError in time; the connect continues for the next caller", async () => {
    const made = await openPool({ sessions: ["a"] });
    const { pool, telegram, clock } = made;
    connectsTake(made, 600);
    const acquiring = watch(pool.acquire({ wait: 500 }));
    await clock.advance(500);
    expect(acquiring.error).toBeInstanceOf(AcquireTimeoutError);
    expect((acquiring.error as Error).message).toContain("500 ms");
    expect(pool.get("a")?.state).toBe("free");
    await clock.advance(100);
    expect({
      online: telegram.online,
      leasedId: (await pool.acquire({ wait: false })).id,
      connects: telegram.connects.length,
    }).toEqual({ online: ["a"], leasedId: "a", connects: 1 });
  });

  test("wait: ms - waiting and connecting have it together", async () => {
    const made = await openPool({ sessions: ["a"], idleTimeoutMs: 0 });
    const { pool, clock } = made;
    const lease = await pool.acquire();
    connectsTake(made, 600);
    const acquiring = watch(pool.acquire({ wait: 1_000 }));
    await clock.advance(600);
    lease.release();
    await clock.advance(399);
    expect(acquiring.state).toBe("pending");
    await clock.advance(1);
    expect(acquiring.error).toBeInstanceOf(AcquireTimeoutError);
  });

  test("timeoutMs - of an attempt, however many sessions it tries", async () => {
    const made = await openPool({ sessions: ids(20), connectTimeoutMs: 400 });
    const { pool, telegram, clock } = made;
    telegram.onConnect = () => new Promise(() => {});
    const work = watch(pool.use((client) => client.call(READ), { timeoutMs: 600 }));
    await clock.advance(600);
    expect({ workError: work.error, connects: telegram.connects.length }).toEqual({
      workError: expect.any(AttemptTimeoutError),
      connects: 2,
    });
  });

  test("timeoutMs - does not count the time of connecting for the work", async () => {
    const made = await openPool({ sessions: ["a"] });
    connectsTake(made, 400);
    const work = watch(made.pool.use(() => new Promise(() => {}), { timeoutMs: 600 }));
    await made.clock.advance(599);
    expect(work.state).toBe("pending");
    await made.clock.advance(1);
    expect(work.error).toBeInstanceOf(AttemptTimeoutError);
  });

  test.each([1, 3])("maxAttempts: %i - a connect that fails is an attempt", async (maxAttempts) => {
    const { pool, telegram } = await openPool({ sessions: ids(20) });
    telegram.onConnect = refuse;
    await expect(pool.use((client) => client.call(READ), { maxAttempts })).rejects.toBeInstanceOf(ConnectError);
    expect(telegram.connects.length).toBe(maxAttempts);
  });

  test("maxAttempts - a session that Telegram refuses at connect is an attempt", async () => {
    const { pool, telegram } = await openPool({ sessions: ids(3) });
    telegram.onConnect = () => {
      throw dead();
    };
    const work = pool.use((client) => client.call(READ), { maxAttempts: 2 });
    await expect(work).rejects.toMatchObject({ errorMessage: "AUTH_KEY_UNREGISTERED" });
    expect(telegram.connects.length).toBe(2);
  });
});

describe("an adapter that reports a lost connection", () => {
  test("while it connects - the connect has failed, and the session is neither leased for ever nor lost", async () => {
    const { pool, telegram, clock, events } = await openPool({ sessions: ["a"] });
    telegram.onConnect = () => telegram.handle("a").request.onDisconnect("the server hung up");
    await expect(pool.acquire({ wait: false })).rejects.toMatchObject({ message: /the server hung up/ });
    expect(pool.status()).toMatchObject({ leased: 0, cooling: 1 });
    expect(events("connected")).toEqual([]);
    telegram.onConnect = () => {};
    await clock.advance(1_000);
    (await pool.acquire()).release();
  });

  test("right after its connect - the next lease connects again", async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a"] });
    (await pool.acquire()).release();
    telegram.handle("a").drop("the server hung up");
    (await pool.acquire()).release();
    expect(telegram.connects.length).toBe(2);
    expect(events("disconnected")).toMatchObject([{ reason: "the server hung up" }]);
    expect(pool.status()).toMatchObject({ leased: 0, free: 1 });
  });
});
