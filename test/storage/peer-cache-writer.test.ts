import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PeerCacheWriter } from "../../src/storage/peer-cache-writer.js";
import type { StoredPeer } from "../../src/storage/storage.js";
import { FaultyPeers } from "../fakes/faulty-peers.js";
import { fakeContext } from "../fakes/pool-context.js";
import { deferred, watch } from "../fakes/pools.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const peer = (id: number | string, rest: Partial<StoredPeer> = {}): StoredPeer => ({
  id: String(id),
  accessHash: `${id}0`,
  ...rest,
});
const many = (count: number, from = 1): StoredPeer[] => Array.from({ length: count }, (_, index) => peer(from + index));

function journalOn(storage = new FaultyPeers()) {
  const clock = new VirtualClock();
  const errors: string[] = [];
  const context = fakeContext({ clock, storageTimeoutMs: 5_000, connectTimeoutMs: 6_000 });
  context.events.on("storageFailed", ({ message }) => errors.push(message));
  const journal = new PeerCacheWriter(context, storage);
  return { storage, clock, errors, journal };
}

describe("learnt()", () => {
  test("several at once - are written together, after a while", async () => {
    const { journal, storage, clock } = journalOn();
    const notes = journal.for("a");
    for (const one of many(3)) notes.save(one);
    notes.save(peer(2, { name: "later" }));
    await clock.advance(1_900);
    expect(storage.saves).toEqual([]);
    await clock.advance(200);
    expect(storage.saves).toEqual([{ sessionId: "a", peers: [peer(1), peer(3), peer(2, { name: "later" })] }]);
    expect(clock.pending).toBe(0);
    await clock.advance(600_000);
    expect(storage.saves).toHaveLength(1);
  });

  test("a name with characters that some databases reject - is written without them", async () => {
    const { journal, storage, clock } = journalOn();
    journal.for("a").save(peer(1, { name: "nul \0 half \uD800 😀", username: "plain" }));
    await clock.advance(2_000);
    expect(await storage.stored("a")).toEqual([peer(1, { name: "nul \uFFFD half \uFFFD 😀", username: "plain" })]);
  });

  test("its timer - keeps no process alive", () => {
    const { journal, clock } = journalOn();
    journal.for("a").save(peer(1));
    expect({ pendingTimers: clock.pending, referencedTimers: clock.referenced }).toEqual({
      pendingTimers: 1,
      referencedTimers: 0,
    });
  });

  test("more than a batch - goes in several calls, one at a time, in order", async () => {
    const { journal, storage, clock } = journalOn();
    storage.fateOfSave = () => settled();
    for (const one of many(1_201)) journal.for("a").save(one);
    await clock.advance(2_000);
    await clock.advance(0);
    expect(storage.saves.map(({ peers }) => peers.length)).toEqual([500, 500, 201]);
    expect(storage.mostAtOnce.session).toBe(1);
    expect(await storage.stored("a")).toEqual(many(1_201));
  });

  test("while it is being written - waits for the next write", async () => {
    const { journal, storage, clock } = journalOn();
    const notes = journal.for("a");
    const gate = deferred();
    storage.fateOfSave = () => gate.promise;
    notes.save(peer(1, { username: "old" }));
    await clock.advance(2_000);
    notes.save(peer(1, { username: "new" }));
    notes.save(peer(2));
    storage.heal();
    gate.resolve();
    await clock.advance(2_000);
    expect(storage.saves.map(({ peers }) => peers.length)).toEqual([1, 2]);
    expect(await storage.stored("a")).toEqual([peer(1, { username: "new" }), peer(2)]);
  });

  test("many sessions - a few are written in parallel", async () => {
    const { journal, storage, clock } = journalOn();
    storage.fateOfSave = () => settled();
    for (let session = 0; session < 100; session++) journal.for(`s${session}`).save(peer(session));
    await clock.advance(2_000);
    for (let turn = 0; turn < 100; turn++) await settled();
    expect(storage.saves).toHaveLength(100);
    expect(storage.mostAtOnce).toEqual({ session: 1, all: 4 });
  });

  test("10,000 written - more than twice the limit on disk is cut to the latest", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", many(15_000));
    for (const one of many(10_000, 20_001)) journal.for("a").save(one);
    await clock.advance(10_000);
    expect(await storage.stored("a")).toEqual(many(10_000, 20_001));
    expect({ clears: storage.clears, pendingTimers: clock.pending }).toEqual({ clears: ["a"], pendingTimers: 0 });
  });

  test("no storage for peers - nothing is kept", async () => {
    const clock = new VirtualClock();
    const journal = new PeerCacheWriter(fakeContext({ clock, storageTimeoutMs: 1 }), undefined);
    const notes = journal.for("a");
    notes.save(peer(1));
    await journal.flush();
    await journal.clear("a");
    expect({ loaded: await notes.load(), timersMade: clock.timersMade }).toEqual({ loaded: [], timersMade: 0 });
  });
});

