import { OptionsError } from "../errors.js";
import { canonicalMethod } from "../telegram/requests.js";
import type { BudgetStrategy } from "./budget-strategy.js";
import { check, describeType, hasMethods, isObject, methodName, type Rules, type Validator } from "./validators.js";

/** So many calls in any so many milliseconds: a sliding window, so that no stretch of time has more. */
export interface CallLimit {
  /** Calls. */
  readonly calls: number;
  /** Milliseconds in which no more than `calls` are sent. */
  readonly perMs: number;
}

/** What one session may send of one method. */
export interface Budget extends CallLimit {
  /**
   * `true`: the limit is one for each peer, and the session as a whole has none. `{ calls, perMs }`: a limit for each
   * peer besides. A request that names no peer is not held against it. @default false
   */
  readonly perPeer?: boolean | CallLimit | undefined;
}

/**
 * Limits of your own for each session, by the name of the method in either spelling (`"messages.SendMessage"`,
 * `"messages.sendMessage"`); `"learn"`: limits are found out from the floods that Telegram tells, one for all sessions;
 * or a rule of your own.
 */
export type Budgets = Readonly<Record<string, Budget>> | "learn" | BudgetStrategy;

/** The limits of one method, apart. */
export interface MethodBudget {
  readonly perSession: CallLimit | undefined;
  readonly perPeer: CallLimit | undefined;
}

/** Budgets that were checked: those by name by the canonical name of the method. */
export type ParsedBudgets = ReadonlyMap<string, MethodBudget> | "learn" | BudgetStrategy;

const calls: Validator = {
  expected: "a whole number, 1 or more",
  accepts: (value) => Number.isSafeInteger(value) && Number(value) >= 1,
};
const perMs: Validator = {
  expected: "a finite number of milliseconds, more than 0",
  accepts: (value) => typeof value === "number" && Number.isFinite(value) && value > 0,
};
const LIMIT: Rules = { calls, perMs };
const BUDGET: Rules = {
  ...LIMIT,
  perPeer: {
    expected: "true, false or { calls, perMs }",
    accepts: (value) => typeof value === "boolean" || (isObject(value) && !Array.isArray(value)),
  },
};

/** Whether it can be budgets at all; what is in them {@link parseBudgets} looks at. */
export const budgets: Validator = {
  expected:
    '"learn", an object of budgets by method, for instance { "messages.SendMessage": { calls: 20, perMs: 60_000 } }, or an object with the methods waitMs and sent',
  accepts: (value) => value === "learn" || isStrategy(value) || isPlainObject(value),
};

function isStrategy(value: unknown): value is BudgetStrategy {
  const isMethodOrNone = (name: string): boolean =>
    isObject(value) && (value[name] === undefined || hasMethods(value, [name]));
  return hasMethods(value, ["waitMs", "sent"]) && ["peerWaitMs", "refused"].every(isMethodOrNone);
}

/** One of a class that is no strategy would count as no budgets at all. */
function isPlainObject(value: unknown): boolean {
  if (!isObject(value) || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The budgets of the option, checked. Throws `OptionsError` that names the method and what is wrong with it. */
export function parseBudgets(option: Budgets | undefined): ParsedBudgets | undefined {
  if (option === undefined || option === "learn" || isStrategy(option)) return option;
  const plan = new Map<string, MethodBudget>();
  for (const [name, budget] of Object.entries(option)) {
    if (name !== "" && !methodName.accepts(name)) {
      throw new OptionsError(`SessionPool.open: budgets: "${name}" is not ${methodName.expected}.`);
    }
    const method = canonicalMethod(name);
    if (name === "" || plan.has(method)) {
      throw new OptionsError(`SessionPool.open: budgets: "${name}" is ${name === "" ? "no name" : "there twice"}.`);
    }
    plan.set(method, methodBudgetOf(`SessionPool.open: budgets: "${name}"`, budget));
  }
  return plan.size === 0 ? undefined : plan;
}

function methodBudgetOf(place: string, budget: Budget): MethodBudget {
  if (!isObject(budget)) throw new OptionsError(`${place}: expected { calls, perMs }; got ${describeType(budget)}.`);
  check(place, budget, BUDGET, ["calls", "perMs"]);
  const { perPeer = false } = budget;
  const limit: CallLimit = { calls: budget.calls, perMs: budget.perMs };
  if (typeof perPeer !== "object") return perPeer ? both(undefined, limit) : both(limit, undefined);
  check(`${place}: perPeer`, perPeer, LIMIT, ["calls", "perMs"]);
  return both(limit, { calls: perPeer.calls, perMs: perPeer.perMs });
}

function both(perSession: CallLimit | undefined, perPeer: CallLimit | undefined): MethodBudget {
  return { perSession, perPeer };
}
