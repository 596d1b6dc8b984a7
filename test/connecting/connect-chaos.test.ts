import { expect, test } from "vitest";
import type { UseOptions } from "../../src/options/options.js";
import { FakeTelegram, READ } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, type Watched, watch } from "../fakes/pools.js";
import { seededIntegers } from "../fakes/seeded-random.js";
import { sessionString } from "../fakes/sessions.js";
import { badRequest, dead, flood } from "../fakes/telegram-errors.js";
import { settled, VirtualClock } from "../fakes/virtual-clock.js";

/** Looks at the clock in one turn of the event loop; a loop that never ends looks more often than any work does. */
const MOST_LOOKS = 50_000;

/** A clock that ends a loop in microtasks, which no timeout of a test could. */
class GuardedClock extends VirtualClock {
  isStuck = false;
  #looks = 0;

  override monotonic(): number {
    if (this.#looks++ === 0) setImmediate(() => (this.#looks = 0));
    if (this.#looks > MOST_LOOKS) {
      this.isStuck = true;
      throw new Error("The event loop does not turn.");
    }
    return super.monotonic();
  }
}

const IDS = ["s0", "s1", "s2", "s3", "s4"];
const TAGS = ["x", "y"];
type Weather = "fine" | "refused" | "mute" | "slow" | "dead" | "flood" | "application";
const WEATHERS: readonly Weather[] = ["fine", "refused", "mute", "slow", "dead", "flood", "application"];

/** Callers, kept sessions and probes that contend for few places, while connecting fails in every way. */
class Chaos {
  readonly made: TestPool;
  readonly clock: GuardedClock;
  readonly #random: (below: number) => number;
  readonly #weather = new Map<string, Weather>();
  readonly #works: Watched<unknown>[] = [];
  readonly #aborts: AbortController[] = [];

  constructor(made: TestPool, clock: GuardedClock, seed: number) {
    this.made = made;
    this.clock = clock;
    this.#random = seededIntegers(seed);
    made.telegram.onConnect = (id) => this.#connect(this.#weather.get(id) ?? "fine");
  }

  async step(): Promise<void> {
    const { pool, telegram } = this.made;
    const kind = this.#random(100);
    const id = this.#one(IDS);
    if (kind < 40) this.#use();
    else if (kind < 60) this.#weather.set(id, this.#one(WEATHERS));
    else if (kind < 66) watch(pool.update(id, { profile: { keepConnected: this.#random(2) === 0 } }));
    else if (kind < 72) this.#aborts.splice(this.#random(this.#aborts.length || 1), 1)[0]?.abort();
    else if (kind < 76 && telegram.online.includes(id)) telegram.handle(id).drop();
    else if (kind < 79) watch(pool.enable(id));
    else if (kind < 81) watch(pool.disable(id));
    else if (kind < 82) watch(pool.remove(id).then(() => pool.add(id, sessionString(id), { tags: TAGS })));
    else await this.clock.advance(this.#random(3_000));
    if (this.#random(2) === 0) await settled();
    expect(this.clock.isStuck).toBe(false);
    expect(telegram.violations).toEqual([]);
  }

  /** The weather turns fine: everybody has to be served by now, or to know why not. */
  async finish(): Promise<void> {
    const { pool, clock } = this.made;
    this.#weather.clear();
    for (const id of IDS) watch(pool.enable(id));
    await clock.advance(1_200_000);
    expect(this.clock.isStuck).toBe(false);
    expect(this.#works.filter(({ state }) => state === "pending")).toEqual([]);
    expect(pool.status()).toMatchObject({ leased: 0, waiters: 0 });
    await expect(pool.use((_, lease) => lease.id)).resolves.toBeDefined();
    const closing = watch(pool.close());
    await clock.advance(60_000);
    expect({ closing: closing.state, pendingTimers: clock.pending, online: this.made.telegram.online }).toEqual({
      closing: "resolved",
      pendingTimers: 0,
      online: [],
    });
  }

  #use(): void {
    const abort = new AbortController();
    this.#aborts.push(abort);
    const waits = [true, true, false, 700, 5_000];
    const options: UseOptions = {
      wait: this.#one(waits),
      signal: abort.signal,
      ...(this.#random(4) === 0 ? { timeoutMs: 400 + this.#random(2_000) } : {}),
      ...(this.#random(4) === 0 ? { maxAttempts: 1 + this.#random(3) } : {}),
      ...(this.#random(5) === 0 ? { id: this.#one(IDS) } : {}),
      ...(this.#random(4) === 0 ? { tags: [this.#one(TAGS)] } : {}),
    };
    const takes = this.#random(3) === 0 ? 1_000 : 0;
    this.#works.push(
      watch(
        this.made.pool.use(async (client) => {
          await client.call(READ);
          if (takes > 0) await new Promise<void>((resolve) => void this.clock.setTimer(takes, resolve));
        }, options),
      ),
    );
  }

  #connect(weather: Weather): unknown {
    switch (weather) {
      case "fine":
        return undefined;
      case "refused":
        throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
      case "mute":
        return new Promise(() => {});
      case "slow":
        return new Promise<void>((resolve) => void this.clock.setTimer(800, resolve));
      case "dead":
        throw dead();
      case "flood":
        throw flood(5);
      case "application":
        throw badRequest("API_ID_INVALID");
    }
  }

  #one<T>(values: readonly T[]): T {
    return values[this.#random(values.length)] as T;
  }
}

test.each([
  [1, 1, 1],
  [2, 2, 1],
  [3, 2, 2],
  [4, 3, 1],
  [5, 1, 2],
  [6, Number.POSITIVE_INFINITY, 1],
])(
  "connecting: seed %i, maxConnected %d, leasesPerSession %i - no caller hangs and the event loop turns",
  async (seed, maxConnected, leasesPerSession) => {
    const clock = new GuardedClock();
    const made = await openPool({
      clock,
      telegram: new FakeTelegram(clock),
      maxConnected,
      leasesPerSession,
      connectTimeoutMs: 2_000,
      idleTimeoutMs: 3_000,
      probeIntervalMs: 4_000,
    });
    for (const [index, id] of IDS.entries()) {
      const tags = TAGS.filter((_, place) => (index & (place + 1)) > 0);
      await made.pool.add(id, sessionString(id), { tags, profile: { keepConnected: index < 2 } });
    }
    const chaos = new Chaos(made, clock, seed);
    for (let step = 0; step < 800; step++) await chaos.step();
    await chaos.finish();
  },
  60_000,
);
