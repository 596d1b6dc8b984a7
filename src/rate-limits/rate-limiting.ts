import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { PoolTime } from "../common/pool-time.js";
import type { UserCallbackContext } from "../common/user-callback.js";
import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { ParsedBudgets } from "../options/budgets.js";
import type { SessionInfo } from "../options/session-info.js";
import type { SessionTable } from "../state/session-table.js";
import { LearnedLimitsRecord } from "../storage/learned-limits-record.js";
import type { SessionStorage, StoredRecord } from "../storage/storage.js";
import type { StorageTimeout } from "../storage/storage-timeout.js";
import type { Verdict } from "../telegram/verdicts.js";
import { ConfiguredLimits } from "./configured-limits.js";
import { LearnedLimits } from "./learned-limits.js";
import type { RateBlock, RateLimits } from "./rate-limits.js";
import { StrategyLimits } from "./strategy-limits.js";

/** What keeping budgets needs. */
export interface RateLimitingDeps {
  readonly sessionTable: SessionTable;
  readonly time: PoolTime;
  readonly scheduler: Pick<LeaseScheduler, "waiting" | "rejectHopeless">;
}

/** What making them needs besides. */
export interface RateLimitingInit extends RateLimitingDeps, UserCallbackContext {
  readonly options: { readonly budgets: ParsedBudgets | undefined; readonly storage: SessionStorage };
  readonly deadline: StorageTimeout;
  later(work: Promise<void>): void;
  /** The record of that id cannot be read. */
  rejected(id: string, reason: string): void;
}

/** The budgets that the options ask for. */
export function createRateLimiting(sources: RateLimitingInit): RateLimiting | undefined {
  const { options, deadline, later, rejected, info, failed, ...parts } = sources;
  const { budgets, storage } = options;
  const { time, sessionTable } = parts;
  if (budgets === undefined) return undefined;
  if (budgets === "learn") {
    const record = new LearnedLimitsRecord(storage, deadline);
    return new RateLimiting(parts, new LearnedLimits({ time, record, later, rejected }));
  }
  if (!("waitMs" in budgets)) return new RateLimiting(parts, new ConfiguredLimits(budgets));
  const known = (id: string): SessionInfo | undefined => (sessionTable.get(id) === undefined ? undefined : info(id));
  return new RateLimiting(parts, new StrategyLimits(budgets, { time, info: known, failed }));
}

/**
 * Keeps every session within its budgets. One that is spent becomes a cooldown that is known in advance: it lies in the
 * roster with the others, so that `acquire` passes over the session, `retryAt` counts it and the gate refuses the call
 * before it is sent.
 */
export class RateLimiting {
  readonly #parts: RateLimitingDeps;
  readonly #limits: RateLimits;

  constructor(parts: RateLimitingDeps, limits: RateLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** Counts a request in that is sent at once. When it may not go, what is spent rests from now on. */
  tryAdmit(id: string, request: OutgoingRequest): boolean {
    const now = this.#parts.time.now();
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
    const { sessionTable, scheduler } = this.#parts;
    const entry = sessionTable.get(id);
    if (entry === undefined) return false;
    for (const { method, peer, until } of rests) {
      sessionTable.cool(entry, { kind: "budget", method, peer }, until, "budget", now);
    }
    // Without a waiter nobody has to be told, and no timer has to be set.
    if (scheduler.waiting > 0) scheduler.rejectHopeless();
    return true;
  }
}
