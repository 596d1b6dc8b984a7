import type { Positions } from "../common/indexed-heap.js";
import type { PoolTime } from "../common/pool-time.js";
import type { SessionInfo, SessionState } from "../session-info.js";
import { isFreeze } from "../telegram/verdicts.js";
import { type CooldownScope, Cooldowns } from "./cooldowns.js";

/** A restriction by Telegram. */
export interface Restriction {
  readonly reason: string;
  /** The instant at which it is lifted; `null` if only `enable`, `update` or a probe lifts it. */
  readonly until: number | null;
}

/** What Telegram has told about the account and the authorization. Unknown values are `null`. */
export interface SessionFacts {
  /** The account's user id, in decimal. */
  readonly accountId: string | null;
  readonly isBot: boolean | null;
  /** When Telegram terminates the session if it stays unused, epoch milliseconds. */
  readonly expiresAt: number | null;
  /** The days without use after which it does: `authorization_ttl_days`. */
  readonly authorizationTtlDays: number | null;
}

const DAY_MS = 86_400_000;

/** What was learned; unknown and absent values change nothing. */
export type LearnedFacts = { readonly [Fact in keyof SessionFacts]?: SessionFacts[Fact] | undefined };

/** The pause after a failed connect. Not durable. */
export interface BackOff {
  readonly until: number;
  readonly reason: string | null;
}

export const NO_BACK_OFF: BackOff = Object.freeze({ until: 0, reason: null });

/** Everything except leases that makes a session unavailable. */
export interface Blockers {
  /** No further leases; the entry is removed when the last one ends. */
  readonly isRemoving: boolean;
  readonly disabledReason: string | null;
  readonly deadReason: string | null;
  readonly restriction: Restriction | null;
  /** Claimed by another process. */
  readonly isForeign: boolean;
  readonly cooldowns: Cooldowns;
  readonly backOff: BackOff;
}

/** Fields that only entries that were unavailable at some time have of their own. */
interface BlockedState extends Blockers {
  cooldowns: Cooldowns;
  isRecovering: boolean;
  shouldEmitRecovered: boolean;
}

/**
 * Shared by all sessions that were never unavailable: with fields of their own, entries would take a third more memory
 * (`bench/session-table.ts`).
 */
const NEVER_BLOCKED: BlockedState = Object.freeze({
  isRemoving: false,
  disabledReason: null,
  deadReason: null,
  restriction: null,
  isForeign: false,
  cooldowns: Cooldowns.NONE,
  backOff: NO_BACK_OFF,
  isRecovering: false,
  shouldEmitRecovered: false,
});

/**
 * The state of one session in the {@link SessionTable}, through which alone its fields change. Instants are on the
 * pool's own time line; only `addedAt` and `lastUsedAt`, which are shown to people, are wall-clock time.
 */
export class SessionEntry {
  // Ordered so that the fields a lease reads or writes are adjacent: with many sessions, a lease costs memory accesses.
  tags: readonly string[];
  addedAt: number;
  /** Position in the heap that contains the entry, of available or of expiring sessions; -1 if in neither. */
  position = -1;
  readonly id: string;
  lastUsedAt: number | null = null;
  /** Whether the entry is in a table. */
  isEntered = false;
  /** Whether the entry is among the available sessions. */
  isAvailable = false;
  state: SessionState = "free";
  leases = 0;
  /** Number of ended leases with unanswered requests. No further lease is granted until it is 0. */
  draining = 0;
  /** Whether nothing but leases has ever made the session unavailable. A field: every lease reads it several times. */
  isUnblocked = true;
  #blocked: BlockedState = NEVER_BLOCKED;
  /** Order of use: the lowest is the least recently used. */
  lastUsedSequence = 0;
  previous: SessionEntry | null = null;
  next: SessionEntry | null = null;
  /** All sessions of its account, the latest leased last; `null` if it is the only one that is known. */
  accountSessions: SessionEntry[] | null = null;
  /** Whether a session of its account is leased. Kept for accounts with several sessions only. */
  isAccountInUse = false;
  #accountId: string | null = null;
  #isBot: boolean | null = null;
  #expiresAt: number | null = null;
  #authorizationTtlDays: number | null = null;

  constructor(id: string, tags: readonly string[], addedAt: number) {
    this.id = id;
    this.tags = tags;
    this.addedAt = addedAt;
  }

  /** Extends a cooldown. Returns whether its end has changed. */
  coolDown(scope: CooldownScope, until: number, reason: string): boolean {
    if (this.cooldowns === Cooldowns.NONE) this.#ownBlocked().cooldowns = new Cooldowns();
    return this.cooldowns.extend(scope, until, reason);
  }

