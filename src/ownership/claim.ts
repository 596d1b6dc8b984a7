import type { ProcessIdentity } from "./process-identity.js";

/** A pool's right to connect a session, as it stands in the record. */
export interface Claim extends ProcessIdentity {
  /** Random, one per pool. */
  readonly pool: string;
  /** Grows with every write of the pool's: a claim that stands still is not renewed any more. */
  readonly beat: number;
  /** For how long the pool holds it without renewing it, in milliseconds. */
  readonly ttlMs: number;
}

/**
 * A holder stops a quarter of the ttl before its claim ends, and a claimer on another host waits a quarter longer, each
 * by its own clock: their paces may differ by so much.
 */
const CLOCK_MARGIN = 1 / 4;

/** How long the holder may use the session after it began to write the claim. */
export function usableMs(ttlMs: number): number {
  return ttlMs * (1 - CLOCK_MARGIN);
}

/** How long another host has to watch the claim stand still before it takes the session. */
export function takeoverAfterMs({ ttlMs }: Pick<Claim, "ttlMs">): number {
  return ttlMs * (1 + CLOCK_MARGIN);
}

/** Whether a record's field holds a claim. */
export function isClaim(value: unknown): value is Claim {
  if (typeof value !== "object" || value === null) return false;
  const { pool, beat, ttlMs, host, pid, thread, startedAt } = value as Partial<Record<keyof Claim, unknown>>;
  return (
    typeof pool === "string" &&
    pool !== "" &&
    [beat, pid, thread].every(isCount) &&
    Number.isFinite(ttlMs) &&
    Number(ttlMs) > 0 &&
    (host === null || typeof host === "string") &&
    typeof startedAt === "string"
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
