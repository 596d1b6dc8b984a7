import { expect, test } from "vitest";
import { LeaseReleasedError, SessionPoolError } from "../../src/errors.js";
import type { Lease } from "../../src/lease/lease.js";
import type { Budget } from "../../src/options/budgets.js";
import type { AcquireOptions } from "../../src/options/options.js";
import type { FakeClient } from "../fakes/fake-telegram.js";
import { READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, type Watched, watch } from "../fakes/pools.js";
import { seededIntegers } from "../fakes/seeded-random.js";
import { FakeRpcError } from "../fakes/telegram-errors.js";
import { settled } from "../fakes/virtual-clock.js";

const PEERS = ["channel:1", "channel:2"];
const IDS = ["s0", "s1", "s2", "s3", "s4", "s5"];

/** Drives a pool at random beside what Telegram told each session, and says what broke. */
class Run {
  readonly made: TestPool;
  readonly #random: (below: number) => number;
  readonly #leasesPerSession: number;
  readonly #held: Lease<FakeClient>[] = [];
  readonly #given: Lease<FakeClient>[] = [];
  readonly #waiting: { readonly watched: Watched<Lease<FakeClient>>; readonly abort: AbortController }[] = [];
  readonly #jobs: { readonly watched: Watched<unknown>; readonly number: number }[] = [];
  /** What Telegram told and the pool has heard: until when a session, or one of its peers, must be left alone. */
  readonly #told = new Map<string, number>();
  /** Jobs whose write was accepted by Telegram. */
  readonly #done = new Map<number, number>();
  #jobNumber = 0;
  /** The first promise that broke: what the fakes throw would only reach the caller of a request. */
  #breach: string | undefined;

