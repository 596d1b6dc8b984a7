import { describe, expect, test } from "vitest";
import type { CallLimit } from "../../src/options/budgets.js";
import { SlidingWindow } from "../../src/rate-limits/call-counters.js";
import {
  experimentsOf,
  type LimitEstimate,
  lowered,
  retentionMsOf,
  shortened,
} from "../../src/rate-limits/limit-estimate.js";
import { LimitLearner } from "../../src/rate-limits/limit-learner.js";
import { type FloodServer, fixedWindow, tokenBucket } from "./flood-servers.js";

const METHOD = "contacts.ResolveUsername";
const LONG_AGO = -1e12;

/** How a run went. */
interface Result {
  readonly sent: number;
  readonly floods: number;
}

interface RunOptions {
  readonly server: FloodServer;
  readonly learning?: LimitLearner;
  readonly sessions?: number;
  readonly fromMs?: number;
  readonly untilMs: number;
}

/** Sessions that each send whenever their limit lets them, over a wire that takes 2 to 8 ms. */
class Senders {
  readonly learning: LimitLearner;
  readonly #options: RunOptions;
  readonly #windows = new Map<string, SlidingWindow>();
  readonly #events: { at: number; run(): void }[] = [];
  #random = 7;
  #now = 0;
  #sent = 0;
  #floods = 0;

  constructor(options: RunOptions) {
    this.#options = options;
    this.learning = options.learning ?? new LimitLearner(LONG_AGO);
    for (let session = 0; session < (options.sessions ?? 20); session++) {
      this.#windows.set(`s${session}`, new SlidingWindow());
      this.#at(this.#roll() * 20, () => this.#send(`s${session}`));
    }
  }

  run(): Result {
    for (;;) {
      this.#events.sort((a, b) => a.at - b.at);
      const event = this.#events.shift();
      if (event === undefined || event.at > this.#options.untilMs) return { sent: this.#sent, floods: this.#floods };
      this.#now = event.at;
      event.run();
    }
  }

  #send(id: string): void {
    const now = this.#now;
    const window = this.#windows.get(id) as SlidingWindow;
    const limit = this.learning.limitFor(id, METHOD, window, now);
    const freeFrom = limit === undefined ? 0 : window.nextAllowedAt(limit);
    if (freeFrom > now) {
      this.#at(freeFrom, () => this.#send(id));
      return;
    }
    this.learning.onSent(id, METHOD, window, now, now);
    window.add(now, limit === undefined ? 60_000 : retentionMsOf(limit));
    window.pending++;
    const wire = 2 + this.#roll() * 6;
    const wait = this.#options.server(id, now + wire / 2);
    this.#at(now + wire, () => this.#answer(id, window, wait));
  }

  #answer(id: string, window: SlidingWindow, wait: number | undefined): void {
    const now = this.#now;
    const counts = now > (this.#options.fromMs ?? 0) ? 1 : 0;
    window.pending--;
    if (wait === undefined) {
      this.#sent += counts;
      this.learning.onSuccess(id, METHOD, window, now, now);
    } else {
      this.#floods += counts;
      this.learning.onFlood(METHOD, window, { account: id, waitMs: wait * 1_000, now, date: now });
    }
    this.#at(now + (wait ?? 0) * 1_000, () => this.#send(id));
  }

  #at(at: number, run: () => void): void {
    this.#events.push({ at, run });
  }

  #roll(): number {
    this.#random = (this.#random * 48_271) % 0x7fffffff;
    return this.#random / 0x7fffffff;
  }
}

function rateOf({ calls, perMs }: CallLimit): number {
  return calls / perMs;
}

