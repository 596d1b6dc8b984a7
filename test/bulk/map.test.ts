import { describe, expect, test } from "vitest";
import { OptionsError } from "../../src/errors.js";
import type { MapProgress, MapResult } from "../../src/options/options.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { badRequest, dead, flood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

async function all<I, O>(results: AsyncIterable<MapResult<I, O>>): Promise<MapResult<I, O>[]> {
  const found: MapResult<I, O>[] = [];
  for await (const result of results) found.push(result);
  return found;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const read = (client: FakeClient, item: unknown): Promise<string> => client.call(READ).then(() => `did ${item}`);

describe("map()", () => {
  test("every item - its result, place, session and attempts", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    expect(await all(pool.map(["a", "b"], read))).toEqual([
      { item: "a", index: 0, ok: true, value: "did a", sessionId: "alice", attempts: 1 },
      { item: "b", index: 1, ok: true, value: "did b", sessionId: "alice", attempts: 1 },
    ]);
    expect(pool.leases()).toEqual([]);
  });

  test.each<[string, () => Iterable<number> | AsyncIterable<number>]>([
    ["a Set", () => new Set([0, 1, 2])],
    [
      "a generator",
      function* () {
        yield* [0, 1, 2];
      },
    ],
    [
      "an asynchronous generator",
      async function* () {
        for (const item of [0, 1, 2]) {
          await settled();
          yield item;
        }
      },
    ],
  ])("%s - is read to its end", async (_, items) => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const results = await all(pool.map(items(), read));
    expect(results.map(({ item }) => item).sort()).toEqual([0, 1, 2]);
  });

  test("without items - ends at once", async () => {
    const { pool } = await openPool();
    expect(await all(pool.map([], read))).toEqual([]);
  });

  test("starts nothing before the first result is requested", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    const pulled: number[] = [];
    const items = (function* () {
      for (const item of numbers(5)) yield pulled.push(item);
    })();
    const run = pool.map(items, read);
    await settled();
    expect(pulled).toEqual([]);
    await run.return();
    expect({ pulled, calls: telegram.calls }).toEqual({ pulled: [], calls: [] });
    expect(await run.next()).toEqual({ done: true, value: undefined });
  });

  test("a poison item - fails alone", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const failure = new Error("poison");
    const results = await all(
      pool.map(numbers(5), async (client, item) => {
        if (item === 2) throw failure;
        return read(client, item);
      }),
    );
    expect(results).toHaveLength(5);
    expect(results.filter(({ ok }) => !ok)).toMatchObject([{ item: 2, error: failure, attempts: 1 }]);
    expect(results.find(({ item }) => item === 2)?.sessionId).toMatch(/alice|bob/);
  });

  test("a flood - another session takes over, attempts count both", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob"] });
    telegram.onCall = ({ number }) => {
      if (number === 1) throw flood(30);
    };
    const [result] = await all(pool.map(["a"], read));
    expect(result).toMatchObject({ ok: true, attempts: 2, sessionId: telegram.calls[1]?.id });
    expect(pool.status().cooling).toBe(1);
  });

  test("when no session is left - the result has sessionId null", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    telegram.onCall = () => {
      throw dead();
    };
    const results = await all(pool.map(["a", "b"], read));
    expect(results).toMatchObject([
      { ok: false, error: { code: "NO_SESSION_AVAILABLE" }, sessionId: null, attempts: 1 },
      { ok: false, error: { code: "NO_SESSION_AVAILABLE" }, sessionId: null, attempts: 0 },
    ]);
  });

  test("Telegram's own error - comes out as it is, with its session", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    const error = badRequest();
    telegram.onCall = () => {
      throw error;
    };
    expect(await all(pool.map(["a"], (client) => client.call(WRITE)))).toEqual([
      { item: "a", index: 0, ok: false, error, sessionId: "alice", attempts: 1 },
    ]);
  });

  test("maxAttempts, retry, timeoutMs and wait - hold for each item", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["alice", "bob", "carol", "dave"] });
    telegram.onCall = () => {
      throw flood(5);
    };
    const [twice] = await all(pool.map(["a"], read, { maxAttempts: 2 }));
    expect(twice).toMatchObject({ ok: false, error: { errorMessage: "FLOOD_WAIT_5" }, attempts: 2 });
    const [once] = await all(pool.map(["a"], read, { retry: "none" }));
    expect(once).toMatchObject({ ok: false, error: { errorMessage: "FLOOD_WAIT_5" }, attempts: 1 });
    const [unserved] = await all(pool.map(["a"], read, { wait: false }));
    expect(unserved).toMatchObject({ ok: false, error: { code: "NO_SESSION_AVAILABLE" }, sessionId: null });
    await clock.advance(5_000);
    const late = watch(all(pool.map(["a"], () => new Promise(() => {}), { timeoutMs: 100 })));
    await clock.advance(100);
    expect(late.value).toMatchObject([{ ok: false, error: { code: "ATTEMPT_TIMEOUT" }, attempts: 1 }]);
  });

  test("id, key and peer - may follow from the item", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const byId = await all(pool.map(["bob", "alice", "bob"], read, { id: (item) => item, ordered: true }));
    expect(byId.map(({ sessionId }) => sessionId)).toEqual(["bob", "alice", "bob"]);
    const byKey = await all(pool.map(["x", "y", "x", "y"], read, { key: (item) => item, ordered: true }));
    expect(byKey[0]?.sessionId).toBe(byKey[2]?.sessionId);
    expect(byKey[1]?.sessionId).toBe(byKey[3]?.sessionId);
    const none = await all(pool.map(["x"], read, { id: () => undefined, peer: () => "user:1" }));
    expect(none).toMatchObject([{ ok: true }]);
  });

  test("a function of the item that throws or gives nonsense - that item fails alone", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const results = await all(
      pool.map([0, 1, 2], read, {
        ordered: true,
        peer: (item) => {
          if (item === 0) throw new Error("no peer");
          return item === 1 ? "nonsense" : "user:1";
        },
      }),
    );
    expect(results).toMatchObject([
      { ok: false, error: { message: "no peer" }, attempts: 0, sessionId: null },
      { ok: false, error: { code: "INVALID_OPTIONS", message: expect.stringContaining("peer") }, attempts: 0 },
      { ok: true },
    ]);
  });

  test("tags - only sessions that carry them", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    await pool.update("bob", { tags: ["reader"] });
    const results = await all(pool.map(numbers(4), read, { tags: ["reader"] }));
    expect(new Set(results.map(({ sessionId }) => sessionId))).toEqual(new Set(["bob"]));
  });
});

