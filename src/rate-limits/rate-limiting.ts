import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { ParsedBudgets } from "../options/budgets.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionRegistry } from "../state/session-registry.js";
import type { SessionTable } from "../state/session-table.js";
import type { StoredRecord } from "../storage/storage.js";
import type { Verdict } from "../telegram/verdicts.js";
import { ConfiguredLimits } from "./configured-limits.js";
import { LearnedLimits } from "./learned-limits.js";
import type { RateBlock, RateLimits } from "./rate-limits.js";
import { StrategyLimits } from "./strategy-limits.js";

/** The rate limits that the option `budgets` asks for. */
export function createRateLimiting(
  context: PoolContext,
  lifecycle: PoolLifecycle,
  sessionTable: SessionTable<PooledSession>,
  registry: SessionRegistry,
): RateLimiting | undefined {
  const { budgets } = context.options;
  if (budgets === undefined) return undefined;
  return new RateLimiting(context, sessionTable, limitsOf(budgets));

  function limitsOf(source: ParsedBudgets): RateLimits {
    if (source === "learn") return new LearnedLimits(context, lifecycle, registry);
    return "waitMs" in source ? new StrategyLimits(source, context, registry) : new ConfiguredLimits(source);
  }
}

/**
 * Keeps every session within its budgets. One that is spent becomes a cooldown that is known in advance: it lies in the
 * roster with the others, so that `acquire` passes over the session, `retryAt` counts it and the gate refuses the call
 * before it is sent.
 */
export class RateLimiting {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable;
  readonly #limits: RateLimits;

  constructor(context: PoolContext, sessionTable: SessionTable, limits: RateLimits) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#limits = limits;
  }

  /** Counts a request in that is sent at once. When it may not go, what is spent rests from now on. */
  tryAdmit(id: string, request: OutgoingRequest): boolean {
    const now = this.#context.time.now();
    const refusals = this.#limits.refusals(id, request, now);
    // Of a session that is gone nobody would learn that it rests; its last lease may end in peace.
    if (refusals.length > 0 && this.#rest(id, refusals, now)) return false;
    const spent = this.#limits.send(id, request, now);
    if (spent.length > 0) this.#rest(id, spent, now);
    return true;
  }

  /** A request that was admitted is on the wire no more. */
  onCompleted(id: string, request: OutgoingRequest, isGranted: boolean): void {
    this.#limits.settled?.(id, request, isGranted);
  }

  /** Telegram has answered a request with an error. */
  onRejected(id: string, request: OutgoingRequest, verdict: Verdict): void {
    this.#limits.refused?.(id, request, verdict);
  }

  /** Takes in what the storage holds. */
  load(records: readonly StoredRecord[]): void {
    this.#limits.load?.(records);
  }

  /** Writes what is not written yet. Rejects as the storage does. */
  async flush(): Promise<void> {
    await this.#limits.flush?.();
  }

  /** Whether the session is one of the pool's. */
  #rest(id: string, rests: readonly RateBlock[], now: number): boolean {
    const sessionTable = this.#sessionTable;
    const entry = sessionTable.get(id);
    if (entry === undefined) return false;
    for (const { method, peer, until } of rests) {
      sessionTable.cool(entry, { kind: "budget", method, peer }, until, "budget", now);
    }
    this.#context.events.emit("rateLimited");
    return true;
  }
}
