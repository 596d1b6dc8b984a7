import { StorageCorruptError } from "../../errors.js";
import type { ProcessIdentity } from "../../ownership/process-identity.js";
import { RESERVED_PREFIXES } from "../record.js";

/** So many keys are in one record at most: what is written for one more key stays small. */
export const KEYS_PER_RECORD = 500;

const FORMAT = 1;

/** The run that a checkpoint belongs to. */
export interface RunClaim extends ProcessIdentity {
  /** Random, one per run. */
  readonly run: string;
}

/** The first record of a checkpoint: whose it is, and what is under way. */
export interface CheckpointHead {
  /** `null`: nobody's, the last run has ended in order. */
  readonly claim: RunClaim | null;
  /** Items that have been about to write: of each either nothing has happened yet, or everything, or nobody knows. */
  readonly begun: readonly string[];
}

/** One of the records that hold what is over: at most `KEYS_PER_RECORD` keys. */
export interface CheckpointPart {
  readonly done: readonly string[];
  readonly unknown: readonly string[];
}

/** The id of the first record. No two names share one, whatever is in them. */
export function headId(name: string): string {
  return `${RESERVED_PREFIXES.map}${name}:head`;
}

/** The id of a part, counted from 0. */
export function partId(name: string, index: number): string {
  return `${RESERVED_PREFIXES.map}${name}:${index}`;
}

export function serialize(content: CheckpointHead | CheckpointPart): string {
  return JSON.stringify({ v: FORMAT, ...content });
}

/** Throws `StorageCorruptError`. */
export function parseHead(id: string, data: string): CheckpointHead {
  const { claim, begun } = fieldsIn(id, data);
  if ((claim !== null && !isClaim(claim)) || !isKeys(begun)) throw unreadable(id);
  return { claim, begun };
}

/** Throws `StorageCorruptError`. */
export function parsePart(id: string, data: string): CheckpointPart {
  const { done, unknown } = fieldsIn(id, data);
  if (!isKeys(done) || !isKeys(unknown)) throw unreadable(id);
  return { done, unknown };
}

function fieldsIn(id: string, data: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "object" && value !== null && Reflect.get(value, "v") === FORMAT) return { ...value };
  } catch {
    // What it says is not repeated: it may be of another program.
  }
  throw unreadable(id);
}

function isKeys(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((key) => typeof key === "string");
}

function isClaim(value: unknown): value is RunClaim {
  if (typeof value !== "object" || value === null) return false;
  const { run, host, pid, thread, startedAt } = value as Partial<Record<keyof RunClaim, unknown>>;
  return (
    [run, startedAt].every((text) => typeof text === "string") &&
    [pid, thread].every(Number.isFinite) &&
    (host === null || typeof host === "string")
  );
}

function unreadable(id: string): StorageCorruptError {
  return new StorageCorruptError(
    `The checkpoint record "${id}" cannot be read, or is of a newer version. Nothing was overwritten.`,
  );
}
