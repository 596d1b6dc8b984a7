import { type Criteria, matches, stickyRanks } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";

/** What a caller that cannot be served now can hope for. */
export interface Availability {
  /** Matching sessions that are cooling for this caller, and that no lease keeps from serving it. */
  readonly cooling: number;
  /** The earliest instant at which one of those serves; `null` when nobody knows of any. */
  readonly earliest: number | null;
  /** The earliest instant at which one could possibly be free, also one that is leased or foreign now; `null`: never. */
  readonly earliestPossibleAt: number | null;
}

/** Looks at every candidate once. */
export function forecast(
  candidates: Iterable<SessionEntry>,
  criteria: Criteria,
  now: number,
  leasesPerSession: number,
): Availability {
  const { key } = criteria;
  const contenders: Candidate[] = [];
  let cooling = 0;
  let earliest: number | null = null;
  let earliestPossibleAt: number | null = null;
  for (const entry of candidates) {
    if (!matches(entry, criteria) || !entry.canEverServe) continue;
    const from = freeFrom(entry, criteria, now);
    if (earliestPossibleAt === null || from < earliestPossibleAt) earliestPossibleAt = from;
    if (entry.isForeign) continue;
    const hasRoom = entry.hasRoom(leasesPerSession);
    if (key !== undefined) contenders.push({ id: entry.id, from, hasRoom });
    if (!hasRoom || from <= now) continue;
    cooling++;
    if (earliest === null || from < earliest) earliest = from;
  }
  return { cooling, earliest: key === undefined ? earliest : stickyServedAt(key, contenders), earliestPossibleAt };
}

/** A session that a key might get. */
interface Candidate {
  readonly id: string;
  /** The instant from which it does not rest. */
  readonly from: number;
  readonly hasRoom: boolean;
}

/** When a key is served, if all leases last: it waits for the highest ranked of those that do not rest. */
function stickyServedAt(key: string, contenders: readonly Candidate[]): number | null {
  const rankOf = stickyRanks(key);
  const ranked = contenders.map((contender) => ({ ...contender, rank: rankOf(contender.id) }));
  ranked.sort((one, other) => one.from - other.from || other.rank - one.rank);
  let best = -1;
  for (const { from, rank, hasRoom } of ranked) {
    if (rank <= best) continue;
    if (hasRoom) return from;
    best = rank;
  }
  return null;
}

/** Whether any candidate could possibly be free by the deadline. Ends at the first one that could. */
export function canServeBy(
  candidates: Iterable<SessionEntry>,
  criteria: Criteria,
  now: number,
  deadline: number,
): boolean {
  for (const entry of candidates) {
    if (matches(entry, criteria) && entry.canEverServe && freeFrom(entry, criteria, now) <= deadline) return true;
  }
  return false;
}

/** The end of the latest of its cooldowns that concerns this caller, or now. */
function freeFrom(entry: SessionEntry, criteria: Criteria, now: number): number {
  const hold = entry.cooldowns.blockingCooldown(criteria.methods, criteria.peers, now);
  return Math.max(now, hold?.until ?? 0, entry.backOff.until);
}
