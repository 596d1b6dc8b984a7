import type { SessionEntry } from "./session-entry.js";

/** Which sessions a caller can use. */
export interface Criteria {
  readonly id?: string | undefined;
  readonly key?: string | undefined;
  readonly tags: readonly string[];
  /** Methods, by canonical name, that must not be cooling. */
  readonly methods: readonly string[];
  /** Peers that must not be cooling. */
  readonly peers: readonly string[];
  /** Sessions that have failed this caller already. */
  readonly excluded?: { has(id: string): boolean } | undefined;
}

/** Any session will do. */
export const ANY: Criteria = { tags: [], methods: [], peers: [] };

/**
 * What callers have in common that the same sessions can serve, whichever of them a key prefers; `undefined` for one that
 * sessions have failed, whose choice is its own.
 */
export function groupOf(criteria: Criteria): string | undefined {
  if (criteria === ANY) return "";
  const { id, tags, methods, peers, excluded } = criteria;
  return excluded === undefined ? JSON.stringify([id, tags, methods, peers]) : undefined;
}

/** Whether the caller means this session, whatever state it is in. */
export function matches(entry: SessionEntry, criteria: Criteria): boolean {
  return (
    (criteria.id === undefined || criteria.id === entry.id) &&
    !criteria.excluded?.has(entry.id) &&
    criteria.tags.every((tag) => entry.tags.includes(tag))
  );
}

/**
 * The rank of a session for a sticky key: of all candidates the highest serves. A candidate that comes or goes moves
 * only its own keys (rendezvous hashing, Thaler and Ravishankar 1998). 32-bit FNV-1a with a final mix.
 */
export function stickyRank(key: string, id: string): number {
  return stickyRanks(key)(id);
}

/** The ranks of all sessions for one key, which is hashed once. */
export function stickyRanks(key: string): (id: string) => number {
  const start = hashed(0x811c9dc5, `${key}\u0000`);
  return (id) => {
    let hash = hashed(start, id);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  };
}

function hashed(start: number, text: string): number {
  let hash = start;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash;
}
