import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { aesGcm } from "../../src/encryption/sealer.js";
import { EVENT_NAMES } from "../../src/events.js";
import type { Logger, SessionPoolOptions } from "../../src/options/options.js";
import { type FakeClient, READ } from "../fakes/fake-telegram.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { flood } from "../fakes/telegram-errors.js";

type Bad = () => never;
type Options = Pick<SessionPoolOptions<FakeClient>, "logger" | "selection" | "budgets">;

/** Nothing that a user's function does may end otherwise than by a throw, a rejection, or nonsense. */
const BAD: Readonly<Record<string, () => unknown>> = {
  throws: () => {
    throw new Error("mine");
  },
  rejects: async () => {
    throw new Error("mine");
  },
  "throws what cannot be printed": () => {
    throw Object.create(null);
  },
  "rejects by a promise of its own": () => ({
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library is what it plays
    then: (_: unknown, reject: (error: Error) => void) => reject(new Error("mine")),
  }),
};

const loggerOf = (bad: Bad): Logger => ({ debug: bad, info: bad, warn: bad, error: bad });

/** How each function is given to a pool; a promise of how it is given to one that is open already. */
const CALLBACKS: Readonly<Record<string, (bad: Bad) => Options>> = {
  logger: (bad) => ({ logger: loggerOf(bad) }),
  "selection.rank": (bad) => ({ selection: { rank: bad, leased: () => {} } }),
  "selection.leased": (bad) => ({ selection: { rank: () => 1, leased: bad } }),
  "selection.weight": (bad) => ({ selection: { weight: bad } }),
  "selection.random": (bad) => ({ selection: { random: bad } }),
  "budgets.waitMs": (bad) => ({ budgets: { waitMs: bad, sent: () => {} } }),
  "budgets.sent": (bad) => ({ budgets: { waitMs: () => 0, sent: bad } }),
  "budgets.peerWaitMs": (bad) => ({ budgets: { waitMs: () => 0, sent: () => {}, peerWaitMs: bad } }),
  "budgets.refused": (bad) => ({ budgets: { waitMs: () => 0, sent: () => {}, refused: bad } }),
};

let warnings: string[] = [];
let unhandled: unknown[] = [];
const warned = ({ name, message }: Error): void => void (name === "SessionPoolWarning" && warnings.push(message));
const leftOver = (error: unknown): void => void unhandled.push(error);

beforeEach(() => {
  warnings = [];
  unhandled = [];
  process.on("warning", warned);
  process.on("unhandledRejection", leftOver);
});
afterEach(() => {
  process.off("warning", warned);
  process.off("unhandledRejection", leftOver);
});

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** A day of a pool: it works, floods, fails to write, writes again, and closes. */
async function dayOf({ pool, clock, telegram, storage }: TestPool): Promise<void> {
  expect(await pool.use((client) => client.call(READ, { peer: "user:5" }))).toContain(READ);
  telegram.onCall = ({ number }) => {
    if (number === 2) throw flood(500);
    return "answer";
  };
  let failures = 2;
  storage.fateOfWrite = (_, data) => (data?.includes("FLOOD_WAIT") && failures-- > 0 ? "fails" : "works");
  const flooded = watch(pool.use((client) => client.call(READ, { peer: "user:5" })));
  await clock.advance(6_000);
  storage.heal();
  await clock.advance(30_000);
  expect(flooded).toMatchObject({ state: "resolved", value: "answer" });
  const cooled = await Promise.all(["a", "b"].map((id) => storage.stored(id)));
  expect(cooled.filter((record) => record?.cooldown !== null)).toHaveLength(1);
  expect(await pool.use(() => "after")).toBe("after");
  const closed = watch(pool.close());
  await clock.advance(20_000);
  expect(closed.state).toBe("resolved");
}

