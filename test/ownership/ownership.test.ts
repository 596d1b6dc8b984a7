import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, onTestFinished, test } from "vitest";
import { OwnershipLostError, StorageError } from "../../src/errors.js";
import { ownIdentity } from "../../src/ownership/process-identity.js";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { FakeTelegram, READ, WRITE } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, type TestPool, type TestPoolOptions, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

/** Of a ttl of a minute. */
const [RENEWED_AFTER, STOPS_AFTER, TAKEN_AFTER] = [20_000, 45_000, 75_000];

/** Pools on the same records, the same clock and the same Telegram. */
interface Neighbours {
  readonly clock: VirtualClock;
  readonly telegram: FakeTelegram;
  readonly inner: SessionStorage;
  open(options?: TestPoolOptions): Promise<TestPool>;
}

function neighbours(): Neighbours {
  const [inner, clock] = [memory(), new VirtualClock()];
  const telegram = new FakeTelegram(clock);
  onTestFinished(() => expect(telegram.violations).toEqual([]));
  return {
    clock,
    telegram,
    inner,
    open: (options) => openPool({ storage: new FaultyStorage(inner), clock, telegram, ...options }),
  };
}

/** Two pools that know the session "a", on two hosts. */
async function twoHosts(): Promise<Neighbours & { readonly one: TestPool; readonly two: TestPool }> {
  const made = neighbours();
  const one = await made.open({ sessions: ["a"], ownership: { host: "one" } });
  return { ...made, one, two: await made.open({ ownership: { host: "two" } }) };
}

async function ownerOf(storage: SessionStorage, id: string): Promise<Record<string, unknown> | null> {
  return JSON.parse((await storage.read(id))?.data ?? "{}").owner;
}

/** Puts a claim into the record, as if its process had gone without a word. */
async function leaveClaim(storage: SessionStorage, id: string, claim: object): Promise<void> {
  const record = await storage.read(id);
  const data = JSON.stringify({ ...JSON.parse(record?.data ?? ""), owner: claim });
  await storage.write(id, record?.version ?? 0, data);
}

