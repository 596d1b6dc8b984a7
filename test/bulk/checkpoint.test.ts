import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { MapCheckpoint, MapOptions, MapProgress, MapResult, MapRun } from "../../src/options/options.js";
import { memory } from "../../src/storage/memory.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, type TestPool, watch } from "../fakes/pools.js";
import { badRequest, flood, serverFault } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
beforeAll(() => void process.on("unhandledRejection", note));
afterAll(() => void process.off("unhandledRejection", note));
afterEach(async () => {
  await settled();
  expect(rejections.splice(0)).toEqual([]);
});

async function all<I, O>(results: AsyncIterable<MapResult<I, O>>): Promise<MapResult<I, O>[]> {
  const found: MapResult<I, O>[] = [];
  for await (const result of results) found.push(result);
  return found;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const read = (client: FakeClient): Promise<unknown> => client.call(READ);
const write = (client: FakeClient): Promise<unknown> => client.call(WRITE);
const itemsOf = (results: readonly MapResult<number, unknown>[]): number[] =>
  results.map(({ item }) => item).sort((a, b) => a - b);

/** A pool whose own storage holds the checkpoint. */
async function begin(
  options: Parameters<typeof openPool>[0] = {},
): Promise<TestPool & { readonly checkpoint: MapCheckpoint<number> }> {
  const opened = await openPool({ sessions: ["alice", "bob"], ...options });
  return { ...opened, checkpoint: { storage: opened.storage, name: "job", key: (item) => `item ${item}` } };
}

/** The process dies: nothing of it is written any more, and another one finds what is on disk. */
async function kill({ storage }: TestPool): Promise<FaultyStorage> {
  const disk = memory();
  for (const { id, data } of await storage.list()) {
    const record = JSON.parse(data);
    // The process of these claims is gone; the test's own is not.
    if (record.owner) record.owner = null;
    if (record.claim) record.claim.run = "killed";
    await disk.write(id, 0, JSON.stringify(record));
  }
  return new FaultyStorage(disk);
}

describe("map({ checkpoint })", () => {
  test("a second run - skips completed items, in the same pool and after a restart", async () => {
    const first = await begin();
    expect(itemsOf(await all(first.pool.map(numbers(5), read, { checkpoint: first.checkpoint })))).toEqual(numbers(5));
    const again = first.pool.map(numbers(7), read, { checkpoint: first.checkpoint });
    expect(itemsOf(await all(again))).toEqual([5, 6]);
    const second = await begin({ storage: await kill(first), sessions: [] });
    expect(second.pool.sessions()).toHaveLength(2);
    const progress: MapProgress[] = [];
    const rest = await all(
      second.pool.map(numbers(8), read, { checkpoint: second.checkpoint, onProgress: (told) => progress.push(told) }),
    );
    expect(rest).toMatchObject([{ item: 7, index: 7, ok: true }]);
    expect(progress.at(-1)).toMatchObject({ done: 8, total: 8, skipped: 7, failed: 0 });
    expect(second.telegram.calls).toHaveLength(1);
  });

  test("hands over a result only when its mark is on disk", async () => {
    const { pool, storage, checkpoint } = await begin();
    const gate = deferred();
    storage.fateOfWrite = (id) => (id === "~map:job:0" ? gate.promise : "works");
    const next = watch(pool.map([1], read, { checkpoint }).next());
    await settled();
    expect(next.state).toBe("pending");
    expect(pool.leases()).toEqual([]);
    gate.resolve();
    await settled();
    expect(next.value?.value).toMatchObject({ item: 1, ok: true });
  });

  test("writes marks together, 500 to a record", async () => {
    const { pool, storage, checkpoint } = await begin();
    const before = storage.writes.length;
    storage.fateOfWrite = () => settled();
    await all(pool.map(numbers(1_200), () => 1, { checkpoint, concurrency: 100 }));
    expect((await storage.list()).map(({ id }) => id).filter((id) => id.startsWith("~map:"))).toEqual([
      "~map:job:head",
      "~map:job:0",
      "~map:job:1",
      "~map:job:2",
    ]);
    expect((await storage.stored("~map:job:0"))?.done).toHaveLength(500);
    expect((await storage.stored("~map:job:2"))?.done).toHaveLength(200);
    expect(storage.writes.length - before).toBeLessThan(100);
    expect(storage.mostAtOnce).toBe(1);
  });

  test("items with one key - are one item", async () => {
    const { pool, checkpoint } = await begin();
    const results = await all(pool.map([1, 1, 2, 1], read, { checkpoint }));
    expect(itemsOf(results)).toEqual([1, 2]);
  });

  test("a key that throws or is no text - that item fails alone, and is not marked", async () => {
    const { pool, checkpoint } = await begin();
    const key = (item: number): string => {
      if (item === 0) throw new Error("no key");
      return item === 1 ? "" : `item ${item}`;
    };
    const results = await all(pool.map([0, 1, 2], read, { checkpoint: { ...checkpoint, key }, ordered: true }));
    expect(results).toMatchObject([
      { ok: false, error: { message: "no key" }, attempts: 0 },
      { ok: false, error: { code: "INVALID_OPTIONS" }, attempts: 0 },
      { ok: true },
    ]);
    expect(itemsOf(await all(pool.map(numbers(3), read, { checkpoint })))).toEqual([0, 1]);
  });

  test("marks an item that failed by itself, and not one that no session could serve", async () => {
    const { pool, telegram, checkpoint } = await begin();
    telegram.onCall = ({ number }) => {
      if (number === 1) throw badRequest();
      throw flood(60);
    };
    const options: MapOptions<number> = { checkpoint, concurrency: 1, wait: false };
    expect(await all(pool.map([0, 1, 2], read, options))).toMatchObject([
      { ok: false, error: { errorMessage: "MESSAGE_EMPTY" } },
      { ok: false, error: { code: "NO_SESSION_AVAILABLE" } },
      { ok: false, error: { code: "NO_SESSION_AVAILABLE" } },
    ]);
    const run = pool.map([0, 1, 2], read, options);
    expect(itemsOf(await all(run))).toEqual([1, 2]);
    expect(run.uncertainKeys).toEqual([]);
  });

  test("many items to skip - the event loop keeps turning", async () => {
    const { pool, checkpoint } = await begin();
    await all(pool.map(numbers(5_000), () => 1, { checkpoint, concurrency: 500 }));
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const immediate = (): void => {
      turns++;
      if (turns < 1_000) setImmediate(immediate);
    };
    setImmediate(immediate);
    await all(pool.map(numbers(5_000), () => 1, { checkpoint }));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(4);
    turns = 1_000;
  });

  test("forget() - the name is free, its records are gone", async () => {
    const { pool, storage, checkpoint } = await begin();
    const run = pool.map(numbers(600), read, { checkpoint });
    await all(run);
    await run.deleteCheckpoint();
    expect((await storage.list()).filter(({ id }) => id.startsWith("~map:"))).toEqual([]);
    expect(await all(pool.map(numbers(3), read, { checkpoint }))).toHaveLength(3);
    await pool.map([], read).deleteCheckpoint();
  });

  test("two names - share nothing, whatever characters are in them", async () => {
    const { pool, checkpoint } = await begin();
    for (const name of ["job", "job:0", "job:head", ":"]) {
      expect(await all(pool.map([1], read, { checkpoint: { ...checkpoint, name } }))).toHaveLength(1);
      expect(await all(pool.map([1], read, { checkpoint: { ...checkpoint, name } }))).toHaveLength(0);
    }
  });

  test("a storage of its own - is opened once, and closed with the pool", async () => {
    const { pool, checkpoint } = await begin();
    const own = new FaultyStorage();
    let opened = 0;
    own.open = async () => void opened++;
    for (let runs = 0; runs < 2; runs++)
      await all(pool.map([1, 2], read, { checkpoint: { ...checkpoint, storage: own } }));
    expect({ opened, isClosed: own.isClosed }).toEqual({ opened: 1, isClosed: false });
    await pool.close();
    expect(own.isClosed).toBe(true);
    const other = await begin();
    expect(await all(other.pool.map([1, 2], read, { checkpoint: { ...checkpoint, storage: own } }))).toEqual([]);
  });

  test("its records are not sessions", async () => {
    const first = await begin();
    await all(first.pool.map([1], read, { checkpoint: first.checkpoint }));
    const second = await openPool({ storage: await kill(first) });
    expect(second.pool.sessions().map(({ id }) => id)).toEqual(["alice", "bob"]);
    expect(second.pool.rejected()).toEqual([]);
    await expect(second.pool.add("~map:job:head", "1")).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("a killed run", () => {
  /** Runs until `onCall` stands still, and kills it there. */
  async function killed(
    work: (client: FakeClient, item: number) => Promise<unknown>,
    options: MapOptions<number> = {},
  ): Promise<{ readonly disk: FaultyStorage; readonly got: number[]; readonly run: MapRun<number, unknown> }> {
    const opened = await begin();
    const { pool, telegram, checkpoint } = opened;
    telegram.onCall = ({ number }) => (number <= 2 ? "ok" : new Promise(() => {}));
    const run = pool.map(numbers(6), work, { checkpoint, concurrency: 2, ...options });
    const got: number[] = [];
    for (let at = 0; at < 2; at++) got.push(Number((await run.next()).value?.item));
    watch(run.next());
    await settled();
    return { disk: await kill(opened), got, run };
  }

  test("reads that were under way - are repeated; delivered ones are not", async () => {
    const { disk, got } = await killed(read);
    const { pool, checkpoint } = await begin({ storage: disk, sessions: [] });
    const run = pool.map(numbers(6), read, { checkpoint: { ...checkpoint, storage: disk } });
    expect(itemsOf(await all(run))).toEqual(numbers(6).filter((item) => !got.includes(item)));
    expect(run.uncertainKeys).toEqual([]);
  });

  test("writes that were under way - may have taken effect: listed, not repeated", async () => {
    const { disk, got } = await killed(write);
    expect(got.sort()).toEqual([0, 1]);
    for (let again = 0; again < 2; again++) {
      const { pool, telegram, checkpoint } = await begin({
        storage: again === 0 ? disk : new FaultyStorage(disk),
        sessions: [],
      });
      const run = pool.map(numbers(6), write, { checkpoint: { ...checkpoint, storage: disk } });
      expect(itemsOf(await all(run))).toEqual(again === 0 ? [4, 5] : []);
      expect(run.uncertainKeys).toEqual(["item 2", "item 3"]);
      expect(telegram.calls).toHaveLength(again === 0 ? 2 : 0);
      await pool.close();
    }
  });

  test("retry any - repeats writes, as the caller allowed", async () => {
    const { disk } = await killed(write, { retry: "any" });
    const { pool, checkpoint } = await begin({ storage: disk, sessions: [] });
    expect(itemsOf(await all(pool.map(numbers(6), write, { checkpoint: { ...checkpoint, storage: disk } })))).toEqual([
      2, 3, 4, 5,
    ]);
  });

  test("starts a write only when its start is recorded", async () => {
    const { pool, storage, telegram, checkpoint } = await begin();
    const gate = deferred();
    const run = pool.map([0, 1], write, { checkpoint });
    storage.fateOfWrite = (_, data) => (data?.includes("item") ? gate.promise : "works");
    const next = watch(run.next());
    await settled();
    expect(pool.leases()).toHaveLength(2);
    expect(telegram.calls).toEqual([]);
    gate.resolve();
    await settled();
    expect(telegram.calls).toHaveLength(2);
    expect(next.state).toBe("resolved");
    await all(run);
    expect(await storage.stored("~map:job:head")).toMatchObject({ claim: null, begun: [] });
  });

  test("a write that was refused and waits for another session - is done again", async () => {
    const opened = await begin({ sessions: ["alice"] });
    opened.telegram.onCall = () => {
      throw flood(60);
    };
    const next = watch(opened.pool.map([0, 1], write, { checkpoint: opened.checkpoint }).next());
    await settled();
    expect(next.state).toBe("pending");
    expect(opened.pool.status().waiters).toBe(1);
    const disk = await kill(opened);
    expect((await disk.stored("~map:job:head"))?.begun).toEqual([]);
  });
});

describe("an item that failed for a reason of the connection", () => {
  test.each([
    ["as it is", (error: unknown) => error],
    ["wrapped by the work", (error: unknown) => new Error("not sent", { cause: error })],
  ])("%s - never sent: is done again by the next run", async (_, wrap) => {
    const { pool, telegram, checkpoint } = await begin({ sessions: ["alice"] });
    const work = async (client: FakeClient, _item: number, lease: { readonly id: string }): Promise<unknown> => {
      if (telegram.calls.length === 0) {
        await client.call(READ);
        await pool.disable(lease.id);
        telegram.handle(lease.id).drop();
      }
      return client.call(WRITE).catch((error: unknown) => Promise.reject(wrap(error)));
    };
    expect(await all(pool.map([0], work, { checkpoint, wait: false }))).toMatchObject([{ ok: false }]);
    await pool.enable("alice");
    expect(await all(pool.map([0], work, { checkpoint }))).toMatchObject([{ ok: true }]);
  });

  test("an answer that cannot be read - is unknown after a write, and done again after a read", async () => {
    const { pool, telegram, checkpoint } = await begin();
    telegram.onCall = () => {
      throw new RangeError("offset is out of bounds");
    };
    const work = (client: FakeClient, item: number): Promise<unknown> => client.call(item === 0 ? WRITE : READ);
    const run = pool.map([0, 1], work, { checkpoint });
    expect(await all(run)).toMatchObject([{ ok: false }, { ok: false }]);
    expect(run.uncertainKeys).toEqual(["item 0"]);
    telegram.onCall = () => {};
    expect(itemsOf(await all(pool.map([0, 1], work, { checkpoint })))).toEqual([1]);
  });
});

describe("an unknown outcome", () => {
  test("is a result, listed apart, and not repeated by the next run", async () => {
    const { pool, telegram, checkpoint } = await begin();
    telegram.onCall = ({ number }) => {
      if (number === 1) throw serverFault();
    };
    const run = pool.map([0, 1], write, { checkpoint, concurrency: 1 });
    expect(await all(run)).toMatchObject([{ ok: false, error: { code: "OUTCOME_UNKNOWN" } }, { ok: true }]);
    expect(run.uncertainKeys).toEqual(["item 0"]);
    const again = pool.map([0, 1], write, { checkpoint });
    expect(await all(again)).toEqual([]);
    expect(again.uncertainKeys).toEqual(["item 0"]);
    expect(telegram.calls).toHaveLength(2);
  });

  test.each(["signal", "destroy", "timeoutMs"])("a write that %s cuts - is one", async (how) => {
    const opened = await begin();
    const { pool, telegram, checkpoint, clock } = opened;
    telegram.onCall = () => new Promise(() => {});
    const controller = new AbortController();
    const run = pool.map([0], write, {
      checkpoint,
      signal: controller.signal,
      ...(how === "timeoutMs" ? { timeoutMs: 100 } : {}),
    });
    const next = watch(run.next());
    await settled();
    if (how === "signal") controller.abort(new Error("stop"));
    const ended = how === "destroy" ? pool.destroy() : undefined;
    await clock.advance(20_000);
    await ended;
    expect(next.state).toBe(how === "timeoutMs" ? "resolved" : "rejected");
    expect(run.uncertainKeys).toEqual(["item 0"]);
    const { pool: other, checkpoint: same } = await begin({ storage: await kill(opened), sessions: [] });
    const again = other.map([0, 1], write, { checkpoint: same });
    expect(itemsOf(await all(again))).toEqual([1]);
  });

  test("break - an item that finishes after it is marked", async () => {
    const { pool, telegram, checkpoint } = await begin();
    const gate = deferred();
    telegram.onCall = async ({ number }) => {
      if (number > 1) await gate.promise;
    };
    const run = pool.map(numbers(4), write, { checkpoint, concurrency: 3 });
    await run.next();
    const ended = watch(run.return());
    await settled();
    gate.resolve();
    await settled();
    expect(ended.state).toBe("resolved");
    const sent = telegram.calls.length;
    const rest = await all(pool.map(numbers(4), write, { checkpoint }));
    expect(sent + rest.length).toBe(4);
    expect(telegram.calls).toHaveLength(4);
  });
});

describe("a checkpoint's storage that fails", () => {
  test("one failure - is retried, and the run continues", async () => {
    const { pool, storage, clock, checkpoint } = await begin();
    let failures = 2;
    storage.fateOfWrite = (id) => (id === "~map:job:0" && failures-- > 0 ? "fails" : "works");
    const done = watch(all(pool.map([0, 1, 2], write, { checkpoint })));
    await clock.advance(5_000);
    expect(done.value).toHaveLength(3);
  });

  test("a permanent failure - ends the iteration with StorageError, and delivers no unmarked result", async () => {
    const { pool, storage, clock, checkpoint } = await begin();
    const got: number[] = [];
    const loop = async (): Promise<void> => {
      for await (const { item } of pool.map(numbers(10), read, { checkpoint, concurrency: 2 })) {
        got.push(item);
        if (item === 3) storage.fateOfWrite = (id) => (id === "~map:job:0" ? "fails" : "works");
      }
    };
    const ended = watch(loop());
    await clock.advance(30_000);
    expect(ended.error).toMatchObject({ code: "STORAGE_FAILED" });
    storage.heal();
    expect(itemsOf(await all(pool.map(numbers(10), read, { checkpoint })))).toEqual(
      numbers(10).filter((item) => !got.includes(item)),
    );
  });

  test("that cannot note a write - nothing is sent", async () => {
    const { pool, storage, telegram, clock, checkpoint } = await begin();
    const run = pool.map(numbers(3), write, { checkpoint });
    let isOpen = false;
    storage.fateOfWrite = (id) => (id === "~map:job:head" && isOpen ? "hangs" : "works");
    const next = watch(run.next());
    await Promise.resolve();
    isOpen = true;
    await clock.advance(60_000);
    expect(next.error).toMatchObject({ code: "STORAGE_FAILED" });
    expect(telegram.calls).toEqual([]);
    storage.heal();
  });

  test("a mark that fails after break - rejects return()", async () => {
    const { pool, storage, clock, checkpoint } = await begin();
    const gate = deferred();
    const run = pool.map([0, 1], (_, item) => (item === 0 ? undefined : gate.promise), { checkpoint });
    await run.next();
    storage.fateOfWrite = (id) => (id === "~map:job:0" ? "fails" : "works");
    const ended = watch(run.return());
    gate.resolve();
    await clock.advance(30_000);
    expect(ended.error).toMatchObject({ code: "STORAGE_FAILED" });
  });

  test("a record that cannot be read - StorageCorruptError, and it stays as it is", async () => {
    const { pool, storage, checkpoint } = await begin();
    await storage.write("~map:job:head", 0, "not json");
    await expect(pool.map([0], read, { checkpoint }).next()).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
    expect((await storage.read("~map:job:head"))?.data).toBe("not json");
  });

  test("one that cannot be opened - StorageError; the next run tries again", async () => {
    const { pool, checkpoint } = await begin();
    const own = new FaultyStorage();
    let failures = 1;
    own.open = async () => {
      if (failures-- > 0) throw new Error("no such server");
    };
    const options = { checkpoint: { ...checkpoint, storage: own } };
    await expect(pool.map([0], read, options).next()).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(await all(pool.map([0], read, options))).toHaveLength(1);
  });
});

describe("two runs of one name", () => {
  test("in one process - the second is refused while the first one runs", async () => {
    const { pool, checkpoint } = await begin();
    const first = pool.map(numbers(3), read, { checkpoint });
    await first.next();
    await expect(pool.map(numbers(3), read, { checkpoint }).next()).rejects.toMatchObject({
      code: "STORAGE_FAILED",
      message: expect.stringContaining('"job"'),
    });
    await first.return();
    await all(pool.map(numbers(3), read, { checkpoint }));
  });

  test("at the very same time - one of them", async () => {
    const { pool, checkpoint } = await begin();
    const runs = [pool.map(numbers(3), read, { checkpoint }), pool.map(numbers(3), read, { checkpoint })];
    const outcomes = await Promise.allSettled(runs.map(all));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("of another host - the later one takes it over, the earlier one sends nothing more", async () => {
    const disk = memory();
    const one = await begin({ ownership: { host: "here" } });
    const own = { ...one.checkpoint, storage: new FaultyStorage(disk) };
    const gate = deferred();
    one.telegram.onCall = async ({ number }) => {
      if (number > 2) await gate.promise;
    };
    const first = one.pool.map(numbers(8), write, { checkpoint: own, concurrency: 2, ordered: true });
    for (let at = 0; at < 2; at++) await first.next();
    const ended = watch(all(first));
    await settled();
    const head = await disk.read("~map:job:head");
    // Another host's run: nobody here can tell whether it lives.
    const claim = JSON.parse(head?.data ?? "").claim;
    await disk.write(
      "~map:job:head",
      head?.version ?? 0,
      (head?.data ?? "").replace(claim.run, "another").replaceAll("here", "there"),
    );
    const two = await begin({ ownership: { host: "here" }, sessions: ["carol"] });
    const second = two.pool.map(numbers(8), write, { checkpoint: { ...own, storage: new FaultyStorage(disk) } });
    expect(itemsOf(await all(second))).toEqual([4, 5, 6, 7]);
    expect(second.uncertainKeys).toEqual(["item 2", "item 3"]);
    gate.resolve();
    await one.clock.advance(30_000);
    expect(ended.error).toMatchObject({ code: "STORAGE_FAILED", message: expect.stringContaining("another process") });
    expect(one.telegram.calls).toHaveLength(4);
  });
});
