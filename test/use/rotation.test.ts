import { describe, expect, test } from "vitest";
import {
  AttemptTimeoutError,
  CallTimeoutError,
  LeaseReleasedError,
  NoProgressError,
  NoSessionAvailableError,
  OutcomeUnknownError,
  RotationUnsafeError,
} from "../../src/errors.js";
import type { FakeCall, FakeClient, FakeTelegram } from "../fakes/fake-telegram.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { badRequest, dead, flood, peerFlood, serverFault, slowMode } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

/** Session "a" refuses with this error, everybody else answers. */
function refuseOn(
  telegram: FakeTelegram,
  error: Error,
  isRefused: (call: FakeCall) => boolean = ({ id }) => id === "a",
): void {
  telegram.onCall = (call) => {
    if (isRefused(call)) throw error;
    return `${call.method} by ${call.id}`;
  };
}

const ran = (telegram: FakeTelegram): readonly string[] => telegram.calls.map(({ id, method }) => `${method} ${id}`);

test("wait - bounds the waiting of a job over all its attempts", async () => {
  const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
  telegram.onCall = () => {
    throw flood(2);
  };
  const job = watch(pool.use((client) => client.call(WRITE), { wait: 5_000 }));
  await clock.advance(4_500);
  expect(job.error).toBeInstanceOf(NoSessionAvailableError);
  expect(telegram.calls).toHaveLength(3);
});

describe('retry: "safe"', () => {
  test("repeats a refused write on another session, and the flood is durable when use() resolves", async () => {
    const { pool, telegram, events, storage } = await openPool({ sessions: ["a", "b"] });
    refuseOn(telegram, flood(60));
    expect(await pool.use((client) => client.call(WRITE))).toBe(`${WRITE} by b`);
    expect(ran(telegram)).toEqual([`${WRITE} a`, `${WRITE} b`]);
    expect(events("cooled")).toEqual([
      { id: "a", until: START + 60_000, seconds: 60, reason: "FLOOD_WAIT", refusedMethod: WRITE },
    ]);
    expect(await storage.stored("a")).toMatchObject({ cooldown: { until: START + 60_000 } });
    expect(pool.status()).toMatchObject({ free: 1, cooling: 1, leased: 0 });
  });

  test("ignores reads before the flood, but not an executed write", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const error = flood(60);
    refuseOn(telegram, error, ({ id, number }) => id === "a" && number % 2 === 0);
    const work = (first: string) => pool.use(async (client) => [await client.call(first), await client.call(WRITE)]);
    expect(await work(READ)).toEqual([`${READ} by b`, `${WRITE} by b`]);
    telegram.calls.length = 0;
    await pool.enable("a");
    const made = await openPool({ sessions: ["a", "b"] });
    refuseOn(made.telegram, error, ({ number }) => number === 2);
    const failed = watch(made.pool.use(async (client) => [await client.call(WRITE), await client.call(WRITE)]));
    await settled();
    expect(failed.error).toBeInstanceOf(RotationUnsafeError);
    expect((failed.error as Error).cause).toBe(error);
    expect(made.pool.get("a")?.state).toBe("cooling");
    expect(made.telegram.calls).toHaveLength(2);
  });

  test("with a write on the wire beside a refused read, Telegram's answer decides", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = async ({ id, method }) => {
      if (id === "a" && method === READ) throw flood(60);
      if (id === "a") await new Promise<void>((resolve) => void clock.setTimer(1_000, resolve));
      return id;
    };
    const work = watch(pool.use((client) => Promise.all([client.call(WRITE), client.call(READ)])));
    await settled();
    expect(work.state).toBe("pending");
    await clock.advance(1_000);
    expect(work.error).toBeInstanceOf(RotationUnsafeError);
  });

  test("ends the wait for what is on the wire by the attempt's deadline and the signal", async () => {
    for (const how of ["timeoutMs", "signal"] as const) {
      const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
      telegram.onCall = ({ method }) => {
        if (method === READ) throw flood(60);
        return new Promise(() => {});
      };
      const abort = new AbortController();
      const options = how === "signal" ? { signal: abort.signal } : { timeoutMs: 1_000 };
      const work = watch(pool.use((client) => Promise.all([client.call(WRITE), client.call(READ)]), options));
      await clock.advance(999);
      expect(work.state).toBe("pending");
      if (how === "signal") abort.abort(new Error("enough"));
      await clock.advance(1);
      expect(work.state).toBe("rejected");
    }
  });

  test.each([dead, peerFlood])("leaves a session that is lost for another", async (make) => {
    const { pool, telegram, events } = await openPool({ sessions: ["a", "b"] });
    refuseOn(telegram, make());
    expect(await pool.use((client) => client.call(WRITE))).toBe(`${WRITE} by b`);
    expect(pool.get("a")?.state).toBe(make === dead ? "dead" : "restricted");
    expect(events(make === dead ? "died" : "restricted")).toHaveLength(1);
    expect(telegram.online).not.toContain(make === dead ? "a" : "nobody");
  });

  test("passes errors about the request, or of the work itself, on unchanged; no session is affected", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const [bad, own] = [badRequest(), new Error("FLOOD_WAIT_99")];
    refuseOn(telegram, bad);
    await expect(pool.use((client) => client.call(WRITE), { id: "a" })).rejects.toBe(bad);
    await expect(pool.use(() => Promise.reject(own))).rejects.toBe(own);
    await expect(
      pool.use(() => {
        throw own;
      }),
    ).rejects.toBe(own);
    expect(pool.status()).toMatchObject({ free: 2 });
  });

  test("does not rotate for a flood that the work itself caught", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    refuseOn(telegram, flood(60));
    expect(await pool.use((client) => client.call(WRITE).catch(() => "caught"))).toBe("caught");
    expect(pool.get("a")?.state).toBe("cooling");
  });
});