describe("20 sessions at full speed, the limit unknown", () => {
  test.each([
    ["a token bucket", { calls: 20, perMs: 5_000 }, tokenBucket(20, 5_000), 0.95],
    ["a small token bucket", { calls: 10, perMs: 6_000 }, tokenBucket(10, 6_000), 0.9],
    ["a fixed window", { calls: 20, perMs: 5_000 }, fixedWindow(20, 5_000), 0.95],
    ["a fixed window of a minute", { calls: 30, perMs: 60_000 }, fixedWindow(30, 60_000), 0.95],
    ["a window with a doubling penalty", { calls: 20, perMs: 5_000 }, fixedWindow(20, 5_000, 2), 0.95],
  ] as [string, CallLimit, FloodServer, number][])(
    "%s: nearly its throughput, and hardly a flood",
    (_, limit, server, share) => {
      const windows = 10;
      const result = new Senders({
        server,
        fromMs: 1.5 * limit.perMs,
        untilMs: (windows + 1.5) * limit.perMs,
      }).run();
      expect(result.sent / (20 * windows * limit.calls)).toBeGreaterThanOrEqual(share);
      expect(result.floods / (result.sent + result.floods)).toBeLessThanOrEqual(0.01);
    },
  );

  test("after the first flood every session knows the limit", () => {
    const { sent, floods } = new Senders({ server: fixedWindow(30, 60_000), untilMs: 50_000 }).run();
    expect(sent).toBeGreaterThanOrEqual(20 * 29);
    expect(floods).toBeLessThanOrEqual(2);
  });

  test("when the limit tightens, the estimate follows at once", () => {
    const servers = [fixedWindow(40, 5_000), fixedWindow(10, 5_000)] as const;
    const senders = new Senders({
      server: (session, now) => (now < 30_000 ? servers[0] : servers[1])(session, now),
      fromMs: 40_000,
      untilMs: 80_000,
    });
    const { sent, floods } = senders.run();
    expect(floods / (sent + floods)).toBeLessThan(0.03);
    expect(sent).toBeGreaterThan(0.8 * 20 * 8 * 10);
  });

  test("when the limit loosens, the estimate rises while no flood occurs", () => {
    const servers = [fixedWindow(10, 2_000), fixedWindow(20, 2_000)] as const;
    const server: FloodServer = (session, now) => (now < 20_000 ? servers[0] : servers[1])(session, now);
    const rateAfter = (untilMs: number): number => {
      const senders = new Senders({ server, untilMs });
      senders.run();
      const estimate = senders.learning.estimates().get(METHOD);
      return estimate === undefined ? 0 : rateOf(estimate) * 1_000;
    };
    expect(rateAfter(20_000)).toBeLessThan(5.5);
    expect(rateAfter(400_000)).toBeGreaterThan(6.5);
    expect(rateAfter(400_000)).toBeLessThanOrEqual(10.5);
  });
});

describe("flooded()", () => {
  const flood = (now: number, seconds: number) => ({ account: "a", waitMs: seconds * 1_000, now, date: now });

  test("the calls before it and the wait make the window; the refused call does not count", () => {
    const learning = new LimitLearner(LONG_AGO);
    const window = new SlidingWindow();
    for (const at of [0, 1_000, 2_000, 3_000]) window.add(at, 60_000);
    expect(learning.onFlood(METHOD, window, flood(3_100, 27))).toBe(true);
    expect(learning.estimates().get(METHOD)).toEqual({ calls: 3, perMs: 30_100, refusedMs: 3_100, changedAt: 3_100 });
    expect(learning.limitFor("b", METHOD, new SlidingWindow(), 4_000)).toMatchObject({ calls: 3, perMs: 30_100 });
  });

  test("calls on the wire together are one flood, and unanswered ones do not count", () => {
    const learning = new LimitLearner(LONG_AGO);
    const window = new SlidingWindow();
    for (let call = 0; call < 10; call++) window.add(call, 60_000);
    window.pending = 3;
    expect(learning.onFlood(METHOD, window, flood(100, 10))).toBe(true);
    expect(learning.estimates().get(METHOD)?.calls).toBe(6);
    window.pending = 2;
    expect(learning.onFlood(METHOD, window, flood(101, 10))).toBe(false);
  });

  test("when the first call is refused, teaches nothing: the limit's other user is not known", () => {
    const learning = new LimitLearner(LONG_AGO);
    const window = new SlidingWindow();
    window.add(1, 60_000);
    expect(learning.onFlood(METHOD, window, flood(2, 10))).toBe(false);
    expect(learning.estimates().size).toBe(0);
  });

  test("soon after a start, keeps a known estimate: the flood may be for earlier calls", () => {
    const learning = new LimitLearner(1_000);
    const known: LimitEstimate = { calls: 20, perMs: 60_000, refusedMs: 59_000, changedAt: 0 };
    learning.merge(METHOD, known, 0);
    const window = new SlidingWindow();
    for (const at of [2_000, 3_000, 4_000]) window.add(at, 60_000);
    expect(learning.onFlood(METHOD, window, flood(4_100, 40))).toBe(false);
    expect(learning.estimates().get(METHOD)).toEqual(known);
  });
});

