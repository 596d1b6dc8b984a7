import type { PoolStatus } from "../options/session-info.js";
import { type Availability, canServeBy, forecast } from "./availability.js";
import type { ActiveCooldown, CooldownScope } from "./cooldowns.js";
import { type Criteria, matches } from "./criteria.js";
import { LruOrder, type SelectionOrder } from "./selection-order.js";
import type { SessionEntry } from "./session-entry.js";
import { type BackOff, endOf, NO_BACK_OFF, type Restriction } from "./session-entry.js";
import { SessionPicker } from "./session-picker.js";
import { SessionStates } from "./session-states.js";

export interface SessionTableOptions {
  /** Leases one session may have at once. */
  readonly leasesPerSession: number;
  /** Sessions that may be leased at once. */
  readonly maxLeased: number;
  /** Who is next. @default the longest rested */
  readonly order?: SelectionOrder | undefined;
}

/**
 * The in-memory truth: which session is free, leased, cooling, restricted, dead, disabled or foreign, and who is next.
 *
 * Synchronous and pure: time is an argument, nothing is awaited, nothing is stored. Every change ends in
 * {@link SessionStates}, which keep everything that is counted and ordered in step with the entry.
 */
export class SessionTable<Entry extends SessionEntry = SessionEntry> {
  readonly #options: SessionTableOptions;
  /** The sessions. */
  readonly #entries = new Map<string, Entry>();
  readonly #order: SelectionOrder;
  readonly #standings: SessionStates;
  readonly #selection: SessionPicker;
  /** How many ended leases of a session are still unanswered. Beside the entries: few drain at a time. */
  readonly #draining = new Map<SessionEntry, number>();
  #useOrder = 0;
  /** Of sessions that were never used: all of them before any that was. V8 keeps 32 bit integers in place. */
  #addOrder = -(2 ** 31);

  constructor(options: SessionTableOptions) {
    this.#options = options;
    const { order = new LruOrder(), leasesPerSession } = options;
    this.#order = order;
    this.#standings = new SessionStates(order, leasesPerSession);
    this.#selection = new SessionPicker(
      this.#entries,
      this.#standings.ready,
      () => !this.isFull,
      options.leasesPerSession > 1,
    );
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Takes filled entries in. Those never used are next, as they come; the others follow by last use. */
  add(entries: readonly Entry[], now: number): void {
    for (const entry of entries) this.#entries.set(entry.id, entry);
    const unused = entries.filter((entry) => entry.lastUsedAt === null);
    const used = entries.filter((entry) => entry.lastUsedAt !== null);
    used.sort((a, b) => (a.lastUsedAt ?? 0) - (b.lastUsedAt ?? 0));
    for (const entry of unused) this.#enter(entry, ++this.#addOrder, now);
    for (const entry of used) this.#enter(entry, ++this.#useOrder, now);
  }

  /** Keeps the entry from new leases, as the first step of removing it, or takes that back. */
  setRemoving(entry: SessionEntry, isRemoving: boolean, now: number): void {
    entry.setBlockers({ isRemoving });
    this.#standings.refresh(entry, now);
  }

  /** Forgets the entry; a leased one leaves with its last lease. Whether it is gone already. */
  remove(entry: SessionEntry, now: number): boolean {
    this.setRemoving(entry, true, now);
    if (entry.isLeased) return false;
    this.#forget(entry);
    return true;
  }

  /** Leases the session that is next for this caller, if one can serve now; lets out for it what is due. */
  reserve(criteria: Criteria, now: number): Entry | undefined {
    this.#prepare(criteria, now);
    const entry = this.reserveAvailable(criteria, now);
    if (entry !== undefined || this.nextDueAt > now) return entry;
    this.expireDue(now);
    return this.reserveAvailable(criteria, now);
  }

