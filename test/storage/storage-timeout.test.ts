import { inspect } from "node:util";
import { expect, test } from "vitest";
import { StorageError } from "../../src/errors.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

test("run() - whatever the operation throws, rejects or is late with is a StorageError", async () => {
  const clock = new VirtualClock();
  const deadline = new StorageTimeout(clock, 5_000);
  const cause = new Error("disk full");
  const thrown = deadline.run("do it", () => {
    throw cause;
  });
  await expect(thrown).rejects.toMatchObject({ code: "STORAGE_FAILED", cause });
  await expect(deadline.run("do it", () => Promise.reject(cause))).rejects.toMatchObject({ cause });
  const own = new StorageError("mine");
  await expect(deadline.run("do it", () => Promise.reject(own))).rejects.toBe(own);
  const late = expect(deadline.run("do it", () => new Promise(() => {}))).rejects.toThrow(
    /could not do it within 5000 ms/,
  );
  await clock.advance(5_000);
  await late;
  expect(clock.pending).toBe(0);
});

test("run() - a record repeated in an adapter's error is not passed on", async () => {
  const deadline = new StorageTimeout(new VirtualClock(), 5_000);
  const data = JSON.stringify({ v: 1, session: `1${"AgAOMTQ5LjE1NC4xNjcuNTE".repeat(15)}==`, tags: ["readers"] });
  const inMessage = new Error(`no such column: ${data}`);
  const inField = Object.assign(new Error("check violated"), {
    code: "23514",
    detail: `(alice, 1, ${data.slice(0, 60)}`,
  });
  const inCause = new StorageError("mine", { cause: inField });
  for (const error of [inMessage, inField, inCause]) {
    const failed = await deadline.run("do it", () => Promise.reject(error), data).catch((failure: unknown) => failure);
    expect(failed).toBeInstanceOf(StorageError);
    expect(inspect(failed, { depth: 9, showHidden: true })).not.toContain("AgAOMTQ5");
  }
  const harmless = Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" });
  const failed = deadline.run("do it", () => Promise.reject(harmless), data);
  await expect(failed).rejects.toMatchObject({ cause: harmless });
});

test("run() - an error that holds the driver's client - is looked through within a bound, however deep", async () => {
  const deadline = new StorageTimeout(new VirtualClock(), 5_000);
  const data = `1${"AgAOMTQ5LjE1NC4xNjcuNTE".repeat(15)}==`;
  const ring: Record<string, unknown> = {};
  ring.self = ring;
  let deep: object = { data };
  for (let depth = 0; depth < 50; depth++) deep = { deep };
  let reads = 0;
  const huge = Array.from({ length: 100_000 }, (_, index) => ({ index, row: [index] }));
  const client = {
    ring,
    huge,
    get rows() {
      return ++reads;
    },
  };
  for (const held of [{ client }, { deep }, { rows: new Map([[data, 1]]) }]) {
    const error = Object.assign(new Error("connection terminated"), held);
    const failed = await deadline.run("do it", () => Promise.reject(error), data).catch((failure: unknown) => failure);
    expect(failed).toMatchObject({ code: "STORAGE_FAILED", message: expect.stringContaining("connection terminated") });
    expect(inspect(failed, { depth: 99, showHidden: true })).not.toContain("AgAOMTQ5");
  }
  expect(reads).toBe(0);
});

test("times() - the same with a longer deadline", async () => {
  const clock = new VirtualClock();
  const never = new StorageTimeout(clock, 1_000).times(3).run("do it", () => new Promise(() => {}));
  const late = expect(never).rejects.toThrow(/3000 ms/);
  await clock.advance(3_000);
  await late;
});
