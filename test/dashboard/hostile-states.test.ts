import { afterEach, describe, expect, test, vi } from "vitest";
import { StoredSource } from "../../src/cli/stored-source.js";
import { deferred } from "../../src/common/deferred.js";
import type { Frame } from "../../src/dashboard/frames.js";
import { LiveFeed } from "../../src/dashboard/live-feed.js";
import { floodsByMethod, PoolModel } from "../../src/dashboard/page/pool-model.js";
import { PoolSource } from "../../src/dashboard/pool-source.js";
import { wireText } from "../../src/dashboard/wire-text.js";
import { BUCKET_MS, Timeline } from "../../src/observability/timeline.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool } from "../fakes/pools.js";
import { seededRandom } from "../fakes/seeded-random.js";
import { sessionString } from "../fakes/sessions.js";
import { dead, flood, peerFlood } from "../fakes/telegram-errors.js";
import { START } from "../fakes/virtual-clock.js";

/** A page without a window: applies what the feed has. */
class Page {
  readonly model = new PoolModel("pool");
  readonly #feed: LiveFeed;
  #lastId: string | undefined;

  constructor(feed: LiveFeed) {
    this.#feed = feed;
  }

  async update(): Promise<PoolModel> {
    await this.#feed.refresh();
    for (const { id, data } of this.#feed.changesSince(this.#lastId) ?? [this.#feed.full()]) {
      const { pools } = JSON.parse(data) as Frame;
      for (const frame of pools) this.model.apply(frame);
      this.#lastId = id;
    }
    return this.model;
  }
}

afterEach(() => void vi.useRealTimers());

const HOSTILE_IDS = [
  "__proto__",
  "constructor",
  "toString",
  "<script>",
  "\u2028\u202e",
  "a\nb\r\n\r\ndata: {}",
  "😀",
  "%00",
];

describe("a page that gets changes only", () => {
  test.each([1, 2, 3])("random work %i - shows what the pool says", async (seed) => {
    const random = seededRandom(seed);
    const { pool, telegram, clock, events } = await openPool({ sessions: HOSTILE_IDS });
    const feed = new LiveFeed([new PoolSource("pool", pool)]);
    const page = new Page(feed);
    await page.update();
    let floods = 0;
    telegram.onCall = () => {
      const chance = random();
      if (chance < 0.4) {
        floods++;
        throw flood(1 + Math.floor(random() * 100));
      }
      if (chance < 0.45) throw peerFlood();
      if (chance < 0.47) throw dead();
      return 1;
    };
    const held: Disposable[] = [];
    for (let step = 0; step < 150; step++) {
      const chance = random();
      const id = HOSTILE_IDS[Math.floor(random() * HOSTILE_IDS.length)] ?? "";
      const ignored = (): void => {};
      if (chance < 0.5) await pool.use((client) => client.call(READ), { wait: false, retry: "any" }).catch(ignored);
      else if (chance < 0.6) await pool.acquire({ wait: false }).then((lease) => held.push(lease), ignored);
      else if (chance < 0.7) held.pop()?.[Symbol.dispose]();
      else if (chance < 0.75) await pool.remove(id);
      else if (chance < 0.85) await pool.add(id, sessionString(`${id}${step}`)).catch(ignored);
      else if (chance < 0.9) await pool.disable(id, "why").catch(ignored);
      else if (chance < 0.95) await pool.enable(id).catch(ignored);
      else await clock.advance(Math.floor(random() * 60_000));
      if (random() < 0.3) await expectSame(await page.update());
    }
    await expectSame(await page.update());
    feed.close();

    async function expectSame(model: PoolModel): Promise<void> {
      const { total, free, leased, cooling, restricted, dead, disabled, foreign, waiters } = pool.status();
      expect(model.status).toMatchObject({
        total,
        free,
        leased,
        cooling,
        restricted,
        dead,
        disabled,
        foreign,
        waiters,
      });
      expect([...model.sessions.values()].map(({ id, state }) => `${id} ${state}`).sort()).toEqual(
        pool
          .sessions()
          .map(({ id, state }) => `${id} ${state}`)
          .sort(),
      );
      expect(model.leases.size).toBe(pool.leases().length);
      expect(floodsByMethod(model)).toEqual(floods === 0 ? [] : [[READ, floods]]);
      expect(model.incidents.filter(({ kind }) => kind === "died")).toHaveLength(events("died").length);
      expect([...model.buckets.values()].reduce((sum, { deaths }) => sum + deaths, 0)).toBe(events("died").length);
    }
  });

  test("incidents after the reading - come once", async () => {
    const { pool, events } = await openPool({ sessions: ["alice", "bob"] });
    const feed = new LiveFeed([new PoolSource("pool", pool)]);
    await feed.refresh();
    const lease = await pool.acquire({ id: "alice" });
    lease.retire("sold");
    lease.release();
    await vi.waitFor(() => expect(events("died")).toHaveLength(1));
    const page = new PoolModel("pool");
    const { id, data } = feed.full();
    await feed.refresh();
    for (const text of [data, ...(feed.changesSince(id) ?? []).map((change) => change.data)]) {
      for (const frame of (JSON.parse(text) as Frame).pools) page.apply(frame);
    }
    expect(page.incidents.filter(({ kind }) => kind === "died")).toHaveLength(1);
    feed.close();
  });
});