test("trials - run on single sessions, each of another length; their floods cost the others nothing", () => {
  const learning = new LimitLearner(LONG_AGO);
  learning.merge(METHOD, { calls: 2, perMs: 10_000, refusedMs: 6_000, changedAt: 0 }, 0);
  const [first, second, third] = [new SlidingWindow(), new SlidingWindow(), new SlidingWindow()];
  for (const window of [first, second, third]) window.add(0, 20_000);
  expect(learning.limitFor("a", METHOD, first, 1)).toEqual({ calls: 2, perMs: 8_500 });
  expect(learning.limitFor("b", METHOD, second, 1)).toEqual({ calls: 2, perMs: 9_000 });
  expect(learning.limitFor("c", METHOD, third, 1)).toMatchObject({ calls: 2, perMs: 10_000 });
  first.add(1, 20_000);
  expect(learning.onSent("a", METHOD, first, 8_500, 8_500)).toBe(false);
  first.add(8_500, 20_000);
  expect(learning.onFlood(METHOD, first, { account: "a", waitMs: 1_000, now: 8_600, date: 8_600 })).toBe(true);
  expect(learning.estimates().get(METHOD)).toMatchObject({ perMs: 10_000, refusedMs: 8_500 });
  expect(learning.limitFor("b", METHOD, second, 8_600)).toEqual({ calls: 2, perMs: 9_000 });
});

test("trials - end when their calls are answered, without a further call", () => {
  const learning = new LimitLearner(LONG_AGO);
  learning.merge(METHOD, { calls: 8, perMs: 10_000, refusedMs: 9_000, changedAt: 0 }, 0);
  const window = new SlidingWindow();
  for (let call = 0; call < 8; call++) {
    learning.limitFor("a", METHOD, window, call);
    window.add(call, 20_000);
  }
  for (let call = 0; call < 8; call++) {
    const at = 9_600 + call;
    const limit = learning.limitFor("a", METHOD, window, at);
    expect(limit).toMatchObject({ perMs: 9_500 });
    expect(learning.onSent("a", METHOD, window, at, at)).toBe(false);
    window.add(at, 20_000);
  }
  window.pending = 1;
  expect(learning.onSuccess("a", METHOD, window, 9_700, 9_700)).toBe(false);
  window.pending = 0;
  expect(learning.onSuccess("a", METHOD, window, 9_701, 9_701)).toBe(true);
  // The calls came 9.6 s apart: that a window of 9.5 s is permitted they do not show.
  expect(learning.estimates().get(METHOD)).toEqual({ calls: 8, perMs: 9_600, refusedMs: 9_000, changedAt: 9_701 });
});

