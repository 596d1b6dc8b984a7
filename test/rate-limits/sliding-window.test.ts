import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SlidingWindow } from "../../src/rate-limits/call-counters.js";

/** The most calls that any `perMs` long stretch of time has. */
function densest(instants: readonly number[], perMs: number): number {
  let most = 0;
  let first = 0;
  for (const [index, at] of instants.entries()) {
    while ((instants[first] ?? 0) <= at - perMs) first++;
    most = Math.max(most, index - first + 1);
  }
  return most;
}

describe("freeFrom()", () => {
  test("is the instant at which the first call over the limit is forgotten", () => {
    const window = new SlidingWindow();
    const limit = { calls: 2, perMs: 100 };
    expect(window.nextAllowedAt(limit)).toBe(0);
    window.add(10, 100);
    expect(window.nextAllowedAt(limit)).toBe(0);
    window.add(30, 100);
    expect(window.nextAllowedAt(limit)).toBe(110);
    window.add(110, 100);
    expect(window.nextAllowedAt(limit)).toBe(130);
  });

  test("is later when the limit is tightened, whatever was sent", () => {
    const window = new SlidingWindow();
    for (let at = 0; at < 10; at++) window.add(at, 1_000);
    expect(window.nextAllowedAt({ calls: 11, perMs: 1_000 })).toBe(0);
    expect(window.nextAllowedAt({ calls: 5, perMs: 1_000 })).toBe(1_005);
    expect(window.nextAllowedAt({ calls: 1, perMs: 1_000 })).toBe(1_009);
  });

  test("never allows more than the limit, and allows as many as it says from that instant", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 400 });
    fc.assert(
      fc.property(
        fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 5_000 }), gaps),
        ([calls, perMs, waits]) => {
          const window = new SlidingWindow();
          const limit = { calls, perMs };
          const sent: number[] = [];
          let now = 1_000_000;
          for (const wait of waits) {
            now += wait;
            const freeFrom = window.nextAllowedAt(limit);
            const exact = calls <= 128 && sent.length >= calls ? (sent.at(-calls) ?? 0) + perMs : undefined;
            if (exact !== undefined && exact > now) expect(freeFrom).toBe(exact);
            // What has to wait waits, and goes at the very instant.
            now = Math.max(now, freeFrom);
            window.add(now, perMs);
            sent.push(now);
          }
          expect(densest(sent, perMs)).toBeLessThanOrEqual(calls);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a limit of very many calls takes little memory, and wastes little of the limit", () => {
    const window = new SlidingWindow();
    const limit = { calls: 10_000, perMs: 60_000 };
    const sent: number[] = [];
    let now = 0;
    for (let call = 0; call < 60_000; call++) {
      now = Math.max(now + 1, window.nextAllowedAt(limit));
      window.add(now, limit.perMs);
      sent.push(now);
    }
    expect([...window.latestFirst()].length).toBeLessThanOrEqual(129);
    expect(densest(sent, limit.perMs)).toBeLessThanOrEqual(limit.calls);
    expect((sent.length * limit.perMs) / now / limit.calls).toBeGreaterThan(0.9);
  });
});

test("takeBack() - the latest call does not count", () => {
  const window = new SlidingWindow();
  window.undoLast();
  window.add(1, 100);
  window.add(2, 100);
  window.undoLast();
  expect(window.nextAllowedAt({ calls: 1, perMs: 100 })).toBe(101);
  expect(window.total).toBe(1);
});

test("isOverAt() - is true when nothing is remembered and nothing is on the wire", () => {
  const window = new SlidingWindow();
  window.add(5, 100);
  window.pending = 1;
  expect(window.isExpiredAt(1_000)).toBe(false);
  window.pending = 0;
  expect([window.isExpiredAt(104), window.isExpiredAt(105)]).toEqual([false, true]);
});
