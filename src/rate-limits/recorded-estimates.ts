import { isObject } from "../options/validators.js";
import type { LimitEstimate } from "./limit-estimate.js";

/** Grows when an older version of this package could not read what a newer one wrote. */
const FORMAT = 1;

/** The text of the record of what was learnt, by method. */
export function encodeEstimates(estimates: ReadonlyMap<string, LimitEstimate>): string {
  return JSON.stringify({ v: FORMAT, methods: Object.fromEntries(estimates) });
}

/**
 * What was learnt. What is damaged counts as nothing: it can be learnt again. Throws an `Error` for what a newer version
 * of this package wrote, which is to be left alone.
 */
export function decodeEstimates(data: string): ReadonlyMap<string, LimitEstimate> {
  return new Map(
    Object.entries(methodsIn(data)).filter((entry): entry is [string, LimitEstimate] => isEstimate(entry[1])),
  );
}

function methodsIn(data: string): object {
  const { v, methods } = parse(data);
  if (typeof v === "number" && v > FORMAT) {
    throw new Error(`it was written by a newer version of this package (format ${v}; this one knows ${FORMAT})`);
  }
  return isObject(methods) ? methods : {};
}

function parse(data: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(data);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function isEstimate(value: unknown): value is LimitEstimate {
  if (typeof value !== "object" || value === null) return false;
  const { calls, perMs, refusedMs, changedAt } = value as Partial<Record<keyof LimitEstimate, unknown>>;
  const isTime = (number: unknown): boolean => Number.isFinite(number) && Number(number) >= 0;
  const isCount = Number.isSafeInteger(calls) && Number(calls) >= 1;
  return isCount && isTime(perMs) && Number(perMs) > 0 && isTime(refusedMs) && isTime(changedAt);
}
