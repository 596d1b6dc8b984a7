import { createHash } from "node:crypto";
import { isPlainObject, RESERVED_PREFIXES } from "../../options/validators.js";
import { newerFormat } from "../../storage/record.js";
import type { CallsAt } from "../call-counters.js";
import type { WriteTime } from "./record-time.js";
import { type Hold, SpentCalls } from "./spent-calls.js";

/** The calls that an account has spent of its durable limits, by method. */
export interface SpendingRecord extends WriteTime {
  readonly methods: ReadonlyMap<string, SpentCalls>;
  /** Versions of the records of single sessions that this one contains, by id: what they contain counts no more. */
  readonly absorbed: ReadonlyMap<string, number>;
}

/** Raised when an older version of this package could not read what a newer one writes. */
const FORMAT = 1;
const PREFIX = `${RESERVED_PREFIXES.pool}spent:`;
/** Maximum number of records of single sessions that are remembered as contained. */
const MAX_ABSORBED = 64;
/** Longer ids of sessions are replaced by their hash, so that every storage takes the id of the record. */
const MAX_ID_LENGTH = 100;

/** The id of the record of an account. */
export function accountRecordId(accountId: string): string {
  return `${PREFIX}account:${accountId}`;
}

/** The id of the record of a session whose account is not known. */
export function sessionRecordId(id: string): string {
  const name = id.length <= MAX_ID_LENGTH ? id : createHash("sha256").update(id).digest("hex");
  return `${PREFIX}session:${name}`;
}

export function isSpendingRecord(id: string): boolean {
  return id.startsWith(PREFIX);
}

/** Serializes a record. Instants are stored by their distance from the time of the write. */
export function encodeSpending({ at, latest, wall, line, methods, absorbed }: SpendingRecord): string {
  const fields = Array.from(methods, ([method, spent]) => {
    const slots = Array.from(spent.slots(), (slot) => [Math.ceil(slot.at) - at, slot.calls]).flat();
    const holds = Array.from(spent.holds, ([pool, { calls, until, write }]) => [
      pool,
      [calls, Math.ceil(until) - at, write],
    ]);
    return [method, { keepMs: spent.keepMs, slots, holds: Object.fromEntries(holds) }];
  });
  const others = absorbed.size === 0 ? {} : { absorbed: Object.fromEntries([...absorbed].slice(-MAX_ABSORBED)) };
  return JSON.stringify({ v: FORMAT, at, latest, wall, line, methods: Object.fromEntries(fields), ...others });
}

/** Parses a record. Throws an `Error` that states what is wrong, without quoting the text. */
export function decodeSpending(data: string): SpendingRecord {
  const { v, at, latest = at, wall, line = "", methods, absorbed = {} } = parse(data);
  if (v !== FORMAT) throw new Error(newerFormat(v, FORMAT) ?? "it has no known format");
  if (!isInstant(at) || !isInstant(wall) || !isPlainObject(methods) || !isVersions(absorbed)) throw damaged();
  if (typeof line !== "string" || !isInstant(latest)) throw damaged();
  return {
    at,
    latest,
    wall,
    line,
    methods: new Map(Object.entries(methods).map(([method, value]) => [method, decodeSpent(value, at)])),
    absorbed: new Map(Object.entries(absorbed)),
  };
}

function decodeSpent(value: unknown, at: number): SpentCalls {
  if (!isPlainObject(value)) throw damaged();
  const { keepMs, slots, holds } = value;
  if (!isInstant(keepMs) || !isNumbers(slots) || slots.length % 2 !== 0 || !isPlainObject(holds)) throw damaged();
  const pairs: CallsAt[] = [];
  for (let index = 0; index < slots.length; index += 2) {
    const calls = slots[index + 1] ?? 0;
    if (!isCount(calls)) throw damaged();
    pairs.push({ at: at + (slots[index] ?? 0), calls });
  }
  return new SpentCalls(
    keepMs,
    pairs,
    Object.entries(holds).map(([pool, hold]) => [pool, decodeHold(hold, at)] as const),
  );
}

function decodeHold(value: unknown, at: number): Hold {
  if (!isNumbers(value)) throw damaged();
  const [calls, until, write] = value;
  if (!isCount(calls) || until === undefined || !isCount(write)) throw damaged();
  return { calls, until: at + until, write };
}

function isInstant(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isVersions(value: unknown): value is Readonly<Record<string, number>> {
  return isPlainObject(value) && Object.values(value).every(isCount);
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(Number.isFinite);
}

function damaged(): Error {
  return new Error("it is damaged");
}

function parse(data: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new Error(data === "" ? "the storage has lost its data" : "it is not JSON");
  }
  if (!isPlainObject(value)) throw new Error("it is not an object");
  return value;
}
