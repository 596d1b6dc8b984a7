import { describe, expect, test } from "vitest";
import { ProgressReporter } from "../../src/common/progress.js";
import { aesGcm, type Sealer } from "../../src/encryption/sealer.js";
import type { CheckProgress, LoadProgress, RotateKeysProgress } from "../../src/index.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { openPool, watch } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { VirtualClock } from "../fakes/virtual-clock.js";

const [OLDER, NEWER] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

/** A sealer that takes so many milliseconds to open a text, as a key service does. */
function slowSealer(clock: VirtualClock, milliseconds: number): Sealer {
  const sealer = aesGcm(OLDER);
  return {
    seal: (id, text) => sealer.seal(id, text),
    open: async (id, sealed) => {
      await new Promise<void>((resolve) => void clock.setTimer(milliseconds, resolve));
      return sealer.open(id, sealed);
    },
  };
}

async function filled(count: number, encryption: Sealer = aesGcm(OLDER)): Promise<FaultyStorage> {
  const storage = new FaultyStorage();
  const { pool } = await openPool({ storage, encryption });
  await pool.addMany(
    Array.from({ length: count }, (_, index) => ({ id: `s${index}`, session: sessionString(`s${index}`) })),
  );
  await pool.close();
  return storage;
}

describe("open({ onProgress })", () => {
  test("with few records - is called once, at the end", async () => {
    const storage = await filled(3);
    await storage.write("bad", 0, "no record");
    const seen: LoadProgress[] = [];
    await openPool({ storage, encryption: aesGcm(OLDER), onProgress: (progress) => seen.push(progress) });
    expect(seen).toEqual([{ done: 4, total: 4, rejected: 1 }]);
  });

  test("with a slow sealer - is called at most ten times a second, and counts up to all", async () => {
    const [storage, clock] = [await filled(320), new VirtualClock()];
    const seen: LoadProgress[] = [];
    const onProgress = (progress: LoadProgress): void => void seen.push(progress);
    const opening = watch(openPool({ storage, clock, encryption: slowSealer(clock, 50), onProgress }));
    await clock.advance(60_000);
    expect(opening.state).toBe("resolved");
    const counts = seen.map(({ done }) => done);
    expect(counts).toEqual([...counts].sort((one, other) => one - other));
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.length).toBeLessThanOrEqual(6);
    expect(seen.at(-1)).toEqual({ done: 320, total: 320, rejected: 0 });
  });
});

describe("rotateKeys({ onProgress })", () => {
  test("counts all sessions, and those that were rewritten", async () => {
    const storage = await filled(20);
    const { pool } = await openPool({ storage, encryption: aesGcm([NEWER, OLDER]) });
    await pool.add("new", sessionString("new"));
    const seen: RotateKeysProgress[] = [];
    expect(await pool.rotateKeys({ onProgress: (progress) => seen.push(progress) })).toBe(20);
    expect(seen).toEqual([{ done: 21, total: 21, rewritten: 20 }]);
  });

  test("a storage that takes its time - is called at most ten times a second", async () => {
    const storage = await filled(20);
    const { pool, clock } = await openPool({ storage, encryption: aesGcm([NEWER, OLDER]) });
    storage.fateOfWrite = () => new Promise<void>((resolve) => void clock.setTimer(50, resolve));
    const seen: RotateKeysProgress[] = [];
    const rotating = watch(pool.rotateKeys({ onProgress: (progress) => seen.push(progress) }));
    await clock.advance(60_000);
    expect(rotating).toMatchObject({ state: "resolved", value: 20 });
    expect(seen.map(({ done }) => done)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20]);
  });

  test("an option of another kind - is an OptionsError", async () => {
    const { pool } = await openPool({ encryption: aesGcm(OLDER) });
    await expect(pool.rotateKeys({ onProgress: true } as never)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("check({ onProgress })", () => {
  const slowly = (clock: VirtualClock, answer: unknown): Promise<unknown> =>
    new Promise((resolve) => void clock.setTimer(150, () => resolve(answer)));

  test("counts the questions as Telegram answers, up to all", async () => {
    const { pool, clock, telegram } = await openPool({ isAskable: true, sessions: ["a"] });
    Object.assign(telegram, { ownUserRequest: () => ({ className: "users.GetUsers" }) });
    const user = [{ className: "User", self: true, id: 7n }];
    telegram.onCall = ({ method }) => slowly(clock, method === "users.GetUsers" ? user : {});
    const seen: CheckProgress[] = [];
    const checking = watch(pool.check("a", { onProgress: (progress) => seen.push(progress) }));
    await clock.advance(10_000);
    expect(checking.state).toBe("resolved");
    expect(seen).toEqual([1, 2, 3].map((done) => ({ done, total: 3 })));
  });

  test("a session that is not asked - is done at once; an option of another kind is an OptionsError", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const seen: CheckProgress[] = [];
    await pool.check("a", { onProgress: (progress) => seen.push(progress) });
    expect(seen).toEqual([{ done: 3, total: 3 }]);
    await expect(pool.check("a", { onProgress: true } as never)).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  });
});

describe("ProgressReporter", () => {
  test("a state - is frozen, and the same for all that is done with it", () => {
    const clock = new VirtualClock();
    let seen: object = {};
    const reporter = new ProgressReporter(
      "onProgress",
      (progress: object) => {
        seen = progress;
      },
      clock,
      (done) => ({ done }),
    );
    reporter.advance();
    reporter.report();
    expect({ seen, isFrozen: Object.isFrozen(seen) }).toEqual({ seen: { done: 1 }, isFrozen: true });
  });

  test("without a callback - reads neither clock nor state", () => {
    const unused = (): never => {
      throw new Error("must not be read");
    };
    const clock = new VirtualClock();
    const reporter = new ProgressReporter("onProgress", undefined, clock, unused);
    clock.monotonic = unused;
    reporter.advance();
    reporter.report();
  });
});
