import { type Criteria, isMatch } from "./criteria.js";
import type { RosterEntry } from "./roster-entry.js";

/** What a caller that cannot be served now can hope for. */
export interface Outlook {
  /** Matching sessions that are cooling for this caller. */
  readonly cooling: number;
  /** The earliest instant at which one of those is free; `null` when there is none. */
  readonly earliest: number | null;
  /** The earliest instant at which one could possibly be free, also one that is leased or foreign now; `null`: never. */
  readonly hopeFrom: number | null;
}

/** Looks at every candidate once. */
export function outlookOf(candidates: Iterable<RosterEntry>, criteria: Criteria, now: number): Outlook {
  let cooling = 0;
  let earliest: number | null = null;
  let hopeFrom: number | null = null;
  for (const entry of candidates) {
    if (!isMatch(entry, criteria) || !entry.isWorthWaiting) continue;
    const until = freeFrom(entry, criteria, now);
    if (hopeFrom === null || until < hopeFrom) hopeFrom = until;
    if (entry.isLeased || entry.isForeign || until <= now) continue;
    cooling++;
    if (earliest === null || until < earliest) earliest = until;
  }
  return { cooling, earliest, hopeFrom };
}

/** Whether any candidate could possibly be free by the deadline. Ends at the first one that could. */
export function hasHope(candidates: Iterable<RosterEntry>, criteria: Criteria, now: number, deadline: number): boolean {
  for (const entry of candidates) {
    if (isMatch(entry, criteria) && entry.isWorthWaiting && freeFrom(entry, criteria, now) <= deadline) return true;
  }
  return false;
}

/** The end of the latest of its cooldowns that concerns this caller, or now. */
function freeFrom(entry: RosterEntry, criteria: Criteria, now: number): number {
  const hold = entry.cooldowns.holds(criteria.methods, criteria.peers, now);
  return Math.max(now, hold?.until ?? 0, entry.backOffUntil);
}
