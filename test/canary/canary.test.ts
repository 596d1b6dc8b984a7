import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { EventEmitter } from "eventemitter3";
import { describe, expect, test } from "vitest";
import { runNode } from "../examples/build.js";
import { openPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";
import { allowSessionIn, expectNoFindings, look, takeFindings } from "./canary.js";
import { leakingFace } from "./faces.js";
import { watchPools } from "./pool-watch.js";
import { holdsSession } from "./session-finder.js";

const SESSION = sessionString("canary");
const PIECE = SESSION.slice(100, 139);
const KEY = Buffer.from(SESSION.slice(1), "base64").subarray(-256);
const leakingError = (): Error => new Error(`Cannot read ${SESSION}`);

/** A pool that leaks wherever it can. */
class LeakyPool extends EventEmitter {
  readonly text: string = SESSION;

  static async open({ logger }: { readonly logger?: Pick<Console, "info"> } = {}): Promise<LeakyPool> {
    logger?.info(`opened with ${SESSION}`);
    return new LeakyPool();
  }

  static async refuse(): Promise<never> {
    throw leakingError();
  }

  async add(_id: string, session: string): Promise<object> {
    return { id: "a", session };
  }

  async update(): Promise<object> {
    return { id: "a", state: "free", tags: ["x", SESSION] };
  }

  async acquire(): Promise<object> {
    return Object.defineProperty({ id: "a" }, "hidden", { value: SESSION });
  }

  async use(work: (client: object, lease: object) => unknown): Promise<unknown> {
    return work({ session: SESSION }, { id: SESSION });
  }

  async *map(): AsyncGenerator<object> {
    yield { item: SESSION, ok: false, error: leakingError() };
  }

  get(): object {
    return { id: SESSION };
  }

  status(): never {
    throw leakingError();
  }

  async remove(): Promise<never> {
    throw new Error("no", { cause: new Error("still no", { cause: leakingError() }) });
  }

  async enable(): Promise<never> {
    throw Object.assign(new Error("no"), { request: { body: [{ key: KEY }] } });
  }

  async disable(): Promise<never> {
    throw Object.defineProperty(new Error("no"), "hidden", { value: { toJSON: () => 1, deep: { text: SESSION } } });
  }

  async exportSession(): Promise<string> {
    return SESSION;
  }

  async close(): Promise<void> {}
}

watchPools(LeakyPool);

describe("a leak is seen in", () => {
  test.each<[string, string, (pool: LeakyPool) => unknown]>([
    ["an event", "the event died (inspect)", (pool) => pool.emit("died", { id: "a", reason: `${SESSION} is dead` })],
    ["an event's error", "the event storageFailed (message)", (pool) => pool.emit("storageFailed", leakingError())],
    ["what add() resolves", "what add() resolved (inspect)", (pool) => pool.add("a", SESSION)],
    ["what update() resolves", "what update() resolved (inspect)", (pool) => pool.update()],
    ["a lease", "what acquire() resolved (deep inspect)", (pool) => pool.acquire()],
    ["a snapshot", "what get() returned (inspect)", (pool) => pool.get()],
    ["a client", "the client of use() (inspect)", (pool) => pool.use(() => 1)],
    ["a lease of a work", "the lease of use() (inspect)", (pool) => pool.use(() => 1)],
    ["the pool", "the pool at close() (inspect)", (pool) => pool.close()],
    ["a cause", "the rejection of remove() (inspect)", (pool) => pool.remove().catch(() => {})],
    ["a hidden field", "the rejection of disable() (deep inspect)", (pool) => pool.disable().catch(() => {})],
    ["the bytes of a key", "the rejection of enable() (deep inspect)", (pool) => pool.enable().catch(() => {})],
    ["a step of map()", "a step of map() resolved (message)", (pool) => pool.map().next()],
  ])("%s", async (_, where, leak) => {
    await leak(new LeakyPool());
    expect(await takeFindings()).toContainEqual(expect.stringContaining(where));
  });

  test("an error that is thrown synchronously", async () => {
    expect(() => new LeakyPool().status()).toThrow();
    expect(await takeFindings()).toEqual(["what status() threw (message)"]);
  });

  test("the logger given to open()", async () => {
    const lines: string[] = [];
    await LeakyPool.open({ logger: { info: (line) => void lines.push(line) } });
    expect(lines).toEqual([`opened with ${SESSION}`]);
    expect(await takeFindings()).toEqual(["logger.info() (text)", "what open() resolved (inspect)"]);
  });

  test.each(["debug", "dir", "error", "info", "log", "trace", "warn"] as const)("console.%s()", async (name) => {
    const print = console[name].bind(console) as (text: string) => void;
    print(`made up, and printed on purpose: ${PIECE}`);
    expect(await takeFindings()).toContain(`console.${name}() (text)`);
  });

  test.each(["stdout", "stderr"] as const)("process.%s", async (name) => {
    for (const chunk of [`made up, and printed on purpose: ${PIECE}\n`, Buffer.from(`again: ${PIECE}\n`)]) {
      process[name].write(chunk);
      expect(await takeFindings()).toEqual([`process.${name} (text)`]);
    }
  });

  test("a process warning", async () => {
    process.emitWarning(`made up, and printed on purpose: ${PIECE}`);
    expect(await takeFindings()).toContain("a process warning (message)");
  });

  test.each(["stdout", "stderr"] as const)("a child process's %s", async (name) => {
    const print = `process.${name}.write("made up: " + process.argv[1])`;
    const { code, output } = await runNode(["-e", print, PIECE]);
    expect({ code, output }).toEqual({ code: 0, output: `made up: ${PIECE}` });
    expect(await takeFindings()).toEqual([`the ${name} of a program (text)`]);
  });

  test("a call that settles after its test", async () => {
    const pool = new LeakyPool();
    let fail = (_: Error): void => {};
    const late = pool.use(() => new Promise((_, reject) => (fail = reject)));
    await takeFindings();
    fail(leakingError());
    await late.catch(() => {});
    expect(await takeFindings()).toEqual(["the rejection of use() (message)"]);
  });
});

describe("a leak in a real pool", () => {
  test.fails("fails its test", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    pool.emit("died", { id: "a", reason: SESSION });
  });

  test.fails("fails its test when only the closing of the pool shows it", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    Object.assign(pool, { session: SESSION });
  });

  test.fails("fails its test when the work throws it, unless that is allowed", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.use(() => Promise.reject(leakingError())).catch(() => {});
  });

  test("allowSessionIn() - lets it pass in that place", async () => {
    allowSessionIn("the rejection of use()", "the work throws a session of its own");
    const { pool } = await openPool({ sessions: ["a"] });
    await pool.use(() => Promise.reject(leakingError())).catch(() => {});
  });

  test("allowSessionIn() - allows no other place, and fails when nothing leaks there", async () => {
    allowSessionIn("the rejection of use()", "nothing is thrown");
    look("the event died", SESSION);
    expect(await takeFindings()).toEqual([
      "the event died (text)",
      'nothing that begins with "the rejection of use()", though it may',
    ]);
  });

  test("names the place, never the value", async () => {
    look("the event died", SESSION);
    const error = await expectNoFindings().catch((thrown: unknown) => thrown);
    expect(error).toEqual(new Error("A session string was seen in the event died (text)"));
  });

  test("an exported session is allowed", async () => {
    const { pool } = await openPool({ sessions: ["a"] });
    expect(await pool.exportSession("a")).toBe(sessionString("a"));
  });

  test("does not change when and how calls of a watched pool reject", async () => {
    const { pool } = await openPool();
    const reasons: unknown[] = [];
    const others = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", (reason) => reasons.push(reason));
    void pool.enable("x");
    await new Promise((resolve) => setImmediate(resolve));
    process.removeAllListeners("unhandledRejection");
    for (const listener of others) process.on("unhandledRejection", listener);
    expect(reasons).toEqual([expect.objectContaining({ code: "SESSION_NOT_FOUND" })]);
    process.once("rejectionHandled", () => {}); // by the canary, and only now
    const closing = pool.close();
    expect(pool.close()).toBe(closing);
    await closing;
  });
});

