import type { ProcessIdentity } from "./process-identity.js";

/** A pool's claim on a session, as stored in its record. */
export interface Claim extends ProcessIdentity {
  /** Random id of the pool. */
  readonly pool: string;
  /** Increases with every write of the pool; a claim whose beat stops is no longer being renewed. */
  readonly beat: number;
  /** Lifetime of the claim without renewal, in milliseconds. */
  readonly ttlMs: number;
}

/**
 * Tolerated clock drift between hosts: a holder stops a quarter of the ttl before its claim ends, and another host
 * waits a quarter longer, each by its own clock.
 */
const CLOCK_MARGIN = 1 / 4;

/** How long the holder may use the session, counted from the start of the write of its claim. */
export function usableMs(ttlMs: number): number {
  return ttlMs * (1 - CLOCK_MARGIN);
}

/** How long another host must see the claim unrenewed before it takes over the session. */
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