describe.each(Object.keys(BAD))("a user's function that %s", (how) => {
  const bad = BAD[how] as Bad;

  test.each(Object.keys(CALLBACKS))("%s - stops nothing, and becomes one process warning", async (name) => {
    const made = await openPool({ sessions: ["a", "b"], ...CALLBACKS[name]?.(bad) });
    await dayOf(made);
    await turns();
    expect(unhandled).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  test("onProgress - stops nothing, and becomes one process warning", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const seen: unknown[] = [];
    const run = pool.map([1, 2], async (_, item) => item, { onProgress: bad });
    const read = watch(
      (async () => {
        for await (const result of run) {
          seen.push(result.ok);
          await clock.advance(3_000);
        }
      })(),
    );
    await turns();
    await clock.advance(10_000);
    expect({ read: read.state, seen }).toEqual({ read: "resolved", seen: [true, true] });
    await turns();
    expect(unhandled).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  test.each(["onProgress of open", "onProgress of rotateKeys", "onProgress of addMany"])(
    "%s - does not affect the operation, and becomes one process warning",
    async (name) => {
      const [storage, encryption] = [new FaultyStorage(), aesGcm(Buffer.alloc(32, 1))];
      const first = await openPool({ storage, encryption, sessions: ["a", "b"] });
      await first.pool.close();
      const { pool } = await openPool({
        storage,
        encryption,
        ...(name === "onProgress of open" ? { onProgress: bad } : {}),
      });
      const added = name.endsWith("addMany") ? { onProgress: bad } : {};
      await pool.addMany([{ id: "c", session: sessionString("c") }], added);
      await pool.rotateKeys(name.endsWith("rotateKeys") ? { onProgress: bad } : {});
      await turns();
      expect({ sessions: pool.sessions().length, unhandled, warnings: warnings.length }).toEqual({
        sessions: 3,
        unhandled: [],
        warnings: 1,
      });
      expect(warnings[0]).toContain(name);
    },
  );

  test("as a listener - stops neither the others nor the pool, and becomes a process warning", async () => {
    const { pool, events } = await openPool({ sessions: ["a"] });
    pool.on("leased", bad);
    await pool.use(() => 1);
    await turns();
    expect(events("leased")).toHaveLength(1);
    expect(unhandled).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  test.each(["key", "id", "peer"] as const)("map's %s - is the failure of that item alone", async (name) => {
    const { pool } = await openPool({ sessions: ["a"] });
    const oneBad = (item: number): string | undefined => (item === 1 ? bad() : undefined);
    const results: boolean[] = [];
    for await (const { ok } of pool.map([1, 2], async () => 0, { [name]: oneBad, ordered: true })) results.push(ok);
    expect(results).toEqual([false, true]);
    await turns();
    expect(unhandled).toEqual([]);
  });

  test("a checkpoint's key - is the failure of that item alone", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const checkpoint = { storage: new FaultyStorage(), name: "job", key: (item: number) => (item === 1 ? bad() : "2") };
    const results: boolean[] = [];
    for await (const { ok } of pool.map([1, 2], async () => 0, { checkpoint, ordered: true })) results.push(ok);
    expect(results).toEqual([false, true]);
    await turns();
    expect(unhandled).toEqual([]);
  });

  test.each(["seal", "open", "isFresh"] as const)(
    "as a sealer's %s - fails its caller with a typed error, and no other",
    async (name) => {
      const storage = new FaultyStorage();
      const good = aesGcm(Buffer.alloc(32, 1));
      const first = await openPool({ storage, encryption: good, sessions: ["a"] });
      await first.pool.close();
      const encryption = {
        seal: (id: string, text: string) => (name === "seal" && id === "b" ? bad() : good.seal(id, text)),
        open: (id: string, text: string) => (name === "open" && id === "b" ? bad() : good.open(id, text)),
        isFresh: () => (name === "isFresh" ? bad() : false),
      };
      const { pool } = await openPool({ storage, encryption });
      const added: unknown = await pool.add("b", sessionString("b")).catch((error: unknown) => error);
      if (name === "seal") expect(added).toMatchObject({ code: "STORAGE_FAILED" });
      await expect(pool.use((_, lease) => lease.id, { id: "a" })).resolves.toBe("a");
      await expect(pool.rotateKeys()).resolves.toBeGreaterThan(0);
      await pool.close();
      const again = await openPool({ storage, encryption });
      if (name === "open") expect(again.pool.rejected()).toMatchObject([{ id: "b" }]);
      await turns();
      expect(unhandled).toEqual([]);
      // The second pool is another one.
      if (name !== "isFresh") expect(warnings.length).toBeGreaterThan(0);
      expect(warnings.length).toBeLessThanOrEqual(2);
    },
  );

  test("as a storage's watch, or the end of one - is reported by storageFailed, and the pool continues to work", async () => {
    for (const watching of [bad, () => bad]) {
      const storage = Object.assign(new FaultyStorage(), { watch: watching }) as FaultyStorage;
      const { pool } = await openPool({ storage, sessions: ["a"] });
      await turns();
      await expect(pool.use((_, lease) => lease.id)).resolves.toBe("a");
      await pool.close();
    }
    await turns();
    expect(unhandled).toEqual([]);
  });

  test("a listener of a lease's signal - does not end the process", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"] });
    const heard: string[] = [];
    const work = watch(
      pool.use(
        (_, lease) => {
          lease.signal.addEventListener("abort", bad);
          lease.signal.addEventListener("abort", () => heard.push("abort"));
          return new Promise(() => {});
        },
        { timeoutMs: 1_000 },
      ),
    );
    await clock.advance(2_000);
    await turns();
    expect({ work: work.state, heard }).toEqual({ work: "rejected", heard: ["abort"] });
    expect(unhandled).toEqual([]);
    expect(warnings).toHaveLength(1);
  });
});

describe("a user's function that returns a promise that never settles", () => {
  const never = (): Promise<void> => new Promise(() => {});

  test("as the logger, a listener of every event, or any progress callback - keeps neither calls nor close() waiting", async () => {
    const [storage, encryption] = [new FaultyStorage(), aesGcm(Buffer.alloc(32, 1))];
    const first = await openPool({ storage, encryption, sessions: ["a", "b"] });
    await first.pool.close();
    const logger = loggerOf(never as unknown as Bad);
    const made = await openPool({ storage, encryption, logger, onProgress: never });
    const { pool } = made;
    for (const name of EVENT_NAMES) pool.on(name as "leased", never);
    await pool.addMany([{ id: "c", session: sessionString("c") }], { onProgress: never });
    await pool.rotateKeys({ onProgress: never });
    const results: unknown[] = [];
    for await (const { ok } of pool.map([1, 2], () => 0, { onProgress: never })) results.push(ok);
    await pool.remove("c");
    await dayOf(made);
    await turns();
    expect({ results, unhandled, warnings }).toEqual({ results: [true, true], unhandled: [], warnings: [] });
  });
});
