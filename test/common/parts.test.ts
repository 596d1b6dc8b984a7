import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { AcquireRequest } from "../../src/acquire/acquire-request.js";
import { Waiter, WaitQueue } from "../../src/acquire/wait-queue.js";
import { AbortListeners } from "../../src/common/abort-listeners.js";
import { PoolTime } from "../../src/common/pool-time.js";
import { WakeTimer } from "../../src/common/timers.js";
import { ANY } from "../../src/state/criteria.js";
import { KeyedMutex } from "../../src/state/session-registry.js";
import { deferred, watch } from "../fakes/pools.js";
import { START, settled, VirtualClock } from "../fakes/virtual-clock.js";

describe("PoolTime", () => {
  test("runs at the monotonic clock's rate, whatever the wall clock does", async () => {
    const clock = new VirtualClock();
    const time = new PoolTime(clock);
    expect(time.now()).toBe(START);
    clock.turnWall(-3_600_000);
    await clock.advance(5);
    clock.turnWall(7_200_000);
    expect(time.now()).toBe(START + 5);
    expect(time.wallNow()).toBe(clock.now());
  });

  test.each([400, -400])("toWall() and fromWall() - a step of %d ms never shortens a cooldown", (step) => {
    const clock = new VirtualClock();
    const time = new PoolTime(clock);
    clock.turnWall(step);
    const instant = time.now() + 60_000;
    const again = time.fromWall(time.toWall(instant));
    const afterRestart = new PoolTime(clock).fromWall(time.toWall(instant)) - (clock.now() - time.now());
    for (const found of [again, afterRestart]) {
      expect(found).toBeGreaterThanOrEqual(instant);
      expect(found).toBeLessThanOrEqual(instant + 400);
    }
  });

  test.each([3_600_000, -3_600_000, 0])("toWall() and fromWall() - undo each other after a jump of %d ms", (jump) => {
    const clock = new VirtualClock();
    const time = new PoolTime(clock);
    clock.turnWall(jump);
    const instant = time.now() + 60_000;
    expect(time.fromWall(time.toWall(instant))).toBe(instant);
    expect(Math.abs(time.toWall(instant) - (clock.now() + 60_000))).toBeLessThan(500);
  });
});

describe("Waiters", () => {
  const waiter = (priority: number): Waiter => {
    const settle = { resolve: () => {}, reject: () => {} };
    return new Waiter(new AcquireRequest({ priority }), ANY, Number.POSITIVE_INFINITY, () => {}, settle);
  };

  test("inOrder() - when waiters leave during iteration, visits every one that stays", () => {
    for (const removed of [0, 1, 2, 3]) {
      for (const at of [0, 1, 2, 3]) {
        const waiters = new WaitQueue();
        const all = [0, 0, 0, 0].map(waiter);
        for (const one of all) waiters.add(one);
        const seen = new Set<Waiter>();
        let steps = 0;
        for (const one of waiters.inOrder()) {
          if (steps++ === at) {
            waiters.remove(one);
            for (const other of [all[removed], all[removed + 1]]) if (other) waiters.remove(other);
          }
          seen.add(one);
        }
        expect(all.filter((one) => one.isLinked && !seen.has(one))).toEqual([]);
        expect(steps).toBeLessThan(8);
      }
    }
  });

  test("inOrder() - higher first, then in order of arrival; safe against removal of the one at hand", () => {
    const waiters = new WaitQueue();
    const all = [0, 5, -1, 5, 0].map(waiter);
    for (const one of all) waiters.add(one);
    const seen: Waiter[] = [];
    for (const one of waiters.inOrder()) {
      seen.push(one);
      waiters.remove(one);
    }
    expect(seen.map((one) => all.indexOf(one))).toEqual([1, 3, 0, 4, 2]);
    expect(waiters.size).toBe(0);
  });

  test("first - of as many priorities as callers, in whatever order they come and go", () => {
    const waiters = new WaitQueue();
    const all = [3, 1, 2, 5, 4, 1].map(waiter);
    for (const one of all) waiters.add(one);
    for (const expected of [3, 4, 0, 2, 1, 5]) {
      expect(waiters.first).toBe(all[expected]);
      waiters.remove(all[expected] as Waiter);
    }
    expect(waiters.first).toBeUndefined();
  });

  test("remove() - says whether it was in, once", () => {
    const waiters = new WaitQueue();
    const one = waiter(0);
    expect(waiters.remove(one)).toBe(false);
    waiters.add(one);
    expect({ isRemovedFirst: waiters.remove(one), isRemovedAgain: waiters.remove(one), left: waiters.size }).toEqual({
      isRemovedFirst: true,
      isRemovedAgain: false,
      left: 0,
    });
  });
});

