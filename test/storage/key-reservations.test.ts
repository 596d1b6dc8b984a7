import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/common/clock.js";
import { isReserved, RESERVED_PREFIXES } from "../../src/options/validators.js";
import { KeyReservations } from "../../src/storage/key-reservations.js";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { StorageTimeout } from "../../src/storage/storage-timeout.js";

const KEY = "0123456789abcdef";

const reservationsOn = (storage: SessionStorage): KeyReservations =>
  new KeyReservations(storage, new StorageTimeout(systemClock, 60_000));

/** What `add` does: takes the key, writes the record, confirms, takes the record back when somebody was faster. */
async function add(storage: SessionStorage, id: string): Promise<"won" | "lost"> {
  const keys = reservationsOn(storage);
  const { holder, version: reserved } = await keys.reserve(KEY, id);
  if (holder !== undefined) return "lost";
  const version = await storage.write(id, 0, "record");
  if ((await keys.confirm(KEY, id, reserved)) === undefined) return "won";
  if (version !== undefined) await storage.write(id, version, null);
  return "lost";
}

/** The same storage, each of whose operations waits for its turn. */
function inTurns(storage: SessionStorage, turn: () => Promise<void>): SessionStorage {
  return {
    shared: true,
    list: () => storage.list(),
    read: async (id) => {
      await turn();
      return storage.read(id);
    },
    write: async (id, expected, data) => {
      await turn();
      return storage.write(id, expected, data);
    },
  };
}

describe("KeyReservations", () => {
  test("take() - for a second id, names the holder of the key", async () => {
    const storage = memory();
    expect([await add(storage, "a"), await add(storage, "b")]).toEqual(["won", "lost"]);
    expect((await reservationsOn(storage).reserve(KEY, "b")).holder).toBe("a");
    expect(await storage.read("b")).toBeUndefined();
  });

  test("take() - a reservation whose process died before it wrote its record is taken over", async () => {
    const storage = memory();
    await reservationsOn(storage).reserve(KEY, "dead");
    expect(await add(storage, "b")).toBe("won");
  });

  test("take() - a damaged reservation is taken over", async () => {
    const storage = memory();
    await storage.write(RESERVED_PREFIXES.key + KEY, 0, "not json");
    expect(await add(storage, "b")).toBe("won");
  });

  test("confirm() - the slow first still wins when the second has not written its record", async () => {
    const storage = memory();
    const keys = reservationsOn(storage);
    expect((await keys.reserve(KEY, "a")).holder).toBeUndefined();
    expect((await keys.reserve(KEY, "b")).holder).toBeUndefined();
    await storage.write("a", 0, "record");
    expect(await keys.confirm(KEY, "a")).toBeUndefined();
    await storage.write("b", 0, "record");
    expect(await keys.confirm(KEY, "b")).toBe("a");
  });

  test("release() - gives back one's own key only", async () => {
    const storage = memory();
    await add(storage, "a");
    const keys = reservationsOn(storage);
    await keys.release(KEY, "b");
    expect((await keys.reserve(KEY, "b")).holder).toBe("a");
    await storage.write("a", 1, null);
    await keys.release(KEY, "a");
    expect(await storage.read(RESERVED_PREFIXES.key + KEY)).toBeUndefined();
  });

  test("when one key is added several times, in any order of operations, exactly one wins", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.boolean(),
        fc.integer({ min: 2, max: 4 }),
        async (scheduler, isDead, count) => {
          const storage = memory();
          if (isDead) await reservationsOn(storage).reserve(KEY, "dead");
          const turned = inTurns(storage, () => scheduler.schedule(Promise.resolve()));
          const adding = Promise.all(Array.from({ length: count }, (_, index) => add(turned, `s${index}`)));
          await scheduler.waitFor(adding);
          const results = await adding;
          const records = (await storage.list()).map(({ id }) => id).filter((id) => !isReserved(id));
          expect(results.filter((result) => result === "won")).toHaveLength(1);
          expect(records).toEqual([`s${results.indexOf("won")}`]);
        },
      ),
      { numRuns: 500 },
    );
  });
});
