import { compare } from "../test/rate-limits/learned-shapes.js";
import { limitShapes } from "../test/rate-limits/limit-shapes.js";

/*
 * What a pool with `budgets: "learn"` gets done in simulated time beside one that knows the limits, by sixths of the run:
 * `npx tsx bench/learning.ts [seeds] [calls] [window in ms]`.
 */

const [seeds = "10", calls = "8", perMs = "2000"] = process.argv.slice(2);

/** Numbers of instants in each sixth of a run. */
function bySixths(instants: readonly number[], untilMs: number): readonly number[] {
  const counts = [0, 0, 0, 0, 0, 0];
  for (const at of instants) {
    const sixth = Math.min(Math.floor((at * 6) / untilMs), 5);
    counts[sixth] = (counts[sixth] ?? 0) + 1;
  }
  return counts;
}

const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const rows = limitShapes({ calls: Number(calls), perMs: Number(perMs) }).map((shape) => {
  const runs = Array.from({ length: Number(seeds) }, (_, seed) => compare(shape, seed + 1));
  const totalBySixth = (of: (run: (typeof runs)[number]) => readonly number[]): readonly number[] => {
    const counts = runs.map((run) => bySixths(of(run), shape.untilMs));
    return [0, 1, 2, 3, 4, 5].map((sixth) => sum(counts.map((count) => count[sixth] ?? 0)));
  };
  const sent = totalBySixth(({ learned }) => learned.sent);
  const known = totalBySixth((run) => run.known.sent);
  const floods = totalBySixth(({ learned }) => learned.floods);
  const fromMs = 3 * shape.perMs;
  const later = (instants: readonly number[]): number => instants.filter((at) => at >= fromMs).length;
  const laterSent = sum(runs.map(({ learned }) => later(learned.sent)));
  const laterFloods = sum(runs.map(({ learned }) => later(learned.floods)));
  return {
    limit: shape.name,
    s: shape.untilMs / 1_000,
    "of the oracle, by sixths": sent.map((count, sixth) => percent(count / (known[sixth] ?? 1))).join(", "),
    "after 3 windows": percent(laterSent / sum(runs.map((run) => later(run.known.sent))), 1),
    floods: percent(sum(floods) / (sum(floods) + sum(sent)), 2),
    "floods after": percent(laterFloods / (laterFloods + laterSent), 2),
  };
});
console.table(rows);