describe("holdsSession()", () => {
  const strange = randomBytes(290);

  test.each([
    ["a session that nobody made known", strange.toString("base64")],
    ["the same in the URL-safe alphabet", `x: ${strange.toString("base64url")}, y`],
    ["its hex", strange.toString("hex")],
    ["a piece of a known one", `cut off at ${PIECE}…`],
    ["the first bytes of a known key", inspect(KEY)],
    ["a known key as numbers", inspect(new Uint8Array(KEY))],
    ["a known key in JSON", JSON.stringify({ key: KEY })],
  ])("is true for: %s", (_, text) => expect(holdsSession(text)).toBe(true));

  test.each([
    ["nothing", ""],
    ["the head that all sessions share", SESSION.slice(0, 28).padEnd(60, ".")],
    ["a path", "/home/somebody/projects/telegram-session-pool/node_modules/vitest/dist/chunks/index.js:1:2"],
    ["filler", "x".repeat(5_000)],
    ["a hash", randomBytes(64).toString("hex")],
    ["other bytes", inspect(strange)],
  ])("is false for: %s", (_, text) => expect(holdsSession(text)).toBe(false));
});

test("leakingFace() - a value that cannot be printed is no leak, nor is plain data", () => {
  const unprintable = Object.defineProperty(Object.create(null), "toJSON", {
    get: () => {
      throw new Error("no");
    },
  });
  const values = [unprintable, null, undefined, 1n, Symbol("x"), { a: [1, { b: "c" }] }, () => SESSION];
  expect(values.map(leakingFace)).toEqual(values.map(() => undefined));
});