describe("a source that answers after a minute, with a failure", () => {
  test("is asked again within half a minute, and says that it is old", async () => {
    vi.useFakeTimers();
    let fate: "works" | "fails" = "works";
    let reads = 0;
    const away = deferred<never>();
    const { storage, pool } = await openPool({ sessions: ["alice"] });
    const stored = new StoredSource("pool", storage);
    const read = stored.read.bind(stored);
    stored.read = async () => {
      reads++;
      if (fate === "works") return read();
      return away.promise;
    };
    const warning = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const feed = new LiveFeed([stored]);
    const stop = feed.follow({ onMessage: () => {}, onTick: () => {}, onEnd: () => {} });
    await vi.advanceTimersByTimeAsync(1_000);
    const page = new PoolModel("pool");
    const apply = (): void => {
      for (const frame of (JSON.parse(feed.full().data) as Frame).pools) page.apply(frame);
    };
    apply();
    expect({ isStale: page.isStale, total: page.status.total }).toEqual({ isStale: false, total: 1 });
    fate = "fails";
    await vi.advanceTimersByTimeAsync(61_000);
    away.reject(new Error("away"));
    await vi.advanceTimersByTimeAsync(0);
    apply();
    expect({ isStale: page.isStale, total: page.status.total }).toEqual({ isStale: true, total: 1 });
    // The page's clock goes on.
    expect(Math.abs(page.now() - Date.now())).toBeLessThan(1_500);
    fate = "works";
    const before = reads;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(reads).toBeGreaterThan(before);
    apply();
    expect(page.isStale).toBe(false);
    stop();
    feed.close();
    warning.mockRestore();
    expect(pool.status().total).toBe(1);
  });
});

describe("StoredSource", () => {
  test("two readings at once - count a flood once", async () => {
    const { storage, pool, clock, events } = await openPool({ sessions: ["alice"] });
    vi.useFakeTimers({ toFake: ["Date"], now: clock.now() });
    const source = new StoredSource("pool", storage);
    await source.observe();
    const old = await storage.list();
    const lease = await pool.acquire();
    lease.coolDown(1_000_000);
    lease.release();
    await vi.waitFor(() => expect(events("cooled")).toHaveLength(1));
    const records = await storage.list();
    const answers = [records, old, records];
    vi.spyOn(storage, "list").mockImplementation(async () => answers.shift() ?? records);
    await Promise.all([source.observe(), source.observe()]);
    await source.observe();
    const floods = source.buckets(0).flatMap((bucket) => Object.values(bucket.floods));
    expect(floods.reduce((sum, count) => sum + count, 0)).toBe(1);
  });

  test("a cooling session that is enabled again - is no flood", async () => {
    const { storage, pool, clock } = await openPool({ sessions: ["alice"] });
    vi.useFakeTimers({ toFake: ["Date"], now: clock.now() });
    const source = new StoredSource("pool", storage);
    const lease = await pool.acquire();
    lease.coolDown(1_000_000);
    lease.release();
    await pool.disable("alice", "why");
    expect((await source.observe()).sessions).toMatchObject([{ state: "disabled", availableAt: null }]);
    await pool.enable("alice");
    await clock.advance(400_000);
    vi.setSystemTime(clock.now());
    expect((await source.observe()).sessions[0]?.availableAt).not.toBeNull();
    expect(source.incidents(0)).toEqual([]);
  });
});

describe("Timeline", () => {
  const moved = (): { readonly state: { now: number }; readonly timeline: Timeline } => {
    const state = { now: START };
    return {
      state,
      timeline: new Timeline(
        () => state.now,
        () => 0,
      ),
    };
  };

  test("methods named like members of objects - are counted", () => {
    const { timeline } = moved();
    for (const name of ["__proto__", "constructor", "toString", "constructor"]) timeline.recordFlood(name);
    const sent = JSON.parse(JSON.stringify(timeline.buckets()[0]?.floods)) as object;
    expect(Object.entries(sent)).toEqual([
      ["__proto__", 1],
      ["constructor", 2],
      ["toString", 1],
    ]);
  });

  test("a clock that was far ahead - begins again when it is set right", () => {
    const { state, timeline } = moved();
    state.now += 400 * 86_400_000;
    for (let count = 0; count < 5; count++) timeline.recordFlood("a.B");
    const since = timeline.buckets().at(-1)?.at;
    state.now = START;
    timeline.recordFlood("c.D");
    state.now += BUCKET_MS;
    timeline.recordFlood("c.D");
    const expected = [START, START + BUCKET_MS].map((at) => ({ at, floods: { "c.D": 1 } }));
    expect(timeline.buckets()).toMatchObject(expected);
    // Also for those who were sent the buckets of the future.
    expect(timeline.buckets(since)).toMatchObject(expected);
  });
});

describe("wireText()", () => {
  test("a key at the place where a long text is cut - is left out", () => {
    const key = sessionString("alice");
    for (let pad = 0; pad < 400; pad += 7) {
      const text = `${"x".repeat(pad)} ${`${key} `.repeat(20)}`;
      for (let at = 0; at + 40 <= key.length; at += 40) expect(wireText(text)).not.toContain(key.slice(at, at + 40));
    }
  });
});
