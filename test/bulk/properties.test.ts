import fc from "fast-check";
import { expect, test } from "vitest";
import type { MapResult } from "../../src/options/options.js";
import { READ } from "../fakes/fake-telegram.js";
import { openPool, watch } from "../fakes/pools.js";
import { badRequest, flood } from "../fakes/telegram-errors.js";

/** What is to become of an item. */
type Fate = "works" | "poison" | "flood" | "refused";

interface Plan {
  readonly sessions: number;
  readonly concurrency: number | undefined;
  readonly ordered: boolean;
  readonly isAsynchronous: boolean;
  readonly items: readonly { readonly fate: Fate; readonly workMs: number; readonly sourceMs: number }[];
  readonly readerMs: readonly number[];
  /** After so many results the reader leaves; none: it reads to the end. */
  readonly leavesAfter: number | undefined;
}

const plans: fc.Arbitrary<Plan> = fc.record({
  sessions: fc.integer({ min: 2, max: 5 }),
  concurrency: fc.option(fc.integer({ min: 1, max: 7 }), { nil: undefined }),
  ordered: fc.boolean(),
  isAsynchronous: fc.boolean(),
  items: fc.array(
    fc.record({
      fate: fc.oneof(
        { weight: 8, arbitrary: fc.constant<Fate>("works") },
        { weight: 2, arbitrary: fc.constantFrom<Fate>("poison", "flood", "refused") },
      ),
      workMs: fc.integer({ min: 0, max: 40 }),
      sourceMs: fc.constantFrom(0, 0, 0, 15),
    }),
    { maxLength: 30 },
  ),
  readerMs: fc.array(fc.constantFrom(0, 0, 0, 25), { minLength: 1, maxLength: 5 }),
  leavesAfter: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined, freq: 3 }),
});

test("map() - delivers each item once, in order when asked, within its limits of concurrency and reading ahead", async () => {
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const { pool, telegram, clock } = await openPool({
        sessions: Array.from({ length: plan.sessions }, (_, at) => `s${at}`),
      });
      const sleep = (ms: number): Promise<void> =>
        ms === 0 ? Promise.resolve() : new Promise((resolve) => void clock.setTimer(ms, resolve));
      const limit = plan.concurrency ?? plan.sessions;
      const refused = new Set<number>();
      let pulled = 0;
      let read = 0;
      let running = 0;
      const attempts = new Map<number, number>();
      const note = (): number => {
        expect(pulled - read).toBeLessThan(limit);
        return pulled++;
      };
      const source = plan.isAsynchronous
        ? (async function* () {
            for (const { sourceMs } of plan.items) {
              await sleep(sourceMs);
              yield note();
            }
          })()
        : (function* () {
            for (const _ of plan.items) yield note();
          })();
      telegram.onCall = async ({ peer }) => {
        const at = Number(peer?.split(":")[1]);
        if (plan.items[at]?.fate === "refused") throw badRequest();
        if (plan.items[at]?.fate === "flood" && !refused.has(at)) {
          refused.add(at);
          throw flood(1);
        }
      };
      const results: MapResult<number, unknown>[] = [];
      const loop = async (): Promise<void> => {
        const run = pool.map(
          source,
          async (client, at) => {
            expect(++running).toBeLessThanOrEqual(Math.min(limit, plan.sessions));
            attempts.set(at, (attempts.get(at) ?? 0) + 1);
            try {
              await sleep(plan.items[at]?.workMs ?? 0);
              if (plan.items[at]?.fate === "poison") throw new Error("poison");
              return await client.call(READ, { peer: `user:${at}` });
            } finally {
              running--;
            }
          },
          { concurrency: plan.concurrency, ordered: plan.ordered },
        );
        for await (const result of run) {
          read++;
          results.push(result);
          await sleep(plan.readerMs[read % plan.readerMs.length] ?? 0);
          if (results.length === plan.leavesAfter) break;
        }
      };
      const done = watch(loop());
      for (let rounds = 0; done.state === "pending" && rounds < 400; rounds++) await clock.advance(20);
      expect(done.error).toBeUndefined();
      expect(done.state).toBe("resolved");
      const hasLeft = plan.leavesAfter !== undefined && plan.leavesAfter <= plan.items.length;
      expect(results).toHaveLength(hasLeft ? Number(plan.leavesAfter) : plan.items.length);
      expect(new Set(results.map(({ index }) => index)).size).toBe(results.length);
      for (const result of results) {
        const fate = plan.items[result.item]?.fate;
        expect(result.index).toBe(result.item);
        expect(result.ok).toBe(fate === "works" || fate === "flood");
        expect(result.attempts).toBe(attempts.get(result.item));
        expect(result.attempts).toBe(fate === "flood" ? 2 : 1);
        expect(result.sessionId).toMatch(/^s\d$/);
      }
      if (plan.ordered) expect(results.map(({ index }) => index)).toEqual(results.map((_, at) => at));
      expect(pulled).toBeLessThanOrEqual(read + limit);
      expect(pool.leases()).toEqual([]);
      expect(pool.status().waiters).toBe(0);
      await pool.destroy();
    }),
    { numRuns: 120 },
  );
});
