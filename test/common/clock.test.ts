import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { systemClock } from "../../src/common/clock.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const LONGEST = 2 ** 31 - 1;

describe("systemClock", () => {
  test("setTimer() - calls back once, at its time", () => {
    const callback = vi.fn();
    systemClock.setTimer(1_000, callback);
    vi.advanceTimersByTime(999);
    expect(callback).not.toHaveBeenCalled();
    vi.advanceTimersByTime(10_000);
    expect(callback).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([LONGEST, LONGEST + 1, 30 * 86_400_000, 365 * 86_400_000])(
    "setTimer() - %d ms neither fires at once nor early",
    (ms) => {
      const callback = vi.fn();
      systemClock.setTimer(ms, callback);
      vi.advanceTimersByTime(ms - 1);
      expect(callback).not.toHaveBeenCalled();
      vi.advanceTimersByTime(1);
      expect(callback).toHaveBeenCalledOnce();
    },
  );

  test("cancel() - stops it, also in its second slice, twice, and after it ran", () => {
    const callback = vi.fn();
    const timer = systemClock.setTimer(LONGEST + 1_000, callback);
    vi.advanceTimersByTime(LONGEST + 1);
    timer.cancel();
    timer.cancel();
    vi.advanceTimersByTime(LONGEST);
    expect({ calls: callback.mock.calls.length, pendingTimers: vi.getTimerCount() }).toEqual({
      calls: 0,
      pendingTimers: 0,
    });
    const short = systemClock.setTimer(1, callback);
    vi.advanceTimersByTime(1);
    short.cancel();
    expect(callback).toHaveBeenCalledOnce();
  });
});

describe("systemClock - keeping the process alive", () => {
  test("unref'd at first; ref() and unref() hold over slices", () => {
    vi.useRealTimers();
    const made: NodeJS.Timeout[] = [];
    const callbacks: (() => void)[] = [];
    const original = globalThis.setTimeout;
    const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(((callback: () => void, ms: number) => {
      const handle = original(() => {}, ms);
      made.push(handle);
      callbacks.push(callback);
      return handle;
    }) as typeof setTimeout);
    const timer = systemClock.setTimer(LONGEST * 3, () => {});
    expect(made[0]?.hasRef()).toBe(false);
    timer.ref();
    expect(made[0]?.hasRef()).toBe(true);
    callbacks[0]?.();
    expect(made[1]?.hasRef()).toBe(true);
    timer.unref();
    callbacks[1]?.();
    expect(made[2]?.hasRef()).toBe(false);
    timer.cancel();
    spy.mockRestore();
    for (const handle of made) clearTimeout(handle);
  });
});

test("now() and monotonic() - the wall clock and one that only goes forward", () => {
  vi.useRealTimers();
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
  const first = systemClock.monotonic();
  expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
});
