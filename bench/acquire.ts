import { contendedContestants, contestants, OURS, RING } from "./lease-contest.js";
import { type Batch, nanoseconds, shown } from "./timing.js";

const rows: Record<string, Record<string, string>> = {};

/** Measures one row of the table; resolves the nanoseconds of ours. */
async function row(name: string, batches: Map<string, Batch>): Promise<number> {
  const measured = await nanoseconds(batches);
  const our = measured.get(OURS) ?? Number.NaN;
  rows[name] = Object.fromEntries([...measured].map(([what, ns]) => [what, shown(ns)]));
  rows[name][`${OURS}, times the ring`] = (our / (measured.get(RING) ?? Number.NaN)).toFixed(1);
  return our;
}

// First: what the large pools leave in memory would slow every turn of the event loop.
await row("64 workers on 8, a turn each", await contendedContestants(8));
const sizes = process.argv.slice(2).map(Number);
const ours: number[] = [];
for (const size of sizes.length > 0 ? sizes : [10, 1_000, 10_000, 100_000]) {
  ours.push(await row(`${size} sessions`, await contestants(size, false)));
}
const flatness = Math.max(...ours) / Math.min(...ours);
if (sizes.length === 0) await row("100000 sessions, half of them out", await contestants(100_000, true));
console.table(rows);
console.log(`From the least to the most sessions ${OURS} grows ${flatness.toFixed(2)} times.`);
// Other pools keep timers.
process.exit();
