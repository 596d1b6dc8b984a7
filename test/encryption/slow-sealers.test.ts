import { describe, expect, test } from "vitest";
import type { Sealer } from "../../src/encryption/sealer.js";
import { StorageError } from "../../src/errors.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { twoHosts } from "../fakes/two-hosts.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

/** A sealer whose texts a test can read. */
const OPEN_BOOK: Sealer = { seal: (_, text) => `sealed ${text}`, open: (_, text) => text.slice("sealed ".length) };
const never = (): Promise<string> => new Promise(() => {});

describe("a sealer that never answers", () => {
  test("rejects add() with StorageError, stores nothing, and lets close() end", async () => {
    const { pool, clock, storage } = await openPool({ encryption: { ...OPEN_BOOK, seal: never } });
    const added = watch(pool.add("a", sessionString("a")));
    await clock.advance(5_000);
    expect({ added: added.state, addedError: added.error }).toEqual({
      added: "rejected",
      addedError: expect.any(StorageError),
    });
    expect(String(added.error)).toContain("The encryption could not seal");
    await pool.close();
    expect(await storage.stored("a")).toBeUndefined();
  });

  test("sets its record aside in open(), and the others load", async () => {
    const storage = new FaultyStorage();
    const first = await openPool({ storage, sessions: ["a", "b"], encryption: OPEN_BOOK });
    await first.pool.close();
    const clock = new VirtualClock();
    const open: Sealer["open"] = (id, text) => (id === "a" ? never() : OPEN_BOOK.open(id, text));
    const opened = watch(openPool({ storage, clock, encryption: { ...OPEN_BOOK, open } }));
    await clock.advance(5_000);
    expect(opened.value?.pool.sessions().map(({ id }) => id)).toEqual(["b"]);
    expect(opened.value?.pool.rejected()).toEqual([{ id: "a", reason: expect.stringContaining("could not open") }]);
  });
});

test("a sealer that never answers for one record - the others are synchronized, and remove() ends", async () => {
  let isMute = false;
  const open: Sealer["open"] = (id, text) => (isMute && id === "a" ? never() : OPEN_BOOK.open(id, text));
  const { one, two, clock } = await twoHosts({ encryption: { ...OPEN_BOOK, open } });
  isMute = true;
  await one.pool.update("a", { profile: { apiId: 5 } });
  await one.pool.add("b", sessionString("b"));
  await clock.advance(30_000);
  expect(two.pool.get("b")?.state).toBe("free");
  const removed = watch(two.pool.remove("a"));
  await clock.advance(30_000);
  expect({ removed: removed.state, removedError: removed.error }).toEqual({
    removed: "rejected",
    removedError: expect.any(StorageError),
  });
});

describe("a slow sealer", () => {
  test("does not undo an update() while another process's record is opened", async () => {
    const opening = deferred();
    let isSlow = false;
    const open: Sealer["open"] = async (id, text) => {
      if (isSlow) await opening.promise;
      return OPEN_BOOK.open(id, text);
    };
    const { one, two, clock } = await twoHosts({ encryption: { ...OPEN_BOOK, open } });
    isSlow = true;
    await one.pool.update("a", { profile: { apiId: 5 } });
    await clock.advance(20_000);
    const updated = watch(two.pool.update("a", { session: sessionString("another") }));
    await settled();
    opening.resolve();
    await clock.advance(20_000);
    expect(updated.state).toBe("resolved");
    expect(await two.pool.exportSession("a")).toBe(sessionString("another"));
    expect(await one.pool.exportSession("a")).toBe(sessionString("another"));
  });

  test("does not let rotateKeys() undo what another process updates meanwhile", async () => {
    const sealing = deferred();
    let isSlow = false;
    const slow: Sealer = {
      ...OPEN_BOOK,
      seal: async (id, text) => {
        if (isSlow) await sealing.promise;
        return OPEN_BOOK.seal(id, text);
      },
    };
    const { one, two, clock } = await twoHosts({ encryption: OPEN_BOOK });
    await two.pool.close();
    const three = await openPool({ storage: two.storage, clock, encryption: slow, storageTimeoutMs: 30_000 });
    isSlow = true;
    const rotated = watch(three.pool.rotateKeys());
    await one.pool.update("a", { session: sessionString("another") });
    await clock.advance(20_000);
    sealing.resolve();
    await clock.advance(20_000);
    expect({ rotated: rotated.state, rotatedValue: rotated.value }).toEqual({ rotated: "resolved", rotatedValue: 1 });
    expect(await three.pool.exportSession("a")).toBe(sessionString("another"));
    expect(await one.pool.exportSession("a")).toBe(sessionString("another"));
  });
});
