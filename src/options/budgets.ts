import { OptionsError } from "../errors.js";
import { canonicalMethod } from "../telegram/requests.js";
import type { BudgetStrategy } from "./budget-strategy.js";
import {
  check,
  describeType,
  hasMethods,
  isObject,
  isPlainObject,
  methodName,
  type Rules,
  type Validator,
} from "./validators.js";

/** A maximum number of calls in any window of a given length: a sliding window, not one that is reset at fixed times. */
export interface CallLimit {
  /** Maximum number of calls. */
  readonly calls: number;
  /** Length of the window in milliseconds. */
  readonly perMs: number;
  /**
   * Whether the calls that were made are kept in the storage, so that the limit also holds after a restart and over the
   * processes that share the storage; sessions of one account then share the limit. `perMs` can be at most 30 days. Only
   * for limits of a session as a whole, not for `perPeer`. @default false
   */
  readonly durable?: boolean | undefined;
}

/** The rate limit of one session for one method. */
export interface Budget extends CallLimit {
  /**
   * `true`: the limit applies to each peer, and the session as a whole has none. `{ calls, perMs }`: an additional limit
   * for each peer. Limits for peers do not apply to requests that name none. @default false
   */
  readonly perPeer?: boolean | CallLimit | undefined;
}

/**
 * Rate limits of each session by method name, in either spelling (`"messages.SendMessage"`, `"messages.sendMessage"`);
 * `"learn"` to learn them from flood waits, one limit for all sessions; or a strategy of your own.
 */
export type Budgets = Readonly<Record<string, Budget>> | "learn" | BudgetStrategy;

/** The validated limits of one method. */
export interface MethodBudget {
  readonly perSession: CallLimit | undefined;
  readonly perPeer: CallLimit | undefined;
}

/** Validated budgets, by canonical method name. */
export type ParsedBudgets = ReadonlyMap<string, MethodBudget> | "learn" | BudgetStrategy;

const calls: Validator = {
  expected: "a whole number, 1 or more",
  accepts: (value) => Number.isSafeInteger(value) && Number(value) >= 1,
};
const perMs: Validator = {
  expected: "a finite number of milliseconds, more than 0",
  accepts: (value) => typeof value === "number" && Number.isFinite(value) && value > 0,
};
/** The longest window of a durable limit: 30 days. */
const MAX_DURABLE_MS = 2_592_000_000;

const durable: Validator = {
  expected: "true or false",
  accepts: (value) => typeof value === "boolean",
};
const LIMIT: Rules = { calls, perMs, durable };
const BUDGET: Rules = {
  ...LIMIT,
  perPeer: {
    expected: "true, false or { calls, perMs }",
    accepts: (value) => typeof value === "boolean" || isPlainObject(value),
  },
};

/** Accepts the type of the option; its contents are validated by {@link parseBudgets}. */
export const budgets: Validator = {
  expected:
    '"learn", an object of budgets by method, for instance { "messages.SendMessage": { calls: 20, perMs: 60_000 } }, or an object with the methods waitMs and sent',
  accepts: (value) => value === "learn" || isStrategy(value) || isBudgetTable(value),
};

function isStrategy(value: unknown): value is BudgetStrategy {
  const isMethodOrNone = (name: string): boolean =>
    isObject(value) && (value[name] === undefined || hasMethods(value, [name]));
  return hasMethods(value, ["waitMs", "sent"]) && ["peerWaitMs", "refused"].every(isMethodOrNone);
}

/** Rejects instances of classes: an incomplete strategy would count as an object without limits. */
function isBudgetTable(value: unknown): boolean {
  if (!isPlainObject(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Validates the option `budgets`. Throws `OptionsError` that names the method and what is wrong. */
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
  if (perPeer === true) {
    checkNotDurable(place, budget);
    return { perSession: undefined, perPeer: { calls: budget.calls, perMs: budget.perMs } };
  }
  const perSession = sessionLimitOf(place, budget);
  if (perPeer === false) return { perSession, perPeer: undefined };
  check(`${place}: perPeer`, perPeer, LIMIT, ["calls", "perMs"]);
  checkNotDurable(`${place}: perPeer`, perPeer);
  return { perSession, perPeer: { calls: perPeer.calls, perMs: perPeer.perMs } };
}

function sessionLimitOf(place: string, { calls, perMs, durable = false }: CallLimit): CallLimit {
  if (!durable) return { calls, perMs };
  if (perMs > MAX_DURABLE_MS) {
    throw new OptionsError(
      `${place}: perMs of a durable limit must be at most ${MAX_DURABLE_MS} (30 days); got ${perMs}.`,
    );
  }
  return { calls, perMs, durable };
}

function checkNotDurable(place: string, { durable = false }: CallLimit): void {
  if (!durable) return;
  throw new OptionsError(
    `${place}: a limit for each peer cannot be durable; only the limit of a session as a whole can be, for instance { calls: 40, perMs: 86_400_000, durable: true }.`,
  );
}
