import type { CooldownScope } from "../cooldown-scope.js";
import type { PoolStatus, SessionState } from "../session-info.js";
import { DueTimes } from "./due-times.js";
import type { Order } from "./order.js";
import { ReadySessions } from "./ready-sessions.js";
import type { RosterEntry } from "./roster-entry.js";
import { StateCounts } from "./state-counts.js";

/**
 * How the sessions stand: how many are what, which can serve, which change by themselves and when. After every change
 * of an entry {@link refresh} brings all of it in step.
 */
export class Standings {
  readonly ready: ReadySessions;
  readonly due: DueTimes = new DueTimes();
  readonly #leasesPerSession: number;
  readonly #counts = new StateCounts();
  /** Sessions that came back from a rest, a restriction or worse, and were not told of yet. */
  #recovered: RosterEntry[] = [];

  constructor(order: Order, leasesPerSession: number) {
    this.ready = new ReadySessions(order);
    this.#leasesPerSession = leasesPerSession;
  }

  get leased(): number {
    return this.#counts.leased;
  }

  enter(entry: RosterEntry, now: number): void {
    entry.isEntered = true;
    entry.state = entry.stateAt(now);
    this.#counts.enter(entry.state);
    this.due.watch(entry, now);
    this.refresh(entry, now);
  }

  leave(entry: RosterEntry): void {
    entry.isEntered = false;
    this.#counts.leave(entry.state);
    this.ready.remove(entry);
    this.due.forget(entry);
  }

  refresh(entry: RosterEntry, now: number): void {
    // A lease that ended may still tell of a session that was removed.
    if (!entry.isEntered) return;
    if (entry.isUnhindered) this.#refreshUnhindered(entry, now);
    else this.#refreshHindered(entry, now);
  }

  /** Nothing has ever kept it from work, as with most sessions: its leases alone decide. */
  #refreshUnhindered(entry: RosterEntry, now: number): void {
    this.#become(entry, entry.isLeased ? "leased" : "free");
    if (entry.hasRoom(this.#leasesPerSession)) this.ready.add(entry, now);
    else this.ready.remove(entry);
  }

  #refreshHindered(entry: RosterEntry, now: number): void {
    const state = entry.stateAt(now);
    this.#become(entry, state);
    if (!entry.owesNews && entry.hasAnnouncedCause(now)) entry.owesNews = true;
    if (state !== "free" && state !== "leased" && state !== "foreign") entry.owesRecovery = true;
    else if (state === "free" && entry.owesRecovery) {
      entry.owesRecovery = false;
      this.#recovered.push(entry);
    }
    // Never in both: they share the entry's position.
    if (entry.canServeAt(now, this.#leasesPerSession)) {
      if (entry.isDue) this.due.remove(entry);
      this.ready.add(entry, now);
    } else {
      this.ready.remove(entry);
      if (entry.isDueSomedayAt(now, this.#leasesPerSession)) this.due.set(entry);
      else if (entry.isDue) this.due.remove(entry);
    }
  }

  #become(entry: RosterEntry, state: SessionState): void {
    if (state === entry.state) return;
    this.#counts.move(entry.state, state);
    entry.state = state;
  }

  /** A method or peer of it rests now. */
  narrow(entry: RosterEntry, scope: CooldownScope, until: number, now: number): void {
    this.due.setNarrow(entry, scope, until);
    this.ready.narrowed(entry, now);
  }

  /** Lets out what is due, at most so many. Whether that is all. */
  advance(now: number, most: number): boolean {
    let left = most;
    for (let entry = this.due.next(now); entry !== undefined; entry = this.due.next(now)) {
      if (left-- <= 0) return false;
      this.letOut(entry, now);
    }
    for (let entry = this.due.takeNarrow(now); entry !== undefined; entry = this.due.takeNarrow(now)) {
      this.ready.narrowed(entry, now);
      if (left-- <= 0) return this.due.nextAt > now;
    }
    return true;
  }

  /** Lets one out, if it is due. */
  letOut(entry: RosterEntry, now: number): void {
    if (!entry.isDue || entry.dueAt > now) return;
    if (entry.restriction !== null) entry.hinder({ restriction: null });
    this.refresh(entry, now);
  }

  get hasRecovered(): boolean {
    return this.#recovered.length > 0;
  }

  /** The sessions that came back since the last call. */
  takeRecovered(): readonly RosterEntry[] {
    const recovered = this.#recovered;
    this.#recovered = [];
    return recovered;
  }

  /** Also what is due and not let out yet counts as what it will be. */
  status(now: number): Omit<PoolStatus, "waiters"> {
    const counts = this.#counts.all();
    this.due.forEachDue(now, (entry) => {
      counts[entry.state]--;
      counts[entry.stateOnceDue(now)]++;
    });
    const canServe = this.ready.size > 0 || counts.free > 0;
    return { total: this.#counts.total, ...counts, nextAvailableAt: canServe ? now : this.due.nextRestedAt(now) };
  }
}
