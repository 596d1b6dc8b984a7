import type { Positions } from "../common/indexed-heap.js";
import type { SessionState } from "../options/session-info.js";
import { type CooldownScope, Cooldowns } from "./cooldowns.js";

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

/** One field for all of them: there may be very many entries. */
const IS_ENTERED = 1;
const IS_READY = 2;
const OWES_RECOVERY = 4;
const IS_DRAINING = 8;
const OWES_NEWS = 16;

const NEVER = Number.NaN;

/**
 * What the roster knows of one session. Instants are on the pool's own time line; only the two dates that are shown
 * to people (`addedAt`, `lastUsedAt`) are wall clock. Fields change through {@link SessionTable} alone.
 */
export class SessionEntry {
  // In this order, what a lease reads or writes is side by side: with very many sessions its price is that of memory.
  tags: readonly string[];
  addedAt: number;
  /** Where it stands in the one heap that it is in, that of what can serve or that of what is due; -1 in none. */
  position = -1;
  readonly id: string;
  /** Never `null`: V8 keeps a field that is always a double in place, and it changes with every lease. */
  #lastUsedAt = NEVER;
  #flags = 0;
  state: SessionState = "free";
  leases = 0;
  #blockers: Blockers = NO_BLOCKERS;
  /** The order of use: the smaller, the longer it has rested. */
  lastUsedSequence = 0;
  previous: SessionEntry | null = null;
  next: SessionEntry | null = null;

  constructor(id: string, tags: readonly string[], addedAt: number) {
    this.id = id;
    this.tags = tags;
    this.addedAt = addedAt;
  }