test('retry: "none" - never: Telegram\'s own error comes out', async () => {
  const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
  const error = flood(60);
  refuseOn(telegram, error);
  await expect(pool.use((client) => client.call(READ), { retry: "none" })).rejects.toBe(error);
  expect({ ran: ran(telegram), state: pool.get("a")?.state }).toEqual({ ran: [`${READ} a`], state: "cooling" });
});

test('retry: "any" - also after a write was done', async () => {
  const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
  refuseOn(telegram, flood(60), ({ number }) => number === 2);
  const work = pool.use(async (client) => [await client.call(WRITE), await client.call(WRITE)], { retry: "any" });
  expect(await work).toEqual([`${WRITE} by b`, `${WRITE} by b`]);
});

describe("when no session is left", () => {
  test("waits for the first, then continues", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    refuseOn(telegram, flood(60), ({ number }) => number <= 2);
    const work = watch(pool.use((client) => client.call(WRITE)));
    await clock.advance(59_999);
    expect({ work: work.state, calls: telegram.calls.length }).toEqual({ work: "pending", calls: 2 });
    await clock.advance(1);
    expect(work.value).toBe(`${WRITE} by a`);
  });

  test.each([false, 1_000])("with wait: %s rejects with the flood as cause", async (wait) => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const error = flood(60);
    refuseOn(telegram, error, () => true);
    const failed = watch(pool.use((client) => client.call(WRITE), { wait }));
    await settled();
    expect(failed.error).toBeInstanceOf(NoSessionAvailableError);
    expect(failed.error).toMatchObject({ cause: error, waitingCount: 2, retryAt: START + 60_000 });
  });

  test("when maxAttempts is spent, rejects with the last Telegram error itself", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b", "c"] });
    const errors = [flood(10), flood(20), flood(30)];
    telegram.onCall = ({ number }) => Promise.reject(errors[number - 1] as Error);
    await expect(pool.use((client) => client.call(WRITE), { maxAttempts: 2 })).rejects.toBe(errors[1]);
    expect(telegram.calls).toHaveLength(2);
  });
});