describe("load()", () => {
  test("stored and unwritten peers - the latest last", async () => {
    const { journal, storage } = journalOn();
    await storage.put("a", [peer(1, { name: "old" }), peer(2)]);
    journal.for("a").save(peer(1, { name: "new" }));
    expect(await journal.for("a").load()).toEqual([peer(2), peer(1, { name: "new" })]);
    expect(await journal.for("b").load()).toEqual([]);
  });

  test.each([
    ["an access hash that a driver has lost", { id: "7", accessHash: "undefined" }],
    ["no id", { accessHash: "70" }],
    ["nothing", null],
  ])("a row with %s - is left out, the others load", async (_, row) => {
    const { journal, storage } = journalOn();
    storage.load = async () => [peer(1), row as StoredPeer, peer(2)];
    expect(await journal.for("a").load()).toEqual([peer(1), peer(2)]);
  });

  test("a storage that fails or hangs - an empty list in time, reported once until it works", async () => {
    const { journal, storage, clock, errors } = journalOn();
    await storage.put("a", [peer(1)]);
    storage.fateOfLoad = () => "fails";
    expect(await journal.for("a").load()).toEqual([]);
    storage.fateOfLoad = () => "hangs";
    const late = watch(journal.for("a").load());
    await clock.advance(3_000);
    expect({ late: late.state, lateValue: late.value, errors: errors.length }).toEqual({
      late: "resolved",
      lateValue: [],
      errors: 1,
    });
    storage.heal();
    expect(await journal.for("a").load()).toEqual([peer(1)]);
    storage.fateOfLoad = () => "fails";
    await journal.for("a").load();
    expect(errors).toHaveLength(2);
  });

  test("more than the limit - the latest of them; up to twice as many stay stored", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", many(20_000));
    expect(await journal.for("a").load()).toEqual(many(10_000, 10_001));
    await clock.advance(10_000);
    expect({ clears: storage.clears, saves: storage.saves }).toEqual({ clears: [], saves: [] });
  });

  test("more than twice the limit - the latest are written again, alone, with those learned meanwhile", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", many(20_001));
    const notes = journal.for("a");
    expect(await notes.load()).toEqual(many(10_000, 10_002));
    notes.save(peer(10_002, { name: "again" }));
    await clock.advance(10_000);
    expect(await storage.stored("a")).toEqual([...many(9_999, 10_003), peer(10_002, { name: "again" })]);
    expect({ clears: storage.clears, saves: storage.saves.length }).toEqual({ clears: ["a"], saves: 20 });
  });
});

