import { compare, floodShare, shareFrom } from "../test/rate-limits/learned-shapes.js";
import { type LimitShape, limitShapes } from "../test/rate-limits/limit-shapes.js";
import { measureOverServer, SERVER_SHAPES } from "./goodput-server.js";

/*
 * What a pool with `budgets: "learn"` gets done beside an oracle that knows the limits.
 *
 *     npx tsx bench/goodput.ts                  every shape in simulated time (a minute), four over the test server (3 min)
 *     npx tsx bench/goodput.ts simulated 10 8 2000    the former alone: seeds, calls, window in milliseconds
 *     npx tsx bench/goodput.ts FLOOD_WAIT_4     the shapes over the test server with such a name
 */

/** What counts comes after this many windows. */
const SETTLING_WINDOWS = 3;

const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Measures one shape in simulated time. Returns its row, and whether a goal was missed. */
function simulate(shape: LimitShape, seeds: number): { readonly row: object; readonly isMissed: boolean } {
  const runs = Array.from({ length: seeds }, (_, seed) => compare(shape, seed + 1));
  const fromMs = SETTLING_WINDOWS * shape.perMs;
  const { share, floods } = shape.goal;
  const settled = runs.map((run) => shareFrom(run, fromMs));
  const flooded = meanOf(runs.map((run) => floodShare(run)));
  const perSecond = (of: "known" | "learned"): string =>
    ((meanOf(runs.map((run) => run[of].sent.length)) * 1_000) / shape.untilMs).toFixed(1);
  const row = {
    shape: shape.name,
    "run, s": shape.untilMs / 1_000,
    "oracle, calls/s": perSecond("known"),
    "learn, calls/s": perSecond("learned"),
    "of it": percent(meanOf(runs.map((run) => shareFrom(run, 0)))),
    "after 3 windows": percent(meanOf(settled)),
    "worst seed": percent(Math.min(...settled)),
    goal: percent(share, 0),
    floods: percent(flooded, 2),
    "at most": percent(floods, 0),
    "floods after 3 windows": percent(meanOf(runs.map((run) => floodShare(run, fromMs))), 2),
  };
  return { row, isMissed: meanOf(settled) < share || flooded > floods };
}

function simulateAll(seeds = 10, calls = 8, perMs = 2_000): readonly string[] {
  const shapes = limitShapes({ calls, perMs });
  const results = shapes.map((shape) => simulate(shape, seeds));
  console.table(results.map(({ row }) => row));
  return shapes.filter((_, index) => results[index]?.isMissed).map(({ name }) => `${name}, simulated`);
}

const [only = "", ...numbers] = process.argv.slice(2);
const missed: string[] = [];
if (only === "" || only === "simulated") missed.push(...simulateAll(...numbers.map(Number)));
for (const shape of SERVER_SHAPES) {
  if (only === "" ? shape.isLong !== true : shape.name.includes(only)) missed.push(...(await measureOverServer(shape)));
}
console.log(missed.length === 0 ? "Every goal is reached." : `Missed: ${missed.join("; ")}.`);