describe("map({ concurrency })", () => {
  test("by default - as many as there are usable sessions, at least one", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob", "carol"] });
    await pool.disable("carol");
    let running = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await settled();
      running--;
    };
    await all(pool.map(numbers(9), work));
    expect(most).toBe(2);
    const { pool: empty } = await openPool();
    expect(await all(empty.map(["a"], read))).toMatchObject([{ ok: false, error: { code: "NO_SESSION_AVAILABLE" } }]);
  });

  test("by default - a session that is added later counts a second later", async () => {
    const { pool, clock } = await openPool({ sessions: ["alice"] });
    let pulled = 0;
    const items = (function* () {
      for (;;) yield pulled++;
    })();
    const run = pool.map(items, read);
    await run.next();
    await settled();
    expect(pulled).toBe(1);
    for (const id of ["bob", "carol"]) await pool.add(id, sessionString(id));
    await clock.advance(1_000);
    await run.next();
    await settled();
    expect(pulled).toBe(4);
    await run.return();
  });

  test("never pulls more items than that ahead of the reader", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    let pulled = 0;
    const items = (function* () {
      for (;;) yield pulled++;
    })();
    const run = pool.map(items, read, { concurrency: 3 });
    for (let read = 1; read <= 4; read++) {
      await run.next();
      await settled();
      await settled();
      expect(pulled).toBe(read + 2); // and the one that the reader has
    }
    await run.return();
    expect(pulled).toBe(6);
  });

  test("several calls of next() at once - each gets its own result", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob"] });
    const run = pool.map(numbers(3), read, { ordered: true });
    const answers = await Promise.all([run.next(), run.next(), run.next(), run.next(), run.next()]);
    expect(answers.map(({ value }) => value?.item)).toEqual([0, 1, 2, undefined, undefined]);
    expect(answers.map(({ done }) => done)).toEqual([false, false, false, true, true]);
  });
});

describe("map({ ordered })", () => {
  test("false - as they finish; true - in the order of the items", async () => {
    const { pool } = await openPool({ sessions: ["alice", "bob", "carol"] });
    const gates = [deferred(), deferred(), deferred()];
    const run = async (ordered: boolean): Promise<number[]> => {
      const order: number[] = [];
      const done = (async () => {
        for await (const { item } of pool.map([0, 1, 2], (_, at) => gates[at]?.promise, { ordered })) order.push(item);
      })();
      for (const at of [2, 0, 1]) {
        await settled();
        gates[at]?.resolve();
        await settled();
      }
      await done;
      return order;
    };
    expect(await run(false)).toEqual([2, 0, 1]);
    gates.splice(0, 3, deferred(), deferred(), deferred());
    expect(await run(true)).toEqual([0, 1, 2]);
  });
});