describe("a storage that fails", () => {
  test("write - is reported once, retried with growing delays, completed when it works", async () => {
    const { journal, storage, clock, errors } = journalOn();
    storage.fateOfSave = () => "fails";
    const notes = journal.for("a");
    notes.save(peer(1));
    await clock.advance(3_600_000);
    expect(errors).toEqual(['The storage could not save peers of "a".']);
    expect(storage.saves.length).toBeLessThan(70);
    notes.save(peer(2));
    storage.heal();
    await clock.advance(60_000);
    expect(await storage.stored("a")).toEqual([peer(1), peer(2)]);
    storage.fateOfSave = () => "fails";
    notes.save(peer(3));
    await clock.advance(2_000);
    expect(errors).toHaveLength(2);
  });

  test("many sessions - a few attempts per round", async () => {
    const { journal, storage, clock, errors } = journalOn();
    storage.fateOfSave = () => "fails";
    for (let session = 0; session < 1_000; session++) journal.for(`s${session}`).save(peer(1));
    await clock.advance(2_000);
    expect(errors).toHaveLength(1);
    const failed = storage.saves.length;
    expect(failed).toBeLessThan(10);
    storage.heal();
    await clock.advance(4_000);
    expect(storage.saves).toHaveLength(1_000 + failed);
  });

  test("one session's peers are refused - the others' are written", async () => {
    const { journal, storage, clock, errors } = journalOn();
    storage.fateOfSave = (id) => (id === "bad" ? "fails" : "works");
    journal.for("bad").save(peer(1));
    for (let number = 0; number < 10; number++) {
      journal.for("good").save(peer(number));
      await clock.advance(60_000);
    }
    expect(await storage.ids("good")).toHaveLength(10);
    expect(errors).toHaveLength(1);
  });

  test("unwritten peers - are bounded, the latest are kept", async () => {
    const { journal, storage, clock } = journalOn();
    storage.fateOfSave = () => "fails";
    const notes = journal.for("a");
    for (const one of many(25_000)) notes.save(one);
    await clock.advance(30_000);
    storage.heal();
    await clock.advance(60_000);
    expect(await storage.stored("a")).toEqual(many(10_000, 15_001));
  });

  test("a write that hangs - is not overtaken by the next one of its session", async () => {
    const { journal, storage, clock, errors } = journalOn();
    const gate = deferred();
    storage.fateOfSave = (id) => (id === "a" ? gate.promise : "works");
    const notes = journal.for("a");
    notes.save(peer(1, { username: "old" }));
    await clock.advance(2_000);
    notes.save(peer(1, { username: "new" }));
    await clock.advance(600_000);
    journal.for("b").save(peer(5));
    await clock.advance(60_000);
    expect({ saves: storage.saves.filter(({ sessionId }) => sessionId === "a").length, errors: errors.length }).toEqual(
      { saves: 1, errors: 1 },
    );
    expect(await storage.ids("b")).toEqual(["5"]);
    gate.resolve();
    await clock.advance(60_000);
    expect(await storage.stored("a")).toEqual([peer(1, { username: "new" })]);
    expect(storage.mostAtOnce.session).toBe(1);
  });
});

describe("flush()", () => {
  test("writes all known peers at once", async () => {
    const { journal, storage, clock } = journalOn();
    for (const one of many(1_200)) journal.for("a").save(one);
    journal.for("b").save(peer(9));
    await journal.flush();
    expect({
      storedOfA: (await storage.ids("a")).length,
      storedOfB: await storage.ids("b"),
      pendingTimers: clock.pending,
    }).toEqual({ storedOfA: 1_200, storedOfB: ["9"], pendingTimers: 0 });
    await journal.flush();
    expect(storage.saves).toHaveLength(4);
  });

  test("a storage that fails - ends at once; one that hangs - at the deadline, reported", async () => {
    const { journal, storage, clock, errors } = journalOn();
    storage.fateOfSave = () => "fails";
    journal.for("a").save(peer(1));
    await journal.flush();
    expect(errors).toHaveLength(1);
    storage.fateOfSave = () => "hangs";
    const flushed = watch(journal.flush());
    await clock.advance(4_999);
    expect(flushed.state).toBe("pending");
    await clock.advance(1);
    expect(flushed.state).toBe("resolved");
  });

  test("close() - afterwards nothing is written or reported, and no timer is left", async () => {
    const { journal, storage, clock, errors } = journalOn();
    const gate = deferred();
    storage.fateOfSave = () => gate.promise;
    const notes = journal.for("a");
    for (const one of many(1_000)) notes.save(one);
    const flushed = watch(journal.flush());
    await clock.advance(5_000);
    expect({ flushed: flushed.state, errors: errors.length }).toEqual({ flushed: "resolved", errors: 1 });
    journal.close();
    notes.save(peer(1));
    gate.reject(new Error("closed"));
    await clock.advance(600_000);
    expect({ saves: storage.saves.length, errors: errors.length, pendingTimers: clock.pending }).toEqual({
      saves: 1,
      errors: 1,
      pendingTimers: 0,
    });
  });
});

