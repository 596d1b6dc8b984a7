import { describe, expect, onTestFinished, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { RecordWriter } from "../../src/storage/record-writer.js";
import type { StoredRecord } from "../../src/storage/storage.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { fakeContext } from "../fakes/pool-context.js";
import { deferred, watch } from "../fakes/pools.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

/** A ledger of one record, "a", whose wanted text a test sets. */
async function ledgerOf(): Promise<{
  recordWriter: RecordWriter;
  storage: FaultyStorage;
  clock: VirtualClock;
  failures: Error[];
  merged: StoredRecord[];
  gone: string[];
  want: { text: string | undefined };
  onDisk(): Promise<string | undefined>;
}> {
  const [storage, clock] = [new FaultyStorage(), new VirtualClock()];
  const failures: Error[] = [];
  const merged: StoredRecord[] = [];
  const gone: string[] = [];
  const want: { text: string | undefined } = { text: "first" };
  const context = fakeContext({ storage, clock, storageTimeoutMs: 5_000, ownership: { ttlMs: 360_000 } });
  context.events.on("storageFailed", (error) => failures.push(error));
  const recordWriter = new RecordWriter(context);
  recordWriter.attach({
    draft: () => (want.text === undefined ? undefined : { data: want.text, onWritten: () => {} }),
    merge: (record) => void merged.push(record),
    mayDelete: () => true,
    onDeleted: (id) => void gone.push(id),
  });
  recordWriter.track("a", (await storage.write("a", 0, "first")) ?? 0);
  storage.writes.length = 0;
  onTestFinished(() => recordWriter.close());
  return {
    recordWriter,
    storage,
    clock,
    failures,
    merged,
    gone,
    want,
    onDisk: async () => (await storage.read("a"))?.data,
  };
}

describe("isAllSettled", () => {
  test("is false from a change until it is on disk", async () => {
    const { recordWriter, want } = await ledgerOf();
    want.text = "second";
    const saving = recordWriter.save("a");
    expect({
      isIdle: recordWriter.isIdle,
      isSettledA: recordWriter.isSettled("a"),
      isSettledB: recordWriter.isSettled("b"),
    }).toEqual({ isIdle: false, isSettledA: false, isSettledB: true });
    await saving;
    expect({ isIdle: recordWriter.isIdle, isSettled: recordWriter.isSettled("a") }).toEqual({
      isIdle: true,
      isSettled: true,
    });
  });

  test("is true again once the wait for a change has timed out", async () => {
    const { recordWriter, storage, clock } = await ledgerOf();
    storage.fateOfWrite = () => "hangs";
    watch(recordWriter.save("a"));
    await clock.advance(4_999);
    expect(recordWriter.isIdle).toBe(false);
    await clock.advance(1);
    expect(recordWriter.isIdle).toBe(true);
  });

  test("ignores a change that no caller waits for", async () => {
    const { recordWriter, storage } = await ledgerOf();
    storage.fateOfWrite = () => "hangs";
    watch(recordWriter.saveOutsideFlush("a"));
    expect(recordWriter.isIdle).toBe(true);
  });

  test.each(["by another writer", "here"])("is true for a record that was deleted %s", async (where) => {
    const { recordWriter, storage, clock, want } = await ledgerOf();
    if (where === "here") want.text = undefined;
    else await storage.write("a", 1, null);
    watch(recordWriter.save("a"));
    await clock.advance(100_000);
    expect(recordWriter.isIdle).toBe(true);
  });

  test("is true after close() with an unwritten change", async () => {
    const { recordWriter, storage } = await ledgerOf();
    storage.fateOfWrite = () => "fails";
    watch(recordWriter.save("a"));
    await settled();
    recordWriter.close();
    await settled();
    watch(recordWriter.save("a"));
    expect(recordWriter.isIdle).toBe(true);
  });
});

describe("save()", () => {
  test("resolves when the change is on disk, and leaves no timer", async () => {
    const { recordWriter, want, onDisk, clock } = await ledgerOf();
    want.text = "second";
    await recordWriter.save("a");
    expect({ onDisk: await onDisk(), isSettled: recordWriter.isSettled("a"), pendingTimers: clock.pending }).toEqual({
      onDisk: "second",
      isSettled: true,
      pendingTimers: 0,
    });
  });

  test("when another writer has deleted the record, reports it and does not retry", async () => {
    const { recordWriter, storage, gone, failures, clock } = await ledgerOf();
    await storage.write("a", (await storage.read("a"))?.version ?? 0, null);
    storage.writes.length = 0;
    await recordWriter.save("a");
    await clock.advance(100_000);
    expect({ gone, failures, writes: storage.writes.length, pendingTimers: clock.pending }).toEqual({
      gone: ["a"],
      failures: [],
      writes: 1,
      pendingTimers: 0,
    });
  });

  test("when the storage refuses every version it returns, fails instead of looping", async () => {
    const { recordWriter, storage, failures, clock, want } = await ledgerOf();
    want.text = "second";
    storage.write = async () => undefined;
    const saving = watch(recordWriter.save("a"));
    await clock.advance(5_000);
    expect({ saving: saving.state, hasFailed: failures.length > 0 }).toEqual({ saving: "resolved", hasFailed: true });
    expect(failures[0]?.message).toMatch(/refused 100 writes/);
  });

  test("for an id that is not tracked, resolves and writes nothing", async () => {
    const { recordWriter, storage } = await ledgerOf();
    await recordWriter.save("x");
    expect(storage.writes).toEqual([]);
  });

  test("during a write, writes all later changes in one more, never in parallel, and the last state wins", async () => {
    const { recordWriter, storage, want, onDisk } = await ledgerOf();
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    const saves = ["1", "2", "3", "4"].map((text) => {
      want.text = text;
      return watch(recordWriter.save("a"));
    });
    await settled();
    expect(saves.map(({ state }) => state)).toEqual(Array(4).fill("pending"));
    gate.resolve();
    await settled();
    expect(saves.map(({ state }) => state)).toEqual(Array(4).fill("resolved"));
    expect({
      data: storage.writes.map(({ data }) => data),
      mostAtOnce: storage.mostAtOnce,
      onDisk: await onDisk(),
    }).toEqual({ data: ["1", "4"], mostAtOnce: 1, onDisk: "4" });
  });

  test("when a write fails, reports it once, retries until it succeeds, and resolves then", async () => {
    const { recordWriter, storage, failures, clock, want, onDisk } = await ledgerOf();
    storage.fateOfWrite = () => "fails";
    want.text = "second";
    const saving = watch(recordWriter.save("a"));
    await settled();
    expect({ failures: failures.length, saving: saving.state }).toEqual({ failures: 1, saving: "pending" });
    expect(failures[0]).toBeInstanceOf(StorageError);
    storage.heal();
    await clock.advance(100);
    expect({ saving: saving.state, onDisk: await onDisk(), failures: failures.length }).toEqual({
      saving: "resolved",
      onDisk: "second",
      failures: 1,
    });
  });

  test("retries with growing delays", async () => {
    const { recordWriter, storage, clock } = await ledgerOf();
    storage.fateOfWrite = () => "fails";
    watch(recordWriter.save("a"));
    await clock.advance(3_600_000);
    expect(storage.writes.length).toBeGreaterThan(100);
    expect(storage.writes.length).toBeLessThan(140);
  });

  test("when a write hangs, resolves after storageTimeoutMs and reports one failure for all callers", async () => {
    const { recordWriter, storage, failures, clock } = await ledgerOf();
    storage.fateOfWrite = () => "hangs";
    const saving = [watch(recordWriter.save("a")), watch(recordWriter.save("a")), watch(recordWriter.flush("a"))];
    await clock.advance(4_999);
    expect(saving.map(({ state }) => state)).toEqual(Array(3).fill("pending"));
    await clock.advance(1);
    expect(saving.map(({ state }) => state)).toEqual(Array(3).fill("resolved"));
    expect({ failures: failures.length, isSettled: recordWriter.isSettled("a") }).toEqual({
      failures: 1,
      isSettled: true,
    });
  });

  test("when a write hangs for ever, retries", async () => {
    const { recordWriter, storage, clock, want, onDisk } = await ledgerOf();
    storage.fateOfWrite = () => "hangs";
    want.text = "second";
    watch(recordWriter.save("a"));
    await clock.advance(5_000);
    storage.heal();
    await clock.advance(10_000);
    expect({ onDisk: await onDisk(), isSettled: recordWriter.isSettled("a") }).toEqual({
      onDisk: "second",
      isSettled: true,
    });
  });

  test("when a write lands late, after a newer one, keeps the newer state", async () => {
    const { recordWriter, storage, clock, want, onDisk } = await ledgerOf();
    const late = deferred();
    storage.fateOfWrite = () => late.promise;
    want.text = "old";
    watch(recordWriter.save("a"));
    await clock.advance(5_000);
    want.text = "new";
    storage.heal();
    watch(recordWriter.save("a"));
    await clock.advance(10_000);
    expect(await onDisk()).toBe("new");
    late.resolve();
    await clock.advance(60_000);
    expect({ onDisk: await onDisk(), isSettled: recordWriter.isSettled("a") }).toEqual({
      onDisk: "new",
      isSettled: true,
    });
  });

  test("when a write lands late, before the retry, overwrites it with the newer state", async () => {
    const { recordWriter, storage, clock, want, onDisk } = await ledgerOf();
    const late = deferred();
    storage.fateOfWrite = () => late.promise;
    want.text = "old";
    watch(recordWriter.save("a"));
    await clock.advance(5_000);
    want.text = "new";
    late.resolve();
    storage.heal();
    await clock.advance(60_000);
    expect({ onDisk: await onDisk(), isSettled: recordWriter.isSettled("a") }).toEqual({
      onDisk: "new",
      isSettled: true,
    });
  });

  test("when another writer was faster, merges its state, then overwrites it", async () => {
    const { recordWriter, storage, merged, want, onDisk } = await ledgerOf();
    await storage.write("a", 1, "theirs");
    want.text = "ours";
    await recordWriter.save("a");
    expect({ data: merged.map(({ data }) => data), onDisk: await onDisk() }).toEqual({
      data: ["theirs"],
      onDisk: "ours",
    });
  });
});

describe("delete()", () => {
  test("deletes the record, also after another writer's change", async () => {
    const { recordWriter, storage, onDisk } = await ledgerOf();
    await storage.write("a", 1, "theirs");
    await recordWriter.delete("a");
    expect(await onDisk()).toBeUndefined();
    await recordWriter.delete("a");
  });

  test("when it fails, leaves the record written and tracked", async () => {
    const { recordWriter, storage, want, onDisk, clock } = await ledgerOf();
    storage.fateOfWrite = () => "fails";
    await expect(recordWriter.delete("a")).rejects.toBeInstanceOf(StorageError);
    storage.heal();
    want.text = "second";
    const saving = watch(recordWriter.save("a"));
    await clock.advance(1_000);
    expect({ saving: saving.state, onDisk: await onDisk() }).toEqual({ saving: "resolved", onDisk: "second" });
  });

  test("for a record whose write keeps failing, leaves no timer", async () => {
    const { recordWriter, storage, clock } = await ledgerOf();
    storage.fateOfWrite = (_, data) => (data === null ? "works" : "fails");
    watch(recordWriter.save("a"));
    const deleting = watch(recordWriter.delete("a"));
    await clock.advance(5_000);
    expect({ deleting: deleting.state, pendingTimers: clock.pending }).toEqual({
      deleting: "resolved",
      pendingTimers: 0,
    });
  });
});

test("flush() - retries at once, and ends by storageTimeoutMs", async () => {
  const { recordWriter, storage, clock, want, onDisk } = await ledgerOf();
  storage.fateOfWrite = () => "fails";
  want.text = "second";
  watch(recordWriter.save("a"));
  await clock.advance(20_000);
  const failing = watch(recordWriter.flushAll());
  await clock.advance(5_000);
  expect(failing.state).toBe("resolved");
  await clock.advance(20_000);
  storage.heal();
  await recordWriter.flushAll();
  expect(await onDisk()).toBe("second");
});

test("close() - ends the retries: no timer, no write afterwards", async () => {
  const { recordWriter, storage, clock } = await ledgerOf();
  storage.fateOfWrite = () => "fails";
  const saving = watch(recordWriter.save("a"));
  await settled();
  recordWriter.close();
  await settled();
  const writes = storage.writes.length;
  await recordWriter.save("a");
  await clock.advance(100_000);
  expect({ saving: saving.state, pendingTimers: clock.pending, writes: storage.writes.length }).toEqual({
    saving: "resolved",
    pendingTimers: 0,
    writes,
  });
});

test("a record that was deleted and created again while an older write reads it - is tracked", async () => {
  const { recordWriter, storage, want, gone } = await ledgerOf();
  await storage.write("a", 1, null);
  const looking = deferred();
  const read = storage.read.bind(storage);
  const looks = [looking.promise];
  storage.read = async (id) => {
    const found = await read(id);
    await looks.shift();
    return found;
  };
  want.text = "second";
  void recordWriter.saveOutsideFlush("a");
  await settled();
  expect(await recordWriter.delete("a")).toBe(true);
  const version = (await storage.write("a", 0, "anew")) ?? 0;
  recordWriter.track("a", version);
  looking.resolve();
  await settled();
  expect({ version: recordWriter.versionOf("a"), gone }).toEqual({ version, gone: [] });
});
