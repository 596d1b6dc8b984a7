import { describe, expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { ownIdentity } from "../../src/ownership/process-identity.js";
import { SessionPool } from "../../src/session-pool.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const ID = "~pool:process";
const claim = (change: object): string =>
  JSON.stringify({ pool: "other", beat: 1, ttlMs: 60_000, ...ownIdentity(), ...change });

/** A storage for one process, with what a process has left in it. */
async function storageWith(left?: string): Promise<FaultyStorage> {
  const storage = new FaultyStorage();
  storage.shared = false;
  if (left !== undefined) await storage.write(ID, 0, left);
  return storage;
}

async function beat(storage: FaultyStorage): Promise<void> {
  const record = await storage.read(ID);
  const left = JSON.parse(record?.data ?? "");
  await storage.write(ID, record?.version ?? 0, JSON.stringify({ ...left, beat: left.beat + 1 }));
}

describe("a storage that is not shared", () => {
  test("names its process while the pool is open, and none after it", async () => {
    const storage = await storageWith();
    const { pool, clock } = await openPool({ storage, sessions: ["a"] });
    const first = await storage.stored(ID);
    expect(first).toMatchObject({ pid: process.pid });
    await clock.advance(20_000);
    expect((await storage.stored(ID))?.beat).not.toBe(first?.beat);
    await pool.close();
    expect(await storage.stored(ID)).toBeUndefined();
  });

  test("when the pool closes during a renewal, leaves nothing behind", async () => {
    const storage = await storageWith();
    const { pool, clock } = await openPool({ storage });
    const [renewed, released] = [deferred(), deferred()];
    const fates = [renewed.promise, released.promise];
    storage.fateOfWrite = () => fates.shift() ?? "works";
    await clock.advance(20_000);
    const closed = watch(pool.close());
    await settled();
    renewed.resolve();
    await settled();
    released.resolve();
    await settled();
    expect({ closed: closed.state, record: await storage.stored(ID) }).toEqual({
      closed: "resolved",
      record: undefined,
    });
  });

  test("when it belongs to a live process, open() refuses, names it, says what to do and writes nothing", async () => {
    const storage = await storageWith(
      claim({ pid: process.ppid, thread: process.ppid, startedAt: startOf(process.ppid) }),
    );
    const clock = new VirtualClock();
    const before = storage.writes.length;
    const opened = SessionPool.open({ client: new FakeTelegram(clock), storage, clock });
    const error = await opened.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StorageError);
    expect((error as Error).message).toMatch(new RegExp(`pid ${process.ppid}.*sqlite\\(\\)`));
    expect({ writes: storage.writes.length, isClosed: storage.isClosed, pendingTimers: clock.pending }).toEqual({
      writes: before,
      isClosed: true,
      pendingTimers: 0,
    });
  });

  test("when its process is gone, or the process id was reused, is taken over at once", async () => {
    const storage = await storageWith(claim({ pid: process.ppid, thread: process.ppid, startedAt: "1" }));
    await openPool({ storage });
    expect(await storage.stored(ID)).toMatchObject({ pid: process.pid });
  });

  test("when it belongs to another host, is watched for ttl + grace, then taken over", async () => {
    const [storage, clock] = [await storageWith(claim({ host: "elsewhere" })), new VirtualClock()];
    const opening = watch(openPool({ storage, clock }));
    await clock.advance(74_999);
    expect({ opening: opening.state, referencedTimers: clock.referenced }).toEqual({
      opening: "pending",
      referencedTimers: 1,
    });
    await clock.advance(5_001);
    expect(opening.state).toBe("resolved");
  });

  test("when it belongs to a running process of another host, is refused as soon as that is seen", async () => {
    const [storage, clock] = [await storageWith(claim({ host: "elsewhere" })), new VirtualClock()];
    const opening = watch(openPool({ storage, clock }));
    await clock.advance(20_000);
    await beat(storage);
    await clock.advance(5_000);
    expect(opening.error).toBeInstanceOf(StorageError);
    expect(clock.pending).toBe(0);
  });

  test("two pools of one process on one storage object are allowed; the last one to close removes the entry", async () => {
    const [storage, clock] = [await storageWith(), new VirtualClock()];
    const [one, two] = [await openPool({ storage, clock }), await openPool({ storage, clock })];
    await two.pool.close();
    await clock.advance(20_000);
    expect(await storage.stored(ID)).toMatchObject({ pid: process.pid });
    await one.pool.close();
    expect(await storage.stored(ID)).toBeUndefined();
  });

  test("two pools of one process on two storage objects - the second is refused until the first is closed", async () => {
    const storage = await storageWith();
    const second = Object.assign(storage.sibling(), { shared: false });
    const { pool, clock } = await openPool({ storage });
    const opened = SessionPool.open({ client: new FakeTelegram(clock), storage: second, clock });
    await expect(opened).rejects.toMatchObject({
      code: "STORAGE_FAILED",
      message: expect.stringMatching(/^Another pool of this process .* Give both pools the same object/),
    });
    await pool.close();
    const other = await SessionPool.open({ client: new FakeTelegram(clock), storage: second, clock });
    await other.close();
  });

  test("when another process took it over, that is reported once", async () => {
    const storage = await storageWith();
    const { clock, events } = await openPool({ storage });
    const version = (await storage.read(ID))?.version ?? 0;
    await storage.write(
      ID,
      version,
      claim({ pid: process.ppid, thread: process.ppid, startedAt: startOf(process.ppid) }),
    );
    await clock.advance(60_000);
    expect(events("storageFailed")).toHaveLength(1);
    expect(String(events("storageFailed")[0]?.error)).toContain(`pid ${process.ppid}`);
  });

  test("a damaged entry belongs to no process", async () => {
    const storage = await storageWith("{");
    await openPool({ storage });
    expect(await storage.stored(ID)).toMatchObject({ pid: process.pid });
  });
});

function startOf(pid: number): string {
  const { readFileSync } = process.getBuiltinModule("node:fs");
  const line = readFileSync(`/proc/${pid}/stat`, "utf8");
  return line.slice(line.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}
