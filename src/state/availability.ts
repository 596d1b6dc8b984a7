import { type Criteria, canEverServe, matches, stickyRanks } from "./criteria.js";
import type { SessionEntry } from "./session-entry.js";

/** When sessions will be available to a caller that has to wait. */
export interface Availability {
  /** Number of matching sessions that are cooling for the caller and have room for another lease. */
  readonly cooling: number;
  /** The earliest instant at which one of them can serve; `null` if none is known. */
  readonly earliest: number | null;
  /** The earliest instant at which any session, even a leased or foreign one, could be free; `null` if none ever can. */
  readonly earliestPossibleAt: number | null;
}

/** A session that may serve a sticky key. */
interface Candidate {
  readonly id: string;
  /** The instant from which the session is not cooling. */
  readonly from: number;
  readonly hasRoom: boolean;
}

/** Forecasts when the caller can be served. Visits every candidate once. */
export function forecast(
  entries: Iterable<SessionEntry>,
  criteria: Criteria,
  now: number,
  leasesPerSession: number,
): Availability {
  const { key } = criteria;
  const candidates: Candidate[] = [];
  let cooling = 0;
  let earliest: number | null = null;
  let earliestPossibleAt: number | null = null;
  for (const entry of entries) {
    if (!matches(entry, criteria) || !canEverServe(entry, criteria)) continue;
    const from = coolUntil(entry, criteria, now);
    if (earliestPossibleAt === null || from < earliestPossibleAt) earliestPossibleAt = from;
    if (entry.isForeign) continue;
    const hasRoom = entry.hasRoom(leasesPerSession);
    if (key !== undefined) candidates.push({ id: entry.id, from, hasRoom });
    if (!hasRoom || from <= now) continue;
    cooling++;
    if (earliest === null || from < earliest) earliest = from;
  }
  return { cooling, earliest: key === undefined ? earliest : stickyServedAt(key, candidates), earliestPossibleAt };
}

/** When a key is served if no lease ends: it waits for the highest-ranked session that is not cooling. */
function stickyServedAt(key: string, candidates: readonly Candidate[]): number | null {
  const rankOf = stickyRanks(key);
  const ranked = candidates.map((candidate) => ({ ...candidate, rank: rankOf(candidate.id) }));
  ranked.sort((one, other) => one.from - other.from || other.rank - one.rank);
  let best = -1;
  for (const { from, rank, hasRoom } of ranked) {
    if (rank <= best) continue;
    if (hasRoom) return from;
    best = rank;
  }
  return null;
}

/** Whether any candidate could be free by the deadline. Stops at the first one. */
export function canServeBy(
  entries: Iterable<SessionEntry>,
  criteria: Criteria,
  now: number,
  deadline: number,
): boolean {
  for (const entry of entries) {
    if (matches(entry, criteria) && canEverServe(entry, criteria) && coolUntil(entry, criteria, now) <= deadline)
      return true;
  }
  return false;
}

/** The end of all cooldowns that concern the caller, or now. */
function coolUntil(entry: SessionEntry, criteria: Criteria, now: number): number {
  const cooldown = entry.cooldowns.blockingCooldown(criteria.methods, criteria.peers, now);
  return Math.max(now, cooldown?.until ?? 0, entry.backOff.until);
}
