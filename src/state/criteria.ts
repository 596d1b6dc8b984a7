import type { AccountIndex } from "./accounts.js";
import type { SessionEntry } from "./session-entry.js";

/** The sessions whose peer cache holds a peer. */
export interface PeerHolders {
  /** As the caller names it, in lower case. */
  readonly peer: string;
  /** May change while a caller waits. */
  readonly ids: ReadonlySet<string>;
}

/** Conditions for the sessions that can serve a caller. */
export interface Criteria {
  readonly id?: string | undefined;
  readonly key?: string | undefined;
  readonly tags: readonly string[];
  /** Methods that must not be cooling, by canonical name. */
  readonly methods: readonly string[];
  /** Peers that must not be cooling. */
  readonly peers: readonly string[];
  /** Only sessions of this account, by its user id. */
  readonly account?: string | undefined;
  /** Only sessions that know a peer. Of all callers at one time, those of one peer MUST share one object. */
  readonly knows?: PeerHolders | undefined;
  /** Whether the caller only reads: frozen sessions can serve it, too. */
  readonly allowFrozen?: boolean | undefined;
  /** Sessions that have already failed for this caller. */
  readonly excluded?: { has(id: string): boolean } | undefined;
}

/** Matches every session. Compared by identity: a caller without criteria MUST pass this object to be served fastest. */
export const ANY: Criteria = { tags: [], methods: [], peers: [] };

/**
 * Returns a name shared by all callers whose criteria, apart from the key, match the same sessions; `undefined` for criteria
 * with excluded sessions, which differ for every caller.
 */
export function groupOf(criteria: Criteria): string | undefined {
  if (criteria === ANY) return "";
  const { id, tags, methods, peers, account, knows, allowFrozen, excluded } = criteria;
  return excluded === undefined
    ? JSON.stringify([id, tags, methods, peers, account, knows?.peer, allowFrozen])
    : undefined;
}

/** Whether the session meets the criteria, regardless of its state and cooldowns. */
export function matches(entry: SessionEntry, criteria: Criteria): boolean {
  return (
    (criteria.id === undefined || criteria.id === entry.id) &&
    !criteria.excluded?.has(entry.id) &&
    (criteria.account === undefined || criteria.account === entry.accountId) &&
    (criteria.knows === undefined || criteria.knows.ids.has(entry.id)) &&
    criteria.tags.every((tag) => entry.tags.includes(tag))
  );
}

/** Whether waiting for the session can succeed: it is not dead, disabled, restricted or being removed. */
export function canEverServe(entry: SessionEntry, { allowFrozen }: Criteria): boolean {
  return entry.canEverServe || (allowFrozen === true && entry.canEverServeReads);
}

/** Whether a cooldown blocks the caller's method or peer on this session. */
export function isCooling(entry: SessionEntry, { methods, peers }: Criteria, now: number): boolean {
  return entry.cooldowns.blockingCooldown(methods, peers, now) !== undefined;
}

/** The sessions that may meet the criteria: all of them, unless the criteria name fewer. */
export function candidatesOf<Entry extends SessionEntry>(
  entries: ReadonlyMap<string, Entry>,
  accounts: AccountIndex<Entry>,
  { id, account, knows }: Criteria,
): Iterable<Entry> {
  if (id !== undefined) return named(entries, [id]);
  if (account !== undefined) return accounts.sessionsOf(account);
  return knows !== undefined && knows.ids.size < entries.size ? named(entries, knows.ids) : entries.values();
}

function* named<Entry>(entries: ReadonlyMap<string, Entry>, ids: Iterable<string>): Generator<Entry> {
  for (const id of ids) {
    const entry = entries.get(id);
    if (entry !== undefined) yield entry;
  }
}

/**
 * The rank of a session for a sticky key, which the candidate of the highest rank serves: rendezvous hashing (Thaler and
 * Ravishankar 1998), so that adding or removing a session moves only its own keys. 32-bit FNV-1a with a final mix.
 */
export function stickyRank(key: string, id: string): number {
  return stickyRanks(key)(id);
}

/** Returns the {@link stickyRank} of sessions for one key, which is hashed once. */
export function stickyRanks(key: string): (id: string) => number {
  const start = fnv1a(0x811c9dc5, `${key}\u0000`);
  return (id) => {
    let hash = fnv1a(start, id);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  };
}

function fnv1a(start: number, text: string): number {
  let hash = start;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash;
}

/** Whether the condition holds for all sessions that can ever serve the caller, of which there is at least one. */
export function areAllServing<Entry extends SessionEntry>(
  candidates: Iterable<Entry>,
  criteria: Criteria,
  isOne: (entry: Entry) => boolean,
): boolean {
  let count = 0;
  for (const entry of candidates) {
    if (!matches(entry, criteria) || !canEverServe(entry, criteria)) continue;
    if (!isOne(entry)) return false;
    count++;
  }
  return count > 0;
}
