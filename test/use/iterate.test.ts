import { describe, expect, test } from "vitest";
import { LeaseReleasedError, OptionsError } from "../../src/errors.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

/** Asks for one answer after the other, as an iterator of a client does. */
async function* answers(client: FakeClient, count: number): AsyncGenerator<unknown> {
  for (let index = 0; index < count; index++) yield await client.call(READ);
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("iterate()", () => {
  test("holds the lease until the last item, and not longer", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const states: unknown[] = [];
    for await (const item of pool.iterate((client) => answers(client, 3))) states.push([item, pool.get("a")?.state]);
    expect(states).toEqual(Array(3).fill([`${READ} by a`, "leased"]));
    expect(pool.get("a")?.state).toBe("free");
  });

  test("reads an item only when it is requested", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"] });
    const items = pool.iterate((client) => answers(client, 5));
    await settled();
    expect(telegram.calls).toHaveLength(0);
    await items.next();
    await settled();
    expect(telegram.calls).toHaveLength(1);
    await items.next();
    expect(telegram.calls).toHaveLength(2);
    await items.return();
    expect({ calls: telegram.calls.length, free: pool.status().free }).toEqual({ calls: 2, free: 1 });
  });

  test("when the loop ends by break or an error - the lease is released, and the iterator was closed", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    let isTold = false;
    async function* endless(): AsyncGenerator<number> {
      try {
        for (;;) yield 1;
      } finally {
        isTold = true;
      }
    }
    for await (const _ of pool.iterate(endless)) break;
    expect({ isTold, free: pool.status().free }).toEqual({ isTold: true, free: 1 });
    const failing = async (): Promise<void> => {
      for await (const _ of pool.iterate(endless)) throw new Error("mine");
    };
    await expect(failing()).rejects.toThrow("mine");
    expect(pool.status().free).toBe(1);
  });

  test("a flood before the first item - another session begins; after it - the flood comes out, and nothing is repeated", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a", "b"] });
    telegram.onCall = ({ id, number }) => {
      if (number === 1) throw flood(60);
      return id;
    };
    expect(await collect(pool.iterate((client) => answers(client, 2)))).toEqual(["b", "b"]);
    telegram.onCall = ({ id, number }) => {
      if (number === 5) throw flood(60);
      return id;
    };
    const items = pool.iterate((client) => answers(client, 5));
    expect((await items.next()).value).toBe("b");
    await expect(items.next()).rejects.toMatchObject({ errorMessage: "FLOOD_WAIT_60" });
    expect({ cooling: pool.status().cooling, isDone: (await items.next()).done }).toEqual({ cooling: 2, isDone: true });
  });

  test("accepts an array, a promise of one, and an empty one", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    expect(await collect(pool.iterate(() => [1, 2]))).toEqual([1, 2]);
    expect(await collect(pool.iterate(async () => [3]))).toEqual([3]);
    expect(await collect(pool.iterate(() => []))).toEqual([]);
  });

  test("after the first item - a flood within inlineWaitMs is slept out, however many sessions are free", async () => {
    const { pool, telegram, clock } = await openPool({ sessions: ["a", "b"], inlineWaitMs: 5_000 });
    telegram.onCall = ({ id, number }) => {
      if (number === 2) throw flood(2);
      return id;
    };
    const items = watch(collect(pool.iterate((client) => answers(client, 3))));
    await clock.advance(2_000);
    expect(items.value).toEqual(["a", "a", "a"]);
  });

  test("the pool is destroyed in the middle - the next item rejects", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const items = pool.iterate((client) => answers(client, 5));
    await items.next();
    watch(pool.destroy());
    await clock.advance(10_000);
    await expect(items.next()).rejects.toMatchObject({ code: "POOL_CLOSED" });
  });

  test("rejects without a session to lease, and for wrong options and work", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.disable("a");
    await expect(pool.iterate(() => [1]).next()).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
    expect(() => pool.iterate(() => [1], { wait: "x" as never })).toThrow(OptionsError);
    expect(() => pool.iterate("work" as never)).toThrow(OptionsError);
  });
});

test("use() - when the work returns an iterator, its error names pool.iterate", async () => {
  const { pool } = await openPool({ sessions: ["a"] });
  const items = await pool.use((client) => answers(client, 3));
  const error = await items.next().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(LeaseReleasedError);
  expect((error as Error).message).toContain("pool.iterate(work, options)");
  const client = await pool.use((leased) => leased);
  await expect(client.call(WRITE)).rejects.toThrow("Await every call");
});
