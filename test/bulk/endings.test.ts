import { getEventListeners } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { MapResult } from "../../src/options/options.js";
import { type FakeClient, READ } from "../fakes/fake-telegram.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
beforeAll(() => void process.on("unhandledRejection", note));
afterAll(() => void process.off("unhandledRejection", note));
afterEach(async () => {
  await settled();
  expect(rejections.splice(0)).toEqual([]);
});

const read = (client: FakeClient): Promise<unknown> => client.call(READ);

/** Reads to the end, and keeps what came before it. */
async function drain<I, O>(results: AsyncIterable<MapResult<I, O>>, into: unknown[]): Promise<void> {
  for await (const { item } of results) into.push(item);
}

/** Endless items, and what has become of them. */
function endless(): {
  readonly items: Iterable<number>;
  readonly pulled: () => number;
  readonly isClosed: () => boolean;
} {
  let pulled = 0;
  let isClosed = false;
  const items = (function* () {
    try {
      for (;;) yield pulled++;
    } finally {
      isClosed = true;
    }
  })();
  return { items, pulled: () => pulled, isClosed: () => isClosed };
}

describe("break", () => {
  test("stops pulling, closes the source and leaves neither lease nor timer", async () => {
    const { pool, clock } = await openPool({ sessions: ["alice", "bob"] });
    const source = endless();
    const timers = clock.pending;
    for await (const { index } of pool.map(source.items, read, { onProgress: () => {} })) if (index > 3) break;
    expect(source.isClosed()).toBe(true);
    expect(source.pulled()).toBeLessThanOrEqual(9);
    expect(pool.leases()).toEqual([]);
    expect(pool.status()).toMatchObject({ free: 2, waiters: 0 });
    expect(clock.pending).toBeLessThanOrEqual(timers + 2); // the clients' idle timers
    expect(clock.referenced).toBe(0);
  });

  test("waits for works that run, and starts no other", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob"] });
    const gate = deferred();
    const begun: number[] = [];
    const run = pool.map(
      [0, 1, 2, 3],
      async (client, item) => {
        begun.push(item);
        if (item > 0) await gate.promise;
        return client.call(READ);
      },
      { concurrency: 4 },
    );
    expect((await run.next()).value?.item).toBe(0);
    await settled();
    expect(begun).toEqual([0, 1, 2]);
    expect(pool.status().waiters).toBe(1);
    const ended = watch(run.return());
    await settled();
    expect(pool.status().waiters).toBe(0);
    expect(ended.state).toBe("pending");
    gate.resolve();
    await settled();
    expect(ended.state).toBe("resolved");
    expect(begun).toEqual([0, 1, 2]);
    expect(telegram.calls).toHaveLength(3);
    expect(pool.leases()).toEqual([]);
    expect(await run.next()).toEqual({ done: true, value: undefined });
  });

  test("a work that is refused after it - is not run again", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob"] });
    const gate = deferred();
    telegram.onCall = async ({ number }) => {
      if (number === 1) return;
      await gate.promise;
      throw flood(5);
    };
    const run = pool.map([0, 1], read, { concurrency: 2 });
    await run.next();
    const ended = watch(run.return());
    gate.resolve();
    await settled();
    expect(ended.state).toBe("resolved");
    expect(telegram.calls).toHaveLength(2);
  });

  test("throw in the loop - the same, and the error comes out", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const source = endless();
    const failure = new Error("in the loop");
    const loop = async (): Promise<void> => {
      for await (const _ of pool.map(source.items, read)) throw failure;
    };
    await expect(loop()).rejects.toBe(failure);
    expect(source.isClosed()).toBe(true);
    expect(pool.leases()).toEqual([]);
  });

  test("a reader that waits - is resolved with done", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const run = pool.map(
      (async function* () {
        await new Promise(() => {});
        yield 1;
      })(),
      read,
    );
    const next = watch(run.next());
    await settled();
    expect(await run.return()).toEqual({ done: true, value: undefined });
    await settled();
    expect(next.value).toEqual({ done: true, value: undefined });
  });

  test("await using - ends it", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const source = endless();
    {
      await using run = pool.map(source.items, read);
      await run.next();
    }
    expect(source.isClosed()).toBe(true);
  });

  test("a source that throws while it is closed - its error is thrown", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const failure = new Error("cannot be closed");
    const items = {
      next: () => ({ done: false, value: 1 }),
      return: () => {
        throw failure;
      },
      [Symbol.iterator]() {
        return this;
      },
    };
    const loop = async (): Promise<void> => {
      for await (const _ of pool.map(items as unknown as Iterable<number>, read)) break;
    };
    await expect(loop()).rejects.toBe(failure);
    expect(pool.leases()).toEqual([]);
  });
});