describe("cooldown scopes", () => {
  test("SLOWMODE cools the peer: another session takes over, the first stays free", async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a", "b"] });
    refuseOn(telegram, slowMode(30), ({ id, peer }) => id === "a" && peer === "channel:5");
    expect(await pool.use((client) => client.call(WRITE, { peer: "channel:5" }))).toBe(`${WRITE} by b`);
    const cause = { reason: "SLOWMODE_WAIT", refusedMethod: WRITE };
    expect(events("cooled")).toEqual([{ id: "a", until: START + 30_000, seconds: 30, ...cause, peer: "channel:5" }]);
    expect(pool.status()).toMatchObject({ free: 2, cooling: 0 });
    await expect(pool.acquire({ peer: "channel:5", id: "a", wait: false })).rejects.toMatchObject({ waitingCount: 1 });
  });

  test("with one session and a slow peer, waits instead of picking the free session for ever", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    refuseOn(telegram, slowMode(30), ({ number }) => number === 1);
    const work = watch(pool.use((client) => client.call(WRITE, { peer: "channel:5" })));
    await clock.advance(29_999);
    expect({ work: work.state, calls: telegram.calls.length }).toEqual({ work: "pending", calls: 1 });
    await clock.advance(1);
    expect(work.value).toBe(`${WRITE} by a`);
  });

  test('cooldownScope: "method" cools only the method', async () => {
    const { pool, telegram, events } = await openPool({ sessions: ["a", "b"], cooldownScope: "method" });
    refuseOn(telegram, flood(30), ({ id, method }) => id === "a" && method === READ);
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by b`);
    const cause = { reason: "FLOOD_WAIT", refusedMethod: READ };
    expect(events("cooled")).toEqual([{ id: "a", until: START + 30_000, seconds: 30, ...cause, method: READ }]);
    expect(await pool.use((client) => client.call(WRITE), { id: "a" })).toBe(`${WRITE} by a`);
    const work = watch(pool.use((client) => client.call(READ), { id: "a", wait: false }));
    await settled();
    expect(work.error).toMatchObject({ code: "NO_SESSION_AVAILABLE", cause: { errorMessage: "FLOOD_WAIT_30" } });
    expect(telegram.calls.filter(({ id, method }) => id === "a" && method === READ)).toHaveLength(1);
  });
});

describe("timeoutMs", () => {
  test("is final for the attempt: the lease is revoked, its client dead", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = () => new Promise(() => {});
    const seen: { call?: ReturnType<typeof watch>; signal?: AbortSignal } = {};
    const work = watch(
      pool.use(
        (client, lease) => {
          seen.signal = lease.signal;
          const call = client.call(READ);
          seen.call = watch(call);
          return call;
        },
        { timeoutMs: 1_000 },
      ),
    );
    await clock.advance(1_000);
    expect(work.error).toBeInstanceOf(AttemptTimeoutError);
    expect(seen.signal?.aborted).toBe(true);
    expect(seen.call?.error).toBeInstanceOf(LeaseReleasedError);
    expect(telegram.calls).toHaveLength(1);
    await settled();
    expect(pool.status().free).toBe(2);
  });

  test("includes connecting", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"] });
    telegram.onConnect = () => new Promise<void>((resolve) => void clock.setTimer(600, resolve));
    const work = watch(
      pool.use((client) => new Promise((resolve) => clock.setTimer(600, () => resolve(client))), { timeoutMs: 1_000 }),
    );
    await clock.advance(999);
    expect(work.state).toBe("pending");
    await clock.advance(1);
    expect(work.error).toBeInstanceOf(AttemptTimeoutError);
  });
});

describe("a call without an answer, or with a server error", () => {
  test("may rotate if it is a single read that timed out; a write is OutcomeUnknownError", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"], callTimeoutMs: 1_000 });
    telegram.onCall = ({ id }) => (id === "a" ? new Promise(() => {}) : id);
    const read = watch(pool.use((client) => client.call(READ)));
    await clock.advance(1_000);
    expect(read.value).toBe("b");
    const write = watch(pool.use((client) => client.call(WRITE), { id: "a" }));
    const only = watch(pool.use((client) => client.call(READ), { id: "a", retry: "none" }));
    await clock.advance(2_000);
    expect(write.error).toBeInstanceOf(OutcomeUnknownError);
    expect(write.error).toMatchObject({ executed: "unknown", cause: expect.any(CallTimeoutError) });
    expect(only.error).toBeInstanceOf(CallTimeoutError);
    expect(telegram.calls.filter(({ method }) => method === WRITE)).toHaveLength(1);
  });

  test("is OutcomeUnknownError and not repeated if it is a write answered with a 500; a read is repeated", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    const error = serverFault();
    refuseOn(telegram, error, ({ method, number }) => method === WRITE || number <= 2);
    const read = watch(pool.use((client) => client.call(READ)));
    await clock.advance(10_000);
    expect(read.state).toBe("resolved");
    const before = telegram.calls.length;
    const write = watch(pool.use((client) => client.call(WRITE)));
    await clock.advance(10_000);
    expect(write.error).toBeInstanceOf(OutcomeUnknownError);
    expect(write.error).toMatchObject({ executed: "unknown", cause: error });
    expect(telegram.calls).toHaveLength(before + 1);
  });

  test("the work's own network error after a write is not mistaken for Telegram's", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    refuseOn(telegram, badRequest(), ({ method }) => method === READ);
    const own = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5432"), { code: "ECONNREFUSED" });
    const work = pool.use(async (client) => {
      await client.call(WRITE);
      await client.call(READ).catch(() => {});
      throw own;
    });
    await expect(work).rejects.toBe(own);
  });
});

describe("no endless loop", () => {
  test("a 401 from another data center - is authorized again once by every session, the pool is unchanged", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const error = dead();
    refuseOn(telegram, error, () => true);
    const job = watch(pool.use((client) => client.call(READ, { isHomeDc: false })));
    await settled();
    expect(job.error).toMatchObject({ code: "CONNECT_FAILED", cause: error });
    expect({ calls: telegram.calls.length, free: pool.status().free }).toEqual({ calls: 4, free: 2 });
  });

  test("PEER_FLOOD with the shortest restriction - the same session is not asked again", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a"], restrictedForMs: 1 });
    refuseOn(telegram, peerFlood());
    const job = watch(pool.use((client) => client.call(WRITE)));
    await clock.advance(10_000);
    expect(job.error).toBeInstanceOf(NoSessionAvailableError);
    expect(telegram.calls).toHaveLength(1);
  });
});

test("a read that was cut off and is refused when it is sent again - rotates", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
  let calls = 0;
  telegram.onCall = ({ id }) => {
    if (id === "b") return "by b";
    if (++calls > 1) throw flood(30);
    telegram.handle("a").drop();
    return undefined;
  };
  expect(await pool.use((client) => client.call(READ))).toBe("by b");
  expect(pool.get("a")?.state).toBe("cooling");
});

describe("a connection that is lost while its session must not connect", () => {
  test("use() - moves to another session when nothing was sent", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const tried: string[] = [];
    const result = await pool.use(async (client, { id }) => {
      tried.push(id);
      await client.call(READ);
      if (id === "b") return "moved";
      await pool.disable(id);
      telegram.handle(id).drop();
      return client.call(READ);
    });
    expect({ result, tried }).toEqual({ result: "moved", tried: ["a", "b"] });
  });

  test("acquire() - its client rejects with ConnectError", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    await pool.disable("a");
    telegram.handle("a").drop();
    await expect(lease.client.call(WRITE)).rejects.toMatchObject({ code: "CONNECT_FAILED", sessionId: "a" });
  });
});

describe("use() whose work starts over", () => {
  /** Every session grants so many requests, then tells to wait for a second. */
  const granting = (telegram: FakeTelegram, most: number): void => {
    const granted = new Map<string, number>();
    telegram.onCall = ({ id }) => {
      const count = (granted.get(id) ?? 0) + 1;
      granted.set(id, count % (most + 1));
      if (count > most) throw flood(1);
    };
  };
  const calls = (count: number) => async (client: FakeClient) => {
    for (let made = 0; made < count; made++) await client.call(READ);
  };

  test("rejects with NoProgressError when it gets no further on any session", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    granting(telegram, 3);
    const job = watch(pool.use(calls(5)));
    await clock.advance(60_000);
    expect(job.error).toBeInstanceOf(NoProgressError);
    expect(job.error).toMatchObject({ code: "NO_PROGRESS", cause: { errorMessage: "FLOOD_WAIT_1" } });
    expect(pool.status()).toMatchObject({ free: 2, leased: 0 });
  });

  test("does not reject while its first request is refused", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ number }) => {
      if (number < 60) throw flood(1);
    };
    const job = watch(pool.use(calls(1)));
    await clock.advance(60_000);
    expect(job.state).toBe("resolved");
  });
});

describe("a transfer that is flooded in the middle", () => {
  const PART = "upload.SaveFilePart";
  const upload = async (client: FakeClient, { id }: { readonly id: string }): Promise<string> => {
    for (let part = 0; part < 4; part++) await client.call(PART);
    return id;
  };

  test("waits on its session if the wait is short, and sends that part again", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ number }) => {
      if (number === 3) throw flood(9);
    };
    const job = watch(pool.use(upload));
    await clock.advance(8_999);
    expect(job.state).toBe("pending");
    await clock.advance(1);
    expect(job.value).toBe("a");
    expect(telegram.calls).toHaveLength(5);
  });

  test("rotates at its first part, for a long wait, and when its caller would not wait", async () => {
    for (const [refused, seconds, options] of [
      [1, 9, {}],
      [3, 30, {}],
      [3, 9, { wait: false }],
    ] as const) {
      const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
      telegram.onCall = ({ number }) => {
        if (number === refused) throw flood(seconds);
      };
      expect(await pool.use(upload, options)).toBe("b");
    }
  });
});

test.each([{ retry: "none" }, { maxAttempts: 1 }] as const)(
  "inlineWaitMs - counts where the job may not move: %o",
  async (options) => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"], inlineWaitMs: 5_000 });
    telegram.onCall = ({ number, id }) => {
      if (number === 1) throw flood(2);
      return id;
    };
    const job = watch(pool.use((client) => client.call(WRITE), options));
    await clock.advance(2_000);
    expect(job.value).toBe("a");
  },
);

test("use() - a write whose answer cannot be read is OutcomeUnknownError; a read's failure comes out", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
  telegram.onCall = () => {
    throw new RangeError("offset is out of bounds");
  };
  await expect(pool.use((client) => client.call(WRITE))).rejects.toMatchObject({
    code: "OUTCOME_UNKNOWN",
    executed: "unknown",
    cause: expect.any(RangeError),
  });
  await expect(pool.use((client) => client.call(READ))).rejects.toThrow(RangeError);
  expect(telegram.calls).toHaveLength(2);
});

test("use() - a signal that aborts in the synchronous part of the work ends it", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const abort = new AbortController();
  const reason = new Error("given up");
  const job = watch(
    pool.use(
      () => {
        abort.abort(reason);
        return new Promise(() => {});
      },
      { signal: abort.signal },
    ),
  );
  await settled();
  expect(job).toMatchObject({ state: "rejected", error: reason });
  expect(pool.leases()).toEqual([]);
});

test("use() - a signal and a deadline do not wait for the storage", async () => {
  const { pool, telegram, storage, clock } = await openPool({ sessions: ["a"], storageTimeoutMs: 3_000 });
  telegram.onCall = ({ method }) => {
    if (method === READ) throw flood(30);
    return new Promise(() => {});
  };
  storage.fateOfWrite = () => "hangs";
  const abort = new AbortController();
  const cut = (options: object) =>
    watch(
      pool.use(async (client) => {
        await client.call(READ).catch(() => {});
        await new Promise(() => {});
      }, options),
    );
  const first = cut({ signal: abort.signal });
  await clock.advance(100);
  const reason = new Error("enough");
  abort.abort(reason);
  await settled();
  expect(first.error).toBe(reason);
});
