import { inspect } from "node:util";
import { describe, expect, test, vi } from "vitest";
import * as errors from "../../src/errors.js";
import { openPool, type TestPool } from "../fakes/pools.js";
import { sessionString } from "../fakes/sessions.js";

type Pool = TestPool["pool"];

const status = {
  total: 1,
  free: 0,
  leased: 0,
  cooling: 1,
  restricted: 0,
  dead: 0,
  disabled: 0,
  foreign: 0,
  waiters: 0,
  nextAvailableAt: 5,
};
const wait = { waitingCount: 1, nextReleaseIn: 5, retryAt: 5, status };
const details = { cause: new Error("why"), sessionId: "a" };

const all: readonly [errors.SessionPoolErrorCode, errors.SessionPoolError][] = [
  ["NO_SESSION_AVAILABLE", new errors.NoSessionAvailableError("m", wait, details)],
  ["QUEUE_FULL", new errors.QueueFullError("m", details)],
  ["ACQUIRE_TIMEOUT", new errors.AcquireTimeoutError("m", details)],
  ["ATTEMPT_TIMEOUT", new errors.AttemptTimeoutError("m", details)],
  ["CALL_TIMEOUT", new errors.CallTimeoutError("m", details)],
  ["LEASE_RELEASED", new errors.LeaseReleasedError("m", details)],
  ["POOL_CLOSED", new errors.PoolClosedError("m", details)],
  ["INVALID_SESSION", new errors.InvalidSessionError("m", details)],
  ["DUPLICATE_SESSION", new errors.DuplicateSessionError("m", details)],
  ["SESSION_NOT_FOUND", new errors.SessionNotFoundError("m", details)],
  ["CONNECT_FAILED", new errors.ConnectError("m", details)],
  ["ROTATION_UNSAFE", new errors.RotationUnsafeError("m", details)],
  ["NO_PROGRESS", new errors.NoProgressError("m", details)],
  ["OUTCOME_UNKNOWN", new errors.OutcomeUnknownError("m", "yes", details)],
  ["OWNERSHIP_LOST", new errors.OwnershipLostError("m", details)],
  ["STORAGE_FAILED", new errors.StorageError("m", details)],
  ["STORAGE_CORRUPT", new errors.StorageCorruptError("m", details)],
  ["LOGIN_FLOOD_WAIT", new errors.LoginError("LOGIN_FLOOD_WAIT", "m", { ...details, seconds: 5 })],
  ["INVALID_OPTIONS", new errors.OptionsError("m", details)],
];

describe("errors", () => {
  test.each(all)("%s - name, code, message, cause, sessionId", (code, error) => {
    expect(error).toMatchObject({ code, message: "m", name: error.constructor.name, ...details });
    expect(error).toBeInstanceOf(Error);
    expect(error).toBeInstanceOf(errors.SessionPoolError);
    expect(error.stack).toContain(error.name);
  });

  test("each is an instance of its own class and its base classes", () => {
    for (const [, error] of all) {
      const classes = all.map(([, other]) => other.constructor as typeof Error);
      const matching = classes.filter((type) => error instanceof type);
      const above: Readonly<Record<string, string>> = {
        StorageCorruptError: "StorageError",
        OwnershipLostError: "LeaseReleasedError",
      };
      const expected = [above[error.name], error.name].filter((name) => name !== undefined);
      expect(matching.map(({ name }) => name)).toEqual(expected);
    }
  });

  test("other errors are instances of none", () => {
    for (const value of [new Error("m"), undefined, null, 5, "text", {}, () => {}]) {
      expect(value instanceof errors.SessionPoolError).toBe(false);
    }
  });

  test("instanceof works across two copies of the package", async () => {
    vi.resetModules();
    const copy = await import("../../src/errors.js");
    expect(copy.QueueFullError).not.toBe(errors.QueueFullError);
    const theirs = new copy.QueueFullError("m");
    expect(theirs).toBeInstanceOf(errors.QueueFullError);
    expect(theirs).toBeInstanceOf(errors.SessionPoolError);
    expect(theirs).not.toBeInstanceOf(errors.OptionsError);
    expect(new copy.StorageCorruptError("m")).toBeInstanceOf(errors.StorageError);
  });

  test("without details there is neither cause nor sessionId", () => {
    const error = new errors.OptionsError("m");
    expect("cause" in error || "sessionId" in error).toBe(false);
  });

  test("a user's subclass is distinguished from its base class", () => {
    class MyError extends errors.QueueFullError {}
    expect(new MyError("m")).toBeInstanceOf(errors.QueueFullError);
    expect(new errors.QueueFullError("m")).not.toBeInstanceOf(MyError);
  });
});

describe("a session string given as any other name", () => {
  test.each([
    ["the id of acquire()", (pool: Pool, text: string) => pool.acquire({ id: text })],
    ["a tag of acquire()", (pool: Pool, text: string) => pool.acquire({ tags: [text] })],
    ["the method of acquire()", (pool: Pool, text: string) => pool.acquire({ tags: ["x"], method: text })],
    ["the id of update()", (pool: Pool, text: string) => pool.update(text, {})],
    ["the id of disable()", (pool: Pool, text: string) => pool.disable(text)],
    ["the id of exportSession()", (pool: Pool, text: string) => pool.exportSession(text)],
    ["an option", (pool: Pool, text: string) => pool.acquire({ [text]: 1 })],
  ])("%s - is in no error", async (_, call) => {
    const { pool } = await openPool({ sessions: ["a"] });
    const text = sessionString("b");
    const error: unknown = await call(pool, text).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toBeInstanceOf(errors.SessionPoolError);
    const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error);
    expect(shown).not.toContain(text.slice(40, 80));
  });
});
