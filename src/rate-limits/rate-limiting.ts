import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import { siblingsOf } from "../state/accounts.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionTable } from "../state/session-table.js";
import type { StoredRecord } from "../storage/storage.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import type { Verdict } from "../telegram/verdicts.js";
import { DurableLimits, hasDurableLimits } from "./durable/durable-limits.js";
import { LearnedLimits } from "./learned-limits.js";
import { ConfiguredLimits, type RateBlock, type RateLimits } from "./rate-limits.js";
import { StrategyLimits } from "./strategy-limits.js";

/** Creates the rate limits of the option `budgets`; `undefined` without it. */
export function createRateLimiting(
  context: PoolContext,
  lifecycle: PoolLifecycle,
  sessionTable: SessionTable<PooledSession>,
  registry: SessionRegistry,
): RateLimiting | undefined {
  const { budgets } = context.options;
  if (budgets === undefined) return undefined;
  if (budgets === "learn") {
    return new RateLimiting(context, sessionTable, new LearnedLimits(context, lifecycle, registry));
  }
  if ("waitMs" in budgets) {
    return new RateLimiting(context, sessionTable, new StrategyLimits(budgets, context, registry));
  }
  const limits = hasDurableLimits(budgets)
    ? new DurableLimits(budgets, context, lifecycle, registry)
    : new ConfiguredLimits(budgets);
  return new RateLimiting(context, sessionTable, limits);
}

/**
 * Keeps every session within its rate limits. An exhausted limit becomes a cooldown in the session table, so that
 * `acquire` skips the session, `retryAt` includes it, and the gate refuses the request before it is sent.
 */
export class RateLimiting {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable;
  readonly #limits: RateLimits;

  constructor(context: PoolContext, sessionTable: SessionTable, limits: RateLimits) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#limits = limits;
    limits.onRelaxed = (method) => this.#relax(method);
  }

  /**
   * Counts a request that is about to be sent. Returns whether it may be sent; if not, the session cools down for it. Returns
   * a promise if something has to be written first: the request is to be checked again when it has resolved.
   */
  tryAdmit(id: string, request: OutgoingRequest): boolean | Promise<void> {
    const now = this.#context.time.now();
    const blocks = this.#limits.blocksOf(id, request, now);
    // A session that has been removed cannot cool down; its last lease may finish.
    if (blocks.length > 0 && this.#coolDown(id, blocks, now)) return false;
    const reserved = this.#limits.reserve?.(id, request, now);
    if (reserved !== undefined) return reserved;
    const exhausted = this.#limits.onSent(id, request, now);
    if (exhausted.length > 0) this.#coolDown(id, exhausted, now);
    return true;
  }

  /** Reports that an admitted request is no longer in flight. `isSuccess`: Telegram has answered it without an error. */
  onCompleted(id: string, request: OutgoingRequest, isSuccess: boolean): void {
    this.#limits.onCompleted?.(id, request, isSuccess);
  }

  /** Reports that Telegram has answered a request with an error. */
  onRejected(id: string, request: OutgoingRequest, verdict: Verdict): void {
    this.#limits.onRejected?.(id, request, verdict);
  }

  /** Reads what the storage contains. Called again with records that other processes have written. */
  load(records: readonly StoredRecord[]): void {
    this.#limits.load?.(records);
    const now = this.#context.time.now();
    for (const { id, blocks } of this.#limits.takeBlocked?.(now) ?? []) this.#coolDown(id, blocks, now);
  }

  /** Writes what is not written yet. Rejects as the storage does. */
  async flush(): Promise<void> {
    await this.#limits.flush?.();
  }

  /** Ends the cooldowns for a method that are longer than its relaxed limit. Rare: learning has found a faster limit. */
  #relax(method: string): void {
    const now = this.#context.time.now();
    const scope = { kind: "budget", method, peer: undefined } as const;
    for (const entry of this.#sessionTable.entries()) {
      if (entry.cooldowns.until(scope) <= now) continue;
      this.#sessionTable.relax(entry, scope, this.#limits.blockedUntil?.(entry.id, method, now) ?? now, now);
    }
    this.#context.events.emit("available");
  }

  /** Returns whether the session is in the table. */
  #coolDown(id: string, blocks: readonly RateBlock[], now: number): boolean {
    const entry = this.#sessionTable.get(id);
    if (entry === undefined) return false;
    for (const { method, peer, until, isOfAccount } of blocks) {
      const scope = { kind: "budget", method, peer } as const;
      this.#sessionTable.cool(entry, scope, until, "budget", now);
      if (isOfAccount !== true) continue;
      for (const sibling of siblingsOf(entry)) this.#sessionTable.cool(sibling, scope, until, "budget", now);
    }
    this.#context.events.emit("rateLimited");
    return true;
  }
}
