import type { PoolStatus, SessionState } from "../session-info.js";
import { AccountSpread, accountUsedAt } from "./account-spread.js";
import { AccountIndex, siblingsOf } from "./accounts.js";
import { type Availability, canServeBy, forecast } from "./availability.js";
import { AvailableSessions } from "./available-sessions.js";
import { BlockedSessions } from "./blocked-sessions.js";
import type { CooldownScope } from "./cooldowns.js";
import { type Criteria, candidatesOf } from "./criteria.js";
import { ExpiryHeap } from "./expiry-heap.js";
import { FrozenSessions } from "./frozen-sessions.js";
import { LruOrder, type SelectionOrder } from "./selection-order.js";
import {
  type BackOff,
  type Blockers,
  type LearnedFacts,
  NO_BACK_OFF,
  type Restriction,
  replaces,
  type SessionEntry,
} from "./session-entry.js";
import { shareAllCooldowns } from "./shared-cooldowns.js";

export interface SessionTableOptions {
  /** Maximum number of concurrent leases per session. */
  readonly leasesPerSession: number;
  /** Maximum number of sessions that are leased at once. */
  readonly maxConnected: number;
  /** Which available session is selected next. @default least recently used */
  readonly order?: SelectionOrder | undefined;
  /** Whether a cooldown of one session holds for all sessions of its account. @default true */
  readonly sharesCooldowns?: boolean | undefined;
}

/**
 * The state of every session in memory: free, leased, cooling, restricted, dead, disabled or foreign, and which one is
 * selected next.
 *
 * Synchronous and pure: time is an argument, and nothing is awaited or stored. After every change of an entry its state,
 * the counts, the available sessions and the expiry heap are brought up to date together.
 */
