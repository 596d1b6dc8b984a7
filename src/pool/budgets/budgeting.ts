import type { BudgetPlan } from "../../budget-options.js";
import type { OutgoingRequest } from "../../connections/client-adapter.js";
import { BudgetRecord } from "../../records/budget-record.js";
import type { SessionStorage, StoredRecord } from "../../records/storage.js";
import type { StorageDeadline } from "../../records/storage-deadline.js";
import type { Roster } from "../../roster/roster.js";
import type { SessionInfo } from "../../session-info.js";
import type { Verdict } from "../../telegram/verdicts.js";
import type { Dispatcher } from "../dispatcher.js";
import type { TimeLine } from "../time-line.js";
import type { RuleSurroundings } from "../user-rule.js";
import { GivenLimits } from "./given-limits.js";
import { LearntLimits } from "./learnt-limits.js";
import type { Limits, Rest } from "./limits.js";
import { StrategyLimits } from "./strategy-limits.js";

/** What keeping budgets needs. */
export interface BudgetingParts {
  readonly roster: Roster;
  readonly time: TimeLine;
  readonly dispatcher: Pick<Dispatcher, "waiting" | "worsened">;
}

/** What making them needs besides. */
export interface BudgetingSources extends BudgetingParts, RuleSurroundings {
  readonly options: { readonly budgets: BudgetPlan | undefined; readonly storage: SessionStorage };
  readonly deadline: StorageDeadline;
  later(work: Promise<void>): void;
  /** The record of that id cannot be read. */
  rejected(id: string, reason: string): void;
}

/** The budgets that the options ask for. */
export function makeBudgeting(sources: BudgetingSources): Budgeting | undefined {
  const { options, deadline, later, rejected, info, failed, ...parts } = sources;
  const { budgets, storage } = options;
  const { time, roster } = parts;
  if (budgets === undefined) return undefined;
  if (budgets === "learn") {
    const record = new BudgetRecord(storage, deadline);
    return new Budgeting(parts, new LearntLimits({ time, record, later, rejected }));
  }
  if (!("waitMs" in budgets)) return new Budgeting(parts, new GivenLimits(budgets));
  const known = (id: string): SessionInfo | undefined => (roster.get(id) === undefined ? undefined : info(id));
  return new Budgeting(parts, new StrategyLimits(budgets, { time, info: known, failed }));
}

/**
 * Keeps every session within its budgets. One that is spent becomes a cooldown that is known in advance: it lies in the
 * roster with the others, so that `acquire` passes over the session, `retryAt` counts it and the gate refuses the call
 * before it is sent.
 */
export class Budgeting {
  readonly #parts: BudgetingParts;
  readonly #limits: Limits;

  constructor(parts: BudgetingParts, limits: Limits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** Counts a request in that is sent at once. When it may not go, what is spent rests from now on. */
  admit(id: string, request: OutgoingRequest): boolean {
    const now = this.#parts.time.now();
    const refusals = this.#limits.refusals(id, request, now);
    // Of a session that is gone nobody would learn that it rests; its last lease may end in peace.
    if (refusals.length > 0 && this.#rest(id, refusals, now)) return false;
    const spent = this.#limits.send(id, request, now);
    if (spent.length > 0) this.#rest(id, spent, now);
    return true;
  }

  /** A request that was admitted is on the wire no more. */
  settled(id: string, request: OutgoingRequest, isGranted: boolean): void {
    this.#limits.settled?.(id, request, isGranted);
  }

  /** Telegram has answered a request with an error. */
  refused(id: string, request: OutgoingRequest, verdict: Verdict): void {
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
  #rest(id: string, rests: readonly Rest[], now: number): boolean {
    const { roster, dispatcher } = this.#parts;
    const entry = roster.get(id);
    if (entry === undefined) return false;
    for (const { method, peer, until } of rests) {
      roster.cool(entry, { kind: "budget", method, peer }, until, "budget", now);
    }
    // Without a waiter nobody has to be told, and no timer has to be set.
    if (dispatcher.waiting > 0) dispatcher.worsened();
    return true;
  }
}
