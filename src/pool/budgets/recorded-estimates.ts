import type { Estimate } from "../../roster/budgets.js";

/** The text of the record of what was learnt, by method. */
export function encodeEstimates(estimates: ReadonlyMap<string, Estimate>): string {
  return JSON.stringify({ v: 1, methods: Object.fromEntries(estimates) });
}

/** What was learnt. What cannot be read counts as nothing: it can be learnt again. */
export function decodeEstimates(data: string): ReadonlyMap<string, Estimate> {
  return new Map(Object.entries(methodsIn(data)).filter((entry): entry is [string, Estimate] => isEstimate(entry[1])));
}

function methodsIn(data: string): object {
  try {
    const value: unknown = JSON.parse(data);
    const methods: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "methods") : undefined;
    return typeof methods === "object" && methods !== null ? methods : {};
  } catch {
    return {};
  }
}

function isEstimate(value: unknown): value is Estimate {
  if (typeof value !== "object" || value === null) return false;
  const { calls, perMs, refusedMs, changedAt } = value as Partial<Record<keyof Estimate, unknown>>;
  const isTime = (number: unknown): boolean => Number.isFinite(number) && Number(number) >= 0;
  const isCount = Number.isSafeInteger(calls) && Number(calls) >= 1;
  return isCount && isTime(perMs) && Number(perMs) > 0 && isTime(refusedMs) && isTime(changedAt);
}