  constructor(made: TestPool, seed: number, leasesPerSession: number) {
    this.made = made;
    this.#random = seededIntegers(seed);
    this.#leasesPerSession = leasesPerSession;
    made.telegram.onCall = (call) => {
      for (const place of [call.id, `${call.id} ${call.peer}`]) {
        const until = this.#told.get(place) ?? 0;
        if (until > call.at) this.#broken(`promise 2: ${place} was sent to ${until - call.at} ms early`);
      }
      if (this.#random(4) === 0) this.#refuse(call.id, call.peer, call.at);
      return call.number;
    };
    made.telegram.onConnect = (id) => {
      if ((this.#told.get(id) ?? 0) > made.clock.monotonic()) this.#broken(`promise 2: ${id} connects while it cools`);
      if (this.#random(10) === 0) throw new Error("connect ECONNRESET");
    };
  }

  async step(): Promise<void> {
    const kind = this.#random(100);
    if (kind < 25) this.#acquire();
    else if (kind < 45) this.#release();
    else if (kind < 60) this.#use();
    else if (kind < 68) this.#call();
    else if (kind < 73) this.#waiting[this.#random(this.#waiting.length || 1)]?.abort.abort();
    else if (kind < 76) await this.#drop();
    else if (kind < 78) await this.#disable();
    else if (kind < 81) watch(this.made.pool.enable(this.#id()));
    else if (kind < 83) this.made.clock.turnWall((this.#random(3) - 1) * 3_600_000);
    else if (kind < 85) this.made.clock.skip(this.#random(3_000));
    else await this.made.clock.advance(this.#random(4_000));
    if (this.#random(3) === 0) await settled();
    this.#collect();
    this.#check();
  }

  async finish(): Promise<void> {
    const closing = watch(this.made.pool.close({ timeoutMs: 1_000 }));
    await this.made.clock.advance(120_000);
    this.#collect();
    if (closing.state !== "resolved") this.#broken("promise 4: close() hangs");
    if (this.#waiting.length > 0) this.#broken("promise 4: a caller waits for ever");
    for (const { watched } of this.#jobs) if (watched.state === "pending") this.#broken("promise 4: a job hangs");
    if (this.made.clock.pending > 0) this.#broken("promise 9: a timer is left");
    if (this.made.telegram.online.length > 0) this.#broken("promise 9: a client is left");
    for (const lease of [...this.#held, ...this.#given]) await this.#expectDead(lease);
    if (this.#breach !== undefined) throw new Error(this.#breach);
  }

  #refuse(id: string, peer: string | undefined, at: number): never {
    const seconds = 1 + this.#random(8);
    const isSlow = peer !== undefined && this.#random(2) === 0;
    const place = isSlow ? `${id} ${peer}` : id;
    // An answer is heard a few turns after it was given: until then the pool cannot keep to it.
    void settled().then(() => this.#told.set(place, Math.max(this.#told.get(place) ?? 0, at + seconds * 1_000)));
    throw new FakeRpcError(420, `${isSlow ? "SLOWMODE" : "FLOOD"}_WAIT_${seconds}`);
  }

  #id(): string {
    return IDS[this.#random(IDS.length)] ?? "s0";
  }

  #options(): AcquireOptions {
    const waits = [true, false, 500, 3_000, 10_000];
    return {
      wait: waits[this.#random(5)] ?? true,
      priority: this.#random(3),
      ...(this.#random(5) === 0 ? { id: this.#id() } : {}),
      ...(this.#random(5) === 0 ? { key: this.#id() } : {}),
      ...(this.#random(6) === 0 ? { peer: PEERS[this.#random(2)] } : {}),
    };
  }

  #acquire(): void {
    const abort = new AbortController();
    const watched = watch(this.made.pool.acquire({ ...this.#options(), signal: abort.signal }));
    this.#waiting.push({ watched, abort });
  }

  #release(): void {
    const [lease] = this.#held.splice(this.#random(this.#held.length || 1), 1);
    if (lease === undefined) return;
    lease.release();
    this.#given.push(lease);
    if (this.#given.length > 20) this.#given.shift();
    if (this.#random(3) === 0) this.#given[this.#random(this.#given.length)]?.release();
  }

  #use(): void {
    const number = ++this.#jobNumber;
    const peer = this.#random(2) === 0 ? PEERS[this.#random(2)] : undefined;
    const work = async (client: FakeClient): Promise<void> => {
      await client.call(READ);
      await client.call(WRITE, peer === undefined ? {} : { peer });
      this.#done.set(number, (this.#done.get(number) ?? 0) + 1);
    };
    const watched = watch(this.made.pool.use(work, { ...this.#options(), timeoutMs: 20_000 }));
    this.#jobs.push({ watched, number });
  }

  #call(): void {
    const lease = this.#held[this.#random(this.#held.length || 1)];
    if (lease !== undefined) watch(lease.client.call(WRITE, { peer: PEERS[this.#random(2)] ?? "" }));
  }

  /** Not while an answer is on its way: what Telegram told and nobody heard cannot be kept to. */
  async #drop(): Promise<void> {
    await settled();
    const id = this.#id();
    if (this.made.telegram.online.includes(id)) this.made.telegram.handle(id).drop();
  }

  /** As above: it closes the client. */
  async #disable(): Promise<void> {
    await settled();
    watch(this.made.pool.disable(this.#id()));
  }

  #collect(): void {
    for (const one of [...this.#waiting]) {
      if (one.watched.state === "pending") continue;
      this.#waiting.splice(this.#waiting.indexOf(one), 1);
      const { error, value } = one.watched;
      if (value !== undefined) this.#held.push(value);
      else if (!(error instanceof SessionPoolError) && !one.abort.signal.aborted) this.#broken(`promise 4: ${error}`);
    }
    for (const { watched, number } of this.#jobs) {
      const times = this.#done.get(number) ?? 0;
      if (times > 1 || (times === 0 && watched.state === "resolved")) this.#broken(`promise 3: job ran ${times} times`);
    }
  }

  #check(): void {
    if (this.#breach !== undefined) throw new Error(this.#breach);
    const { pool, clock, telegram } = this.made;
    const { total, waiters, nextAvailableAt, ...counts } = pool.status();
    if (Object.values(counts).reduce((sum, count) => sum + count) !== total) this.#broken("statuses do not sum up");
    const held = new Map<string, number>();
    for (const { id } of pool.leases()) held.set(id, (held.get(id) ?? 0) + 1);
    for (const count of held.values()) if (count > this.#leasesPerSession) this.#broken("promise 1: too many leases");
    if (telegram.violations.length > 0) this.#broken(`promise 1: ${telegram.violations[0]}`);
    if (waiters < 0 || waiters > this.#waiting.length + this.#jobs.length) this.#broken("the queue does not add up");
    if (nextAvailableAt !== null && nextAvailableAt < clock.now() - 1)
      this.#broken("promise 8: an instant in the past");
    if (counts.free > 0 && nextAvailableAt !== clock.now()) this.#broken("promise 8: free, but not now");
    for (const [place, until] of this.#told) {
      if (IDS.includes(place) && until > clock.monotonic() && pool.get(place)?.state === "free") {
        this.#broken(`promise 2: ${place} is free while it cools`);
      }
    }
  }

  async #expectDead(lease: Lease<FakeClient>): Promise<void> {
    const before = this.made.telegram.calls.length;
    const error: unknown = await lease.client.call(WRITE).catch((thrown: unknown) => thrown);
    const isDead = error instanceof LeaseReleasedError && this.made.telegram.calls.length === before;
    if (!isDead) this.#broken(`promise 5: a lease that ended still works: ${error}`);
  }

  #broken(what: string): never {
    this.#breach ??= what;
    throw new Error(this.#breach);
  }
}

const BUDGETS: Readonly<Record<string, Budget>> = {
  [READ]: { calls: 3, perMs: 2_000 },
  [WRITE]: { calls: 2, perMs: 3_000, perPeer: true },
};

/** No session has sent more than its budget of reads, nor of writes to one peer. */
function expectWithinBudgets({ telegram }: TestPool): void {
  const sent = new Map<string, number[]>();
  for (const { id, method, peer, at } of telegram.calls) {
    if (method === WRITE && peer === undefined) continue;
    const key = method === READ ? `${id} ${method}` : `${id} ${method} ${peer}`;
    const earlier = sent.get(key) ?? [];
    const { calls, perMs } = BUDGETS[method] ?? { calls: 1, perMs: 0 };
    expect(at - (earlier.at(-calls) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(perMs);
    sent.set(key, [...earlier.slice(-10), at]);
  }
}

test.each([
  [1, 1, Number.POSITIVE_INFINITY, undefined],
  [2, 1, 3, undefined],
  [3, 2, Number.POSITIVE_INFINITY, undefined],
  [4, 3, 4, undefined],
  [5, 1, Number.POSITIVE_INFINITY, BUDGETS],
  [6, 3, 4, BUDGETS],
  [7, 2, Number.POSITIVE_INFINITY, "learn"],
] as const)(
  "SessionPool - 6,000 steps at random (seed %d, %d leases a session, maxConnected %d, budgets %j) keep every promise",
  async (seed, leasesPerSession, maxConnected, budgets) => {
    const made = await openPool({ sessions: IDS, leasesPerSession, maxConnected, idleTimeoutMs: 2_000, budgets });
    const run = new Run(made, seed, leasesPerSession);
    for (let step = 0; step < 6_000; step++) await run.step();
    await run.finish();
    expect(made.telegram.calls.length).toBeGreaterThan(100);
    if (budgets === BUDGETS) expectWithinBudgets(made);
  },
);