  /** As {@link reserve}, of those that are let out already. */
  reserveAvailable(criteria: Criteria, now: number): Entry | undefined {
    const entry = this.#selection.pick(criteria, now);
    if (entry === undefined) return undefined;
    entry.leases++;
    // One that can be leased again is the latest of all from now on: the next caller gets another one.
    const isAsked = this.#options.leasesPerSession > 1;
    if (isAsked) this.#moveToEnd(entry);
    else this.#standings.refresh(entry, now);
    this.#order.leased(entry);
    if (isAsked) this.#standings.refresh(entry, now);
    // Nothing else than what was added is picked.
    return entry as Entry;
  }

  /** Ends one lease. With `isDraining` the session stays leased until {@link drained}. */
  release(entry: SessionEntry, now: number, lastUsedAt: number, isDraining: boolean): void {
    entry.leases--;
    if (isDraining) this.#drains(entry, 1);
    entry.lastUsedAt = lastUsedAt;
    this.#moveToEnd(entry);
    this.#settle(entry, now);
  }

  /** Takes a lease back that nobody has used: a session of one lease keeps its place. */
  cancel(entry: SessionEntry, now: number): void {
    entry.leases--;
    this.#settle(entry, now);
  }

  /** What an ended lease had sent is answered, or its connection is gone. */
  drained(entry: SessionEntry, now: number): void {
    this.#drains(entry, -1);
    this.#settle(entry, now);
  }

  /** Whether this moved the cooldown. */
  cool(entry: SessionEntry, scope: CooldownScope, until: number, reason: string, now: number): boolean {
    if (!entry.coolDown(scope, until, reason)) return false;
    if (scope.kind === "session") {
      entry.shouldEmitRecovered = true;
      this.#standings.refresh(entry, now);
    } else this.#standings.narrow(entry, scope, until, now);
    return true;
  }

  /** Gives the session other tags. */
  setTags(entry: SessionEntry, tags: readonly string[], now: number): void {
    this.#standings.ready.remove(entry);
    entry.tags = tags;
    this.#standings.refresh(entry, now);
  }

  /** Whether the session's client is connected: for an order that goes by it. */
  setConnected(entry: SessionEntry, isConnected: boolean, now: number): void {
    if (!this.#order.setConnected(entry, isConnected) || !entry.isAvailable) return;
    this.#standings.ready.remove(entry);
    this.#standings.refresh(entry, now);
  }

  /** Keeps a session that could not connect back, only ever for longer; with `NO_BACK_OFF` that ends. */
  backOff(entry: SessionEntry, backOff: BackOff, now: number): void {
    if (backOff === NO_BACK_OFF || backOff.until > entry.backOffUntil) entry.setBlockers({ backOff });
    this.#standings.refresh(entry, now);
  }

  /** A restriction only ever moves later; with `null` it ends. */
  restrict(entry: SessionEntry, restriction: Restriction | null, now: number): void {
    if (restriction !== null && entry.restriction !== null && endOf(restriction) <= endOf(entry.restriction)) return;
    entry.setBlockers({ restriction });
    this.#standings.refresh(entry, now);
  }

  /** With `null` it lives again. */
  kill(entry: SessionEntry, reason: string | null, now: number): void {
    entry.setBlockers({ deadReason: reason });
    this.#standings.refresh(entry, now);
  }

  /** With `null` it is enabled again. */
  disable(entry: SessionEntry, reason: string | null, now: number): void {
    entry.setBlockers({ disabledReason: reason });
    this.#standings.refresh(entry, now);
  }

  /** Ends death, disabling and restriction. A cooldown stays. */
  revive(entry: SessionEntry, now: number): void {
    entry.setBlockers({ deadReason: null, disabledReason: null, restriction: null, backOff: NO_BACK_OFF });
    this.#standings.refresh(entry, now);
  }

  setForeign(entry: SessionEntry, isForeign: boolean, now: number): void {
    entry.setBlockers({ isForeign });
    this.#standings.refresh(entry, now);
  }

  /** Lets out what is due, at most so many: the longest due first, then the longest rested. Whether that is all. */
  expireDue(now: number, most: number = Number.POSITIVE_INFINITY): boolean {
    return this.#standings.expireDue(now, most);
  }

  /** Lets this one out if it is due, whatever else is. */
  expire(id: string, now: number): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#standings.expire(entry, now);
  }