  /** Sets or clears blockers of the session. */
  setBlockers(change: Partial<Blockers>): void {
    const fields = Object.keys(change) as (keyof Blockers)[];
    if (fields.every((field) => change[field] === this.#blocked[field])) return;
    Object.assign(this.#ownBlocked(), change);
  }

  get accountId(): string | null {
    return this.#accountId;
  }

  get isBot(): boolean | null {
    return this.#isBot;
  }

  /**
   * When Telegram terminates the session if it stays unused, epoch milliseconds. A lease that ended a day or more after the
   * use that was known moves it; records get the moved instant with the next write for another reason.
   */
  get expiresAt(): number | null {
    const learned = this.#expiresAt;
    if (learned === null || this.#authorizationTtlDays === null || this.lastUsedAt === null) return learned;
    const byUse = this.lastUsedAt + this.#authorizationTtlDays * DAY_MS;
    return byUse >= learned + DAY_MS ? byUse : learned;
  }

  get authorizationTtlDays(): number | null {
    return this.#authorizationTtlDays;
  }

  /** Whether Telegram has frozen the account. */
  get isFrozen(): boolean {
    return isFreeze(this.#blocked.restriction?.reason);
  }

  /** Sets what is known of the account. `null` clears nothing. Returns whether anything has changed. */
  setFacts({ accountId, isBot, expiresAt, authorizationTtlDays }: LearnedFacts): boolean {
    const hasChanged =
      isNews(accountId, this.#accountId) ||
      isNews(isBot, this.#isBot) ||
      isNews(expiresAt, this.#expiresAt) ||
      isNews(authorizationTtlDays, this.#authorizationTtlDays);
    this.#accountId = accountId ?? this.#accountId;
    this.#isBot = isBot ?? this.#isBot;
    this.#expiresAt = expiresAt ?? this.#expiresAt;
    this.#authorizationTtlDays = authorizationTtlDays ?? this.#authorizationTtlDays;
    return hasChanged;
  }

  /** Forgets what was known of the account, because the session has another auth key. */
  clearFacts(): void {
    this.#accountId = null;
    this.#isBot = null;
    this.#expiresAt = null;
    this.#authorizationTtlDays = null;
  }

  #ownBlocked(): BlockedState {
    if (this.isUnblocked) this.#blocked = { ...NEVER_BLOCKED };
    this.isUnblocked = false;
    return this.#blocked;
  }

  get isRemoving(): boolean {
    return this.#blocked.isRemoving;
  }

  get disabledReason(): string | null {
    return this.#blocked.disabledReason;
  }

  get deadReason(): string | null {
    return this.#blocked.deadReason;
  }

  get restriction(): Restriction | null {
    return this.#blocked.restriction;
  }

  get isForeign(): boolean {
    return this.#blocked.isForeign;
  }

  get cooldowns(): Cooldowns {
    return this.#blocked.cooldowns;
  }

  get backOff(): BackOff {
    return this.#blocked.backOff;
  }

  /** Whether the session has been cooling, restricted, dead or disabled since it was last free. */
  get isRecovering(): boolean {
    return this.#blocked.isRecovering;
  }

  set isRecovering(isRecovering: boolean) {
    if (isRecovering !== this.#blocked.isRecovering) this.#ownBlocked().isRecovering = isRecovering;
  }

  /** Whether an event has reported the cause, so that `recovered` is to be emitted as well. */
  get shouldEmitRecovered(): boolean {
    return this.#blocked.shouldEmitRecovered;
  }

  set shouldEmitRecovered(shouldEmit: boolean) {
    if (shouldEmit !== this.#blocked.shouldEmitRecovered) this.#ownBlocked().shouldEmitRecovered = shouldEmit;
  }

  /** Whether the session is unavailable for a cause that is reported by an event of its own: any but a back-off. */
  hasReportedCause(now: number): boolean {
    return this.deadReason !== null || this.restriction !== null || this.cooldowns.sessionUntil > now;
  }

  /** The end of both the cooldown of the session and its back-off. */
  get unavailableUntil(): number {
    return Math.max(this.cooldowns.sessionUntil, this.backOff.until);
  }

  /** The next instant at which the state changes by itself; `Infinity` if there is none. */
  get dueAt(): number {
    return this.restriction === null ? this.unavailableUntil : endOf(this.restriction);
  }

  /** Whether the entry is in the heap of expiring sessions. */
  get isScheduled(): boolean {
    return this.position >= 0 && !this.isAvailable;
  }

  get isDraining(): boolean {
    return this.draining > 0;
  }

  get isLeased(): boolean {
    return this.leases > 0 || this.draining > 0;
  }

  /** The state, where a restriction counts until it has been lifted, even if its end has passed. */
  stateAt(now: number): SessionState {
    return this.#state(now, this.restriction !== null);
  }

  /** The state once everything that has ended by `now` has been lifted. */
  stateAfterExpiry(now: number): SessionState {
    return this.#state(now, this.restriction !== null && endOf(this.restriction) > now);
  }

  #state(now: number, isRestricted: boolean): SessionState {
    if (this.isLeased) return "leased";
    if (this.isUnblocked) return "free";
    if (this.disabledReason !== null) return "disabled";
    if (this.deadReason !== null) return "dead";
    if (isRestricted) return "restricted";
    if (this.isForeign) return "foreign";
    return this.unavailableUntil > now ? "cooling" : "free";
  }

  /** Whether the number of leases permits another one. */
  hasRoom(leasesPerSession: number): boolean {
    return this.leases < leasesPerSession && this.draining === 0;
  }

  /** Whether another lease may be granted now. */
  canServeAt(now: number, leasesPerSession: number): boolean {
    if (!this.hasRoom(leasesPerSession)) return false;
    if (this.isUnblocked) return true;
    return this.canEverServe && !this.isForeign && this.unavailableUntil <= now;
  }

  /** Whether the session becomes available by the passing of time alone, including one that is leased but has room. */
  becomesAvailableByTimeAt(now: number, leasesPerSession: number): boolean {
    if (this.isUnblocked) return false;
    if (this.state === "cooling" || this.state === "restricted") return Number.isFinite(this.dueAt);
    if (this.state !== "leased" || !this.hasRoom(leasesPerSession) || !this.#isOnlyTimeBlocked) return false;
    return this.restriction === null ? this.unavailableUntil > now : this.restriction.until !== null;
  }

  /** Whether waiting for the session can succeed: it is not dead, disabled, restricted or being removed. */
  get canEverServe(): boolean {
    return this.isUnblocked || (!this.#isOut && this.restriction === null);
  }

  /** Whether waiting for the session can succeed for a caller that only reads, although the account is frozen. */
  get canEverServeReads(): boolean {
    return this.isFrozen && !this.#isOut;
  }

  /** Whether a lease for reads may be granted now, although the account is frozen. */
  canServeReadsAt(now: number, leasesPerSession: number): boolean {
    if (!this.hasRoom(leasesPerSession) || !this.canEverServeReads) return false;
    return !this.isForeign && this.unavailableUntil <= now;
  }

  get #isOnlyTimeBlocked(): boolean {
    return !this.#isOut && !this.isForeign;
  }

  get #isOut(): boolean {
    return this.isRemoving || this.disabledReason !== null || this.deadReason !== null;
  }

  /** Why the session is in its state; `null` where the state says it all. */
  get reason(): string | null {
    switch (this.state) {
      case "disabled":
        return this.disabledReason;
      case "dead":
        return this.deadReason;
      case "restricted":
        return this.restriction?.reason ?? null;
      case "cooling":
        return this.backOff.until > this.cooldowns.sessionUntil ? this.backOff.reason : this.cooldowns.reason;
      default:
        return null;
    }
  }
}

function isNews<T>(value: T | null | undefined, known: T | null): boolean {
  return value !== undefined && value !== null && value !== known;
}

/** The end of a restriction; `Infinity` if only a person or a probe lifts it. */
export function endOf({ until }: Restriction): number {
  return until ?? Number.POSITIVE_INFINITY;
}

/** Whether a restriction replaces another one: if it ends later, or if both are the freeze of which it names the end. */
export function replaces(restriction: Restriction, former: Restriction): boolean {
  if (isFreeze(restriction.reason) && isFreeze(former.reason)) {
    if (restriction.until === null) return false;
    if (former.until === null) return true;
  }
  return endOf(restriction) > endOf(former);
}

/**
 * Positions in a heap of entries, stored in the entries: with a map beside the heap, cooling 10,000 sessions at once
 * takes several times as long (`bench/session-table.ts`).
 */
export const ENTRY_POSITIONS: Positions<SessionEntry> = {
  get: ({ position }) => (position < 0 ? undefined : position),
  set: (entry, position) => {
    entry.position = position;
  },
  delete: (entry) => {
    entry.position = -1;
  },
};

/** The session as users see it. */
export function toSessionInfo(entry: SessionEntry, time: PoolTime): SessionInfo {
  return Object.freeze({
    id: entry.id,
    state: entry.state,
    tags: entry.tags,
    availableAt: entry.state === "cooling" ? time.toWall(entry.unavailableUntil) : null,
    reason: entry.reason,
    addedAt: entry.addedAt,
    lastUsedAt: entry.lastUsedAt,
    accountId: entry.accountId,
    isBot: entry.isBot,
    expiresAt: entry.expiresAt,
  });
}