describe("map({ onProgress })", () => {
  test("once a second and at the end - reports counts, rate, expected end and what it waits for", async () => {
    const { pool, clock, telegram } = await openPool({ sessions: ["alice"] });
    const told: MapProgress[] = [];
    telegram.onCall = ({ number }) => {
      if (number === 3) throw flood(10);
      if (number === 2) throw badRequest();
    };
    const work = async (client: FakeClient): Promise<void> => {
      await new Promise<void>((resolve) => void clock.setTimer(500, resolve));
      await client.call(READ);
    };
    const finished = watch(all(pool.map(numbers(4), work, { onProgress: (progress) => told.push(progress) })));
    await clock.advance(1_100);
    expect(told).toEqual([
      { done: 1, total: 4, failed: 0, skipped: 0, perSecond: 1, etaAt: START + 4_000, waitingUntil: null },
    ]);
    await clock.advance(1_000);
    const until = START + 1_500 + 10_000;
    expect(told[1]).toEqual({
      done: 2,
      total: 4,
      failed: 1,
      skipped: 0,
      perSecond: 1,
      etaAt: until,
      waitingUntil: until,
    });
    await clock.advance(20_000);
    expect(finished.state).toBe("resolved");
    expect(told.at(-1)).toMatchObject({ done: 4, total: 4, failed: 1, etaAt: START + 12_500, waitingUntil: null });
    expect(told).toHaveLength(13);
    const before = told.length;
    await clock.advance(60_000);
    expect(told).toHaveLength(before);
  });

  test("when items wait for different sessions, reports the earliest end", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"] });
    for (const [id, seconds] of [
      ["a", 100],
      ["b", 20],
    ] as const) {
      using lease = await pool.acquire({ id });
      lease.coolDown(seconds);
    }
    const told: MapProgress[] = [];
    const working = watch(all(pool.map(["a", "b"], () => 1, { id: (item) => item, onProgress: (p) => told.push(p) })));
    await clock.advance(5_000);
    expect(told.at(-1)?.waitingUntil).toBe(START + 20_000);
    await clock.advance(20_000);
    expect(told.at(-1)?.waitingUntil).toBe(START + 100_000);
    await clock.advance(100_000);
    expect(working.value).toHaveLength(2);
  });

  test("the total - of arrays, Sets, Maps, or as it was given, else not there", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const last = async (items: Iterable<unknown>, total?: number): Promise<MapProgress | undefined> => {
      let latest: MapProgress | undefined;
      await all(pool.map(items, () => 1, { total, onProgress: (progress) => (latest = progress) }));
      return latest;
    };
    expect((await last([1, 2]))?.total).toBe(2);
    expect((await last(new Set([1])))?.total).toBe(1);
    expect((await last(new Map([[1, 1]])))?.total).toBe(1);
    expect((await last([1, 2].values(), 2))?.total).toBe(2);
    const unknown = await last([1, 2].values());
    expect(unknown).toMatchObject({ done: 2, etaAt: null });
    expect(unknown).not.toHaveProperty("total");
  });

  test("one that throws - stops nothing, and is one warning", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on("warning", note);
    const onProgress = (): void => {
      throw new Error("in the bar");
    };
    expect(await all(pool.map([1], read, { onProgress }))).toHaveLength(1);
    await settled();
    process.off("warning", note);
    expect(warnings.map(({ message }) => message)).toEqual([expect.stringContaining("in the bar")]);
  });
});

describe("map() - options", () => {
  const storage = { list: async () => [], read: async () => undefined, write: async () => 1, shared: false };
  test.each<[string, unknown, unknown, unknown]>([
    ["items", 5, read, {}],
    ["items", null, read, {}],
    ["work", [], "work", {}],
    ["concurrency", [], read, { concurrency: 0 }],
    ["concurrency", [], read, { concurrency: 1.5 }],
    ["concurrency", [], read, { concurrency: Number.POSITIVE_INFINITY }],
    ["ordered", [], read, { ordered: "yes" }],
    ["total", [], read, { total: -1 }],
    ["onProgress", [], read, { onProgress: true }],
    ["key", [], read, { key: 5 }],
    ["signal", [], read, { signal: {} }],
    ["retry", [], read, { retry: "always" }],
    ["parallel", [], read, { parallel: 3 }],
    ["checkpoint", [], read, { checkpoint: "file" }],
    ["storage", [], read, { checkpoint: { storage: {}, name: "x", key: String } }],
    ["name", [], read, { checkpoint: { storage, name: "", key: String } }],
    ["key", [], read, { checkpoint: { storage, name: "x" } }],
    ["path", [], read, { checkpoint: { storage, name: "x", key: String, path: "x" } }],
  ])("%s - is named when it is wrong", async (name, items, work, options) => {
    const { pool } = await openPool();
    const call = (): unknown => pool.map(items as never, work as never, options as never);
    expect(call).toThrow(OptionsError);
    expect(call).toThrow(name);
  });
});
