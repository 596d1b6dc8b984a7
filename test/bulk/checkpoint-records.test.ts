import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isReserved } from "../../src/options/validators.js";
import { ownIdentity } from "../../src/ownership/process-identity.js";
import { Checkpoint } from "../../src/storage/checkpoint/checkpoint.js";
import { CheckpointStorage, headId, KEYS_PER_RECORD, partId } from "../../src/storage/checkpoint/checkpoint-records.js";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { watch } from "../fakes/pools.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

const self = ownIdentity();

function checkpointOn(storage: SessionStorage, clock: VirtualClock, name = "job"): Checkpoint {
  return new Checkpoint(new CheckpointStorage(storage, new StorageTimeout(clock, 1_000), clock), self, name);
}

/** What a process that is killed now leaves behind. */
async function diskOf(storage: SessionStorage): Promise<SessionStorage> {
  const disk = memory();
  for (const { id, data } of await storage.list()) {
    const record = JSON.parse(data);
    if (record.claim) record.claim.run = "killed";
    await disk.write(id, 0, JSON.stringify(record));
  }
  return disk;
}

describe("Checkpoint", () => {
  test("its records belong to the pool, whatever its name", () => {
    for (const name of ["job", ":", "~key:x"]) {
      expect(isReserved(headId(name)) && isReserved(partId(name, 3))).toBe(true);
    }
  });

  test("when any write fails or the process crashes - acknowledged items are done, begun items are never repeated", async () => {
    const steps = fc.array(
      fc.record({
        what: fc.constantFrom("begin", "begin and done", "done", "unknown", "begin and unbegin"),
        fate: fc.oneof(
          { weight: 5, arbitrary: fc.constant("works" as const) },
          { weight: 1, arbitrary: fc.constantFrom("fails" as const, "hangs" as const, "lands unheard" as const) },
        ),
        pauseMs: fc.constantFrom(0, 0, 300, 1_500),
      }),
      { minLength: 1, maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const clock = new VirtualClock();
        const inner = memory();
        const storage = new FaultyStorage(inner);
        const checkpoint = checkpointOn(storage, clock);
        await checkpoint.open();
        const finished = new Map<string, "done" | "unknown">();
        const begun = new Set<string>();
        const withdrawn = new Set<string>();
        for (const [at, { what, fate, pauseMs }] of plan.entries()) {
          const key = `key ${at}`;
          let isNext = true;
          storage.fateOfWrite = () => {
            const isThis = isNext;
            isNext = false;
            if (!isThis) return "works";
            return fate === "lands unheard" ? "works" : fate;
          };
          if (fate === "lands unheard") {
            const write = inner.write.bind(inner);
            inner.write = async (...parameters) => {
              inner.write = write;
              await write(...parameters);
              throw new Error("connection lost");
            };
          }
          const act = async (): Promise<void> => {
            if (what.startsWith("begin")) await checkpoint.markStarted(key).then(() => begun.add(key));
            if (what.endsWith("unbegin")) await checkpoint.unmarkStarted(key).then(() => withdrawn.add(key));
            const outcome = what === "unknown" ? "unknown" : "done";
            if (!what.endsWith("done") && what !== "unknown") return;
            await checkpoint.markFinished(key, outcome);
            finished.set(key, outcome);
          };
          watch(act());
          await clock.advance(pauseMs);
        }
        const next = checkpointOn(await diskOf(inner), clock);
        await next.open();
        for (const [key, outcome] of finished) {
          expect(next.take(key)).toBe(false);
          if (outcome === "unknown") expect(next.unknown).toContain(key);
        }
        for (const key of begun) {
          if (!withdrawn.has(key) && !plan[Number(key.slice(4))]?.what.endsWith("unbegin")) {
            expect(next.take(key)).toBe(false);
          }
        }
        for (const key of withdrawn) expect(next.take(key)).toBe(true);
        await next.close();
        const closed = watch(checkpoint.close());
        await clock.advance(60_000);
        expect(closed.state).toBe("resolved");
      }),
      { numRuns: 200 },
    );
  });

  test("thousands of keys - only the last record is written again", async () => {
    const clock = new VirtualClock();
    const storage = new FaultyStorage();
    const checkpoint = checkpointOn(storage, clock);
    await checkpoint.open();
    for (let from = 0; from < 20_000; from += 1_000) {
      await Promise.all(Array.from({ length: 1_000 }, (_, at) => checkpoint.markFinished(`${from + at}`, "done")));
    }
    expect(storage.writes.every(({ data }) => (data?.length ?? 0) < KEYS_PER_RECORD * 10)).toBe(true);
    await checkpoint.close();
    const next = checkpointOn(storage, clock);
    await next.open();
    expect(next.take("19999")).toBe(false);
    expect(next.take("20000")).toBe(true);
    await next.close();
  });

  test("a write that lands late, after it was given up - is recognized as its own", async () => {
    const clock = new VirtualClock();
    const storage = new FaultyStorage();
    const checkpoint = checkpointOn(storage, clock);
    await checkpoint.open();
    let land: () => void = () => {};
    storage.fateOfWrite = () => {
      storage.heal();
      return new Promise<void>((resolve) => {
        land = resolve;
      });
    };
    const done = watch(checkpoint.markFinished("a", "done"));
    await clock.advance(1_000);
    expect(done.state).toBe("pending");
    land();
    await clock.advance(1_000);
    expect(done.state).toBe("resolved");
    await checkpoint.markFinished("b", "done");
    expect((await storage.stored(partId("job", 0)))?.done).toEqual(["a", "b"]);
    await checkpoint.close();
  });
});