describe("dropped()", () => {
  const held: LimitEstimate = { calls: 10, perMs: 6_000, refusedMs: 5_000, changedAt: 1 };
  const bold: LimitEstimate = { ...held, perMs: 5_000, changedAt: 2 };
  const reading = { calls: 10, perMs: 17_000, spanMs: 5_200 };

  test("an unproven estimate drops to what the flood shows", () => {
    expect(lowered(bold, reading, undefined, 3)).toMatchObject({ calls: 10, perMs: 17_000, changedAt: 3 });
  });

  test("an estimate proven by a trial goes back in doubling steps, but not at first below what held before", () => {
    const perMsAfter = (retreats: number, proven = held) => lowered(bold, reading, { held: proven, retreats }, 3).perMs;
    expect([0, 1, 2, 3].map((retreats) => perMsAfter(retreats))).toEqual([5_250, 5_512.5, 6_000, 6_000]);
    expect(perMsAfter(4, bold)).toBeCloseTo(5_000 * 1.05 ** 16);
    expect(perMsAfter(4, bold)).toBe(perMsAfter(400, bold));
    expect(lowered(bold, reading, { held, retreats: 2 }, 3)).toEqual({ ...held, refusedMs: 5_000, changedAt: 3 });
  });

  test("never drops below what the flood shows", () => {
    const gentle = { ...reading, perMs: 5_100 };
    expect(lowered(bold, gentle, { held, retreats: 0 }, 3)).toMatchObject({ perMs: 5_100, refusedMs: 5_200 });
  });

  test("a flood that shows nothing new is one step", () => {
    for (const proof of [undefined, { held, retreats: 7 }]) {
      expect(lowered(bold, undefined, proof, 3)).toMatchObject({ perMs: 5_250, refusedMs: 5_000 });
      expect(lowered(bold, { ...reading, perMs: 4_000 }, proof, 3)).toMatchObject({ perMs: 5_250 });
    }
  });
});

describe("where a wait is longer than its window", () => {
  const sharesOf = (server: FloodServer, limit: CallLimit, untilMs: number, windows: number): [number, number] => {
    const { sent, floods } = new Senders({ server, sessions: 12, fromMs: untilMs / 3, untilMs }).run();
    return [sent / (12 * windows * limit.calls), floods / sent];
  };

  test.each([
    ["8 in 2 s, FLOOD_WAIT_4", { calls: 8, perMs: 2_000 }, 4, 60_000],
    ["20 in 10 s, FLOOD_WAIT_60", { calls: 20, perMs: 10_000 }, 60, 900_000],
    ["20 in 5 s, FLOOD_WAIT_30", { calls: 20, perMs: 5_000 }, 30, 600_000],
  ] as [string, CallLimit, number, number][])(
    "%s: the limit is found, in a window and a bucket",
    (_, limit, wait, untilMs) => {
      const windows = (untilMs * 2) / 3 / limit.perMs;
      for (const server of [
        fixedWindow(limit.calls, limit.perMs, 1, wait),
        tokenBucket(limit.calls, limit.perMs, wait),
      ]) {
        const [share, floods] = sharesOf(server, limit, untilMs, windows);
        expect(share).toBeGreaterThan(0.92);
        expect(floods).toBeLessThan(0.01);
      }
    },
  );

  test("a wait of ten minutes is believed: a trial would cost too much", () => {
    const limit = { calls: 20, perMs: 10_000 };
    const [, floods] = sharesOf(fixedWindow(20, 10_000, 1, 600), limit, 12_000_000, 1);
    expect(floods).toBe(0);
  });

  test("trialsOf() - go down to 0.6 of the estimate where a wait is cheap, else to 0.85", () => {
    const estimate: LimitEstimate = { calls: 8, perMs: 10_000, refusedMs: 1_000, changedAt: 0 };
    expect(experimentsOf(estimate, 4_000)).toEqual([6_000, 7_750]);
    for (const waitMs of [undefined, 100_001, 400_000]) expect(experimentsOf(estimate, waitMs)).toEqual([8_500]);
  });
});

