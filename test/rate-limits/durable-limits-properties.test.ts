import { type Arbitrary, array, assert, asyncProperty, constantFrom, integer, oneof, record } from "fast-check";
import { expect, test } from "vitest";
import { PoolLifecycle } from "../../src/pool-lifecycle.js";
import { AccountSpending, poolName } from "../../src/rate-limits/durable/account-spending.js";
import { memory } from "../../src/storage/memory.js";
import type { SessionStorage } from "../../src/storage/storage.js";
import { FaultyStorage } from "../fakes/faulty-storage.js";
import { fakeContext } from "../fakes/pool-context.js";
import { watch } from "../fakes/pools.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

const RECORD = "~pool:spent:account:1";
const METHOD = "messages.SendMessage";

type Fault = "works" | "lostAnswer" | "fails" | "slow";

type Step =
  | { readonly kind: "calls"; readonly process: number; readonly calls: number }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "crash" | "restart" | "load"; readonly process: number }
  | { readonly kind: "turn"; readonly ms: number }
  | { readonly kind: "fault"; readonly process: number; readonly fault: Fault };

const process = integer({ min: 0, max: 1 });
const CALM = [
  record({ kind: constantFrom("calls"), process, calls: integer({ min: 1, max: 12 }) }),
  record({ kind: constantFrom("pass"), ms: oneof(integer({ min: 1, max: 3_000 }), integer({ min: 1, max: 60_000 })) }),
  record({ kind: constantFrom("restart", "load"), process }),
] as const;
const STEP = oneof(
  ...CALM,
  record({ kind: constantFrom("crash"), process }),
  record({ kind: constantFrom("turn"), ms: constantFrom(-3_600_000, -1_000, 1_000, 3_600_000, 86_400_000) }),
  record({
    kind: constantFrom("fault"),
    process,
    fault: constantFrom("works", "works", "lostAnswer", "fails", "slow"),
  }),
) as Arbitrary<Step>;
const CALM_STEP = oneof(...CALM) as Arbitrary<Step>;

interface Limit {
  readonly calls: number;
  readonly perMs: number;
}

const LIMIT: Arbitrary<Limit> = record({
  calls: oneof(integer({ min: 1, max: 9 }), integer({ min: 10, max: 300 })),
  perMs: constantFrom(3_000, 60_000, 120_000, 900_000),
});

/** One process with the account, from its start to its end. */
class Process {
  readonly spending: AccountSpending;
  readonly storage: FaultyStorage;
  readonly #run: Run;
  readonly #time: () => number;

  constructor(run: Run) {
    this.#run = run;
    this.storage = new FaultyStorage(run.inner);
    const write = this.storage.write.bind(this.storage);
    this.storage.write = async (id, expected, data) => {
      const version = await write(id, expected, data);
      if (this.fault === "lostAnswer" && version !== undefined) throw new Error("the answer was lost");
      return version;
    };
    const context = fakeContext({ clock: run.clock, storage: this.storage });
    this.#time = () => context.time.now();
    this.spending = new AccountSpending(context, new PoolLifecycle(context.events), RECORD, poolName());
  }

  fault: Fault = "works";
  isGone = false;

  async load(): Promise<void> {
    const stored = await this.#run.inner.read(RECORD);
    if (stored !== undefined) this.spending.load(stored);
  }

