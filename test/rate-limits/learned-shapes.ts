import { memory } from "../../src/index.js";
import { PoolLifecycle } from "../../src/pool-lifecycle.js";
import { LearnedLimits } from "../../src/rate-limits/learned-limits.js";
import type { SessionRegistry } from "../../src/state/session-registry.js";
import { fakeContext } from "../fakes/pool-context.js";
import { VirtualClock } from "../fakes/virtual-clock.js";
import { KnownLimits, type LimitShape } from "./limit-shapes.js";
import { LimitSimulation, type SimulationResult } from "./limit-simulation.js";

/** A pool that learns, beside one that knows the limits, at the same speed of the same wire. */
export interface Comparison {
  readonly learned: SimulationResult;
  readonly known: SimulationResult;
}

/** Runs 36 workers on 12 accounts in simulated time. */
export function compare(shape: LimitShape, seed: number): Comparison {
  return { learned: runLearner(shape, seed), known: runOracle(shape, seed) };
}

function runLearner(shape: LimitShape, seed: number): SimulationResult {
  const clock = new VirtualClock();
  const context = fakeContext({ clock, storage: memory(), budgets: "learn", cooldownScope: "method" });
  const registry = { get: () => undefined } as unknown as SessionRegistry;
  const limits = new LearnedLimits(context, new PoolLifecycle(context.events), registry);
  const simulation = new LimitSimulation({ ...shape, limits, clock, server: shape.server(), seed });
  limits.onRelaxed = (method) => simulation.relax(method);
  return simulation.run();
}

function runOracle(shape: LimitShape, seed: number): SimulationResult {
  const clock = new VirtualClock();
  const limits = new KnownLimits(shape, clock.now());
  return new LimitSimulation({ ...shape, limits, clock, server: shape.server(), seed }).run();
}

/** Of the calls that the oracle made from an instant on, the share that the learner made. */
export function shareFrom(
  { learned, known }: Comparison,
  from: number,
  until: number = Number.POSITIVE_INFINITY,
): number {
  const isIn = (at: number): boolean => at >= from && at < until;
  return learned.sent.filter(isIn).length / known.sent.filter(isIn).length;
}

/** Of the learner's calls from an instant on, the share that met a flood. */
export function floodShare({ learned: { sent, floods } }: Comparison, from = 0): number {
  const later = floods.filter((at) => at >= from).length;
  return later / (later + sent.filter((at) => at >= from).length);
}
