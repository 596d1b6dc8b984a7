import { describe, expect, test } from "vitest";
import { compare, floodShare, shareFrom } from "./learned-shapes.js";
import { type LimitShape, limitShapes, slowWire } from "./limit-shapes.js";

const SEEDS = [1, 2, 3, 4];
const SETTLING_WINDOWS = 3;

/** What a shape permits at least, and which floods at most: in the whole run, and after the first windows. */
interface Goal {
  readonly share: number;
  readonly floods: number;
  readonly floodsAfter?: number;
}

// Where every account is flooded before the first answer with a flood wait, 12 floods of 2400 calls are the least.
const GOALS: Readonly<Record<string, Goal>> = {
  "wait = rest of the window": { share: 0.98, floods: 0.01 },
  "wait 2 windows": { share: 0.96, floods: 0.01 },
  "wait 10 windows": { share: 0.9, floods: 0.01 },
  "growing rest": { share: 0.98, floods: 0.01 },
  "growing, from 2 windows": { share: 0.95, floods: 0.01 },
  bucket: { share: 0.97, floods: 0.01 },
  "bucket, wait 2 windows": { share: 0.97, floods: 0.01 },
  "two methods share it": { share: 0.98, floods: 0.01 },
  "two methods share it, wait 2 windows": { share: 0.95, floods: 0.01 },
  "half of the accounts with half of it": { share: 0.98, floods: 0.0125, floodsAfter: 0.005 },
  "half of the accounts with half of it, wait 2 windows": { share: 0.92, floods: 0.01 },
  "halved in mid-run": { share: 0.97, floods: 0.01 },
  "halved in mid-run, wait 2 windows": { share: 0.93, floods: 0.0115, floodsAfter: 0.01 },
};

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("learned limits", () => {
  const shapes: [string, LimitShape][] = limitShapes().map((shape) => [shape.name, shape]);

  test.each(shapes)("%s - reaches what an oracle reaches, with few floods", (name, shape) => {
    const { share, floods, floodsAfter = floods } = GOALS[name] as Goal;
    const runs = SEEDS.map((seed) => compare(shape, seed));
    const fromMs = SETTLING_WINDOWS * shape.perMs;
    expect(meanOf(runs.map((run) => shareFrom(run, fromMs)))).toBeGreaterThanOrEqual(share);
    expect(meanOf(runs.map((run) => floodShare(run)))).toBeLessThanOrEqual(floods);
    expect(meanOf(runs.map((run) => floodShare(run, fromMs)))).toBeLessThanOrEqual(floodsAfter);
  });

  test("two methods on a slow wire - a window that was read from a steady pace becomes shorter after bursts", () => {
    const runs = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => compare(slowWire(), seed));
    const shares = runs.map((run) => shareFrom(run, 30_000));
    expect(meanOf(shares)).toBeGreaterThanOrEqual(0.9);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.75);
    expect(meanOf(runs.map((run) => floodShare(run, 30_000)))).toBeLessThanOrEqual(0.01);
  });
});
