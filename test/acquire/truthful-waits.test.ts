import fc from "fast-check";
import { expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/errors.js";
import type { Lease } from "../../src/lease/lease.js";
import type { Budget } from "../../src/options/budgets.js";
import type { AcquireOptions } from "../../src/options/options.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { dead, flood, peerFlood, slowMode } from "../fakes/telegram-errors.js";

const IDS = ["a", "b", "c", "d"] as const;
const PEER = "channel:1";
const OTHER_METHOD = "messages.GetHistory";
const BUDGETS: Readonly<Record<string, Budget>> = {
  [READ]: { calls: 2, perMs: 7_000 },
  [WRITE]: { calls: 3, perMs: 40_000, perPeer: { calls: 1, perMs: 15_000 } },
};
/** Longer than any cooldown here, shorter than a restriction. */
const LONG_MS = 300_000;

/** Something that happens to a session, told by Telegram, by its borrower, by its owner or by another process. */
const happening = fc.record({
  id: fc.constantFrom(...IDS),
  seconds: fc.integer({ min: 1, max: 90 }),
  what: fc.constantFrom(
    ...([
      "cool",
      "coolMethod",
      "coolPeer",
      "flood",
      "slowMode",
      "read",
      "write",
      "writePeer",
      "hold",
      "hold",
      "giveBack",
    ] as const),
    ...(["backOff", "restrict", "disable", "kill", "enable", "foreign", "pass"] as const),
  ),
});
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

const acquireRequest: fc.Arbitrary<AcquireOptions> = fc.record(
  {
    id: fc.constantFrom(...IDS),
    key: fc.constantFrom("x", "y", "z"),
    tags: fc.constantFrom([], ["even"]),
    method: fc.constantFrom(READ, WRITE, OTHER_METHOD),
    peer: fc.constantFrom(PEER, "user:7"),
  },
  { requiredKeys: [] },
);

const situation = fc.record({
  leasesPerSession: fc.integer({ min: 1, max: 3 }),
  cooldownScope: fc.constantFrom("session" as const, "method" as const),
  happenings: fc.array(happening, { maxLength: 14 }),
  acquireRequests: fc.array(acquireRequest, { minLength: 1, maxLength: 3 }),
});

/** A pool in some situation, and another process on the same storage. */
class World {
  readonly made: TestPool;
  readonly #other: TestPool;
  readonly #held: Lease<FakeClient>[] = [];

  constructor(made: TestPool, other: TestPool) {
    this.made = made;
    this.#other = other;
  }

  async happens({ id, seconds, what }: Happening): Promise<void> {
    const { pool, clock, telegram } = this.made;
    const call = (method: string, peer?: string): Promise<unknown> =>
      this.#quietly(
        pool.use((client) => client.call(method, peer === undefined ? {} : { peer }), {
          id,
          wait: false,
          retry: "none",
        }),
      );
    const told = async (error: Error, peer?: string): Promise<void> => {
      telegram.onCall = () => Promise.reject(error);
      await call(OTHER_METHOD, peer);
      telegram.onCall = () => 1;
    };
    if (what === "cool") await this.#cool(id, seconds, {});
    if (what === "coolMethod") await this.#cool(id, seconds, { method: READ });
    if (what === "coolPeer") await this.#cool(id, seconds, { peer: PEER });
    if (what === "flood") await told(flood(seconds));
    if (what === "slowMode") await told(slowMode(seconds), PEER);
    if (what === "restrict") await told(peerFlood());
    if (what === "kill") await told(dead());
    if (what === "read") await call(READ);
    if (what === "write") await call(WRITE);
    if (what === "writePeer") await call(WRITE, PEER);
    if (what === "hold") await this.#hold(id);
    if (what === "giveBack") this.#held.splice(0, 1)[0]?.release();
    if (what === "disable") await pool.disable(id);
    if (what === "enable") await pool.enable(id);
    if (what === "foreign") await this.#leaveToOther(id);
    if (what === "backOff") await this.#failToConnect(id);
    if (what === "pass") await clock.advance(seconds * 137);
  }

  /** What is told of this wish now is what then happens. */
  async expectTruth(options: AcquireOptions): Promise<void> {
    await this.#expectStatus();
    const { pool, clock } = this.made;
    const error: unknown = await pool.acquire({ ...options, wait: false }).then(
      (lease) => lease.release(),
      (thrown: unknown) => thrown,
    );
    if (error === undefined) return;
    if (!(error instanceof NoSessionAvailableError)) throw error;
    const { retryAt, nextReleaseIn, waitingCount } = error;
    const abort = new AbortController();
    let servedAt: number | undefined;
    const waiting = watch(
      pool.acquire({ ...options, signal: abort.signal }).then((lease) => {
        servedAt = clock.now();
        lease.release();
      }),
    );
    await clock.advance(0);
    if (retryAt === null) {
      expect(nextReleaseIn).toBeNull();
      await clock.advance(LONG_MS);
      expect(servedAt).toBeUndefined();
      abort.abort();
      await clock.advance(0);
      return;
    }
    expect(waitingCount).toBeGreaterThan(0);
    expect(nextReleaseIn).toBe(Math.ceil((retryAt - clock.now()) / 1_000));
    expect(waiting.state).toBe("pending");
    await this.#expectAllInVain(options, retryAt - clock.now() - 1);
    await clock.advance(retryAt - clock.now() - 1);
    await expect(pool.acquire({ ...options, wait: false })).rejects.toMatchObject({ retryAt, nextReleaseIn: 1 });
    await clock.advance(1);
    expect(servedAt).toBe(retryAt);
    expect(waiting.error).toBeUndefined();
  }

  /** Whoever would wait less long is told at once, unless something that is held might be given back. */
  async #expectAllInVain(options: AcquireOptions, waitMs: number): Promise<void> {
    const { leased, foreign } = this.made.pool.status();
    if (leased + foreign > 0) return;
    const waiting = watch(this.made.pool.acquire({ ...options, wait: waitMs }));
    await this.made.clock.advance(0);
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
  }

  async #expectStatus(): Promise<void> {
    const { pool, clock } = this.made;
    const { total, waiters, nextAvailableAt, ...counts } = pool.status();
    expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(total);
    expect(waiters).toBe(0);
    const ends = pool
      .sessions()
      .flatMap(({ state, availableAt }) => (state === "cooling" ? [Number(availableAt)] : []));
    if (counts.free + counts.leased === 0) {
      expect(nextAvailableAt).toBe(ends.length === 0 ? null : Math.min(...ends));
    }
    if (counts.free > 0) expect(nextAvailableAt).toBe(clock.now());
    if (nextAvailableAt === clock.now()) {
      (await pool.acquire({ wait: false })).release();
      return;
    }
    await expect(pool.acquire({ wait: false })).rejects.toMatchObject({ retryAt: nextAvailableAt });
  }

  async end(): Promise<void> {
    for (const lease of this.#held) lease.release();
    const closing = [watch(this.made.pool.close()), watch(this.#other.pool.close())];
    await this.made.clock.advance(60_000);
    expect(closing.map(({ state }) => state)).toEqual(["resolved", "resolved"]);
  }

  async #hold(id: string): Promise<void> {
    const lease = await this.#quietly(this.made.pool.acquire({ id, wait: false }));
    if (lease !== undefined) this.#held.push(lease);
  }

  async #cool(id: string, seconds: number, scope: { method?: string; peer?: string }): Promise<void> {
    const held = this.#held.find((lease) => lease.id === id && !lease.signal.aborted);
    if (held !== undefined) return held.coolDown(seconds, scope);
    using lease = await this.#quietly(this.made.pool.acquire({ id, wait: false }));
    lease?.coolDown(seconds, scope);
  }

  async #failToConnect(id: string): Promise<void> {
    const { pool, telegram } = this.made;
    telegram.onConnect = () => Promise.reject(new Error("connect ECONNREFUSED"));
    using _ = await this.#quietly(pool.acquire({ id, wait: false }));
    telegram.onConnect = () => {};
  }

  /** Possible as long as this process has not connected it; what it does not look at it cannot know. */
  async #leaveToOther(id: string): Promise<void> {
    if (this.made.pool.get(id)?.state !== "free") return;
    using _ = await this.#quietly(this.#other.pool.acquire({ id, wait: false }).then(() => undefined));
    await this.#quietly(this.made.pool.acquire({ id, wait: false }).then((lease) => lease.release()));
  }

  async #quietly<T>(work: Promise<T>): Promise<T | undefined> {
    const watched = watch(work);
    await this.made.clock.advance(0);
    return watched.value;
  }
}

async function worldOf(options: { leasesPerSession: number; cooldownScope: "session" | "method" }): Promise<World> {
  const shared = { restrictedForMs: 100 * LONG_MS, idleTimeoutMs: 100 * LONG_MS, budgets: BUDGETS, ...options };
  const made = await openPool({ ...shared, sessions: IDS });
  for (const id of ["b", "d"]) await made.pool.update(id, { tags: ["even"] });
  const { storage, clock, telegram } = made;
  return new World(made, await openPool({ ...shared, storage, clock, telegram }));
}

test("status() and retryAt - match what then happens, in every situation", async () => {
  await fc.assert(
    fc.asyncProperty(situation, async ({ happenings, acquireRequests, ...options }) => {
      const world = await worldOf(options);
      for (const one of happenings) await world.happens(one);
      for (const options of acquireRequests) await world.expectTruth(options);
      await world.end();
    }),
    { numRuns: Number(process.env.RUNS ?? 150) },
  );
}, 600_000);