describe("claiming a session", () => {
  test("while its client is connected, the record names the pool; afterwards not", async () => {
    const { inner, telegram, open } = neighbours();
    const { pool, clock } = await open({ sessions: ["a"], idleTimeoutMs: 1_000 });
    expect(await ownerOf(inner, "a")).toBeNull();
    (await pool.acquire()).release();
    expect(await ownerOf(inner, "a")).toMatchObject({ pid: process.pid, ttlMs: 60_000 });
    const closing = deferred();
    telegram.onClose = () => closing.promise;
    await clock.advance(1_000);
    expect(await ownerOf(inner, "a")).not.toBeNull();
    closing.resolve();
    await settled();
    expect(await ownerOf(inner, "a")).toBeNull();
  });

  test("when two pools claim at the same instant, one wins and the other waits", async () => {
    const { one, two, clock, telegram } = await twoHosts();
    await two.pool.add("a", sessionString("a"));
    const acquireRequests = [watch(one.pool.acquire({ id: "a" })), watch(two.pool.acquire({ id: "a" }))];
    await settled();
    expect(acquireRequests.map(({ state }) => state).sort()).toEqual(["pending", "resolved"]);
    const first = acquireRequests.findIndex(({ state }) => state === "resolved");
    acquireRequests[first]?.value?.release();
    await [one, two][first]?.pool.close();
    await clock.advance(RENEWED_AFTER);
    expect(acquireRequests[1 - first]?.state).toBe("resolved");
    expect(telegram.online).toEqual(["a"]);
  });

  test("a session of another process is foreign, is skipped, and is not waited for with wait: false", async () => {
    const { one, open } = { ...(await twoHosts()) };
    await one.pool.add("b", sessionString("b"));
    await one.pool.acquire({ id: "a" });
    const { pool } = await open();
    expect({ state: pool.get("a")?.state, status: pool.status() }).toMatchObject({
      state: "foreign",
      status: { foreign: 1, free: 1, total: 2 },
    });
    expect((await pool.acquire()).id).toBe("b");
    await expect(pool.acquire({ id: "a", wait: false })).rejects.toMatchObject({
      code: "NO_SESSION_AVAILABLE",
      waitingCount: 0,
      retryAt: null,
    });
  });

  test("when the storage refuses the claim, rejects with StorageError and connects nothing", async () => {
    const { pool, storage, telegram, clock } = await openPool({ sessions: ["a"] });
    storage.fateOfWrite = () => "hangs";
    const use = watch(pool.use((client) => client.call(READ)));
    await clock.advance(5_000);
    expect(use.error).toBeInstanceOf(StorageError);
    expect((use.error as Error).message).toContain("claim");
    expect(telegram.connects).toEqual([]);
    storage.heal();
    await clock.advance(30_000);
    expect(await pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  });

  test("when an abandoned claim lands after all, it is withdrawn", async () => {
    const { pool, storage, clock } = await openPool({ sessions: ["a"] });
    const write = deferred();
    storage.fateOfWrite = () => write.promise;
    const use = watch(pool.use(() => 1));
    await clock.advance(5_000);
    expect(use.error).toBeInstanceOf(StorageError);
    write.resolve();
    storage.heal();
    await clock.advance(60_000);
    expect(await ownerOf(storage, "a")).toBeNull();
  });

  test("when only the acknowledgement was lost, the claim is held", async () => {
    const { pool, storage, inner, clock } = { ...(await acknowledgementLost()) };
    const use = watch(pool.use((client) => client.call(READ)));
    await clock.advance(10_000);
    expect({ answer: use.value, owner: await ownerOf(inner, "a") }).toMatchObject({
      answer: `${READ} by a`,
      owner: { pid: process.pid },
    });
    expect(storage.writes.length).toBeGreaterThan(0);
  });
});

async function acknowledgementLost(): Promise<TestPool & { readonly inner: SessionStorage }> {
  const inner = memory();
  const made = await openPool({ storage: new FaultyStorage(inner), sessions: ["a"] });
  let isFirst = true;
  const { write } = made.storage;
  made.storage.write = async (id, expected, data) => {
    const version = await write.call(made.storage, id, expected, data);
    if (!isFirst) return version;
    isFirst = false;
    throw new Error("the line broke");
  };
  return { ...made, inner };
}

describe("renewal", () => {
  test("happens every third of the ttl while the client is connected", async () => {
    const { one, two, clock, inner } = await twoHosts();
    await one.pool.acquire();
    const beats = new Set<unknown>();
    for (let minute = 0; minute < 30; minute++) {
      await clock.advance(60_000);
      beats.add((await ownerOf(inner, "a"))?.beat);
      expect(two.pool.get("a")?.state).toBe("foreign");
    }
    expect({ beats: beats.size, ownershipLost: one.events("ownershipLost") }).toEqual({ beats: 30, ownershipLost: [] });
  });

  test("is not starved by other writes of the record", async () => {
    const { pool, storage, clock, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    storage.fateOfWrite = () => new Promise((resolve) => clock.setTimer(4_000, () => resolve(undefined)));
    for (let second = 1; second <= 200; second++) {
      lease.coolDown(second, { method: "a.b" });
      await clock.advance(1_000);
    }
    expect({ ownershipLost: events("ownershipLost"), aborted: lease.signal.aborted }).toEqual({
      ownershipLost: [],
      aborted: false,
    });
  });

  test("at stopAt, whether or not the storage answers, leases are revoked and the client is closed", async () => {
    const { one, clock, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    const work = watch(one.pool.use(() => new Promise(() => {}), { id: "a", wait: false }).catch((error) => error));
    one.storage.fateOfWrite = () => "hangs";
    await clock.advance(STOPS_AFTER - 1);
    expect({ aborted: lease.signal.aborted, online: telegram.online }).toEqual({ aborted: false, online: ["a"] });
    await clock.advance(1);
    expect(lease.signal.reason).toBeInstanceOf(OwnershipLostError);
    await expect(lease.client.call(READ)).rejects.toBeInstanceOf(OwnershipLostError);
    expect({ online: telegram.online, ownershipLost: one.events("ownershipLost"), work: work.state }).toEqual({
      online: [],
      ownershipLost: [{ id: "a" }],
      work: "resolved",
    });
    expect(one.events("disconnected")).toEqual([{ id: "a", reason: "its ownership was lost" }]);
  });

  test("when the session is lost, use() rejects with OwnershipLostError and is not repeated", async () => {
    const { one, clock } = await twoHosts();
    let runs = 0;
    const work = watch(one.pool.use(() => new Promise(() => runs++)));
    await settled();
    one.storage.fateOfWrite = () => "hangs";
    await clock.advance(STOPS_AFTER);
    expect({ workError: work.error, runs }).toMatchObject({
      workError: { code: "OWNERSHIP_LOST", sessionId: "a" },
      runs: 1,
    });
  });

  test("after a pause longer than the ttl, sends nothing, not even before the timer has fired", async () => {
    const { one, clock, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    await lease.client.call(READ);
    clock.skip(TAKEN_AFTER);
    await expect(lease.client.call(WRITE)).rejects.toBeInstanceOf(OwnershipLostError);
    expect(telegram.calls).toHaveLength(1);
    await clock.advance(0);
    expect(lease.signal.aborted).toBe(true);
  });

  test("after the deadline, the record names the pool until its client is gone, whatever is written meanwhile", async () => {
    const { one, clock, inner, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    const closing = deferred();
    telegram.onClose = () => closing.promise;
    one.storage.fateOfWrite = () => "hangs";
    await clock.advance(STOPS_AFTER);
    expect(lease.signal.aborted).toBe(true);
    one.storage.heal();
    watch(one.pool.update("a", { tags: ["x"] }));
    await clock.advance(4_000);
    expect(JSON.parse((await inner.read("a"))?.data ?? "")).toMatchObject({ tags: ["x"], owner: { pid: process.pid } });
    closing.resolve();
    await settled();
    expect(await ownerOf(inner, "a")).toBeNull();
  });

  test("when lapsed and not renewable, the session is not connected again", async () => {
    const { one, clock, telegram } = await twoHosts();
    (await one.pool.acquire()).release();
    one.storage.fateOfWrite = () => "hangs";
    clock.skip(TAKEN_AFTER);
    const again = watch(one.pool.acquire());
    await clock.advance(20_000);
    expect({ againError: again.error, connects: telegram.connects.length, online: telegram.online }).toMatchObject({
      againError: { code: "STORAGE_FAILED" },
      connects: 1,
      online: [],
    });
  });

  test("when the outcome is unknown because the storage hangs, sends nothing and leaves the claim in the record", async () => {
    const { one, clock, inner, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    one.storage.fateOfWrite = () => "hangs";
    clock.turnWall(3_600_000);
    const call = watch(lease.client.call(READ));
    await clock.advance(5_000);
    expect({ callError: call.error, calls: telegram.calls }).toMatchObject({
      callError: { code: "STORAGE_FAILED" },
      calls: [],
    });
    one.storage.heal();
    watch(one.pool.update("a", { tags: ["x"] }));
    await clock.advance(10_000);
    expect(JSON.parse((await inner.read("a"))?.data ?? "")).toMatchObject({ tags: ["x"], owner: { pid: process.pid } });
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
  });

  test("when the wall clock runs ahead, writes the claim again before anything is sent, and loses nothing", async () => {
    const { one, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    clock.turnWall(3_600_000);
    one.storage.writes.length = 0;
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    await lease.client.call(READ);
    expect({ writes: one.storage.writes.length, aborted: lease.signal.aborted }).toEqual({ writes: 1, aborted: false });
  });

  test("when the machine sleeps again and again for a short time, writes the claim again", async () => {
    const { one, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    await lease.client.call(READ);
    one.storage.writes.length = 0;
    for (let nap = 0; nap < 4; nap++) {
      clock.turnWall(5_000);
      await lease.client.call(READ);
    }
    expect(one.storage.writes.length).toBe(1);
  });

  test("when the storage is down just when it is due, the next attempt is soon enough", async () => {
    const { one, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    await clock.advance(RENEWED_AFTER - 1);
    one.storage.fateOfWrite = () => "fails";
    await clock.advance(19_000);
    one.storage.heal();
    await clock.advance(20_000);
    expect({ aborted: lease.signal.aborted, ownershipLost: one.events("ownershipLost") }).toEqual({
      aborted: false,
      ownershipLost: [],
    });
  });

  test("when the record is deleted under a lease, the lease is lost", async () => {
    const { one, inner, telegram, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    await inner.write("a", (await inner.read("a"))?.version ?? 0, null);
    await clock.advance(RENEWED_AFTER);
    expect({ isAborted: lease.signal.aborted, online: telegram.online, session: one.pool.get("a") }).toEqual({
      isAborted: true,
      online: [],
      session: undefined,
    });
    expect(one.events("ownershipLost")).toEqual([{ id: "a" }]);
  });

  test("when another host took the session while the machine slept, sends nothing", async () => {
    const { one, clock, inner, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    clock.turnWall(3_600_000);
    await leaveClaim(inner, "a", { ...(await ownerOf(inner, "a")), pool: "somebody", host: "four", beat: 1 });
    await expect(lease.client.call(READ)).rejects.toBeInstanceOf(OwnershipLostError);
    expect({ calls: telegram.calls, aborted: lease.signal.aborted, online: telegram.online }).toEqual({
      calls: [],
      aborted: true,
      online: [],
    });
  });

  test("when lapsed and not taken, the session is claimed again, with a new client", async () => {
    const { one, clock, telegram } = await twoHosts();
    (await one.pool.acquire()).release();
    clock.skip(TAKEN_AFTER);
    expect(await one.pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
    expect({ connects: telegram.connects.length, online: telegram.online }).toEqual({ connects: 2, online: ["a"] });
  });
});

describe("another host", () => {
  test("takes a session only after its claim stood still for ttl + grace on its own clock", async () => {
    const { one, two, clock } = await twoHosts();
    await one.pool.acquire();
    one.storage.fateOfWrite = () => "hangs";
    const taken = watch(two.pool.acquire());
    // It sees the claim for the first time when it tries to take the session itself.
    await clock.advance(TAKEN_AFTER - 1);
    expect(taken.state).toBe("pending");
    await clock.advance(1);
    expect({ takenId: taken.value?.id, state: two.pool.get("a")?.state }).toEqual({ takenId: "a", state: "leased" });
  });

  test("does not compare wall clocks: an owner whose clock is off by a day keeps its session", async () => {
    const { one, clock, inner, telegram } = await twoHosts();
    await one.pool.acquire();
    const other = new VirtualClock();
    other.turnWall(86_400_000);
    const { pool } = await openPool({
      storage: new FaultyStorage(inner),
      clock: other,
      telegram,
      ownership: { host: "two" },
    });
    for (let turn = 0; turn < 100; turn++) {
      await clock.advance(10_000);
      await other.advance(10_000);
      expect(pool.get("a")?.state).toBe("foreign");
    }
  });

  test("when its session was taken, notices at its next write: the lease is lost, the record stays the new owner's", async () => {
    const { one, two, clock, inner, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    const slow = new VirtualClock();
    const late = await openPool({
      storage: new FaultyStorage(inner),
      clock: slow,
      telegram,
      ownership: { host: "three" },
    });
    await slow.advance(TAKEN_AFTER);
    expect(late.pool.get("a")?.state).toBe("free");
    telegram.onClose = () => {};
    await one.pool.disable("a", "off").catch(() => {});
    await leaveClaim(inner, "a", { ...(await ownerOf(inner, "a")), pool: "somebody", host: "four", beat: 1 });
    lease.coolDown(5);
    await settled();
    expect(lease.signal.reason).toBeInstanceOf(OwnershipLostError);
    expect(await ownerOf(inner, "a")).toMatchObject({ pool: "somebody" });
    expect(telegram.online).toEqual([]);
    await clock.advance(RENEWED_AFTER);
    expect(two.pool.get("a")?.state).toBe("disabled");
  });
});

describe("the same host", () => {
  const claim = (change: object): object => ({ pool: "gone", beat: 1, ttlMs: 60_000, ...ownIdentity(), ...change });

  test("takes over at once a claim whose process is gone", async () => {
    const { open, inner } = neighbours();
    await (await open({ sessions: ["a"] })).pool.close();
    const child = spawn(process.execPath, ["-e", "0"]);
    const { pid = 0 } = child;
    await once(child, "exit");
    await leaveClaim(inner, "a", claim({ pid, thread: pid }));
    const { pool } = await open();
    expect(pool.get("a")?.state).toBe("free");
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe(`${READ} by a`);
  });

  test("takes over a claim within two seconds after its process ends", async () => {
    const { open, inner, clock } = neighbours();
    await (await open({ sessions: ["a"] })).pool.close();
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    const { pid = 0 } = child;
    await leaveClaim(inner, "a", claim({ pid, thread: pid, startedAt: startOf(pid) }));
    const { pool } = await open();
    const taken = watch(pool.acquire());
    await clock.advance(86_400_000 / 24);
    expect({ taken: taken.state, state: pool.get("a")?.state }).toEqual({ taken: "pending", state: "foreign" });
    child.kill();
    await once(child, "exit");
    await clock.advance(2_000);
    expect(taken.state).toBe("resolved");
  });

  test("a caller that does not wait - takes over a claim whose process has just ended", async () => {
    const { open, inner, clock } = neighbours();
    await (await open({ sessions: ["a"] })).pool.close();
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    const { pid = 0 } = child;
    await leaveClaim(inner, "a", claim({ pid, thread: pid, startedAt: startOf(pid) }));
    const { pool } = await open();
    await clock.advance(60_000);
    expect(pool.get("a")?.state).toBe("foreign");
    child.kill();
    await once(child, "exit");
    await clock.advance(100);
    expect(await pool.use((client) => client.call(READ), { wait: false })).toBe(`${READ} by a`);
  });

  test("does not accept another process with the same process id as the owner", async () => {
    const { open, inner } = neighbours();
    await (await open({ sessions: ["a"] })).pool.close();
    await leaveClaim(inner, "a", claim({ pid: process.ppid, thread: process.ppid, startedAt: "1" }));
    expect((await open()).pool.get("a")?.state).toBe("free");
  });

  test("takes over at once a claim that a closed pool of this process could not release", async () => {
    const { open, clock } = neighbours();
    const first = await open({ sessions: ["a"] });
    await first.pool.acquire();
    first.storage.fateOfWrite = () => "fails";
    const closed = watch(first.pool.destroy());
    await clock.advance(60_000);
    expect(closed.state).toBe("resolved");
    expect((await open()).pool.get("a")?.state).toBe("free");
  });

  test("respects a live pool of this process while it lives", async () => {
    const { open, clock } = neighbours();
    const first = await open({ sessions: ["a"] });
    await first.pool.acquire();
    first.storage.fateOfWrite = () => "hangs";
    const { pool } = await open();
    await clock.advance(STOPS_AFTER - 1);
    expect(pool.get("a")?.state).toBe("foreign");
  });
});

function startOf(pid: number): string {
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const line = readFileSync(`/proc/${pid}/stat`, "utf8");
  return line.slice(line.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

describe("synchronization with other processes", () => {
  test("shows new sessions, deaths, cooldowns, disabling, tags and removals within a third of the ttl", async () => {
    const { one, two, clock } = await twoHosts();
    for (const id of ["b", "c", "d", "e", "f"]) await one.pool.add(id, sessionString(id));
    await clock.advance(RENEWED_AFTER);
    expect(two.pool.sessions().map(({ id }) => id)).toEqual(["a", "b", "c", "d", "e", "f"]);
    (await one.pool.acquire({ id: "b" })).retire("banned");
    (await one.pool.acquire({ id: "c" })).coolDown(3_600);
    await one.pool.disable("d", "off");
    await one.pool.update("e", { tags: ["x"] });
    await one.pool.remove("f");
    await clock.advance(RENEWED_AFTER);
    expect(two.pool.sessions().map(({ id, state }) => `${id} ${state}`)).toEqual([
      "a free",
      "b dead",
      "c foreign",
      "d disabled",
      "e free",
    ]);
    expect(two.pool.get("e")?.tags).toEqual(["x"]);
    expect({ died: two.events("died"), cooled: two.events("cooled").length }).toEqual({
      died: [{ id: "b", reason: "banned" }],
      cooled: 1,
    });
  });

  test("revives a session that was revived by hand in another process", async () => {
    const { one, two, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    lease.retire("banned");
    lease.release();
    await clock.advance(RENEWED_AFTER);
    expect(two.pool.get("a")?.state).toBe("dead");
    await two.pool.enable("a");
    await clock.advance(RENEWED_AFTER);
    expect(one.pool.get("a")?.state).toBe("free");
    expect(await one.pool.use((client) => client.call(READ))).toBe(`${READ} by a`);
  });

  test("reads a cooldown with the claim, before it connects", async () => {
    const { one, two, telegram, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    lease.coolDown(3_600);
    lease.release();
    await one.pool.close();
    expect(two.pool.get("a")?.state).toBe("free");
    await expect(two.pool.acquire({ wait: false })).rejects.toMatchObject({ nextReleaseIn: 3_600 });
    expect({ connects: telegram.connects.length, state: two.pool.get("a")?.state }).toEqual({
      connects: 1,
      state: "cooling",
    });
    await clock.advance(3_600_000);
    expect((await two.pool.acquire()).id).toBe("a");
  });

  test("reads a death with the claim, which is no ConnectError", async () => {
    const { one, two } = await twoHosts();
    (await one.pool.acquire()).retire("banned");
    await one.pool.destroy();
    await expect(two.pool.acquire({ id: "a" })).rejects.toMatchObject({ code: "NO_SESSION_AVAILABLE" });
  });

  test("uses a new session string after the lease, and keeps the former key taken until then", async () => {
    const { one, two, clock, telegram } = await twoHosts();
    const lease = await one.pool.acquire();
    await two.pool.update("a", { session: sessionString("new") });
    await clock.advance(RENEWED_AFTER);
    await expect(two.pool.add("b", sessionString("a"))).rejects.toMatchObject({ code: "DUPLICATE_SESSION" });
    expect(telegram.online).toEqual(["a"]);
    lease.release();
    await settled();
    await one.pool.use((client) => client.call(READ));
    expect({ session: await one.pool.exportSession("a"), connects: telegram.connects.length }).toEqual({
      session: sessionString("new"),
      connects: 2,
    });
    expect(await two.pool.add("b", sessionString("a"))).toMatchObject({ id: "b", state: "free" });
  });

  test("with watch, shows a write of another process at once", async () => {
    const { open, inner } = neighbours();
    const watchers = new Set<(id: string) => void>();
    const watched = (): FaultyStorage => {
      const storage = new FaultyStorage(inner);
      const { write } = storage;
      storage.write = async (id, expected, data) => {
        const version = await write.call(storage, id, expected, data);
        for (const watcher of watchers) watcher(id);
        return version;
      };
      return Object.assign(storage, {
        watch: (changed: (id: string) => void) => {
          watchers.add(changed);
          return () => watchers.delete(changed);
        },
      });
    };
    const one = await open({ storage: watched() });
    const two = await open({ storage: watched() });
    await settled();
    await one.pool.add("a", sessionString("a"));
    await settled();
    expect(two.pool.get("a")?.state).toBe("free");
    const lease = await one.pool.acquire();
    await settled();
    expect(two.pool.get("a")?.state).toBe("foreign");
    const taken = watch(two.pool.acquire());
    lease.release();
    await one.pool.close();
    await settled();
    expect(taken.state).toBe("resolved");
    await two.pool.destroy();
    expect(watchers.size).toBe(0);
  });

  test("never overwrites a record that another process damaged", async () => {
    const { pool, storage, clock, events } = await openPool({ sessions: ["a"] });
    const damaged = "{";
    await storage.write("a", (await storage.read("a"))?.version ?? 0, damaged);
    watch(pool.disable("a"));
    await clock.advance(120_000);
    expect((await storage.read("a"))?.data).toBe(damaged);
    expect(events("storageFailed").length).toBeGreaterThan(0);
  });
});

describe("remove() of a session that another process uses", () => {
  test("removes it here at once; record and key stay taken until that client is gone", async () => {
    const { one, two, clock, inner } = await twoHosts();
    const lease = await one.pool.acquire();
    await clock.advance(RENEWED_AFTER);
    expect(await two.pool.remove("a")).toBe(true);
    expect(two.pool.get("a")).toBeUndefined();
    await clock.advance(RENEWED_AFTER);
    await expect(two.pool.add("b", sessionString("a"))).rejects.toMatchObject({ code: "DUPLICATE_SESSION" });
    await expect(two.pool.add("a", sessionString("a"))).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(await lease.client.call(READ)).toBe(`${READ} by a`);
    lease.release();
    await settled();
    expect({ session: one.pool.get("a"), record: await inner.read("a") }).toEqual({
      session: undefined,
      record: undefined,
    });
    await two.pool.add("b", sessionString("a"));
    expect(await two.pool.use((client) => client.call(READ))).toBe(`${READ} by b`);
  });

  test("is completed by the next process that synchronizes when the other one dies", async () => {
    const { one, two, clock, inner, open } = await twoHosts();
    await one.pool.acquire();
    await clock.advance(RENEWED_AFTER);
    await two.pool.remove("a");
    one.storage.fateOfWrite = () => "hangs";
    const three = await open({ ownership: { host: "three" } });
    expect(three.pool.sessions()).toEqual([]);
    await clock.advance(TAKEN_AFTER + RENEWED_AFTER);
    await three.pool.add("a", sessionString("a"));
    expect(three.pool.get("a")?.state).toBe("free");
    expect(await inner.read("a")).toBeDefined();
  });

  test("with a lease of this process, keeps the key taken until the client is gone", async () => {
    const { one, two, clock } = await twoHosts();
    const lease = await one.pool.acquire();
    expect(await one.pool.remove("a")).toBe(true);
    await clock.advance(RENEWED_AFTER);
    await expect(two.pool.add("b", sessionString("a"))).rejects.toMatchObject({ code: "DUPLICATE_SESSION" });
    lease.release();
    await settled();
    await two.pool.add("b", sessionString("a"));
    expect((await two.pool.acquire()).id).toBe("b");
  });
});

describe("a storage that is not shared", () => {
  test("when two pools share one memory(), the next holder knows the cooldown, however slowly it was written", async () => {
    const storage = new FaultyStorage();
    storage.shared = false;
    const one = await openPool({ storage, sessions: ["a"], idleTimeoutMs: 0 });
    const { telegram, clock } = one;
    const two = await openPool({ storage, clock, telegram });
    telegram.onCall = () => {
      throw flood(600);
    };
    const written = deferred();
    storage.fateOfWrite = () => written.promise;
    watch(one.pool.use((client) => client.call(READ), { wait: false }));
    await settled();
    const used = watch(two.pool.use((client) => client.call(READ), { wait: 60_000 }));
    await settled();
    written.resolve();
    await clock.advance(1_000);
    expect({ used: used.state, calls: telegram.calls.length, state: two.pool.get("a")?.state }).toEqual({
      used: "rejected",
      calls: 1,
      state: "cooling",
    });
  });

  test("when two pools share one memory(), a session belongs to one of them until it is released; nothing is written", async () => {
    const clock = new VirtualClock();
    const telegram = new FakeTelegram(clock);
    const storage = new FaultyStorage();
    storage.shared = false;
    const one = await openPool({ storage, clock, telegram, sessions: ["a"] });
    const two = await openPool({ storage, clock, telegram });
    storage.writes.length = 0;
    const lease = await one.pool.acquire();
    expect(two.pool.get("a")?.state).toBe("foreign");
    const taken = watch(two.pool.acquire());
    lease.release();
    await one.pool.close();
    await settled();
    expect({ taken: taken.state, violations: telegram.violations, writes: storage.writes }).toEqual({
      taken: "resolved",
      violations: [],
      writes: [],
    });
  });
});

test("acquire() - a flood in one process is not met again by another", async () => {
  const { one, two, telegram, clock } = await twoHosts();
  telegram.onCall = () => {
    throw flood(60);
  };
  await expect(one.pool.use((client) => client.call(READ), { wait: false })).rejects.toBeDefined();
  await one.pool.close();
  telegram.onCall = ({ id }) => id;
  const work = watch(two.pool.use((client) => client.call(READ)));
  await clock.advance(59_999);
  expect({ work: work.state, calls: telegram.calls.length }).toEqual({ work: "pending", calls: 1 });
  await clock.advance(1);
  expect(work.value).toBe("a");
});
