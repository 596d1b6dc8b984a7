import type { PoolTime } from "../common/pool-time.js";
import { catchUserErrors, type SafeCall } from "../common/process-warning.js";
import type { BudgetedCall, BudgetStrategy } from "../options/budget-strategy.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import { MAX_COOLDOWN_SECONDS, type Verdict } from "../telegram/verdicts.js";
import { NO_BLOCKS, type RateBlock, type RateLimits } from "./rate-limits.js";

/** Shorter waits are below the resolution of the clock: they would end before they begin, again and again. */
const MIN_WAIT_MS = 1;

/** Limits by a user's {@link BudgetStrategy}. */
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

  blocksOf(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const call = this.#callOf(id, request, now);
    if (call === undefined) return NO_BLOCKS;
    const { method, peer } = request;
    const waitMs = this.#safely(() => this.#strategy.waitMs(call), 0);
    const peerWaitMs = peer === undefined ? 0 : this.#safely(() => this.#strategy.peerWaitMs?.(call) ?? 0, 0);
    const blocks: RateBlock[] = [];
    if (waitMs > 0) blocks.push({ method, peer: undefined, until: now + clampWait(waitMs) });
    if (peerWaitMs > 0) blocks.push({ method, peer, until: now + clampWait(peerWaitMs) });
    return blocks;
  }

  onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const call = this.#callOf(id, request, now);
    if (call === undefined) return NO_BLOCKS;
    this.#safely(() => this.#strategy.sent(call), undefined);
    return this.blocksOf(id, request, now);
  }

  onRejected(id: string, request: OutgoingRequest, { kind, seconds }: Verdict): void {
    if (kind !== "cooldown" || seconds === null) return;
    const call = this.#callOf(id, request, this.#time.now());
    if (call !== undefined) this.#safely(() => this.#strategy.refused?.(call, seconds), undefined);
  }

  #callOf(id: string, { method, peer }: OutgoingRequest, now: number): BudgetedCall | undefined {
    const known = this.#registry.getVisible(id);
    return known && { session: this.#registry.info(known), method, peer, at: this.#time.toWall(now) };
  }
}

function clampWait(ms: number): number {
  return Math.min(Math.max(ms, MIN_WAIT_MS), MAX_COOLDOWN_SECONDS * 1000);
}
