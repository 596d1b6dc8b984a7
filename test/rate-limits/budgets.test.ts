import { type Arbitrary, array, assert, asyncProperty, constantFrom, integer, oneof, record } from "fast-check";
import { describe, expect, test } from "vitest";
import { NoSessionAvailableError } from "../../src/errors.js";
import type { Lease } from "../../src/lease/lease.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, type TestPool, watch } from "../fakes/pools.js";
import { START, settled } from "../fakes/virtual-clock.js";

const MINUTE = 60_000;

describe("budgets", () => {
  test("a call over the budget is not sent: another session takes over, and with none left the wait is known", async () => {
    const { pool, telegram, clock, events } = await openPool({
      sessions: ["a", "b"],
      budgets: { "messages.sendMessage": { calls: 2, perMs: MINUTE } },
    });
    for (let call = 0; call < 4; call++) {
      await pool.use((client) => client.call(WRITE));
      clock.skip(1_000);
    }
    expect(telegram.calls.map(({ id }) => id).sort()).toEqual(["a", "a", "b", "b"]);
    const error = await pool.use((client) => client.call(WRITE), { wait: false }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(error).toMatchObject({ waitingCount: 2, nextReleaseIn: 56, retryAt: START + MINUTE });
    expect(error).toMatchObject({ cause: { code: 420, errorMessage: expect.stringMatching(/^FLOOD_WAIT_5\d$/) } });
    expect(telegram.calls).toHaveLength(4);
    expect(events("cooled")).toEqual([]);
    expect(pool.status()).toMatchObject({ free: 2, cooling: 0 });
  });

  test("acquire({ method }) - passes over a session whose budget is spent, and waits to the instant", async () => {
    const { pool, clock } = await openPool({ sessions: ["a"], budgets: { [READ]: { calls: 1, perMs: MINUTE } } });
    await pool.use((client) => client.call(READ));
    expect(await pool.acquire({ method: READ, wait: false }).catch((error: Error) => error)).toMatchObject({
      retryAt: START + MINUTE,
    });
    const other = await pool.acquire({ method: WRITE, wait: false });
    other.release();
    const waiting = watch(pool.acquire({ method: "users.getFullUser" }));
    await clock.advance(MINUTE - 1);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect(waiting.state).toBe("resolved");
  });

  test("when the last budget is spent beyond its wait, a waiting caller is rejected at once", async () => {
    const { pool } = await openPool({ sessions: ["a"], budgets: { [READ]: { calls: 1, perMs: MINUTE } } });
    const lease = await pool.acquire();
    const waiting = watch(pool.acquire({ method: READ, wait: 5_000 }));
    await settled();
    expect(waiting.state).toBe("pending");
    await lease.client.call(READ);
    await settled();
    expect(waiting.error).toBeInstanceOf(NoSessionAvailableError);
  });

  test("parallel calls on one lease send no more than the budget", async () => {
    const { pool, telegram } = await openPool({ sessions: ["a"], budgets: { [READ]: { calls: 3, perMs: MINUTE } } });
    const lease = await pool.acquire();
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => lease.client.call(READ)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect(telegram.calls).toHaveLength(3);
  });

  test("a write that was sent is not repeated because the next one is over the budget", async () => {
    const { pool, telegram } = await openPool({
      sessions: ["a", "b"],
      budgets: { [WRITE]: { calls: 1, perMs: MINUTE } },
    });
    const job = pool.use(async (client) => {
      await client.call(WRITE);
      await client.call(WRITE);
    });
    await expect(job).rejects.toMatchObject({ code: "ROTATION_UNSAFE" });
    expect(telegram.calls).toHaveLength(1);
  });

  test("inlineWaitMs - a budget spent for at most that long is waited for in the call", async () => {
    const { pool, telegram, clock } = await openPool({
      sessions: ["a"],
      inlineWaitMs: 2_000,
      budgets: { [READ]: { calls: 1, perMs: 1_500 } },
    });
    const lease = await pool.acquire();
    await lease.client.call(READ);
    const second = watch(lease.client.call(READ));
    await clock.advance(1_499);
    expect(second.state).toBe("pending");
    await clock.advance(1);
    expect(second.state).toBe("resolved");
    expect(telegram.calls.map(({ at }) => at)).toEqual([1_000, 2_500]);
  });

  test("perPeer - every peer has its own, and a request without a peer is not limited", async () => {
    const { pool, telegram } = await openPool({
      sessions: ["a", "b"],
      budgets: { [WRITE]: { calls: 1, perMs: MINUTE, perPeer: true } },
    });
    const send = (peer?: string) =>
      pool.use((client) => client.call(WRITE, peer === undefined ? {} : { peer }), { wait: false });
    for (const peer of ["user:1", "user:1", "user:2", undefined, undefined]) await send(peer);
    const error = await send("user:1").catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(NoSessionAvailableError);
    expect(telegram.calls).toHaveLength(5);
    await pool.use((client) => client.call(READ, { peer: "user:1" }), { wait: false });
  });

  test("perPeer: { calls, perMs } - is a limit besides that of the session", async () => {
    const { pool, telegram } = await openPool({
      sessions: ["a"],
      budgets: { [WRITE]: { calls: 2, perMs: MINUTE, perPeer: { calls: 1, perMs: 1_000 } } },
    });
    const send = (peer: string) => pool.use((client) => client.call(WRITE, { peer }), { wait: false });
    await send("user:1");
    await expect(send("user:1")).rejects.toMatchObject({ retryAt: START + 1_000 });
    await send("user:2");
    await expect(send("user:3")).rejects.toMatchObject({ retryAt: START + MINUTE });
    expect(telegram.calls).toHaveLength(2);
  });

  test("nothing of them is stored or emitted, and all share the timer of the cooldowns", async () => {
    const methods = [READ, "users.GetUsers", "help.GetConfig", "updates.GetState"];
    const { pool, storage, clock, told } = await openPool({
      sessions: ["a"],
      budgets: Object.fromEntries(methods.map((method, index) => [method, { calls: 1, perMs: MINUTE * (index + 1) }])),
    });
    await pool.use((client) => client.call(WRITE));
    const timers = clock.pending;
    for (const method of methods) await pool.use((client) => client.call(method));
    await pool.use((client) => client.call(READ), { wait: false }).catch(() => {});
    expect(clock.pending).toBeLessThanOrEqual(timers + 1);
    await pool.disable("a");
    expect(await storage.stored("a")).toMatchObject({ methods: {}, peers: {} });
    expect(told.map(({ name }) => name)).not.toContain("cooled");
  });
});

const LIMITS = { [READ]: { calls: 3, perMs: 1_000 }, [WRITE]: { calls: 2, perMs: 2_500 } };
const METHODS = [READ, WRITE];

type Step =
  | { readonly kind: "burst" | "job"; readonly method: string; readonly calls: number }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "retry"; readonly method: string };

