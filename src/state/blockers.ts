import { Cooldowns } from "./cooldowns.js";

/** Why and until when a session is kept back from new work. `until` is `null` when only `enable` ends it. */
export interface Restriction {
  readonly reason: string;
  readonly until: number | null;
}

/** When a restriction ends; `Infinity` when only `enable` ends it. */
export function endOf({ until }: Restriction): number {
  return until ?? Number.POSITIVE_INFINITY;
}

/** What keeps a session from work, but for its leases. */
export interface Blockers {
  /** To be forgotten when the last lease ends. */
  readonly isRemoving: boolean;
  readonly disabledReason: string | null;
  readonly deadReason: string | null;
  readonly restriction: Restriction | null;
  readonly isForeign: boolean;
  readonly cooldowns: Cooldowns;
  /** A failed connect. Not durable. */
  readonly backOff: BackOff;
}

/** Until when a session does not connect, and why. */
export interface BackOff {
  readonly until: number;
  readonly reason: string | null;
}

/** Of all sessions that may connect. */
export const NO_BACK_OFF: BackOff = Object.freeze({ until: 0, reason: null });

/** Of all sessions that nothing hinders: these are most, and there may be very many. */
export const NO_BLOCKERS: Blockers = Object.freeze({
  isRemoving: false,
  disabledReason: null,
  deadReason: null,
  restriction: null,
  isForeign: false,
  cooldowns: Cooldowns.NONE,
  backOff: NO_BACK_OFF,
});

/** The same with a change; the very same when it changes nothing. */
export function withChanges(blockers: Blockers, change: Partial<Blockers>): Blockers {
  const fields = Object.keys(change) as (keyof Blockers)[];
  return fields.every((field) => change[field] === blockers[field]) ? blockers : { ...blockers, ...change };
}