describe("an error of the source", () => {
  test.each([false, true])("ends the iteration after the results of running works (ordered: %s)", async (ordered) => {
    const { pool } = await openPool({ sessions: ["alice", "bob", "carol"] });
    const failure = new Error("no more pages");
    const gate = deferred();
    const items = (async function* () {
      yield* [0, 1];
      throw failure;
    })();
    const got: unknown[] = [];
    const ended = watch(
      drain(
        pool.map(items, () => gate.promise, { ordered }),
        got,
      ),
    );
    await settled();
    expect(ended.state).toBe("pending");
    gate.resolve();
    await settled();
    expect(got.sort()).toEqual([0, 1]);
    expect(ended.error).toBe(failure);
  });

  test("one that cannot be iterated after all - ends it too, once", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const failure = new Error("not now");
    const run = pool.map(
      {
        [Symbol.iterator]: () => {
          throw failure;
        },
      } as Iterable<number>,
      read,
    );
    await expect(run.next()).rejects.toBe(failure);
    expect(await run.next()).toEqual({ done: true, value: undefined });
  });
});

describe("signal", () => {
  test("aborted already - ends with its reason, nothing is pulled", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const source = endless();
    const reason = new Error("no");
    await expect(pool.map(source.items, read, { signal: AbortSignal.abort(reason) }).next()).rejects.toBe(reason);
    expect(source.pulled()).toBe(0);
  });

  test("delivers finished results first, then throws its reason; running works lose their lease", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice", "bob"] });
    const controller = new AbortController();
    const signals: AbortSignal[] = [];
    const source = endless();
    const run = pool.map(
      source.items,
      (client, item, lease) => {
        signals.push(lease.signal);
        return item === 0 ? client.call(READ) : new Promise(() => {});
      },
      { signal: controller.signal, concurrency: 3 },
    );
    const first = run.next();
    await settled();
    expect((await first).value?.item).toBe(0);
    const second = watch(run.next());
    await settled();
    const reason = new Error("enough");
    controller.abort(reason);
    await settled();
    expect(second.error).toBe(reason);
    expect(signals.slice(1).every(({ aborted }) => aborted)).toBe(true);
    expect(await run.next()).toEqual({ done: true, value: undefined });
    expect(pool.leases()).toEqual([]);
    expect(pool.status().waiters).toBe(0);
    expect(source.isClosed()).toBe(true);
    expect(telegram.calls).toHaveLength(1);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
  });

  test("after the last item was pulled - ends it all the same", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const controller = new AbortController();
    const next = watch(pool.map([1], () => new Promise(() => {}), { signal: controller.signal }).next());
    await settled();
    controller.abort("text");
    await settled();
    expect(next.error).toBe("text");
  });

  test("many runs on one signal - one listener, none when they are over", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const { signal } = new AbortController();
    const runs = Array.from({ length: 20 }, () => pool.map([1, 2], read, { signal }));
    await Promise.all(runs.map((run) => run.next()));
    expect(getEventListeners(signal, "abort").length).toBeLessThanOrEqual(1);
    await Promise.all(runs.map((run) => run.return()));
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});

describe("closing the pool", () => {
  test("close() - works that run may finish, their results come, then PoolClosedError", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const gate = deferred();
    const source = endless();
    const got: unknown[] = [];
    const ended = watch(
      drain(
        pool.map(source.items, () => gate.promise, { concurrency: 3 }),
        got,
      ),
    );
    await settled();
    const closed = watch(pool.close());
    await settled();
    expect(ended.state).toBe("pending");
    gate.resolve();
    await settled();
    expect(got).toEqual([0]);
    expect(ended.error).toMatchObject({ code: "POOL_CLOSED" });
    expect(closed.state).toBe("resolved");
    expect(source.isClosed()).toBe(true);
  });

  test("close() - a work that does not end is cut at the deadline", async () => {
    const { pool, clock } = await openPool({ sessions: ["alice"] });
    const ended = watch(
      drain(
        pool.map([0, 1], () => new Promise(() => {})),
        [],
      ),
    );
    const closed = watch(pool.close({ timeoutMs: 500 }));
    await clock.advance(500);
    expect(ended.error).toMatchObject({ code: "POOL_CLOSED" });
    expect(closed.state).toBe("resolved");
  });

  test("destroy() - ends it at once, with the reason as cause", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const ended = watch(
      drain(
        pool.map([0, 1], () => new Promise(() => {})),
        [],
      ),
    );
    await settled();
    const reason = new Error("restart");
    await pool.destroy(reason);
    await settled();
    expect(ended.error).toMatchObject({ code: "POOL_CLOSED", cause: reason });
  });

  test("while map() waits for its source, or for a reader - ends it, too", async () => {
    const { pool } = await openPool({ sessions: ["alice"] });
    const slow = watch(
      pool
        .map(
          (async function* () {
            await new Promise(() => {});
            yield 1;
          })(),
          read,
        )
        .next(),
    );
    const unread = pool.map([0, 1, 2], read, { concurrency: 2 });
    await unread.next();
    await settled();
    await pool.close();
    await settled();
    expect(slow.error).toMatchObject({ code: "POOL_CLOSED" });
    expect((await unread.next()).value?.item).toBe(1);
    await expect(unread.next()).rejects.toMatchObject({ code: "POOL_CLOSED" });
    await expect(pool.map([1], read).next()).rejects.toMatchObject({ code: "POOL_CLOSED" });
  });
});