const STEP = oneof(
  record({ kind: constantFrom("burst", "job"), method: constantFrom(...METHODS), calls: integer({ min: 1, max: 6 }) }),
  record({ kind: constantFrom("pass"), ms: integer({ min: 1, max: 1_500 }) }),
  record({ kind: constantFrom("retry"), method: constantFrom(...METHODS) }),
) as Arbitrary<Step>;

/** Jobs of every kind, as they come. */
class Run {
  readonly made: TestPool;
  #running = 0;

  constructor(made: TestPool) {
    this.made = made;
  }

  async step(step: Step): Promise<void> {
    if (step.kind === "pass") await this.made.clock.advance(step.ms);
    else if (step.kind === "retry") await this.#retry(step.method);
    else this.#start(step.kind, step.method, step.calls);
  }

  #start(kind: "burst" | "job", method: string, calls: number): void {
    this.#running++;
    const work = async (client: FakeClient): Promise<void> => {
      const burst: Promise<unknown>[] = [];
      for (let call = 0; call < calls; call++) {
        const sent = client.call(method);
        if (kind === "burst") burst.push(sent);
        else await sent;
      }
      await Promise.allSettled(burst);
    };
    void this.made.pool
      .use(work, { wait: 500 })
      .catch(() => {})
      .finally(() => this.#running--);
  }

  /** With nobody else about: a call is refused until `retryAt`, and goes then. */
  async #retry(method: string): Promise<void> {
    const { pool, clock } = this.made;
    await settled();
    if (this.#running > 0) return;
    const call = (): Promise<unknown> => pool.use((client) => client.call(method), { wait: false });
    const told = await pool.acquire({ method, wait: false }).catch((error: unknown) => error);
    if (!(told instanceof NoSessionAvailableError)) return (told as Lease<FakeClient>).release();
    await clock.advance(Number(told.retryAt) - clock.now() - 1);
    expect(await call().catch((error: unknown) => error)).toBeInstanceOf(NoSessionAvailableError);
    await clock.advance(1);
    await call();
  }
}

test("budgets - in any interleaving, at most the budget is sent per session and method, and retryAt is exact", async () => {
  const property = asyncProperty(
    array(STEP, { minLength: 5, maxLength: 40 }),
    integer({ min: 1, max: 3 }),
    async (steps, size) => {
      const sessions = ["a", "b", "c"].slice(0, size);
      const run = new Run(await openPool({ sessions, budgets: LIMITS, leasesPerSession: 2 }));
      for (const step of steps) await run.step(step);
      await run.made.clock.advance(10_000);
      for (const [method, { calls, perMs }] of Object.entries(LIMITS)) {
        for (const id of sessions) {
          const sent = run.made.telegram.calls.filter((call) => call.id === id && call.method === method);
          for (const [index, { at }] of sent.entries()) {
            expect((sent[index + calls]?.at ?? Number.POSITIVE_INFINITY) - at).toBeGreaterThanOrEqual(perMs);
          }
        }
      }
      await run.made.pool.destroy();
    },
  );
  await assert(property, { numRuns: 100 });
});