describe("AbortListeners", () => {
  test("adds one listener for all, and removes it when the last has left or the signal has aborted", () => {
    const signals = new AbortListeners();
    const { signal } = new AbortController();
    const stops = Array.from({ length: 50 }, () => signals.onAbort(signal, () => {}));
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    for (const stop of stops) {
      stop();
      stop();
    }
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    signals.onAbort(signal, () => {});
    stops[0]?.();
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
  });

  test("calls each back once, and none that has left, also from inside another's callback", async () => {
    const signals = new AbortListeners();
    const abort = new AbortController();
    const seen: string[] = [];
    let stopLast: () => void = () => {};
    signals.onAbort(abort.signal, () => {
      seen.push("first");
      stopLast();
    });
    stopLast = signals.onAbort(abort.signal, () => seen.push("last"));
    signals.onAbort(abort.signal, () => seen.push("left"))();
    abort.abort();
    await settled();
    expect(seen).toEqual(["first"]);
  });

  test("calls back for an already aborted signal, unless the listener left first", async () => {
    const signals = new AbortListeners();
    const seen: string[] = [];
    signals.onAbort(AbortSignal.abort(), () => seen.push("called"));
    signals.onAbort(AbortSignal.abort(), () => seen.push("left"))();
    await settled();
    expect(seen).toEqual(["called"]);
  });
});

describe("KeyedMutex", () => {
  test("serializes work under one name and runs the rest in parallel; a failure frees the name", async () => {
    const locks = new KeyedMutex();
    const [first, other] = [deferred(), deferred()];
    const order: string[] = [];
    const hold = (names: readonly string[], name: string, until?: Promise<void>): ReturnType<typeof watch<void>> =>
      watch(
        locks.runExclusive(names, async () => {
          order.push(name);
          await until;
        }),
      );
    const failing = hold(["a", "k"], "1", first.promise);
    hold(["b", "k"], "2", other.promise);
    hold(["a"], "3");
    hold(["c"], "4");
    await settled();
    expect(order.toSorted()).toEqual(["1", "4"]);
    first.reject(new Error("mine"));
    await settled();
    expect({ failing: failing.state, order: order.slice(2).sort() }).toEqual({
      failing: "rejected",
      order: ["2", "3"],
    });
    other.resolve();
    await settled();
    hold(["k", "b"], "5");
    await settled();
    expect(order.at(-1)).toBe("5");
  });
});

describe("WakeTimer", () => {
  function createTimer() {
    const clock = new VirtualClock();
    const calls: number[] = [];
    const timer = new WakeTimer(clock, () => void calls.push(clock.now() - START));
    return { clock, calls, timer };
  }

  test("set() - calls back once after the latest delay, and can be set again", async () => {
    const { clock, calls, timer } = createTimer();
    timer.set(100);
    timer.set(300);
    expect(timer.isSet).toBe(true);
    await clock.advance(1_000);
    expect({ calls, isSet: timer.isSet, pending: clock.pending }).toEqual({ calls: [300], isSet: false, pending: 0 });
    timer.set(-5);
    await clock.advance(0);
    expect(calls).toEqual([300, 1_000]);
  });

  test("set() - works within the callback", async () => {
    const clock = new VirtualClock();
    let count = 0;
    const timer: WakeTimer = new WakeTimer(clock, () => {
      if (++count < 3) timer.set(10);
    });
    timer.set(10);
    await clock.advance(100);
    expect({ count, pending: clock.pending }).toEqual({ count: 3, pending: 0 });
  });

  test("setBy() - keeps the earliest instant, and none for Infinity", async () => {
    const { clock, calls, timer } = createTimer();
    timer.setBy(Number.POSITIVE_INFINITY, 0);
    expect({ isSet: timer.isSet, timersMade: clock.timersMade }).toEqual({ isSet: false, timersMade: 0 });
    timer.setBy(500, 0);
    timer.setBy(700, 0);
    timer.setBy(200, 0);
    expect(clock.timersMade).toBe(2);
    await clock.advance(200);
    timer.setBy(700, 200);
    await clock.advance(1_000);
    expect(calls).toEqual([200, 700]);
  });

  test("cancel() - calls back no more, until it is set again", async () => {
    const { clock, calls, timer } = createTimer();
    timer.setBy(100, 0);
    timer.cancel();
    timer.cancel();
    expect({ isSet: timer.isSet, pending: clock.pending }).toEqual({ isSet: false, pending: 0 });
    timer.setBy(300, 0);
    await clock.advance(1_000);
    expect(calls).toEqual([300]);
  });
});

describe("deferred()", () => {
  test("is settled from outside, once", async () => {
    const resolved = deferred<number>();
    resolved.resolve(1);
    resolved.reject(new Error("late"));
    expect(await resolved.promise).toBe(1);
    const rejected = deferred();
    rejected.reject(new Error("mine"));
    await expect(rejected.promise).rejects.toThrow("mine");
  });
});
