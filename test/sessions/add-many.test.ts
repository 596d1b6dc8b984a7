import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { aesGcm } from "../../src/encryption/sealer.js";
import {
  AddManyInputError,
  AddManyStorageError,
  DuplicateSessionError,
  InvalidSessionError,
  OptionsError,
  PoolClosedError,
  StorageError,
} from "../../src/errors.js";
import type { AddManyProgress, NewSession } from "../../src/options/options.js";
import { SessionPool } from "../../src/session-pool.js";
import { memory } from "../../src/storage/memory.js";
import type { RecordWrite, SessionStorage } from "../../src/storage/storage.js";
import { FakeTelegram } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { deferred, openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const entries = (...ids: readonly string[]): NewSession[] => ids.map((id) => ({ id, session: sessionString(id) }));
const numbered = (count: number): NewSession[] =>
  entries(...Array.from({ length: count }, (_, index) => `session ${index}`));
const idsOf = (list: readonly { readonly id: string }[]): readonly string[] => list.map(({ id }) => id);

/** A storage in memory that writes many at once, and the batches it was sent. */
function batching(): { readonly storage: SessionStorage; readonly batches: (readonly RecordWrite[])[] } {
  const inner = memory();
  const batches: (readonly RecordWrite[])[] = [];
  const storage: SessionStorage = {
    shared: true,
    list: () => inner.list(),
    read: (id) => inner.read(id),
    write: (id, expected, data) => inner.write(id, expected, data),
    writeMany: async (writes) => {
      batches.push(writes);
      return (await inner.writeMany?.(writes)) ?? [];
    },
  };
  return { storage, batches };
}

describe("addMany()", () => {
  test("reports each entry, in the order of the input", async () => {
    const { pool, storage } = await openPool({ sessions: ["old"] });
    const report = await pool.addMany([
      ...entries("a", "old"),
      { id: "b", session: sessionString("b"), tags: ["x"], profile: { deviceModel: "One" } },
      ...entries("a"),
    ]);
    expect(report).toEqual({
      added: [
        { index: 0, id: "a" },
        { index: 2, id: "b" },
      ],
      known: [
        { index: 1, id: "old" },
        { index: 3, id: "a" },
      ],
      refused: [],
    });
    expect(idsOf(pool.sessions())).toEqual(["old", "a", "b"]);
    expect(pool.get("b")?.tags).toEqual(["x"]);
    expect(await storage.stored("b")).toMatchObject({ tags: ["x"], profile: { deviceModel: "One" } });
  });

  test("a known id with its key - tags and profile, when given, replace, as by add()", async () => {
    const { pool, events } = await openPool({ sessions: ["a", "b"] });
    const { known } = await pool.addMany([{ ...entries("a")[0], tags: ["new"] } as NewSession, ...entries("b")]);
    expect(idsOf(known)).toEqual(["a", "b"]);
    expect(pool.get("a")?.tags).toEqual(["new"]);
    expect(events("sessionChanged")).toEqual([{ id: "a" }]);
  });

  test("bad entries - are refused with the error of add(), and stop no other", async () => {
    const { pool } = await openPool({ sessions: ["holder"] });
    const cut = sessionString("cut").slice(0, -9);
    const given: unknown[] = [
      { id: "again", session: sessionString("holder") },
      { id: "holder", session: sessionString("other") },
      { id: "cut", session: cut },
      { id: sessionString("swapped"), session: "alice" },
      { id: "", session: sessionString("empty") },
      { session: sessionString("nameless") },
      { id: "~key:1", session: sessionString("reserved") },
      { id: "typo", session: sessionString("typo"), tag: ["x"] },
      { id: "tags", session: sessionString("tags"), tags: "x" },
      { id: "peers", session: sessionString("peers"), peers: [{ id: "user1", accessHash: 5 }] },
      { id: "numbers", session: 5 },
      null,
      "text",
      ...entries("good"),
    ];
    const { added, known, refused } = await pool.addMany(given as NewSession[]);
    expect([idsOf(added), known]).toEqual([["good"], []]);
    expect(refused.map(({ index, id, error }) => [index, id, error.constructor])).toEqual([
      [0, "again", DuplicateSessionError],
      [1, "holder", DuplicateSessionError],
      [2, "cut", InvalidSessionError],
      [3, "", OptionsError],
      [4, "", OptionsError],
      [5, "", OptionsError],
      [6, "~key:1", OptionsError],
      [7, "typo", OptionsError],
      [8, "tags", OptionsError],
      [9, "peers", OptionsError],
      [10, "numbers", InvalidSessionError],
      [11, "", OptionsError],
      [12, "", OptionsError],
    ]);
    for (const { error, reason } of refused) expect(reason).toBe(error.message);
    expect(refused[0]?.error.sessionId).toBe("holder");
    expect(refused[0]?.reason).toContain('"again" has the same auth key as "holder"');
    const shown = inspect(refused, { depth: 9, showHidden: true });
    for (const name of ["holder", "swapped", "typo", "nameless"]) expect(shown).not.toContain(sessionString(name));
    expect(shown).not.toContain(cut);
  });

  test("one key under several ids, one id with several keys - the first has it", async () => {
    const { pool } = await openPool();
    const { added, refused } = await pool.addMany([
      ...["a", "b", "c"].map((id) => ({ id, session: sessionString("one") })),
      { id: "a", session: sessionString("two") },
    ]);
    expect(idsOf(added)).toEqual(["a"]);
    expect(refused.map(({ id, error }) => [id, error.sessionId])).toEqual([
      ["b", "a"],
      ["c", "a"],
      ["a", "a"],
    ]);
  });

  test("two processes, with the same accounts under the same and under other ids - each key has one session", async () => {
    const { storage } = batching();
    const [clock, other] = [new VirtualClock(), new VirtualClock()];
    const open = (clock: VirtualClock) => SessionPool.open({ client: new FakeTelegram(clock), storage, clock });
    const [one, two] = [await open(clock), await open(other)];
    const names = Array.from({ length: 60 }, (_, index) => `session ${index}`);
    const renamed = names.map((id, index) => ({
      id: index % 2 === 0 ? id : `other ${id}`,
      session: sessionString(id),
    }));
    const reports = await Promise.all([one.addMany(entries(...names)), two.addMany(renamed)]);
    const holders = new Map<string, string>();
    for (const pool of [one, two]) {
      for (const { id } of pool.sessions()) {
        const session = await pool.exportSession(id);
        expect(holders.get(session) ?? id).toBe(id);
        holders.set(session, id);
      }
    }
    expect(holders.size).toBe(60);
    for (const { added, known, refused } of reports) expect(added.length + known.length + refused.length).toBe(60);
    expect(reports.flatMap(({ refused }) => refused).map(({ error }) => error.name)).toEqual(
      Array.from({ length: 30 }, () => "DuplicateSessionError"),
    );
    const closing = watch(Promise.all([one.destroy(), two.destroy()]));
    await Promise.all([clock.advance(60_000), other.advance(60_000)]);
    expect(closing.state).toBe("resolved");
  });

  test("with encryption - is sealed as by add()", async () => {
    const { pool, storage } = await openPool({ encryption: aesGcm(Buffer.alloc(32, 7)) });
    await pool.addMany(entries("a"));
    expect((await storage.stored("a"))?.session).toMatch(/^sp1\./);
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
  });

  test("a storage with writeMany() - is sent many records together, three times each account", async () => {
    const { storage, batches } = batching();
    const clock = new VirtualClock();
    const pool = await SessionPool.open({ client: new FakeTelegram(clock), storage, clock });
    const { added } = await pool.addMany(numbered(1_000));
    expect(added).toHaveLength(1_000);
    expect(batches.flat()).toHaveLength(3_000);
    expect(batches.length).toBeLessThan(40);
    await pool.destroy();
  });

  test("an endless input - is pulled as entries are done, with bounded memory, and let go of", async () => {
    let [pulled, mostAhead, isReturned] = [0, 0, false];
    const { pool } = await openPool();
    const controller = new AbortController();
    function* endless(): Generator<NewSession> {
      try {
        for (;;) {
          mostAhead = Math.max(mostAhead, ++pulled - pool.status().total);
          if (pulled === 3_000) controller.abort(new Error("enough"));
          yield { id: `s${pulled}`, session: sessionString(`s${pulled}`) };
        }
      } finally {
        isReturned = true;
      }
    }
    await expect(pool.addMany(endless(), { signal: controller.signal })).rejects.toThrow("enough");
    expect(mostAhead).toBeLessThanOrEqual(501);
    expect(isReturned).toBe(true);
    expect(pool.status().total).toBe(pulled - 1);
  });

  test("an asynchronous input that comes slowly", async () => {
    const { pool } = await openPool();
    const gate = deferred();
    async function* slow(): AsyncGenerator<NewSession> {
      yield* entries("a");
      await gate.promise;
      yield* entries("b");
    }
    const adding = watch(pool.addMany(slow()));
    await settled();
    expect([adding.state, idsOf(pool.sessions())]).toEqual(["pending", ["a"]]);
    gate.resolve();
    await settled();
    expect(idsOf(adding.value?.added ?? [])).toEqual(["a", "b"]);
  });

  test.each(["iterator", "async"])("an input that throws (%s) - ends with what was done before", async (kind) => {
    const { pool } = await openPool({ sessions: ["old"] });
    const cause = new Error("the disk is gone");
    function* failing(): Generator<NewSession> {
      yield* entries("a", "old");
      yield { id: "b", session: "none" };
      throw cause;
    }
    async function* failingAsync(): AsyncGenerator<NewSession> {
      yield* failing();
    }
    const adding = pool.addMany(kind === "async" ? failingAsync() : failing());
    const error = await adding.then(undefined, (reason: AddManyInputError) => reason);
    expect(error).toBeInstanceOf(AddManyInputError);
    expect(error).toMatchObject({ code: "ADD_MANY_INPUT", cause, message: expect.stringContaining("after 3 entries") });
    const { added, known, refused } = (error as AddManyInputError).report;
    expect([idsOf(added), idsOf(known), idsOf(refused)]).toEqual([["a"], ["old"], ["b"]]);
    expect(pool.status().total).toBe(2);
  });

  test("an aborted signal - rejects with its reason; entries under way are finished first", async () => {
    const { pool, storage } = await openPool();
    const gate = deferred();
    storage.fateOfWrite = (id) => (id === "b" ? gate.promise : "works");
    const controller = new AbortController();
    const adding = watch(pool.addMany(entries("a", "b"), { signal: controller.signal }));
    await settled();
    controller.abort(new Error("stop"));
    await settled();
    gate.resolve();
    await settled();
    expect(adding.state).toBe("resolved"); // its input had ended before
    const late = watch(pool.addMany(entries("c"), { signal: controller.signal }));
    await settled();
    expect(late.error).toMatchObject({ message: "stop" });
    expect(idsOf(pool.sessions())).toEqual(["a", "b"]);
  });

  test("an input that never ends - the results so far go to onAborted before it rejects", async () => {
    const { pool, clock, storage } = await openPool();
    async function* never(...ids: string[]): AsyncGenerator<NewSession> {
      yield* entries(...ids);
      await new Promise(() => {});
    }
    const controller = new AbortController();
    const reports: [string, unknown][] = [];
    const gate = deferred();
    storage.fateOfWrite = (id) => (id === "b" ? gate.promise : "works");
    const onAborted = (report: unknown): void => void reports.push(["aborted", report]);
    const aborted = watch(pool.addMany(never("a", "b"), { signal: controller.signal, onAborted }));
    const closed = watch(pool.addMany(never("c"), { onAborted: (report) => void reports.push(["closed", report]) }));
    await settled();
    controller.abort(new Error("stop"));
    await settled();
    expect(reports).toEqual([]); // "b" is under way
    gate.resolve();
    await settled();
    watch(pool.close());
    await clock.advance(1_000);
    const report = (...added: object[]): object => ({ added, known: [], refused: [] });
    expect(reports).toEqual([
      ["aborted", report({ index: 0, id: "a" }, { index: 1, id: "b" })],
      ["closed", report({ index: 0, id: "c" })],
    ]);
    expect([aborted.error, closed.error]).toEqual([new Error("stop"), expect.any(PoolClosedError)]);
  });

  test("an input that never ends - is given up by the signal and by close()", async () => {
    const { pool, clock } = await openPool();
    async function* never(): AsyncGenerator<NewSession> {
      yield* entries("a");
      await new Promise(() => {});
    }
    const controller = new AbortController();
    const aborted = watch(pool.addMany(never(), { signal: controller.signal }));
    const closed = watch(pool.addMany(never()));
    await settled();
    controller.abort(new Error("stop"));
    await settled();
    expect(aborted.error).toMatchObject({ message: "stop" });
    expect(closed.state).toBe("pending");
    const closing = watch(pool.close());
    await clock.advance(1_000);
    expect(closing.state).toBe("resolved");
    expect(closed.error).toBeInstanceOf(PoolClosedError);
    await expect(pool.addMany(entries("b"))).rejects.toBeInstanceOf(PoolClosedError);
  });

  test("close() - lets the entries under way finish, and pulls no other", async () => {
    const { pool, storage, clock } = await openPool();
    const gate = deferred();
    storage.fateOfWrite = () => gate.promise;
    const adding = watch(pool.addMany(numbered(500)));
    await settled();
    const closing = watch(pool.close());
    await settled();
    expect([adding.state, closing.state]).toEqual(["pending", "pending"]);
    gate.resolve();
    await clock.advance(1_000);
    expect([adding.state, closing.state]).toEqual(["rejected", "resolved"]);
    expect(adding.error).toBeInstanceOf(PoolClosedError);
    expect(pool.status().total).toBe(32);
  });

  test("a storage that is slow however little is under way - is sent as many entries at once all the time", async () => {
    const { pool, storage, clock } = await openPool();
    storage.fateOfWrite = () => new Promise<void>((resolve) => clock.setTimer(1_000, resolve));
    const adding = watch(pool.addMany(numbered(320)));
    // Three writes for each of ten rounds of 32.
    await clock.advance(35_000);
    expect(adding.value?.added).toHaveLength(320);
  });

  test("a storage that fails - refuses the entries it fails for, and can be tried again", async () => {
    const { pool, storage, clock } = await openPool();
    storage.fateOfWrite = (id) => (id === "b" ? "fails" : id === "c" ? "hangs" : "works");
    const adding = watch(pool.addMany(entries("a", "b", "c", "d")));
    await clock.advance(5_000);
    expect(idsOf(adding.value?.added ?? [])).toEqual(["a", "d"]);
    expect(adding.value?.refused.map(({ id, error }) => [id, error instanceof StorageError])).toEqual([
      ["b", true],
      ["c", true],
    ]);
    storage.heal();
    const again = await pool.addMany(entries("a", "b", "c", "d"));
    expect([idsOf(again.added), idsOf(again.known)]).toEqual([
      ["b", "c"],
      ["a", "d"],
    ]);
  });

  test.each(["fails", "hangs"] as const)(
    "a storage that %s for every entry - is given up after a round of them, with the report",
    async (fate) => {
      const { pool, storage, clock } = await openPool();
      storage.fateOfWrite = (id, data) => (`${id}${data}`.includes("good") ? "works" : fate);
      let isReturned = false;
      function* input(): Generator<NewSession> {
        try {
          yield* entries("good");
          yield* numbered(5_000);
        } finally {
          isReturned = true;
        }
      }
      const adding = watch(pool.addMany(input()));
      await clock.advance(10_000);
      expect(adding.error).toBeInstanceOf(AddManyStorageError);
      expect(adding.error).toBeInstanceOf(StorageError);
      const { code, cause, report } = adding.error as AddManyStorageError;
      expect([code, cause instanceof StorageError, isReturned]).toEqual(["STORAGE_FAILED", true, true]);
      expect([idsOf(report.added), report.known]).toEqual([["good"], []]);
      expect(report.refused.length).toBeGreaterThanOrEqual(32);
      expect(report.refused.length).toBeLessThan(100);
      expect(report.refused.every(({ error }) => error instanceof StorageError)).toBe(true);
      storage.heal();
      expect((await pool.addMany(numbered(50))).added).toHaveLength(50);
    },
  );

  test("a storage that fails for fewer in a row - refuses those entries", async () => {
    const { pool, storage } = await openPool();
    storage.fateOfWrite = (id) => (/^session \d*[1-9]$/.test(id) ? "fails" : "works");
    const { added, refused } = await pool.addMany(numbered(200));
    expect([added.length, refused.length]).toEqual([20, 180]);
  });

  test("onProgress - counts up to all; one that throws stops nothing", async () => {
    const { pool } = await openPool({ sessions: ["session 7"] });
    const told: AddManyProgress[] = [];
    const onProgress = (progress: AddManyProgress): void => {
      told.push(progress);
      throw new Error("a listener of the user's");
    };
    const { added } = await pool.addMany([...numbered(50), { id: "bad", session: "" }], { onProgress });
    expect(added).toHaveLength(49);
    expect(told.length).toBeLessThan(10);
    expect(told.at(-1)).toEqual({ done: 51, total: 51, added: 49, known: 1, refused: 1 });
  });

  test("nothing - adds nothing", async () => {
    const { pool } = await openPool();
    expect(await pool.addMany([])).toEqual({ added: [], known: [], refused: [] });
  });

  test.each([
    ["nothing", [undefined]],
    ["an object", [{ id: "a", session: "b" }]],
    ["a text", ["accounts.txt"]],
    ["an unknown option", [[], { signals: undefined }]],
    ["no signal", [[], { signal: {} }]],
  ])("%s - is an OptionsError", async (_, given) => {
    const { pool } = await openPool();
    await expect(pool.addMany(...(given as unknown as [NewSession[]]))).rejects.toBeInstanceOf(OptionsError);
  });

  test("a waiting caller gets the first session that is added", async () => {
    const { pool } = await openPool({ sessions: ["busy"] });
    const lease = await pool.acquire();
    const waiting = watch(pool.acquire());
    await pool.addMany(entries("a", "b"));
    await settled();
    expect(waiting.value?.id).toBe("a");
    lease.release();
  });
});

describe("addMany() with peers", () => {
  const peers = [
    { id: "11", accessHash: "-77", username: "@Durov", phone: "+1 555", name: "Pavel" },
    { id: "-1001234567890", accessHash: "5" },
  ];

  test("of a new session - are in its peer cache; of a known one they are not", async () => {
    const storage = Object.assign(new FaultyStorage(), { peers: memory().peers });
    const { pool } = await openPool({ sessions: ["old"], storage });
    await pool.addMany(entries("old", "new").map((entry) => ({ ...entry, peers })));
    expect(await storage.peers?.load("new")).toEqual([
      { id: "11", accessHash: "-77", username: "durov", phone: "1555", name: "Pavel" },
      { id: "-1001234567890", accessHash: "5" },
    ]);
    expect(await storage.peers?.load("old")).toEqual([]);
  });
});
