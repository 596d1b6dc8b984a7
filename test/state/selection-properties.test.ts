import fc from "fast-check";
import { expect, test } from "vitest";
import { ANY } from "../../src/state/criteria.js";
import {
  ConnectedFirstOrder,
  CustomOrder,
  LruOrder,
  RandomOrder,
  type SelectionOrder,
  WeightedOrder,
} from "../../src/state/selection-order.js";
import { SessionEntry } from "../../src/state/session-entry.js";
import { SessionTable } from "../../src/state/session-table.js";
import { seededRandom } from "../fakes/seeded-random.js";
import type { ModelOrder } from "./session-table-model.js";
import { Pair, type PairSettings, stepOf } from "./session-table-pair.js";

const NOW = 1_000;
const WEIGHTS: Readonly<Record<string, number>> = { a: 1, b: 0, c: 2.5, d: Number.NaN, e: 1e-300 };

const rankOfId = (id: string): number => id.charCodeAt(id.length - 1) % 3;

const byWarmth: ModelOrder = (a, b) => {
  if (a.isConnected !== b.isConnected) return a.isConnected ? -1 : 1;
  return a.isConnected ? b.order - a.order : a.order - b.order;
};

const STRATEGIES: readonly [name: string, order: () => SelectionOrder, model: PairSettings["modelOrder"]][] = [
  ["spread", () => new LruOrder(), (a, b) => a.order - b.order],
  ["warm", () => new ConnectedFirstOrder(), byWarmth],
  ["random", () => new RandomOrder(seededRandom(7)), "any"],
  ["weighted", () => new WeightedOrder(({ id }) => WEIGHTS[id.charAt(0)] ?? 1), "any"],
  [
    "one of its own",
    () =>
      new CustomOrder(
        ({ id }) => rankOfId(id),
        () => {},
      ),
    (a, b) => rankOfId(a.id) - rankOfId(b.id) || a.order - b.order,
  ],
];

const CAPS: readonly Pick<PairSettings, "leasesPerSession" | "maxConnected">[] = [
  {},
  { maxConnected: 2 },
  { leasesPerSession: 3, maxConnected: 2 },
];

const CASES = STRATEGIES.flatMap(([name, order, model]) => CAPS.map((caps) => [name, caps, order, model] as const));

test.each(CASES)("selection %s, %o - id, key, tags, method, peer and exclusions as the model says", (...given) => {
  const [, caps, order, modelOrder] = given;
  fc.assert(
    fc.property(fc.array(stepOf(["a", "b", "c", "d", "e"]), { minLength: 1, maxLength: 200, size: "max" }), (steps) => {
      const pair = new Pair({ ...caps, order: order(), modelOrder });
      for (const one of steps) {
        pair.run(one);
        pair.check();
      }
    }),
    { numRuns: 60 },
  );
});

test.each(STRATEGIES)("selection %s - of many sessions, most of which a caller cannot use", (_, order, modelOrder) => {
  const ids = Array.from({ length: 60 }, (_, index) => `s${index}`);
  const isFew = (index: number) => index % 20 === 0;
  fc.assert(
    fc.property(fc.array(stepOf(ids), { minLength: 50, maxLength: 150, size: "max" }), (steps) => {
      const pair = new Pair({ ids, order: order(), modelOrder });
      for (const [index, id] of ids.entries()) {
        if (!isFew(index)) pair.run(["coolMethod", id, 200 + index]);
        pair.run(["takeMethod", id, 1]);
        pair.run(["takeTags", id, 1]);
        pair.run(["giveBack", id, 1]);
      }
      for (const one of steps) {
        pair.run(one);
        pair.run(["takeMethod", one[1], 1]);
      }
      pair.check();
    }),
    { numRuns: 40 },
  );
});

/** How often each serves, one lease after the other. */
function servings(
  order: SelectionOrder,
  count: number,
  turns: number,
  tags: (index: number) => readonly string[] = () => [],
) {
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY, order });
  const entries = Array.from({ length: count }, (_, index) => new SessionEntry(`s${index}`, tags(index), 0));
  sessionTable.add(entries, NOW);
  const take = (wanted: readonly string[]): string => {
    const entry = sessionTable.reserve({ ...ANY, tags: wanted }, NOW) as SessionEntry;
    sessionTable.release(entry, NOW, NOW, false);
    return entry.id;
  };
  return Array.from({ length: turns }, (_, turn) => take(turn % 2 === 0 ? [] : tags(0)));
}

