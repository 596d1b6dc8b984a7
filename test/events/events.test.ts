import { type EventEmitter, once } from "node:events";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OptionsError } from "../../src/errors.js";
import { SafeEmitter, type SessionPoolEvents } from "../../src/events.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { flood } from "../fakes/telegram-errors.js";
import { START, settled } from "../fakes/virtual-clock.js";

const warnings: Error[] = [];
const warned = (warning: Error): void => void warnings.push(warning);

beforeEach(() => {
  warnings.length = 0;
  process.on("warning", warned);
});
afterEach(() => {
  process.off("warning", warned);
});

const emitterOf = (): SafeEmitter<SessionPoolEvents> => new SafeEmitter<SessionPoolEvents>();

describe("SafeEmitter", () => {
  test.each([
    [
      "throws",
      () => {
        throw new Error("mine");
      },
    ],
    ["rejects", () => Promise.reject(new Error("mine"))],
    [
      "rejects by a thenable of its own",
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
      () => ({ then: (_: unknown, reject: (error: Error) => void) => reject(new Error("mine")) }),
    ],
    [
      "throws what cannot be printed",
      () => {
        throw Object.create(null);
      },
    ],
    [
      "throws an error whose stack throws",
      () => {
        throw Object.defineProperty(new Error("mine"), "stack", {
          get: () => {
            throw new Error("no");
          },
        });
      },
    ],
  ])("a listener that %s stops no other and becomes one warning", async (_, listener) => {
    const emitter = emitterOf();
    const seen: string[] = [];
    emitter.on("died", listener);
    emitter.on("died", ({ id }) => seen.push(id));
    expect(emitter.emit("died", { id: "a", reason: "banned" })).toBe(true);
    await settled();
    expect(seen).toEqual(["a"]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({ name: "SessionPoolWarning", message: expect.stringContaining('"died"') });
  });

  test("once() - is called once, and its failure is a warning too", async () => {
    const emitter = emitterOf();
    let calls = 0;
    emitter.once("leased", () => {
      calls++;
      throw new Error("mine");
    });
    emitter.emit("leased", { id: "a", waitedMs: 0 });
    emitter.emit("leased", { id: "a", waitedMs: 0 });
    await settled();
    expect({ calls, warnings: warnings.length, listeners: emitter.listenerCount("leased") }).toEqual({
      calls: 1,
      warnings: 1,
      listeners: 0,
    });
  });

  test("emit() and listenerCount() - every way of listening counts, until removeAllListeners()", () => {
    const emitter = emitterOf();
    const seen: string[] = [];
    const tell = (): boolean => emitter.emit("leased", { id: "a", waitedMs: 0 });
    expect({ isHeard: tell(), listeners: emitter.listenerCount("leased") }).toEqual({ isHeard: false, listeners: 0 });
    for (const add of ["on", "addListener", "once"] as const) {
      emitter[add]("leased", () => seen.push(add));
      expect({ isHeard: tell(), listeners: emitter.listenerCount("died") }).toEqual({ isHeard: true, listeners: 0 });
      emitter.removeAllListeners(add === "on" ? "leased" : undefined);
      expect({ isHeard: tell(), listeners: emitter.listenerCount("leased") }).toEqual({ isHeard: false, listeners: 0 });
    }
    expect(seen).toEqual(["on", "addListener", "once"]);
    emitter.once("leased", () => emitter.on("died", () => seen.push("died")));
    expect({
      isHeardFirst: tell(),
      isHeardAgain: tell(),
      isEmitted: emitter.emit("died", { id: "a", reason: "r" }),
    }).toEqual({ isHeardFirst: true, isHeardAgain: false, isEmitted: true });
    expect(seen.at(-1)).toBe("died");
  });

  test.each(["off", "removeListener"] as const)("%s() - removes what on, once and addListener added", (remove) => {
    const emitter = emitterOf();
    let calls = 0;
    const listener = (): void => void calls++;
    for (const add of ["on", "once", "addListener"] as const) {
      emitter[add]("leased", listener);
      emitter[remove]("leased", listener);
    }
    emitter.emit("leased", { id: "a", waitedMs: 0 });
    expect({ calls, listeners: emitter.listenerCount("leased") }).toEqual({ calls: 0, listeners: 0 });
    emitter.on("leased", listener);
    emitter[remove]("leased");
    expect(emitter.listenerCount("leased")).toBe(0);
  });

  test("one listener of two events - the warning names the one that failed", async () => {
    const emitter = emitterOf();
    const listener = (): void => {
      throw new Error("mine");
    };
    emitter.on("died", listener);
    emitter.on("leased", listener);
    emitter.emit("leased", { id: "a", waitedMs: 0 });
    await settled();
    expect(warnings[0]?.message).toContain('"leased"');
  });

  test("has itself as the context, or the one that was given", () => {
    const emitter = emitterOf();
    const seen: unknown[] = [];
    const context = {};
    const listener = function (this: unknown): void {
      seen.push(this);
    };
    emitter.on("leased", listener);
    emitter.on("leased", listener, context);
    emitter.emit("leased", { id: "a", waitedMs: 0 });
    expect(seen).toEqual([emitter, context]);
    expect(seen[1]).toBe(context);
  });

  test("on() - rejects a listener that is no function", () => {
    expect(() => emitterOf().on("leased", "x" as never)).toThrow(TypeError);
  });
});

test("events - payloads are frozen: a listener that changes one fails, and the next gets it as it was", async () => {
  const { pool, telegram } = await openPool({ sessions: ["a"] });
  const seen: unknown[] = [];
  const warned = new Promise((resolve) => process.once("warning", resolve));
  pool.on("cooled", (event) => Object.assign(event, { id: "changed" }));
  pool.on("cooled", ({ id }) => seen.push(id));
  telegram.onCall = () => Promise.reject(flood(30));
  await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
  expect({ seen, warning: String(await warned) }).toEqual({
    seen: ["a"],
    warning: expect.stringContaining("read only"),
  });
});

test("events - when every listener throws, the pool continues to work", async () => {
  const { pool, clock } = await openPool({ sessions: ["a"] });
  const names = ["waiting", "leased", "released", "cooled", "recovered", "connected", "disconnected"] as const;
  for (const name of names) {
    pool.on(name, () => {
      throw new Error("mine");
    });
  }
  const lease = await pool.acquire();
  const waiting = pool.acquire();
  lease.coolDown(5);
  lease.release();
  await clock.advance(5_000);
  (await waiting).release();
  await pool.close();
  expect(pool.status()).toMatchObject({ total: 1, free: 1 });
  expect(warnings.length).toBeGreaterThanOrEqual(7);
});

describe("on() of a pool - an event that does not exist", () => {
  test.each(["on", "once", "addListener"] as const)("%s() refuses it, and names the likely one", async (method) => {
    const { pool } = await openPool();
    const listen = (name: string) => () =>
      (pool[method] as (name: string, listener: () => void) => void)(name, () => {});
    expect(listen("recoverd")).toThrow(/there is no event "recoverd". Did you mean "recovered"\?/);
    expect(listen("flood")).toThrow(OptionsError);
    expect(listen("toString")).toThrow(OptionsError);
  });

  test("node:events - once() of a pool works", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    const leased = once(pool as unknown as EventEmitter, "leased");
    await pool.use(() => 1);
    await expect(leased).resolves.toMatchObject([{ id: "a" }]);
  });
});