test("merge() - a date in the future does not keep later estimates out", () => {
  const learning = new LimitLearner(LONG_AGO);
  const ahead: LimitEstimate = { calls: 2, perMs: 10_000, refusedMs: 0, changedAt: 9_000_000 };
  learning.merge(METHOD, ahead, 1_000);
  expect(learning.estimates().get(METHOD)).toEqual({ ...ahead, changedAt: 1_000 });
  const later: LimitEstimate = { calls: 3, perMs: 10_000, refusedMs: 0, changedAt: 2_000 };
  learning.merge(METHOD, later, 2_000);
  expect(learning.estimates().get(METHOD)).toEqual(later);
  // The process whose clock is ahead goes on saying so: once is enough.
  learning.merge(METHOD, ahead, 3_000);
  expect(learning.estimates().get(METHOD)).toEqual({ ...ahead, changedAt: 3_000 });
});

test("merge() - the later estimate wins, in either order", () => {
  const learning = new LimitLearner(LONG_AGO);
  const older: LimitEstimate = { calls: 2, perMs: 10_000, refusedMs: 0, changedAt: 5 };
  const newer: LimitEstimate = { calls: 3, perMs: 10_000, refusedMs: 0, changedAt: 6 };
  learning.merge(METHOD, newer, 100);
  learning.merge(METHOD, older, 100);
  expect(learning.estimates().get(METHOD)).toEqual(newer);
});

/** An account sends so many calls as fast as its limit permits, each answered at once. Returns the instant of the last. */
function sendAtFullSpeed(learning: LimitLearner, account: string, window: SlidingWindow, calls: number): number {
  let now = 0;
  for (let call = 0; call < calls; call++) {
    const limit = learning.limitFor(account, METHOD, window, now) ?? { calls: 1, perMs: 0 };
    now = Math.max(now + 10, window.nextAllowedAt(limit));
    learning.onSent(account, METHOD, window, now, now);
    window.add(now, 20_000);
    learning.onSuccess(account, METHOD, window, now, now);
  }
  return now;
}

test("an account that is flooded after a stall of the wire - keeps the estimate of the others", () => {
  const learning = new LimitLearner(LONG_AGO);
  learning.merge(METHOD, { calls: 8, perMs: 2_100, refusedMs: 1_960, changedAt: 0 }, 0);
  const proven = sendAtFullSpeed(learning, "other", new SlidingWindow(), 120);
  const window = new SlidingWindow();
  for (const before of [1_900, 1_800, 1_700, 1_600, 500, 400, 300]) window.add(proven + 100 - before, 20_000);
  const flood = { account: "stalled", waitMs: 4_000, now: proven + 110, date: proven + 110 };
  window.add(proven + 100, 20_000);
  learning.onFlood(METHOD, window, flood);
  const limits = ["stalled", "other"].map((account) => learning.limitFor(account, METHOD, undefined, flood.now + 10));
  expect(limits).toMatchObject([{ calls: 8 }, { calls: 8 }]);
});

describe("shortened()", () => {
  const steady: LimitEstimate = { calls: 25, perMs: 14_000, refusedMs: 10_000, changedAt: 0 };

  test("when a faster burst is refused at the same rate, its calls are the limit", () => {
    const burst = { calls: 12, perMs: 6_700, spanMs: 2_700 };
    expect(shortened(steady, burst, 10_000, 5)).toEqual({ calls: 12, perMs: 6_720, refusedMs: 2_700, changedAt: 5 });
  });

  test("when another account was permitted as fast a burst, the limit is another one", () => {
    expect(shortened(steady, { calls: 12, perMs: 6_700, spanMs: 2_700 }, 5_000, 5)).toBeUndefined();
  });

  test("when the rate is clearly lower, the limit is another one", () => {
    expect(shortened(steady, { calls: 6, perMs: 6_700, spanMs: 1_000 }, 10_000, 5)).toBeUndefined();
  });
});