  get hasRecovered(): boolean {
    return this.#standings.hasRecovered;
  }

  /** The sessions that came back since the last call. */
  takeRecovered(): readonly SessionEntry[] {
    return this.#standings.takeRecovered();
  }

  /** The next instant at which something changes by itself; `Infinity` when nothing does. */
  get nextDueAt(): number {
    return this.#standings.due.nextAt;
  }

  /** Whether the caller could be served at once. */
  canServe(criteria: Criteria, now: number): boolean {
    this.#prepare(criteria, now);
    if (this.#selection.canServe(criteria, now)) return true;
    if (this.nextDueAt > now) return false;
    this.expireDue(now);
    return this.#selection.canServe(criteria, now);
  }

  /** Whether no further session may be leased. */
  get isFull(): boolean {
    return this.#standings.leased >= this.#options.maxLeased;
  }

  /** Whether any session can serve somebody. */
  get hasAvailable(): boolean {
    return this.#standings.ready.size > 0;
  }

  /** What holds a request of this kind back on this session. */
  blockingCooldown(
    entry: SessionEntry,
    method: string,
    peer: string | undefined,
    now: number,
  ): ActiveCooldown | undefined {
    return entry.cooldowns.blockingCooldown([method], peer === undefined ? [] : [peer], now);
  }

  /** Whether a caller may be served by the deadline, as far as anybody can know. */
  canServeBy(criteria: Criteria, now: number, deadline: number): boolean {
    return canServeBy(this.#candidates(criteria), criteria, now, deadline);
  }

  /** Whether every session that is worth waiting for is one of those. */
  areAll(criteria: Criteria, isOne: (entry: SessionEntry) => boolean): boolean {
    let count = 0;
    for (const entry of this.#candidates(criteria)) {
      if (!matches(entry, criteria) || !entry.canEverServe) continue;
      if (!isOne(entry)) return false;
      count++;
    }
    return count > 0;
  }

  /** What a caller that has to wait can hope for. */
  forecast(criteria: Criteria, now: number): Availability {
    return forecast(this.#candidates(criteria), criteria, now, this.#options.leasesPerSession);
  }

  status(now: number): Omit<PoolStatus, "waiters"> {
    return this.#standings.status(now);
  }

  /** A caller who names a session, or whose key does, gets no stand-in for one that is due. */
  #prepare({ id, key }: Criteria, now: number): void {
    if (this.nextDueAt > now) return;
    if (id !== undefined) this.expire(id, now);
    else if (key !== undefined) this.expireDue(now);
  }

  #candidates(criteria: Criteria): Iterable<SessionEntry> {
    if (criteria.id === undefined) return this.#entries.values();
    const entry = this.#entries.get(criteria.id);
    return entry === undefined ? [] : [entry];
  }

  #enter(entry: Entry, usedOrder: number, now: number): void {
    entry.lastUsedSequence = usedOrder;
    this.#standings.enter(entry, now);
  }

  #drains(entry: SessionEntry, change: 1 | -1): void {
    const count = (this.#draining.get(entry) ?? 0) + change;
    if (count === 0) this.#draining.delete(entry);
    else this.#draining.set(entry, count);
    entry.isDraining = count > 0;
  }

  /** The queue must not hold an entry whose order changes. */
  #moveToEnd(entry: SessionEntry): void {
    this.#standings.ready.remove(entry);
    entry.lastUsedSequence = ++this.#useOrder;
  }

  #settle(entry: SessionEntry, now: number): void {
    if (!entry.isUnblocked) entry.cooldowns.prune(now);
    this.#standings.refresh(entry, now);
    if (!entry.isUnblocked && entry.isRemoving && !entry.isLeased) this.#forget(entry);
  }

  #forget(entry: SessionEntry): void {
    if (!entry.isEntered) return;
    this.#entries.delete(entry.id);
    this.#standings.leave(entry);
  }
}
