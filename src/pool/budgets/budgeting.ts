import type { BudgetPlan, MethodBudget } from "../../budget-options.js";
import type { OutgoingRequest } from "../../connections/client-adapter.js";
import { BudgetRecord } from "../../records/budget-record.js";
import type { SessionStorage, StoredRecord } from "../../records/storage.js";
import type { StorageDeadline } from "../../records/storage-deadline.js";
import type { Roster } from "../../roster/roster.js";
import { type Allowance, Spending, type Spent } from "../../roster/spending.js";
import type { Verdict } from "../../telegram/verdicts.js";
import type { Dispatcher } from "../dispatcher.js";
import type { TimeLine } from "../time-line.js";
import { LearntLimits } from "./learnt-limits.js";
import type { Limits } from "./limits.js";

/** What keeping budgets needs. */
export interface BudgetingParts {
  readonly roster: Roster;
  readonly time: TimeLine;
  readonly dispatcher: Pick<Dispatcher, "waiting" | "worsened">;
}

/** What making them needs besides. */
export interface BudgetingSources extends BudgetingParts {
  readonly options: { readonly budgets: BudgetPlan | undefined; readonly storage: SessionStorage };
  readonly deadline: StorageDeadline;
  later(work: Promise<void>): void;
}

/** The budgets that the options ask for. */
export function makeBudgeting({ options, deadline, later, ...parts }: BudgetingSources): Budgeting | undefined {
  const { budgets, storage } = options;
  if (budgets === undefined) return undefined;
  if (budgets !== "learn") return new Budgeting(parts, new GivenLimits(budgets));
  const record = new BudgetRecord(storage, deadline);
  return new Budgeting(parts, new LearntLimits({ time: parts.time, record, later }));
}

/**
 * Keeps every session within its budgets. One that is spent becomes a cooldown that is known in advance: it lies in the
 * roster with the others, so that `acquire` passes over the session, `retryAt` counts it and the gate refuses the call
 * before it is sent.
 */
export class Budgeting {
  readonly #parts: BudgetingParts;
  readonly #limits: Limits;
  readonly #spending = new Spending();

  constructor(parts: BudgetingParts, limits: Limits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** Counts a request in that is sent at once. When it may not go, what is spent rests from now on. */
  admit(id: string, request: OutgoingRequest): boolean {
    const now = this.#parts.time.now();
    const allowances = this.#limits.allowances(this.#spending, id, request, now);
    if (allowances.length === 0) return true;
    const refused = this.#spending.spent(id, allowances, now);
    // Of a session that is gone nobody would learn that it rests; its last lease may end in peace.
    if (refused.length > 0 && this.#rest(id, refused, now)) return false;
    this.#limits.sending?.(this.#spending, id, request, now);
    this.#spending.add(id, allowances, now);
    this.#limits.sent?.(this.#spending, id, request);
    const spent = this.#spending.spent(id, allowances, now);
    if (spent.length > 0) this.#rest(id, spent, now);
    return true;
  }

  /** A request that was admitted is on the wire no more. */
  settled(id: string, request: OutgoingRequest): void {
    this.#limits.settled?.(this.#spending, id, request);
  }

  /** Telegram has answered a request with an error. */
  refused(id: string, request: OutgoingRequest, verdict: Verdict): void {
    this.#limits.refused?.(this.#spending, id, request, verdict);
  }

  /** Takes in what the storage holds. */
  load(records: readonly StoredRecord[]): void {
    this.#limits.load?.(records);
  }

  /** Whether the session is one of the pool's. */
  #rest(id: string, spent: readonly Spent[], now: number): boolean {
    const { roster, dispatcher } = this.#parts;
    const entry = roster.get(id);
    if (entry === undefined) return false;
    for (const { allowance, until } of spent) {
      const { method, peer } = allowance;
      roster.cool(entry, { kind: "budget", method, peer }, until, "budget", now);
    }
    // Without a waiter nobody has to be told, and no timer has to be set.
    if (dispatcher.waiting > 0) dispatcher.worsened();
    return true;
  }
}

/** The limits of the options, each as it stands there. */
class GivenLimits implements Limits {
  readonly #plan: ReadonlyMap<string, MethodBudget>;

  constructor(plan: ReadonlyMap<string, MethodBudget>) {
    this.#plan = plan;
  }

  allowances(_: Spending, __: string, { method, peer }: OutgoingRequest): readonly Allowance[] {
    const budget = this.#plan.get(method);
    if (budget === undefined) return NONE;
    const { perSession, perPeer } = budget;
    const allowances: Allowance[] = [];
    if (perSession !== undefined) allowances.push({ ...perSession, method, peer: undefined, keepMs: perSession.perMs });
    if (perPeer !== undefined && peer !== undefined) {
      allowances.push({ ...perPeer, method, peer, keepMs: perPeer.perMs });
    }
    return allowances;
  }
}

const NONE: readonly Allowance[] = [];