export class SessionTable<Entry extends SessionEntry = SessionEntry> {
  readonly #leasesPerSession: number;
  readonly #maxConnected: number;
  readonly #order: SelectionOrder;
  readonly #entries = new Map<string, Entry>();
  readonly #accounts = new AccountIndex<Entry>();
  readonly #available: AvailableSessions;
  readonly #frozen: FrozenSessions;
  readonly #blocked: BlockedSessions;
  readonly #expiries = new ExpiryHeap();
  readonly #spread: AccountSpread<Entry>;
  readonly #sharesCooldowns: boolean;
  readonly #counts: Record<SessionState, number> = {
    free: 0,
    leased: 0,
    cooling: 0,
    restricted: 0,
    dead: 0,
    disabled: 0,
    foreign: 0,
  };
  #useSequence = 0;
  /** Order of sessions that were never used, which come before all others. V8 stores integers of 32 bits in place. */
  #addSequence = -(2 ** 31);

  constructor(options: SessionTableOptions) {
    const { leasesPerSession, maxConnected, order = new LruOrder(), sharesCooldowns = true } = options;
    this.#leasesPerSession = leasesPerSession;
    this.#maxConnected = maxConnected;
    this.#order = order;
    const isLru = order instanceof LruOrder;
    this.#frozen = new FrozenSessions(this.#entries, this.#accounts, leasesPerSession, isLru);
    this.#available = new AvailableSessions(this.#entries, this.#accounts, order, this.#frozen);
    this.#blocked = new BlockedSessions(this.#available, this.#frozen, this.#expiries, leasesPerSession);
    this.#spread = new AccountSpread(this.#accounts, this.#available, this.#expiries);
    this.#sharesCooldowns = sharesCooldowns;
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** The sessions that may meet the criteria, whatever their state. */
  candidates(criteria: Criteria): Iterable<Entry> {
    return candidatesOf(this.#entries, this.#accounts, criteria);
  }

  /** The sessions of an account. */
  sessionsOf(accountId: string): readonly Entry[] {
    return this.#accounts.sessionsOf(accountId);
  }

  /**
   * Adds entries. Those whose account was never used are selected first, in the given order; the others follow by the last
   * use of their account.
   */
  add(entries: readonly Entry[], now: number): void {
    for (const entry of entries) {
      this.#entries.set(entry.id, entry);
      this.#accounts.add(entry);
    }
    const unused = entries.filter((entry) => accountUsedAt(entry) === null);
    const used = entries.filter((entry) => accountUsedAt(entry) !== null);
    used.sort((a, b) => (accountUsedAt(a) ?? 0) - (accountUsedAt(b) ?? 0));
    for (const entry of unused) this.#enter(entry, ++this.#addSequence, now);
    for (const entry of used) this.#enter(entry, ++this.#useSequence, now);
    shareAllCooldowns(this, entries, now);
  }

  /** Excludes the entry from further leases, as the first step of its removal, or includes it again. */
  setRemoving(entry: SessionEntry, isRemoving: boolean, now: number): void {
    this.#block(entry, { isRemoving }, now);
  }

  /** Removes the entry; one that is leased is removed with its last lease. Returns whether it has been removed already. */
  remove(entry: SessionEntry, now: number): boolean {
    this.setRemoving(entry, true, now);
    if (entry.isLeased) return false;
    this.#delete(entry, now);
    return true;
  }

  /** Leases the next session that can serve the caller, if there is one; expires what is due first. */
  reserve(criteria: Criteria, now: number): Entry | undefined {
    if (this.#expiries.nextAt <= now) this.#expireFor(criteria, now);
    const entry = this.reserveAvailable(criteria, now);
    if (entry !== undefined || this.#expiries.nextAt > now) return entry;
    this.expireDue(now);
    return this.reserveAvailable(criteria, now);
  }

  /** Like {@link reserve}, without expiring what is due. */
  reserveAvailable(criteria: Criteria, now: number): Entry | undefined {
    const isShared = this.#leasesPerSession > 1;
    if (this.#available.size === 0 && this.#frozen.size === 0) return undefined;
    if (this.isFull && !isShared) return undefined;
    // Only entries of this table are selected.
    const entry = this.#available.select(criteria, now, this.isFull) as Entry | undefined;
    if (entry === undefined) return undefined;
    this.#available.remove(entry);
    entry.leases++;
    this.#setState(entry, "leased");
    if (entry.accountSessions !== null) this.#spread.onTaken(entry, now);
    // A session with room for another lease goes to the end, so that the next caller gets a different one.
    if (isShared) entry.lastUsedSequence = ++this.#useSequence;
    this.#order.onLeased?.(entry);
    // A frozen session may be due when its freeze ends.
    if (isShared || (this.#frozen.size > 0 && entry.isScheduled)) this.#refresh(entry, now);
    return entry;
  }

  /** Ends a lease. With `isDraining` the session stays leased until {@link drained} is called. */
  release(entry: SessionEntry, now: number, lastUsedAt: number, isDraining: boolean): void {
    entry.leases--;
    if (isDraining) entry.draining++;
    entry.lastUsedAt = lastUsedAt;
    // The order of an entry must not change while it is queued.
    this.#available.remove(entry);
    if (entry.accountSessions !== null) this.#spread.onUsed(siblingsOf(entry), now, () => ++this.#useSequence);
    entry.lastUsedSequence = ++this.#useSequence;
    this.#onLeaseEnded(entry, now);
  }

  /** Ends a lease that was not used: unless it is shared, the session keeps its place in the order. */
  cancel(entry: SessionEntry, now: number): void {
    entry.leases--;
    this.#onLeaseEnded(entry, now);
  }

  /** Reports that the requests of an ended lease are answered or cut off. */
  drained(entry: SessionEntry, now: number): void {
    entry.draining--;
    this.#onLeaseEnded(entry, now);
  }

  /** Starts or extends a cooldown. Returns whether its end has changed: it only ever moves later. */
  cool(entry: SessionEntry, scope: CooldownScope, until: number, reason: string, now: number): boolean {
    if (!entry.coolDown(scope, until, reason)) return false;
    if (scope.kind === "session") {
      entry.isRecovering = true;
      this.#refresh(entry, now);
    } else {
      this.#expiries.setScoped(entry, scope, until);
      this.#available.onScopedCooldownChanged(entry, now);
    }
    return true;
  }

  /** The sessions for which a cooldown or a restriction of the session holds, itself first; `isOfAccount` if it is shared. */
  sharing(entry: Entry, isOfAccount = true): readonly Entry[] {
    return isOfAccount && this.#sharesCooldowns ? [entry, ...siblingsOf(entry)] : [entry];
  }

  /** Applies what is known of the account. Returns whether anything has changed. */
  setFacts(entry: Entry, facts: LearnedFacts, now: number): boolean {
    const { accountId } = facts;
    const isMoved = accountId !== undefined && accountId !== null && accountId !== entry.accountId;
    if (!isMoved || !entry.isEntered) return entry.setFacts(facts);
    this.#spread.leave(entry, now);
    entry.setFacts(facts);
    this.#spread.join(entry, now);
    return true;
  }

  /** Forgets what was known of the account, because the session has another auth key. */
  clearFacts(entry: Entry, now: number): void {
    if (entry.isEntered) this.#spread.leave(entry, now);
    entry.clearFacts();
  }

  /** Shortens the cooldown of a rate limit that has been relaxed. Other cooldowns only ever move later. */
  relax(entry: SessionEntry, scope: CooldownScope & { readonly kind: "budget" }, until: number, now: number): void {
    if (!entry.cooldowns.shortenBudget(scope.method, scope.peer, until)) return;
    this.#expiries.setScoped(entry, scope, until);
    this.#available.onScopedCooldownChanged(entry, now);
  }

  setTags(entry: SessionEntry, tags: readonly string[], now: number): void {
    this.#available.remove(entry);
    entry.tags = tags;
    this.#refresh(entry, now);
  }

  /** Reports whether the session's client is connected, for orders that depend on it. */
  setConnected(entry: SessionEntry, isConnected: boolean, now: number): void {
    if (!this.#order.setConnected?.(entry, isConnected) || !entry.isAvailable) return;
    this.#available.remove(entry);
    this.#refresh(entry, now);
  }

  /** Starts or extends a back-off; `NO_BACK_OFF` ends it. */
  backOff(entry: SessionEntry, backOff: BackOff, now: number): void {
    if (backOff !== NO_BACK_OFF && backOff.until <= entry.backOff.until) return;
    this.#block(entry, { backOff }, now);
  }

  /** Starts or extends a restriction; `null` lifts it. */
  restrict(entry: SessionEntry, restriction: Restriction | null, now: number): void {
    if (restriction !== null && entry.restriction !== null && !replaces(restriction, entry.restriction)) return;
    this.#block(entry, { restriction }, now);
  }

  /** Marks the session as dead; `null` takes that back. */
  setDead(entry: SessionEntry, deadReason: string | null, now: number): void {
    this.#block(entry, { deadReason }, now);
  }

  /** Disables the session; `null` enables it. */
  setDisabled(entry: SessionEntry, disabledReason: string | null, now: number): void {
    this.#block(entry, { disabledReason }, now);
  }

  /** Ends death, disabling, restriction and back-off. Cooldowns stay. */
  revive(entry: SessionEntry, now: number): void {
    this.#block(entry, { deadReason: null, disabledReason: null, restriction: null, backOff: NO_BACK_OFF }, now);
  }

  /** Reports whether another process has claimed the session. */
  setForeign(entry: SessionEntry, isForeign: boolean, now: number): void {
    this.#block(entry, { isForeign }, now);
  }

  /**
   * Expires cooldowns, back-offs and restrictions that have ended, in the order of their ends and then of last use.
   * Returns whether none is left.
   *
   * @param limit maximum number of expiries
   */
  expireDue(now: number, limit: number = Number.POSITIVE_INFINITY): boolean {
    let left = limit;
    for (let entry = this.#expiries.firstDue(now); entry !== undefined; entry = this.#expiries.firstDue(now)) {
      if (left-- <= 0) return false;
      this.#expire(entry, now);
    }
    for (let entry = this.#expiries.takeScoped(now); entry !== undefined; entry = this.#expiries.takeScoped(now)) {
      this.#available.onScopedCooldownChanged(entry, now);
      if (left-- <= 0) return this.nextDueAt > now;
    }
    return true;
  }

  /** Expires what has ended for one session. */
  expire(id: string, now: number): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#expire(entry, now);
  }

  /** Whether {@link takeRecovered} would return any. */
  get hasRecovered(): boolean {
    return this.#blocked.hasRecovered;
  }

  /** The sessions that have become free again since the last call. */
  takeRecovered(): readonly SessionEntry[] {
    return this.#blocked.takeRecovered();
  }

  /** The next instant at which something changes by itself; `Infinity` if nothing does. */
  get nextDueAt(): number {
    return this.#expiries.nextAt;
  }

  /** Whether {@link reserve} would lease a session. */
  canServe(criteria: Criteria, now: number): boolean {
    if (this.#expiries.nextAt <= now) this.#expireFor(criteria, now);
    if (this.#canSelect(criteria, now)) return true;
    if (this.#expiries.nextAt > now) return false;
    this.expireDue(now);
    return this.#canSelect(criteria, now);
  }

  /** Whether no further session may be leased. */
  get isFull(): boolean {
    return this.#counts.leased >= this.#maxConnected;
  }

  /** Whether any session is available. */
  get hasAvailable(): boolean {
    return this.#available.size > 0;
  }

  /** Whether any session is frozen: it may be available to callers that only read. */
  get hasFrozen(): boolean {
    return this.#frozen.size > 0;
  }

  /** Whether a session may be able to serve the caller by the deadline, as far as is known. */
  canServeBy(criteria: Criteria, now: number, deadline: number): boolean {
    return canServeBy(this.candidates(criteria), criteria, now, deadline);
  }

  /** When sessions will be available to a caller that has to wait. */
  forecast(criteria: Criteria, now: number): Availability {
    return forecast(this.candidates(criteria), criteria, now, this.#leasesPerSession);
  }

  /** The counts by state, where sessions that are due count as what they will be once expired. */
  status(now: number): Omit<PoolStatus, "waiters"> {
    const counts = { ...this.#counts };
    this.#expiries.forEachDue(now, (entry) => {
      counts[entry.state]--;
      counts[entry.stateAfterExpiry(now)]++;
    });
    const canServe = this.hasAvailable || counts.free > 0;
    const nextAvailableAt = canServe ? now : this.#expiries.nextAvailableAt(now);
    return { total: this.#entries.size, ...counts, nextAvailableAt };
  }

  /** A caller that names a session, by id or by key, must not get another one in place of one that is due. */
  #expireFor({ id, key }: Criteria, now: number): void {
    if (id !== undefined) this.expire(id, now);
    else if (key !== undefined) this.expireDue(now);
  }

  #canSelect(criteria: Criteria, now: number): boolean {
    if (this.isFull && this.#leasesPerSession === 1) return false;
    if (!this.hasAvailable && !this.hasFrozen) return false;
    return this.#available.canSelect(criteria, now, this.isFull);
  }

  #enter(entry: Entry, sequence: number, now: number): void {
    entry.lastUsedSequence = sequence;
    entry.isEntered = true;
    entry.state = entry.stateAt(now);
    this.#count(entry.state, 1);
    this.#expiries.addScoped(entry, now);
    this.#refresh(entry, now);
    if (entry.accountSessions !== null) this.#spread.update(entry.accountSessions, now);
  }

  #delete(entry: SessionEntry, now: number): void {
    if (!entry.isEntered) return;
    entry.isEntered = false;
    const siblings = siblingsOf(entry);
    // Only entries of this table are deleted.
    this.#accounts.remove(entry as Entry);
    this.#spread.update(siblings, now);
    this.#entries.delete(entry.id);
    this.#count(entry.state, -1);
    this.#available.remove(entry);
    this.#frozen.remove(entry);
    this.#expiries.removeAll(entry);
  }

  #onLeaseEnded(entry: SessionEntry, now: number): void {
    if (entry.accountSessions !== null) this.#spread.update(entry.accountSessions, now);
    if (entry.isUnblocked) {
      this.#refresh(entry, now);
      return;
    }
    entry.cooldowns.prune(now);
    this.#refresh(entry, now);
    if (entry.isRemoving && !entry.isLeased) this.#delete(entry, now);
  }

  #expire(entry: SessionEntry, now: number): void {
    if (!entry.isScheduled || entry.dueAt > now) return;
    if (entry.restriction !== null) entry.setBlockers({ restriction: null });
    this.#refresh(entry, now);
  }

  #block(entry: SessionEntry, change: Partial<Blockers>, now: number): void {
    entry.setBlockers(change);
    this.#refresh(entry, now);
  }

  /** Updates everything that depends on the entry. */
  #refresh(entry: SessionEntry, now: number): void {
    // A lease may end after its session has been removed.
    if (!entry.isEntered) return;
    if (!entry.isUnblocked) {
      this.#setState(entry, entry.stateAt(now));
      this.#blocked.update(entry, now);
      return;
    }
    this.#setState(entry, entry.isLeased ? "leased" : "free");
    if (entry.hasRoom(this.#leasesPerSession)) this.#available.add(entry, now);
    else this.#available.remove(entry);
  }

  #setState(entry: SessionEntry, state: SessionState): void {
    if (state === entry.state) return;
    this.#count(entry.state, -1);
    this.#count(state, 1);
    entry.state = state;
  }

  /** Spelled out for the states that every lease changes: a computed property would double the cost of a lease here. */
  #count(state: SessionState, change: 1 | -1): void {
    if (state === "free") this.#counts.free += change;
    else if (state === "leased") this.#counts.leased += change;
    else this.#counts[state] += change;
  }
}