test("weight - each serves in proportion, never more than one use off, whatever the weights", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (weights) => {
      const turns = 400;
      const order = new WeightedOrder(({ id }) => weights[Number(id.slice(1))] ?? 0);
      const served = servings(order, weights.length, turns);
      const sum = weights.reduce((total, weight) => total + weight);
      for (const [index, weight] of weights.entries()) {
        const due = (turns * weight) / sum;
        const count = served.filter((id) => id === `s${index}`).length;
        expect(Math.abs(count - due)).toBeLessThanOrEqual(1 + weights.length * (weight / sum));
      }
    }),
    { numRuns: 100 },
  );
});

test("weight - one without a weight above 0 serves only when no other can", () => {
  const weights = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1];
  const order = new WeightedOrder(({ id }) => weights[Number(id.slice(1))] ?? 0);
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY, order });
  sessionTable.add(
    weights.map((_, index) => new SessionEntry(`s${index}`, [], 0)),
    NOW,
  );
  const taken = weights.map(() => sessionTable.reserve(ANY, NOW)?.id);
  expect(taken).toEqual(["s4", "s0", "s1", "s2", "s3"]);
});

test("weight - a session that was away starts where the others are", () => {
  const order = new WeightedOrder(() => 1);
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY, order });
  const entries = [0, 1, 2].map((index) => new SessionEntry(`s${index}`, [], 0));
  sessionTable.add(entries, NOW);
  sessionTable.cool(entries[0] as SessionEntry, { kind: "session" }, NOW + 10, "flood", NOW);
  const turn = (at: number): string => {
    const entry = sessionTable.reserve(ANY, at) as SessionEntry;
    sessionTable.release(entry, at, at, false);
    return entry.id;
  };
  for (let turns = 0; turns < 100; turns++) turn(NOW);
  sessionTable.expireDue(NOW + 10);
  const after = Array.from({ length: 9 }, () => turn(NOW + 10));
  for (const id of ["s0", "s1", "s2"]) expect(after.filter((one) => one === id)).toHaveLength(3);
});

test("random - with seed 7, every session that can serve is as likely, with a tag too", () => {
  const tags = (index: number) => (index < 3 ? ["x"] : []);
  const served = servings(new RandomOrder(seededRandom(7)), 6, 12_000, tags);
  for (const [index, share] of [0, 1, 2, 3, 4, 5].map((index) => [index, index < 3 ? 3_000 : 1_000] as const)) {
    const count = served.filter((id) => id === `s${index}`).length;
    expect(Math.abs(count - share)).toBeLessThan(share * 0.2);
  }
});

test.each([Number.NaN, -1, 1, 7, Number.POSITIVE_INFINITY])(
  "random - where chance comes from may give %d",
  (number) => {
    expect(servings(new RandomOrder(() => number), 3, 10)).toHaveLength(10);
  },
);

test("warm - uses as few sessions as there are parallel callers, also after a burst", () => {
  const order = new ConnectedFirstOrder();
  const sessionTable = new SessionTable({ leasesPerSession: 1, maxConnected: Number.POSITIVE_INFINITY, order });
  sessionTable.add(
    Array.from({ length: 20 }, (_, index) => new SessionEntry(`s${index}`, [], 0)),
    NOW,
  );
  const take = (): SessionEntry => {
    const entry = sessionTable.reserve(ANY, NOW) as SessionEntry;
    sessionTable.setConnected(entry, true, NOW);
    return entry;
  };
  const giveBack = (entry: SessionEntry) => sessionTable.release(entry, NOW, NOW, false);
  const burst = Array.from({ length: 5 }, take);
  for (const entry of burst) giveBack(entry);
  const used = new Set<string>();
  for (let turn = 0; turn < 50; turn++) {
    const pair = [take(), take()];
    for (const entry of pair) {
      used.add(entry.id);
      giveBack(entry);
    }
  }
  expect(used.size).toBe(2);
});
