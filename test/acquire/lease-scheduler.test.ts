import { describe, expect, test } from "vitest";
import { AcquireRequest } from "../../src/acquire/acquire-request.js";
import { AcquireTimeoutError, ConnectError, NoSessionAvailableError } from "../../src/errors.js";
import { ANY } from "../../src/state/criteria.js";
import { recordConnectFailure } from "../../src/state/pooled-session.js";
import { settled } from "../fakes/virtual-clock.js";
import { createScheduler, type SchedulerParts } from "./scheduler-parts.js";

const WHOLE_SESSION = { kind: "session" } as const;

/** Reserves every available session. */
function reserveAll({ scheduler, context }: SchedulerParts): void {
  while (scheduler.reserve(ANY, context.time.now()) !== undefined);
}

function release({ sessionTable, scheduler, session, context }: SchedulerParts, id: string): void {
  const now = context.time.now();
  sessionTable.release(session(id), now, context.time.wallNow(now), false);
  scheduler.serveWaiters(now);
}

function coolDown({ sessionTable, session, context }: SchedulerParts, id: string, ms: number): void {
  const now = context.time.now();
  sessionTable.cool(session(id), WHOLE_SESSION, now + ms, "test", now);
}

describe("reserve()", () => {
  test("of a session whose cooldown has ended - a caller that waits is served before the new one", async () => {
    const parts = await createScheduler("a");
    coolDown(parts, "a", 1_000);
    const waiter = parts.wait("first");
    await parts.clock.advance(1_000);
    expect(parts.scheduler.reserve(ANY, parts.context.time.now())).toBeUndefined();
    expect({ waiter: waiter.state, waiterValue: waiter.value }).toEqual({ waiter: "resolved", waiterValue: "a" });
  });

  test("without an available session - returns undefined, and canReserve() is false", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    expect(parts.scheduler.reserve(ANY, parts.context.time.now())).toBeUndefined();
    expect(parts.scheduler.canReserve(ANY)).toBe(false);
    release(parts, "a");
    expect(parts.scheduler.canReserve(ANY)).toBe(true);
  });
});

describe("wait()", () => {
  test("is served in the call that releases a session, the highest priority first", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    parts.wait("low", { priority: -1 });
    parts.wait("high", { priority: 1 });
    parts.wait("also high", { priority: 1 });
    for (const served of [["high"], ["high", "also high"], ["high", "also high", "low"]]) {
      release(parts, "a");
      expect(parts.served).toEqual(served);
    }
    expect(parts.scheduler.waiterCount).toBe(0);
  });

  test("when no session matches the first waiters - the ones behind them are served", async () => {
    const parts = await createScheduler("a:eu", "b:us");
    reserveAll(parts);
    parts.wait("1", { tags: ["eu"] });
    parts.wait("2", { tags: ["eu"] });
    parts.wait("3", { id: "b" });
    release(parts, "b");
    expect(parts.served).toEqual(["3"]);
  });

  test("at its deadline - rejects with AcquireTimeoutError, and leaves the queue and no timer", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const waiter = parts.wait("1", { wait: 500 });
    await parts.clock.advance(499);
    expect(waiter.state).toBe("pending");
    await parts.clock.advance(1);
    expect(waiter.error).toBeInstanceOf(AcquireTimeoutError);
    release(parts, "a");
    expect({ served: parts.served, waiterCount: parts.scheduler.waiterCount }).toEqual({ served: [], waiterCount: 0 });
  });

  test("when its signal aborts - rejects with the reason, and the next waiter is served", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const abort = new AbortController();
    const waiter = parts.wait("1", { signal: abort.signal });
    parts.wait("2");
    abort.abort(new Error("no longer needed"));
    await settled();
    expect(waiter.error).toBe(abort.signal.reason);
    release(parts, "a");
    expect(parts.served).toEqual(["2"]);
  });

  test("by a function that throws - rejects that waiter only", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const failing = parts.scheduler.wait(new AcquireRequest({}), Number.POSITIVE_INFINITY, () => {
      throw new Error("the client adapter failed");
    });
    expect(() => release(parts, "a")).not.toThrow();
    await expect(failing).rejects.toThrow("the client adapter failed");
  });

  test("publishes waiting, with the number of waiters", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    parts.wait("1");
    await settled();
    expect(parts.context.published).toEqual([{ name: "waiting", event: { waiters: 1, nextAvailableAt: null } }]);
  });
});

