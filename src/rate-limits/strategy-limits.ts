import type { PoolTime } from "../common/pool-time.js";
import { catchUserErrors, type SafeCall } from "../common/process-warning.js";
import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { BudgetedCall, BudgetStrategy } from "../options/budget-strategy.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { Verdict } from "../telegram/verdicts.js";
import { NO_BLOCK, type RateBlock, type RateLimits } from "./rate-limits.js";

/** A shorter wait is below what the clock can tell: it would be over before it begins, again and again. */
const SHORTEST_MS = 1;
/** As the longest cooldown. */
const LONGEST_MS = 365 * 86_400_000;

/** The limits of a user's own rule. */
export class StrategyLimits implements RateLimits {
  readonly #strategy: BudgetStrategy;
  readonly #time: PoolTime;
  readonly #registry: SessionRegistry;
  readonly #safely: SafeCall;

  constructor(strategy: BudgetStrategy, { time, log }: PoolContext, registry: SessionRegistry) {
    this.#strategy = strategy;
    this.#time = time;
    this.#registry = registry;
    this.#safely = catchUserErrors("budgets", (message) => log.callbackFailed(message));
  }

  refusals(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const call = this.#callOf(id, request, now);
    if (call === undefined) return NO_BLOCK;
    const { method, peer } = request;
    const strategy = this.#strategy;
    const rests: RateBlock[] = [];
    const restFor = (ms: number, whose: string | undefined): void => {
      if (ms > 0) rests.push({ method, peer: whose, until: now + Math.min(Math.max(ms, SHORTEST_MS), LONGEST_MS) });
    };
    restFor(
      this.#safely(() => strategy.waitMs(call), 0),
      undefined,
    );
    if (peer !== undefined) {
      restFor(
        this.#safely(() => strategy.peerWaitMs?.(call) ?? 0, 0),
        peer,
      );
    }
    return rests;
  }

  send(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const call = this.#callOf(id, request, now);
    if (call === undefined) return NO_BLOCK;
    this.#safely(() => this.#strategy.sent(call), undefined);
    return this.refusals(id, request, now);
  }

  refused(id: string, request: OutgoingRequest, { kind, seconds }: Verdict): void {
    if (kind !== "cooldown" || seconds === null) return;
    const call = this.#callOf(id, request, this.#time.now());
    if (call !== undefined) this.#safely(() => this.#strategy.refused?.(call, seconds), undefined);
  }

  #callOf(id: string, { method, peer }: OutgoingRequest, now: number): BudgetedCall | undefined {
    const known = this.#registry.shown(id);
    return known && { session: this.#registry.info(known), method, peer, at: this.#time.toWall(now) };
  }
}
