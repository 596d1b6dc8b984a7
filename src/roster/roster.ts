import type { CooldownScope, Hold } from "../cooldown-scope.js";
import type { PoolStatus, SessionState } from "../session-info.js";
import { Cooldowns } from "./cooldowns.js";
import type { Criteria } from "./criteria.js";
import { IndexedHeap } from "./heap.js";
import { type BackOff, endOf, NO_BACK_OFF, type Restriction } from "./hindrances.js";
import { hasHope, type Outlook, outlookOf } from "./outlook.js";
import { RestedQueue } from "./rested-queue.js";
import { BY_DUE_INSTANT, type RosterEntry } from "./roster-entry.js";
import { Selection } from "./selection.js";

export interface RosterOptions {
  /** Leases one session may have at once. */
  readonly leasesPerSession: number;
  /** Sessions that may be leased at once. */
  readonly maxLeased: number;
}

const NONE: readonly RosterEntry[] = [];

/**
 * The in-memory truth: which session is free, leased, cooling, restricted, dead, disabled or foreign, and who is next.
 *
 * Synchronous and pure: time is an argument, nothing is awaited, nothing is stored. Every change goes through
 * `#refresh`, which keeps the counts, the queue of the rested and the heap of what is due in step with the entry.
 */
export class Roster<Entry extends RosterEntry = RosterEntry> {
  readonly #options: RosterOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #rested = new RestedQueue();
  readonly #due = new IndexedHeap<RosterEntry>(BY_DUE_INSTANT);
  /** When method and peer cooldowns end: a session that stays free becomes usable for more callers then. */
  readonly #narrowDue = new IndexedHeap<{ readonly until: number }>((a, b) => a.until - b.until);
  readonly #counts: Record<SessionState, number> = {
    free: 0,
    leased: 0,
    cooling: 0,
    restricted: 0,
    dead: 0,
    disabled: 0,
    foreign: 0,
  };
  readonly #selection: Selection;
  #useOrder = 0;
  /** Of sessions that were never used: all of them before any that was. V8 keeps 32 bit integers in place. */
  #addOrder = -(2 ** 31);
  /** Sessions that came back from a rest, a restriction or worse, and were not told of yet. */
  #recovered: RosterEntry[] = [];

  constructor(options: RosterOptions) {
    this.#options = options;
    this.#selection = new Selection(this.#entries, this.#rested, () => !this.isFull);
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
  setLeaving(entry: RosterEntry, isLeaving: boolean, now: number): void {
    entry.hinder({ isLeaving });
    this.#refresh(entry, now);
  }

  /** Forgets the entry; a leased one leaves with its last lease. Whether it is gone already. */
  remove(entry: RosterEntry, now: number): boolean {
    this.setLeaving(entry, true, now);
    if (entry.isLeased) return false;
    this.#forget(entry);
    return true;
  }

  /** Leases the session that is next for this caller, if one can serve now. */
  take(criteria: Criteria, now: number): RosterEntry | undefined {
    const entry = this.#selection.pick(criteria, now);
    if (entry === undefined) return undefined;
    entry.leases++;
    // One that can be leased again is the latest of all from now on: the next caller gets another one.
    if (this.#options.leasesPerSession > 1) this.#moveToEnd(entry);
    this.#refresh(entry, now);
    return entry;
  }

  /** Ends one lease. With `isDraining` the session stays leased until {@link drained}. */
  giveBack(entry: RosterEntry, now: number, lastUsedAt: number, isDraining: boolean): void {
    entry.leases--;
    if (isDraining) entry.draining++;
    entry.lastUsedAt = lastUsedAt;
    this.#moveToEnd(entry);
    this.#settle(entry, now);
  }

  /** Takes a lease back that nobody has used: a session of one lease keeps its place. */
  giveBackUnused(entry: RosterEntry, now: number): void {
    entry.leases--;
    this.#settle(entry, now);
  }

  /** What an ended lease had sent is answered, or its connection is gone. */
  drained(entry: RosterEntry, now: number): void {
    entry.draining--;
    this.#settle(entry, now);
  }

  /** Whether this moved the cooldown. */
  cool(entry: RosterEntry, scope: CooldownScope, until: number, reason: string, now: number): boolean {
    if (!entry.coolDown(scope, until, reason)) return false;
    if (scope.kind === "session") {
      entry.owesRecovery = true;
      this.#refresh(entry, now);
    } else this.#narrowDue.add({ until });
    return true;
  }

  /** Keeps a session that could not connect back, only ever for longer; with `NO_BACK_OFF` that ends. */
  backOff(entry: RosterEntry, backOff: BackOff, now: number): void {
    if (backOff === NO_BACK_OFF || backOff.until > entry.backOffUntil) entry.hinder({ backOff });
    this.#refresh(entry, now);
  }

  /** A restriction only ever moves later; with `null` it ends. */
  restrict(entry: RosterEntry, restriction: Restriction | null, now: number): void {
    if (restriction !== null && entry.restriction !== null && endOf(restriction) <= endOf(entry.restriction)) return;
    entry.hinder({ restriction });
    this.#refresh(entry, now);
  }

  /** With `null` it lives again. */
  kill(entry: RosterEntry, reason: string | null, now: number): void {
    entry.hinder({ deadReason: reason });
    this.#refresh(entry, now);
  }

  /** With `null` it is enabled again. */
  disable(entry: RosterEntry, reason: string | null, now: number): void {
    entry.hinder({ disabledReason: reason });
    this.#refresh(entry, now);
  }

  /** Ends death, disabling and restriction. A cooldown stays. */
  revive(entry: RosterEntry, now: number): void {
    entry.hinder({ deadReason: null, disabledReason: null, restriction: null, backOff: NO_BACK_OFF });
    this.#refresh(entry, now);
  }

  setForeign(entry: RosterEntry, isForeign: boolean, now: number): void {
    entry.hinder({ isForeign });
    this.#refresh(entry, now);
  }

  /** Lets out what is due. */
  advance(now: number): void {
    for (let entry = this.#due.peek(); entry !== undefined && entry.dueAt <= now; entry = this.#due.peek()) {
      entry.hinder({ restriction: null });
      this.#refresh(entry, now);
    }
    for (let end = this.#narrowDue.peek(); end !== undefined && end.until <= now; end = this.#narrowDue.peek()) {
      this.#narrowDue.removeFirst();
    }
  }

  /** The sessions that came back since the last call. */
  takeRecovered(): readonly RosterEntry[] {
    if (this.#recovered.length === 0) return NONE;
    const recovered = this.#recovered;
    this.#recovered = [];
    return recovered;
  }

  /** The next instant at which something changes by itself; `Infinity` when nothing does. */
  get nextDueAt(): number {
    return Math.min(
      this.#due.peek()?.dueAt ?? Number.POSITIVE_INFINITY,
      this.#narrowDue.peek()?.until ?? Number.POSITIVE_INFINITY,
    );
  }

  /** Whether the caller could be served at once. */
  canServe(criteria: Criteria, now: number): boolean {
    return this.#selection.pick(criteria, now) !== undefined;
  }

  /** Whether no further session may be leased. */
  get isFull(): boolean {
    return this.#counts.leased >= this.#options.maxLeased;
  }

  /** Whether any session can serve somebody. */
  get hasReady(): boolean {
    return this.#rested.size > 0;
  }

  /** What holds a request of this kind back on this session. */
  holdOn(entry: RosterEntry, method: string, peer: string | undefined, now: number): Hold | undefined {
    return entry.cooldowns.holds([method], peer === undefined ? [] : [peer], now);
  }

  /** Whether a caller may be served by the deadline, as far as anybody can know. */
  hasHope(criteria: Criteria, now: number, deadline: number): boolean {
    return hasHope(this.#candidates(criteria), criteria, now, deadline);
  }

  /** What a caller that has to wait can hope for. */
  outlook(criteria: Criteria, now: number): Outlook {
    return outlookOf(this.#candidates(criteria), criteria, now);
  }

  status(now: number): Omit<PoolStatus, "waiters"> {
    return {
      total: this.#entries.size,
      ...this.#counts,
      nextAvailableAt: this.#rested.size > 0 ? now : this.#nextKnownAt(),
    };
  }

  #nextKnownAt(): number | null {
    let next: number | null = null;
    for (const entry of this.#due.values()) {
      if (entry.state === "cooling" && (next === null || entry.restsUntil < next)) next = entry.restsUntil;
      if (next !== null && next === this.#due.peek()?.dueAt) break;
    }
    return next;
  }

  #candidates(criteria: Criteria): Iterable<RosterEntry> {
    if (criteria.id === undefined) return this.#entries.values();
    const entry = this.#entries.get(criteria.id);
    return entry === undefined ? [] : [entry];
  }

  #enter(entry: Entry, usedOrder: number, now: number): void {
    entry.usedOrder = usedOrder;
    entry.isEntered = true;
    entry.state = entry.stateAt(now);
    this.#counts[entry.state]++;
    this.#watchNarrow(entry, now);
    this.#refresh(entry, now);
  }

  #watchNarrow(entry: RosterEntry, now: number): void {
    if (entry.cooldowns === Cooldowns.NONE) return;
    const { methods, peers } = entry.cooldowns.entries(now);
    for (const [, until] of [...methods, ...peers]) this.#narrowDue.add({ until });
  }

  /** The queue must not hold an entry whose order changes. */
  #moveToEnd(entry: RosterEntry): void {
    this.#rested.remove(entry);
    entry.usedOrder = ++this.#useOrder;
  }

  #settle(entry: RosterEntry, now: number): void {
    entry.cooldowns.prune(now);
    this.#refresh(entry, now);
    if (entry.isLeaving && !entry.isLeased) this.#forget(entry);
  }

  #forget(entry: RosterEntry): void {
    if (!entry.isEntered) return;
    entry.isEntered = false;
    this.#entries.delete(entry.id);
    this.#counts[entry.state]--;
    this.#rested.remove(entry);
    this.#due.remove(entry);
  }

  #refresh(entry: RosterEntry, now: number): void {
    // A lease that ended may still tell of a session that was removed.
    if (!entry.isEntered) return;
    const state = entry.stateAt(now);
    if (state !== entry.state) {
      this.#counts[entry.state]--;
      this.#counts[state]++;
      entry.state = state;
    }
    if (state !== "free" && state !== "leased" && state !== "foreign") entry.owesRecovery = true;
    else if (state === "free" && entry.owesRecovery) {
      entry.owesRecovery = false;
      this.#recovered.push(entry);
    }
    if (entry.canServeAt(now, this.#options.leasesPerSession)) this.#rested.add(entry);
    else this.#rested.remove(entry);
    if (entry.isDueSomedayAt(now, this.#options.leasesPerSession)) this.#due.update(entry);
    else this.#due.remove(entry);
  }
}