describe("drain()", () => {
  test("finishes what runs, starts nothing else and delivers every result", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const gate = deferred();
    telegram.onCall = async () => gate.promise;
    let pulled = 0;
    function* items(): Generator<number> {
      for (;;) yield pulled++;
    }
    const results: unknown[] = [];
    const run = pool.map(items(), (client) => client.call(READ), { concurrency: 4 });
    const reading = watch(
      (async () => {
        for await (const { index, ok } of run) results.push([index, ok]);
      })(),
    );
    await settled();
    const drained = watch(run.drain());
    await settled();
    expect({ pulled, calls: telegram.calls.length, drained: drained.state }).toEqual({
      pulled: 4,
      calls: 2,
      drained: "pending",
    });
    gate.resolve();
    await settled();
    expect({ drained: drained.state, reading: reading.state }).toEqual({ drained: "resolved", reading: "resolved" });
    expect(results).toEqual([
      [0, true],
      [1, true],
    ]);
    expect({ calls: telegram.calls.length, pulled }).toEqual({ calls: 2, pulled: 4 });
  });

  test("keeps results for a later reader; before the first one it starts nothing", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    const run = pool.map([0, 1, 2, 3], (client) => client.call(READ), { concurrency: 2 });
    const first = await run.next();
    await settled();
    await run.drain();
    const rest: unknown[] = [];
    for await (const { index } of run) rest.push(index);
    expect([first.value?.index, ...rest].sort()).toEqual(telegram.calls.map((_, index) => index));
    const other = pool.map([0], (client) => client.call(READ));
    await other.drain();
    expect(await other.next()).toEqual({ done: true, value: undefined });
  });
});

describe("an outage", () => {
  const refuse = (): never => {
    throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  };

  test("map() - rides it out: every item is done when Telegram can be reached again", async () => {
    const { pool, clock, telegram } = await openPool({ sessions: ["alice", "bob"] });
    telegram.onConnect = refuse;
    const done: unknown[] = [];
    const run = watch(drain(pool.map([1, 2, 3, 4, 5], read), done));
    await clock.advance(60_000);
    expect({ state: run.state, done }).toEqual({ state: "pending", done: [] });
    expect(telegram.connects.length).toBeLessThan(20);
    telegram.onConnect = () => {};
    await clock.advance(120_000);
    expect({ state: run.state, done: done.toSorted() }).toEqual({ state: "resolved", done: [1, 2, 3, 4, 5] });
  });

  test("map() - its signal and close() end the waiting", async () => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    telegram.onConnect = refuse;
    const stop = new AbortController();
    const aborted = watch(drain(pool.map([1], read, { signal: stop.signal }), []));
    const closed = watch(drain(pool.map([1], read), []));
    await settled();
    stop.abort(new Error("enough"));
    await settled();
    await pool.close();
    await settled();
    expect({ aborted: aborted.state, closed: closed.state }).toEqual({ aborted: "rejected", closed: "rejected" });
  });

  test.each([
    ["wait", { wait: false }],
    ["maxAttempts", { maxAttempts: 2 }],
    ["retry", { retry: "none" }],
  ] as const)("map() - with a bounded %s the item's result is the ConnectError", async (_, options) => {
    const { pool, telegram } = await openPool({ sessions: ["alice"] });
    telegram.onConnect = refuse;
    const results: MapResult<number, unknown>[] = [];
    for await (const result of pool.map([1], read, options)) results.push(result);
    expect(results).toMatchObject([{ ok: false, error: { code: "CONNECT_FAILED" }, attempts: 0 }]);
  });
});
