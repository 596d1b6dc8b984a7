import { performance } from "node:perf_hooks";

/** Something to be measured: runs so many times. */
export type Batch = (times: number) => Promise<void> | void;

const BATCH_MS = 40;
const ROUNDS = 9;

/**
 * Nanoseconds a run, for each: the median of batches that take turns, so that a busy machine hurts all of them. The
 * clock is read once a batch: it costs as much as a whole lease may.
 */
export async function nanoseconds(batches: ReadonlyMap<string, Batch>): Promise<ReadonlyMap<string, number>> {
  const times = new Map<string, number>();
  for (const [name, batch] of batches) times.set(name, await fitting(batch));
  const measured = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, batch] of batches) {
      const count = times.get(name) ?? 1;
      const results = measured.get(name) ?? [];
      results.push(((await millisecondsOf(batch, count)) * 1e6) / count);
      measured.set(name, results);
    }
  }
  return new Map([...measured].map(([name, results]) => [name, median(results)]));
}

/** How many runs take about as long as a batch should; warms up on the way. */
async function fitting(batch: Batch): Promise<number> {
  let times = 64;
  for (;;) {
    const spentMs = await millisecondsOf(batch, times);
    if (spentMs >= BATCH_MS) return Math.max(Math.round((times * BATCH_MS) / spentMs), 1);
    times = Math.ceil(times * Math.min(Math.max((BATCH_MS / Math.max(spentMs, 0.01)) * 1.2, 1.5), 20));
  }
}

export async function millisecondsOf(batch: Batch, times: number): Promise<number> {
  const began = performance.now();
  await batch(times);
  return performance.now() - began;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** A duration as people read it. */
export function shown(ns: number): string {
  if (ns < 1_000) return `${ns.toFixed(0)} ns`;
  return ns < 1e6 ? `${(ns / 1_000).toFixed(2)} µs` : `${(ns / 1e6).toFixed(2)} ms`;
}