describe("clear()", () => {
  test("known peers - are neither stored nor written any more, whichever client learns them", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", [peer(1)]);
    const former = journal.for("a");
    former.save(peer(2));
    await journal.clear("a");
    former.save(peer(3));
    await clock.advance(60_000);
    expect({ ids: await storage.ids("a"), saves: storage.saves }).toEqual({ ids: [], saves: [] });
    journal.for("a").save(peer(4));
    await clock.advance(2_000);
    expect(await storage.ids("a")).toEqual(["4"]);
  });

  test("a running save - is waited for, then deleted with the rest", async () => {
    const { journal, storage, clock } = journalOn();
    const gate = deferred();
    storage.fateOfSave = () => gate.promise;
    for (const one of many(1_000)) journal.for("a").save(one);
    await clock.advance(2_000);
    const cleared = watch(journal.clear("a"));
    await settled();
    expect(cleared.state).toBe("pending");
    gate.resolve();
    await settled();
    expect({ cleared: cleared.state, ids: await storage.ids("a"), saves: storage.saves.length }).toEqual({
      cleared: "resolved",
      ids: [],
      saves: 1,
    });
  });

  test("a storage that fails - resolves; nothing old is loaded, and it is cleared as soon as that works", async () => {
    const { journal, storage, clock, errors } = journalOn();
    await storage.put("a", [peer(1)]);
    storage.fateOfClear = () => "fails";
    await journal.clear("a");
    const notes = journal.for("a");
    expect({ loaded: await notes.load(), errors: errors.length }).toEqual({ loaded: [], errors: 1 });
    notes.save(peer(7));
    await clock.advance(60_000);
    expect(await storage.ids("a")).toEqual(["1"]);
    storage.heal();
    await clock.advance(60_000);
    expect(await storage.ids("a")).toEqual(["7"]);
  });

  test("during a load - nothing of it is returned, or written again", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", many(20_001));
    const gate = deferred();
    storage.fateOfLoad = () => gate.promise;
    const loading = journal.for("a").load();
    storage.fateOfClear = () => "fails";
    await journal.clear("a");
    gate.resolve();
    expect(await loading).toEqual([]);
    storage.heal();
    await clock.advance(60_000);
    expect({ ids: await storage.ids("a"), saves: storage.saves }).toEqual({ ids: [], saves: [] });
  });

  test("a save under way that fails - is cleared all the same", async () => {
    const { journal, storage, clock } = journalOn();
    await storage.put("a", [peer(1)]);
    const gate = deferred();
    storage.fateOfSave = () => gate.promise;
    journal.for("a").save(peer(2));
    await clock.advance(2_000);
    const cleared = watch(journal.clear("a"));
    gate.reject(new Error("disk full"));
    await settled();
    expect({ cleared: cleared.state, ids: await storage.ids("a"), saves: storage.saves.length }).toEqual({
      cleared: "resolved",
      ids: [],
      saves: 1,
    });
  });
});

test("PeerCacheWriter - in any order of learning, clearing, failing and lagging, the last state is stored in the end, and no more", async () => {
  const step = fc.record({
    what: fc.constantFrom("learn", "learn", "learn", "learn", "clear", "load", "wait", "long", "fate", "answer"),
    session: fc.constantFrom("a", "b", "c"),
    number: fc.nat({ max: 6 }),
    fate: fc.constantFrom<"works" | "fails" | "lags">("works", "fails", "lags"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { journal, storage, clock } = journalOn();
      const known = new Map(["a", "b", "c"].map((id) => [id, new Map<string, StoredPeer>()]));
      let gates: ReturnType<typeof deferred<void>>[] = [];
      let fate: "works" | "fails" | "lags" = "works";
      const meet = () => {
        if (fate !== "lags") return fate;
        const gate = deferred<void>();
        gates.push(gate);
        return gate.promise;
      };
      storage.fateOfSave = meet;
      storage.fateOfClear = meet;
      const answer = (): void => {
        for (const gate of gates) gate.resolve();
        gates = [];
      };
      for (const [index, { what, session, number, fate: next }] of steps.entries()) {
        const model = known.get(session) ?? new Map();
        if (what === "learn") {
          const one = peer(number, { name: `step ${index}` });
          journal.for(session).save(one);
          model.delete(one.id);
          model.set(one.id, one);
        } else if (what === "clear") {
          void journal.clear(session);
          model.clear();
        } else if (what === "load")
          expect(await journal.for(session).load()).toEqual(expect.arrayContaining([...model.values()]));
        else if (what === "fate") fate = next;
        else if (what === "answer") answer();
        else await clock.advance(what === "wait" ? 1_500 : 30_000);
      }
      storage.heal();
      answer();
      await clock.advance(600_000);
      for (const [session, model] of known) expect(await storage.stored(session)).toEqual([...model.values()]);
      expect({ isSerialized: storage.mostAtOnce.session <= 1, pendingTimers: clock.pending }).toEqual({
        isSerialized: true,
        pendingTimers: 0,
      });
    }),
    { numRuns: 300 },
  );
});