describe("cooldowns", () => {
  test("are served by one timer, the earliest first, until close()", async () => {
    const parts = await createScheduler("a", "b");
    coolDown(parts, "a", 2_000);
    coolDown(parts, "b", 1_000);
    const [first, second] = [parts.wait("1"), parts.wait("2")];
    await parts.clock.advance(1_000);
    expect({ firstValue: first.value, second: second.state }).toEqual({ firstValue: "b", second: "pending" });
    parts.scheduler.close();
    await parts.clock.advance(10_000);
    expect(second.state).toBe("pending");
  });

  test("of 501 sessions that end together - all of them serve, the last one in a later turn", async () => {
    const ids = Array.from({ length: 501 }, (_, index) => `${index}`);
    const parts = await createScheduler(...ids);
    for (const id of ids) coolDown(parts, id, 1_000);
    for (const id of ids) parts.wait(id);
    await parts.clock.advance(1_000);
    await parts.clock.advance(1);
    expect(parts.served).toHaveLength(501);
  });
});

describe("rejectUnservable()", () => {
  test("when the last session that matches is lost - rejects the waiters for it, and no other", async () => {
    const parts = await createScheduler("a:eu", "b");
    reserveAll(parts);
    const [forTag, forAny] = [parts.wait("1", { tags: ["eu"] }), parts.wait("2")];
    parts.sessionTable.setDisabled(parts.session("a"), "test", parts.context.time.now());
    parts.context.events.emit("availabilityChanged");
    await settled();
    expect(forTag.error).toBeInstanceOf(NoSessionAvailableError);
    expect(forAny.state).toBe("pending");
  });

  test("when every session cools beyond a deadline - rejects the waiters that cannot be served in time", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const [brief, patient] = [parts.wait("1", { wait: 1_000 }), parts.wait("2")];
    coolDown(parts, "a", 60_000);
    parts.sessionTable.cancel(parts.session("a"), parts.context.time.now());
    parts.context.events.emit("availabilityChanged");
    await settled();
    expect(brief.error).toMatchObject({ name: "NoSessionAvailableError", nextReleaseIn: 60 });
    expect(patient.state).toBe("pending");
  });

  test("of a request with a cause - the error has that cause", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const request = new AcquireRequest({});
    request.cause = new Error("a flood");
    const waiting = parts.scheduler.wait(request, Number.POSITIVE_INFINITY, ({ id }) => id);
    parts.sessionTable.setDead(parts.session("a"), "test", parts.context.time.now());
    parts.context.events.emit("availabilityChanged");
    await expect(waiting).rejects.toMatchObject({ name: "NoSessionAvailableError", cause: request.cause });
  });
});

describe("unreachableError()", () => {
  test("is the latest error once every session has failed to connect since the request began", async () => {
    const parts = await createScheduler("a", "b");
    const now = parts.context.time.now();
    const fail = (id: string): ConnectError => {
      const error = new ConnectError(`"${id}" did not connect.`, { sessionId: id });
      recordConnectFailure(parts.session(id), error);
      parts.sessionTable.backOff(parts.session(id), { until: now + 1_000, reason: "test" }, now);
      return error;
    };
    fail("a");
    const request = new AcquireRequest({});
    const failure = fail("b");
    expect(parts.scheduler.unreachableError(request)).toBeUndefined();
    const latest = fail("a");
    expect(parts.scheduler.unreachableError(request)).toBe(latest);
    expect(parts.scheduler.unreachableError(new AcquireRequest({ id: "b" }))).toBeUndefined();
    expect(failure).not.toBe(latest);
  });

  test("rejects waiters by the event connectFailed", async () => {
    const parts = await createScheduler("a");
    reserveAll(parts);
    const waiter = parts.wait("1");
    const error = new ConnectError("It did not connect.", { sessionId: "a" });
    const now = parts.context.time.now();
    recordConnectFailure(parts.session("a"), error);
    parts.sessionTable.backOff(parts.session("a"), { until: now + 1_000, reason: "test" }, now);
    parts.context.events.emit("connectFailed");
    await settled();
    expect(waiter.error).toBe(error);
  });
});

test("rejectAll() - rejects every waiter, in order of the queue", async () => {
  const parts = await createScheduler("a");
  reserveAll(parts);
  const waiters = [parts.wait("1"), parts.wait("2", { priority: 1 })];
  const error = new Error("The pool is closed.");
  parts.scheduler.rejectAll(() => error);
  await settled();
  expect(waiters.map((waiter) => waiter.error)).toEqual([error, error]);
  expect(parts.scheduler.waiterCount).toBe(0);
});