describe("leased", () => {
  test("waitedMs - is the time since the call of acquire()", async () => {
    const { pool, clock, events } = await openPool({ sessions: ["a"] });
    const lease = await pool.acquire();
    const waiting = pool.acquire();
    await clock.advance(1_500);
    lease.release();
    (await waiting).release();
    await settled();
    expect(events("leased")).toEqual([
      { id: "a", waitedMs: 0 },
      { id: "a", waitedMs: 1_500 },
    ]);
  });

  test("waitedMs - counts each attempt of a job by itself", async () => {
    const { pool, clock, telegram, events } = await openPool({ sessions: ["a"] });
    telegram.onCall = ({ number }) => (number === 1 ? Promise.reject(flood(20)) : undefined);
    const work = pool.use((client) => client.call(READ));
    await clock.advance(20_000);
    await work;
    expect(events("leased").map(({ waitedMs }) => waitedMs)).toEqual([0, 20_000]);
  });
});

describe("retryAt", () => {
  test("AcquireTimeoutError - is when a cooldown of a session that matches ends", async () => {
    const { pool, clock } = await openPool({ sessions: ["a", "b"] });
    const [one, other] = [await pool.acquire({ id: "a" }), await pool.acquire({ id: "b" })];
    const waiting = watch(pool.acquire({ wait: 1_000 }));
    one.coolDown(60);
    one.release();
    await clock.advance(1_000);
    expect(waiting.error).toMatchObject({ code: "ACQUIRE_TIMEOUT", retryAt: START + 60_000 });
    other.release();
  });

  test("QueueFullError - is null while every session that matches is leased", async () => {
    const { pool } = await openPool({ sessions: ["a"], maxWaiters: 0 });
    const lease = await pool.acquire();
    await expect(pool.acquire()).rejects.toMatchObject({ code: "QUEUE_FULL", retryAt: null });
    lease.coolDown(60);
    lease.release();
    await expect(pool.acquire()).rejects.toMatchObject({ code: "QUEUE_FULL", retryAt: START + 60_000 });
  });
});