  get lastUsedAt(): number | null {
    return Number.isNaN(this.#lastUsedAt) ? null : this.#lastUsedAt;
  }

  set lastUsedAt(date: number | null) {
    this.#lastUsedAt = date ?? NEVER;
  }

  /** Lets it rest. Whether this moved the cooldown. */
  coolDown(scope: CooldownScope, until: number, reason: string): boolean {
    if (this.cooldowns === Cooldowns.NONE) this.setBlockers({ cooldowns: new Cooldowns() });
    return this.cooldowns.extend(scope, until, reason);
  }

  /** Changes what keeps it from work. */
  setBlockers(change: Partial<Blockers>): void {
    this.#blockers = withChanges(this.#blockers, change);
  }

  /** Whether nothing has kept it from work since it was made. */
  get isUnblocked(): boolean {
    return this.#blockers === NO_BLOCKERS;
  }

  /** Whether it is in a roster. */
  get isEntered(): boolean {
    return (this.#flags & IS_ENTERED) !== 0;
  }

  set isEntered(isEntered: boolean) {
    this.#flags = isEntered ? this.#flags | IS_ENTERED : this.#flags & ~IS_ENTERED;
  }

  /** Whether it is among those that can serve. */
  get isAvailable(): boolean {
    return (this.#flags & IS_READY) !== 0;
  }

  set isAvailable(isReady: boolean) {
    this.#flags = isReady ? this.#flags | IS_READY : this.#flags & ~IS_READY;
  }

  /** It was kept from work since it was last free: when that ends, it has recovered. */
  get shouldEmitRecovered(): boolean {
    return (this.#flags & OWES_RECOVERY) !== 0;
  }

  set shouldEmitRecovered(owesRecovery: boolean) {
    this.#flags = owesRecovery ? this.#flags | OWES_RECOVERY : this.#flags & ~OWES_RECOVERY;
  }

  /** What kept it from work was announced to listeners: they are to hear of its recovery. */
  get owesNews(): boolean {
    return (this.#flags & OWES_NEWS) !== 0;
  }

  set owesNews(owesNews: boolean) {
    this.#flags = owesNews ? this.#flags | OWES_NEWS : this.#flags & ~OWES_NEWS;
  }

  /** A lease has ended, but something it sent is still unanswered: nobody may have the session yet. */
  get isDraining(): boolean {
    return (this.#flags & IS_DRAINING) !== 0;
  }

  set isDraining(isDraining: boolean) {
    this.#flags = isDraining ? this.#flags | IS_DRAINING : this.#flags & ~IS_DRAINING;
  }

  /** Whether it is in the heap of what is due. */
  get isDue(): boolean {
    return this.position >= 0 && !this.isAvailable;
  }

  get isRemoving(): boolean {
    return this.#blockers.isRemoving;
  }

  get disabledReason(): string | null {
    return this.#blockers.disabledReason;
  }

  get deadReason(): string | null {
    return this.#blockers.deadReason;
  }

  get restriction(): Restriction | null {
    return this.#blockers.restriction;
  }

  get isForeign(): boolean {
    return this.#blockers.isForeign;
  }

  /** Whether a flood, a restriction or death keeps it from work: what listeners hear of, other than a back-off. */
  hasAnnouncedCause(now: number): boolean {
    return this.deadReason !== null || this.restriction !== null || this.cooldowns.sessionUntil > now;
  }

  get cooldowns(): Cooldowns {
    return this.#blockers.cooldowns;
  }

  get backOffUntil(): number {
    return this.#blockers.backOff.until;
  }

  get backOffReason(): string | null {
    return this.#blockers.backOff.reason;
  }

  /** The instant from which neither flood nor back-off holds it. */
  get unavailableUntil(): number {
    return Math.max(this.cooldowns.sessionUntil, this.backOffUntil);
  }

  /** The next instant at which its state changes by itself; `Infinity` when none does. */
  get dueAt(): number {
    return this.restriction === null ? this.unavailableUntil : endOf(this.restriction);
  }

  get isLeased(): boolean {
    return this.leases > 0 || this.isDraining;
  }

  /** A restriction counts until it is lifted, whatever its end. */
  stateAt(now: number): SessionState {
    return this.#state(now, this.restriction !== null);
  }

  /** What it will be once {@link dueAt} has been seen to. */
  stateAfterExpiry(now: number): SessionState {
    return this.#state(now, this.restriction !== null && endOf(this.restriction) > now);
  }

  #state(now: number, isRestricted: boolean): SessionState {
    if (this.isLeased) return "leased";
    if (this.#blockers === NO_BLOCKERS) return "free";
    if (this.disabledReason !== null) return "disabled";
    if (this.deadReason !== null) return "dead";
    if (isRestricted) return "restricted";
    if (this.isForeign) return "foreign";
    return this.unavailableUntil > now ? "cooling" : "free";
  }

  /** Whether its leases leave room for another one. */
  hasRoom(leasesPerSession: number): boolean {
    return this.leases < leasesPerSession && !this.isDraining;
  }

  /** Whether a further lease may be given, as far as the session itself goes. */
  canServeAt(now: number, leasesPerSession: number): boolean {
    if (!this.hasRoom(leasesPerSession)) return false;
    if (this.#blockers === NO_BLOCKERS) return true;
    return (
      !this.isRemoving &&
      this.disabledReason === null &&
      this.deadReason === null &&
      this.restriction === null &&
      !this.isForeign &&
      this.unavailableUntil <= now
    );
  }

  /** Whether time alone will change what it can do: also while it is leased, if it has room for another lease. */
  becomesAvailableByTimeAt(now: number, leasesPerSession: number): boolean {
    if (this.#blockers === NO_BLOCKERS) return false;
    if (this.state === "cooling" || this.state === "restricted") return Number.isFinite(this.dueAt);
    if (this.state !== "leased" || !this.hasRoom(leasesPerSession) || !this.isOnlyTimeBlocked) return false;
    return this.restriction === null ? this.unavailableUntil > now : this.restriction.until !== null;
  }

  /** Whether waiting for it can ever help: it is not dead, disabled, restricted or on its way out. */
  get canEverServe(): boolean {
    return !this.isRemoving && this.disabledReason === null && this.deadReason === null && this.restriction === null;
  }

  /** Nothing but a rest or a restriction can hold it back. */
  get isOnlyTimeBlocked(): boolean {
    return !this.isRemoving && this.disabledReason === null && this.deadReason === null && !this.isForeign;
  }

  get reason(): string | null {
    switch (this.state) {
      case "disabled":
        return this.disabledReason;
      case "dead":
        return this.deadReason;
      case "restricted":
        return this.restriction?.reason ?? null;
      case "cooling":
        return this.backOffUntil > this.cooldowns.sessionUntil ? this.backOffReason : this.cooldowns.reason;
      default:
        return null;
    }
  }
}

/** In the entries: a map beside them would make a flood of many sessions several times as slow. */
export const IN_ENTRIES: Positions<SessionEntry> = {
  get: ({ position }) => (position < 0 ? undefined : position),
  set: (entry, position) => {
    entry.position = position;
  },
  delete: (entry) => {
    entry.position = -1;
  },
};
