import { describe, expect, test } from "vitest";
import type { BudgetedCall, BudgetStrategy } from "../../src/options/budget-strategy.js";
import type { Logger } from "../../src/options/options.js";
import { type FakeClient, READ, WRITE } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { flood } from "../fakes/telegram-errors.js";
import { START } from "../fakes/virtual-clock.js";

/** A token bucket for each session and method: what the pool's own budgets are not. */
class TokenBuckets implements BudgetStrategy {
  readonly refusals: [string, number][] = [];
  readonly #size: number;
  readonly #refillMs: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(size: number, refillMs: number) {
    this.#size = size;
    this.#refillMs = refillMs;
  }

  waitMs(call: BudgetedCall): number {
    return Math.max(0, 1 - this.#bucket(call).tokens) * this.#refillMs;
  }

  sent(call: BudgetedCall): void {
    this.#bucket(call).tokens--;
  }

  refused({ session }: BudgetedCall, seconds: number): void {
    this.refusals.push([session.id, seconds]);
  }

  #bucket({ session, method, at }: BudgetedCall): { tokens: number; at: number } {
    const key = `${session.id} ${method}`;
    const bucket = this.#buckets.get(key) ?? { tokens: this.#size, at };
    bucket.tokens = Math.min(this.#size, bucket.tokens + (at - bucket.at) / this.#refillMs);
    bucket.at = at;
    this.#buckets.set(key, bucket);
    return bucket;
  }
}

const send = (client: FakeClient): Promise<unknown> => client.call(WRITE);

describe("budgets with a custom rule", () => {
  test("the wait is known in advance, the session is skipped, and nothing is sent that the rule forbids", async () => {
    const { pool, clock, telegram, events } = await openPool({
      sessions: ["a", "b"],
      budgets: new TokenBuckets(2, 10_000),
    });
    for (let call = 0; call < 4; call++) await pool.use(send);
    expect(telegram.calls.map(({ id }) => id).sort()).toEqual(["a", "a", "b", "b"]);
    await expect(pool.acquire({ method: WRITE, wait: false })).rejects.toMatchObject({ retryAt: START + 10_000 });
    await expect(pool.use(send, { wait: false })).rejects.toMatchObject({ retryAt: START + 10_000 });
    expect(pool.status()).toMatchObject({ free: 2, cooling: 0 });
    expect(events("cooled")).toEqual([]);
    const waiting = watch(pool.use(send));
    await clock.advance(9_999);
    expect(waiting.state).toBe("pending");
    await clock.advance(1);
    expect(waiting.state).toBe("resolved");
    await pool.use((client) => client.call(READ), { wait: false });
  });

  test("peerWaitMs - keeps the session from that method and peer alone", async () => {
    const asked: BudgetedCall[] = [];
    const sent = new Set<string>();
    const { pool } = await openPool({
      sessions: ["a"],
      budgets: {
        waitMs: (call) => {
          asked.push(call);
          return 0;
        },
        peerWaitMs: ({ peer }) => (sent.has(peer ?? "") ? 5_000 : 0),
        sent: ({ peer }) => void sent.add(peer ?? ""),
      },
    });
    const to = (peer: string) => pool.use((client) => client.call(WRITE, { peer }), { wait: false });
    await to("user:1");
    await expect(to("user:1")).rejects.toMatchObject({ retryAt: START + 5_000 });
    await to("user:2");
    await pool.use(send, { wait: false });
    expect(asked[0]).toMatchObject({ method: WRITE, peer: "user:1", at: START, session: { id: "a", state: "leased" } });
  });

  test("refused - receives the flood; the session cools in any case", async () => {
    const budgets = new TokenBuckets(10, 1_000);
    const { pool, telegram } = await openPool({ sessions: ["a"], budgets });
    telegram.onCall = () => Promise.reject(flood(30));
    await expect(pool.use(send, { wait: false })).rejects.toMatchObject({ retryAt: START + 30_000 });
    expect(budgets.refusals).toEqual([["a", 30]]);
  });

  test("waitMs - a wait shorter than the clock's resolution counts as a millisecond", async () => {
    const { pool, clock } = await openPool({
      sessions: ["a"],
      inlineWaitMs: 1_000,
      budgets: { waitMs: () => 1e-5, sent() {} },
    });
    const job = watch(pool.use(send, { wait: false }));
    await clock.advance(999);
    expect(job.state).toBe("pending");
    await clock.advance(2);
    expect(job.state).toBe("rejected");
  });

  test("a rule that throws or returns no number limits nothing, and is reported once", async () => {
    const told: string[] = [];
    const logger: Logger = { debug() {}, info() {}, warn() {}, error: (message) => void told.push(message) };
    const broken = (): never => {
      throw new Error("the rule broke");
    };
    const { pool } = await openPool({ sessions: ["a"], logger, budgets: { waitMs: broken, sent: broken } });
    await pool.use(send);
    await pool.use(send);
    expect(told).toEqual([
      expect.stringContaining("in the option budgets failed and is ignored: Error: the rule broke"),
    ]);
    const promises = { waitMs: () => Promise.resolve(1_000) as unknown as number, sent() {} };
    const other = await openPool({ sessions: ["b"], logger, budgets: promises });
    await other.pool.use(send);
    expect(told[1]).toContain("it must return a number");
  });
});
