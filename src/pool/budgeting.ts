import type { BudgetPlan } from "../budget-options.js";
import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { Roster } from "../roster/roster.js";
import { type Allowance, Spending, type Spent } from "../roster/spending.js";
import type { Dispatcher } from "./dispatcher.js";
import type { TimeLine } from "./time-line.js";

/** What keeping budgets needs. */
export interface BudgetingParts {
  readonly roster: Roster;
  readonly time: TimeLine;
  readonly dispatcher: Pick<Dispatcher, "waiting" | "worsened">;
}

/** Where the limits come from. */
export interface Limits {
  /** What a request of this session is held against. */
  allowances(id: string, request: OutgoingRequest, now: number): readonly Allowance[];
}

/** The budgets that the options ask for. */
export function makeBudgeting({
  options,
  ...parts
}: BudgetingParts & { readonly options: { readonly budgets: BudgetPlan | undefined } }): Budgeting | undefined {
  if (options.budgets === undefined || options.budgets === "learn") return undefined;
  return new Budgeting(parts, new GivenLimits(options.budgets));
}

/**
 * Keeps every session within its budgets. One that is spent becomes a cooldown that is known in advance: it lies in the
 * roster with the others, so that `acquire` passes over the session, `retryAt` counts it and the gate refuses the call
 * before it is sent.
 */
export class Budgeting {
  readonly #parts: BudgetingParts;
  readonly #limits: Limits;
  readonly spending: Spending = new Spending();

  constructor(parts: BudgetingParts, limits: Limits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** Counts a request in that is sent at once. When it may not go, what is spent rests from now on. */
  admit(id: string, request: OutgoingRequest): boolean {
    const now = this.#parts.time.now();
    const allowances = this.#limits.allowances(id, request, now);
    if (allowances.length === 0) return true;
    const refused = this.spending.spent(id, allowances, now);
    // Of a session that is gone nobody would learn that it rests; its last lease may end in peace.
    if (refused.length > 0 && this.#rest(id, refused, now)) return false;
    this.spending.add(id, allowances, now);
    const spent = this.spending.spent(id, allowances, now);
    if (spent.length > 0) this.#rest(id, spent, now);
    return true;
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
export class GivenLimits implements Limits {
  readonly #plan: Exclude<BudgetPlan, "learn">;

  constructor(plan: Exclude<BudgetPlan, "learn">) {
    this.#plan = plan;
  }

  allowances(_id: string, { method, peer }: OutgoingRequest): readonly Allowance[] {
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
