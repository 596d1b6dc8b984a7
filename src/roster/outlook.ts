import { type Criteria, isMatch, ranksOf } from "./criteria.js";
import type { RosterEntry } from "./roster-entry.js";

/** What a caller that cannot be served now can hope for. */
export interface Outlook {
  /** Matching sessions that are cooling for this caller, and that no lease keeps from serving it. */
  readonly cooling: number;
  /** The earliest instant at which one of those serves; `null` when nobody knows of any. */
  readonly earliest: number | null;
  /** The earliest instant at which one could possibly be free, also one that is leased or foreign now; `null`: never. */
  readonly hopeFrom: number | null;
}

/** Looks at every candidate once. */
export function outlookOf(
  candidates: Iterable<RosterEntry>,
  criteria: Criteria,
  now: number,
  leasesPerSession: number,
): Outlook {
  const { key } = criteria;
  const contenders: Contender[] = [];
  let cooling = 0;
  let earliest: number | null = null;
  let hopeFrom: number | null = null;
  for (const entry of candidates) {
    if (!isMatch(entry, criteria) || !entry.isWorthWaiting) continue;
    const from = freeFrom(entry, criteria, now);
    if (hopeFrom === null || from < hopeFrom) hopeFrom = from;
    if (entry.isForeign) continue;
    const hasRoom = entry.hasRoom(leasesPerSession);
    if (key !== undefined) contenders.push({ id: entry.id, from, hasRoom });
    if (!hasRoom || from <= now) continue;
    cooling++;
    if (earliest === null || from < earliest) earliest = from;
  }
  return { cooling, earliest: key === undefined ? earliest : servedFrom(key, contenders), hopeFrom };
}

/** A session that a key might get. */
interface Contender {
  readonly id: string;
  /** The instant from which it does not rest. */
  readonly from: number;
  readonly hasRoom: boolean;
}

/** When a key is served, if all leases last: it waits for the highest ranked of those that do not rest. */
function servedFrom(key: string, contenders: readonly Contender[]): number | null {
  const rankOf = ranksOf(key);
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
