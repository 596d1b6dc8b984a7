import { describe, expect, test } from "vitest";
import type { SessionStorage } from "../../src/storage/storage.js";
import { READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { twoHosts } from "../fakes/two-hosts.js";

/** Of a ttl of a minute. */
const SEEN_AFTER = 20_000;

describe("changes by another process", () => {
  test("are seen beside a record that cannot be read", async () => {
    const { one, two, clock, inner } = await twoHosts();
    const record = await inner.read("a");
    await inner.write("a", record?.version ?? 0, "damaged");
    await one.pool.add("b", sessionString("b"));
    await clock.advance(SEEN_AFTER);
    expect(two.pool.get("b")?.state).toBe("free");
    expect(two.events("storageFailed")).toHaveLength(1);
  });

  test.each(["remove", "update"] as const)(
    "a key that %s() freed can be added, wherever the record is listed",
    async (how) => {
      const { one, two, clock } = await twoHosts();
      if (how === "remove") await one.pool.remove("a");
      else await one.pool.update("a", { session: sessionString("another") });
      await clock.advance(0);
      await one.pool.add("A", sessionString("a"));
      await clock.advance(SEEN_AFTER);
      expect(two.pool.get("A")?.state).toBe("free");
      expect({ rejected: two.pool.rejected(), recordRejected: two.events("recordRejected") }).toEqual({
        rejected: [],
        recordRejected: [],
      });
    },
  );

  test("a key that was taken when a session was found is checked again", async () => {
    const { one, two, clock } = await twoHosts();
    const list = two.storage.list.bind(two.storage);
    const before = await list();
    await one.pool.remove("a");
    await one.pool.add("A", sessionString("a"));
    // A storage that lists while it is written may show both.
    two.storage.list = async () => [...(await list()), ...before.filter(({ id }) => id === "a")];
    await clock.advance(SEEN_AFTER);
    expect(two.pool.rejected()).toMatchObject([{ id: "A" }]);
    two.storage.list = list;
    await clock.advance(2 * SEEN_AFTER);
    expect({ state: two.pool.get("A")?.state, rejected: two.pool.rejected() }).toEqual({ state: "free", rejected: [] });
  });
});

describe("watch()", () => {
  /** A pool whose storage's watch listens when the test says so, and the same records as another process sees them. */
  async function listening() {
    const storage = new FaultyStorage();
    let listen = (): void => {};
    const watch: SessionStorage["watch"] = (_, __, onListening = () => {}) => {
      listen = onListening;
      return () => {};
    };
    const made = await openPool({ storage: Object.assign(storage, { watch }) });
    const other = await openPool({ storage: storage.sibling() });
    await made.clock.advance(0);
    return { ...made, other: other.pool, listen: () => listen() };
  }

  test("what was written before it listened is read as soon as it listens, each time", async () => {
    const { pool, clock, other, listen } = await listening();
    for (const id of ["a", "b"]) {
      await other.add(id, sessionString(id));
      await clock.advance(0);
      expect(pool.get(id)).toBeUndefined();
      listen();
      await clock.advance(0);
      expect(pool.get(id)?.state).toBe("free");
    }
  });

  test("while all records are being read, they are read once more", async () => {
    const { pool, clock, storage, other, listen } = await listening();
    const reading = deferred();
    let lists = 0;
    const list = storage.list.bind(storage);
    storage.list = async () => {
      const records = await list();
      if (++lists === 1) await reading.promise;
      return records;
    };
    listen();
    await clock.advance(0);
    await other.add("a", sessionString("a"));
    listen();
    listen();
    reading.resolve();
    await clock.advance(0);
    expect({ state: pool.get("a")?.state, lists }).toEqual({ state: "free", lists: 2 });
    await clock.advance(SEEN_AFTER);
    expect(lists).toBe(3);
  });

  test("a record that is missing then: its session stays until the interval, however often it listens", async () => {
    const { pool, clock, other, listen } = await listening();
    await other.add("a", sessionString("a"));
    await other.add("b", sessionString("b"));
    listen();
    await clock.advance(0);
    await other.remove("a");
    for (let seconds = 0; seconds < 19; seconds++) {
      listen();
      await clock.advance(1_000);
      expect(pool.get("a")?.state).toBe("free");
    }
    await clock.advance(1_000);
    expect({ a: pool.get("a"), b: pool.get("b")?.state }).toEqual({ a: undefined, b: "free" });
  });

  test("a key that is under another id then: the new session comes in the interval, and nothing is rejected", async () => {
    const { pool, clock, other, listen, events } = await listening();
    await other.add("a", sessionString("a"));
    listen();
    await clock.advance(0);
    await other.remove("a");
    await other.add("A", sessionString("a"));
    await other.add("b", sessionString("b"));
    listen();
    await clock.advance(0);
    expect({ A: pool.get("A"), b: pool.get("b")?.state }).toEqual({ A: undefined, b: "free" });
    await other.remove("b");
    await clock.advance(SEEN_AFTER);
    expect({ ids: pool.sessions().map(({ id }) => id), rejected: events("recordRejected") }).toEqual({
      ids: ["A"],
      rejected: [],
    });
  });

  test("it listens again every 50 ms: read twice at once, then less and less often until the interval", async () => {
    const { pool, clock, storage, other, listen } = await listening();
    const startedAt = clock.monotonic();
    const listedAt: number[] = [];
    const list = storage.list.bind(storage);
    storage.list = () => {
      listedAt.push(clock.monotonic() - startedAt);
      return list();
    };
    const flap = async (untilMs: number): Promise<void> => {
      while (clock.monotonic() - startedAt < untilMs) {
        listen();
        await clock.advance(50);
      }
    };
    await flap(12_000);
    await other.add("a", sessionString("a"));
    await flap(15_150);
    expect(pool.get("a")?.state).toBe("free");
    await flap(19_950);
    expect(listedAt).toEqual([0, 50, 1_050, 3_050, 7_050, 15_050]);
    await clock.advance(50);
    expect(listedAt.slice(6)).toEqual([20_000]);
    listen();
    await clock.advance(0);
    expect(listedAt).toHaveLength(8);
  });

  test("close() during such a pause: no timer is left", async () => {
    const { pool, clock, listen } = await listening();
    for (let times = 0; times < 3; times++) {
      listen();
      await clock.advance(0);
    }
    await pool.close();
    listen();
    expect(clock.pending).toBe(0);
  });

  test("a read that fails then is reported, and repeated in the interval", async () => {
    const { pool, clock, storage, other, listen, events } = await listening();
    await other.add("a", sessionString("a"));
    storage.fateOfList = () => "fails";
    listen();
    await clock.advance(0);
    expect(events("storageFailed")).toHaveLength(1);
    storage.heal();
    await clock.advance(SEEN_AFTER);
    expect(pool.get("a")?.state).toBe("free");
  });

  test("after close() nothing is read", async () => {
    const { pool, clock, storage, listen } = await listening();
    await pool.close();
    let lists = 0;
    storage.list = async () => {
      lists++;
      return [];
    };
    listen();
    await clock.advance(SEEN_AFTER);
    expect(lists).toBe(0);
  });
});

test("remove() - when the owner on another host dies, deletes the record after its claim has expired", async () => {
  const { one, two, clock, inner } = await twoHosts();
  await one.pool.acquire({ id: "a" });
  await clock.advance(SEEN_AFTER);
  one.storage.fateOfWrite = () => "hangs";
  one.storage.fateOfRead = () => "hangs";
  one.storage.fateOfList = () => "hangs";
  expect(await two.pool.remove("a")).toBe(true);
  await clock.advance(SEEN_AFTER);
  expect(await inner.read("a")).toBeDefined();
  await clock.advance(5 * SEEN_AFTER);
  expect(await inner.read("a")).toBeUndefined();
  await two.pool.add("b", sessionString("a"));
});

test("remove() - of a record that cannot be read: other processes can add it, too", async () => {
  const { one, two, clock, inner } = await twoHosts();
  await inner.write("b", 0, "damaged");
  await clock.advance(SEEN_AFTER);
  expect([one, two].map(({ pool }) => pool.rejected().length)).toEqual([1, 1]);
  await one.pool.remove("b");
  await clock.advance(SEEN_AFTER);
  expect(two.pool.rejected()).toEqual([]);
  await two.pool.add("b", sessionString("b"));
});

test("update() - is not undone by another process's write while the former client closes", async () => {
  const { one, two, clock, telegram } = await twoHosts();
  await one.pool.use((client) => client.call(READ));
  await clock.advance(SEEN_AFTER - 2_000);
  const closing = deferred();
  telegram.onClose = () => closing.promise;
  const updates = [
    watch(one.pool.update("a", { session: sessionString("another") })),
    watch(one.pool.update("a", { profile: { apiId: 5 } })),
  ];
  await two.pool.update("a", { tags: ["x"] });
  // The renewal of the claim finds it.
  await clock.advance(4_000);
  closing.resolve();
  await clock.advance(2 * SEEN_AFTER);
  expect(updates.map(({ state }) => state)).toEqual(["resolved", "resolved"]);
  for (const { pool } of [one, two]) {
    expect({ session: await pool.exportSession("a"), tags: pool.get("a")?.tags }).toEqual({
      session: sessionString("another"),
      tags: ["x"],
    });
  }
});

test("disable() - does not undo a death that another process has just written", async () => {
  const { one, two, clock, inner } = await twoHosts();
  const lease = await one.pool.acquire();
  lease.retire("banned");
  await clock.advance(0);
  await two.pool.disable("a", "holiday");
  await clock.advance(2 * SEEN_AFTER);
  const record = JSON.parse((await inner.read("a"))?.data ?? "");
  expect({ deadReason: record.deadReason, disabledReason: record.disabledReason }).toEqual({
    deadReason: "banned",
    disabledReason: "holiday",
  });
});

test("update() - of the session string does not undo that another process has just disabled it", async () => {
  const { one, two, clock, inner } = await twoHosts();
  await one.pool.disable("a", "holiday");
  await two.pool.update("a", { session: sessionString("another") });
  await clock.advance(2 * SEEN_AFTER);
  expect(JSON.parse((await inner.read("a"))?.data ?? "").disabledReason).toBe("holiday");
  expect({ stateInOne: one.pool.get("a")?.state, stateInTwo: two.pool.get("a")?.state }).toEqual({
    stateInOne: "disabled",
    stateInTwo: "disabled",
  });
});

test("update() - of a dead session's string frees it, whatever the record said meanwhile", async () => {
  const { one, two, clock } = await twoHosts();
  const lease = await one.pool.acquire();
  lease.retire("banned");
  lease.release();
  await clock.advance(SEEN_AFTER);
  await one.pool.update("a", { tags: ["x"] });
  await two.pool.update("a", { session: sessionString("a") });
  await clock.advance(2 * SEEN_AFTER);
  expect({ stateInOne: one.pool.get("a")?.state, stateInTwo: two.pool.get("a")?.state }).toEqual({
    stateInOne: "free",
    stateInTwo: "free",
  });
});

test("add() - that lands late, after another process has added the key: the other process keeps it, everywhere", async () => {
  const { one, two, clock, telegram, inner } = await twoHosts();
  const late = deferred();
  const fates = [late.promise];
  one.storage.fateOfWrite = (id) => (id === "x" ? (fates.shift() ?? "works") : "works");
  const added = watch(one.pool.add("x", sessionString("shared")));
  await clock.advance(5_000);
  expect(added.state).toBe("rejected");
  await two.pool.add("y", sessionString("shared"));
  late.resolve();
  await clock.advance(SEEN_AFTER);
  const three = await openPool({ storage: new FaultyStorage(inner), clock, telegram, ownership: { host: "three" } });
  for (const { pool } of [one, two, three]) {
    expect({ x: pool.get("x"), y: pool.get("y")?.state }).toEqual({ x: undefined, y: "free" });
    expect(pool.rejected()).toMatchObject([{ id: "x", reason: 'it holds the same auth key as "y"' }]);
  }
  expect(await one.pool.remove("x")).toBe(true);
});