  /** One call, as the gate makes it; given up when the limit is exhausted, or the storage fails. */
  async call(): Promise<boolean> {
    const { limit, clock, sent } = this.#run;
    for (let tries = 0; tries < 20; tries++) {
      if (this.isGone || this.spending.blockedUntil(METHOD, limit, this.#time()) > this.#time()) return false;
      if (this.spending.mayCall(METHOD, limit, this.#time())) {
        this.spending.count(METHOD, limit, this.#time());
        sent.push(clock.monotonic());
        return true;
      }
      try {
        await this.spending.reserve(METHOD, limit);
      } catch {
        return false;
      }
    }
    return false;
  }
}

class Run {
  readonly clock: VirtualClock = new VirtualClock();
  readonly inner: SessionStorage = memory();
  readonly sent: number[] = [];
  readonly limit: Limit;
  readonly #processes: Process[] = [];

  constructor(limit: Limit) {
    this.limit = limit;
  }

  async step(step: Step): Promise<void> {
    if (step.kind === "pass") return this.clock.advance(step.ms);
    if (step.kind === "turn") return this.clock.turnWall(step.ms);
    const current = await this.#process(step.process);
    if (step.kind === "calls") {
      for (let call = 0; call < step.calls; call++) void current.call();
      await settled();
    } else if (step.kind === "fault") {
      current.fault = step.fault;
      const slow = () => new Promise<void>((resolve) => void this.clock.setTimer(700, resolve));
      current.storage.fateOfWrite = () => (step.fault === "slow" ? slow() : step.fault === "fails" ? "fails" : "works");
    } else if (step.kind === "load") await current.load();
    else await this.#end(step.process, step.kind === "crash");
  }

  async end(): Promise<void> {
    for (const place of [0, 1]) await this.#end(place, false);
  }

  /** Makes calls until none is allowed. Returns how many calls the last window has then. */
  async fill(): Promise<number> {
    const current = await this.#process(0);
    for (let tries = 0; tries < this.limit.calls; tries++) {
      const call = watch(current.call());
      await settled();
      while (call.state === "pending") await this.clock.advance(500);
      if (call.value !== true) break;
    }
    const now = this.clock.monotonic();
    return this.sent.filter((at) => at > now - this.limit.perMs).length;
  }

  /** The most calls in a window. */
  most(): number {
    const { calls, perMs } = this.limit;
    const isOver = this.sent.some((at, index) => (this.sent[index + calls] ?? Number.POSITIVE_INFINITY) - at < perMs);
    return isOver ? calls + 1 : calls;
  }

  async #process(place: number): Promise<Process> {
    const current = this.#processes[place];
    if (current !== undefined) return current;
    const started = new Process(this);
    this.#processes[place] = started;
    await started.load();
    return started;
  }

  async #end(place: number, isCrash: boolean): Promise<void> {
    const current = this.#processes[place];
    if (current === undefined) return;
    delete this.#processes[place];
    if (!isCrash) {
      const closed = watch(current.spending.close());
      await settled();
      while (closed.state === "pending") await this.clock.advance(100);
    }
    current.isGone = true;
    current.storage.fateOfWrite = () => "hangs";
    current.storage.fateOfRead = () => "hangs";
  }
}

test("durable limits - no window ever has more calls than the limit: crashes, restarts, lost answers, clocks that are set", async () => {
  const property = asyncProperty(LIMIT, array(STEP, { minLength: 5, maxLength: 60 }), async (limit, steps) => {
    const run = new Run(limit);
    for (const step of steps) await run.step(step.kind === "turn" && step.ms > 0 ? { ...step, ms: -step.ms } : step);
    await run.end();
    expect(run.most()).toBe(limit.calls);
  });
  await assert(property, { numRuns: 400 });
}, 120_000);

/** Both processes find the clock behind the record; then one writes long after the other has. */
const BEHIND_THE_RECORD: Step[] = [
  { kind: "turn", ms: -3_600_000 },
  { kind: "calls", process: 0, calls: 1 },
  { kind: "calls", process: 1, calls: 1 },
  { kind: "pass", ms: 14_000 },
  { kind: "calls", process: 1, calls: 1 },
  { kind: "calls", process: 0, calls: 1 },
];

test("durable limits - a clock that is set forward while pools run refunds nothing", async () => {
  const property = asyncProperty(LIMIT, array(STEP, { minLength: 5, maxLength: 60 }), async (limit, steps) => {
    const run = new Run(limit);
    // Both processes run from the beginning to the end: a start cannot tell such a clock from time that has passed.
    for (const place of [0, 1]) await run.step({ kind: "load", process: place });
    for (const step of steps) if (step.kind !== "crash" && step.kind !== "restart") await run.step(step);
    expect(run.most()).toBe(limit.calls);
  });
  await assert(property, { numRuns: 200, examples: [[{ calls: 1, perMs: 3_000 }, BEHIND_THE_RECORD]] });
}, 120_000);

test("durable limits - without crashes and faults, all of the limit can be used at any time", async () => {
  const property = asyncProperty(LIMIT, array(CALM_STEP, { minLength: 1, maxLength: 30 }), async (limit, steps) => {
    const run = new Run({ ...limit, perMs: 900_000 + limit.perMs });
    for (const step of steps) await run.step(step);
    // Calls that wait are made, and what a process has reserved and does not use is returned.
    await run.clock.advance(45_000);
    const used = await run.fill();
    expect(used).toBeGreaterThanOrEqual(Math.floor(run.limit.calls * 0.98));
    expect(run.most()).toBe(run.limit.calls);
  });
  await assert(property, { numRuns: 60 });
}, 120_000);
