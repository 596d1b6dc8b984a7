import type { PoolStatus, SessionState } from "../options/session-info.js";
import { AvailableSessions } from "./available-sessions.js";
import type { CooldownScope } from "./cooldowns.js";
import { ExpiryHeap } from "./expiry-heap.js";
import type { SelectionOrder } from "./selection-order.js";
import type { SessionEntry } from "./session-entry.js";
import { StateCounts } from "./state-counts.js";

/**
 * How the sessions stand: how many are what, which can serve, which change by themselves and when. After every change
 * of an entry {@link refresh} brings all of it in step.
 */
export class SessionStates {
  readonly ready: AvailableSessions;
  readonly due: ExpiryHeap = new ExpiryHeap();
  readonly #leasesPerSession: number;
  readonly #counts = new StateCounts();
  /** Sessions that came back from a rest, a restriction or worse, and were not told of yet. */
  #recovered: SessionEntry[] = [];

  constructor(order: SelectionOrder, leasesPerSession: number) {
    this.ready = new AvailableSessions(order);
    this.#leasesPerSession = leasesPerSession;
  }

  get leased(): number {
    return this.#counts.leased;
  }

  enter(entry: SessionEntry, now: number): void {
    entry.isEntered = true;
    entry.state = entry.stateAt(now);
    this.#counts.enter(entry.state);
    this.due.watch(entry, now);
    this.refresh(entry, now);
  }

  leave(entry: SessionEntry): void {
    entry.isEntered = false;
    this.#counts.leave(entry.state);
    this.ready.remove(entry);
    this.due.forget(entry);
  }

  refresh(entry: SessionEntry, now: number): void {
    // A lease that ended may still tell of a session that was removed.
    if (!entry.isEntered) return;
    if (entry.isUnblocked) this.#refreshUnhindered(entry, now);
    else this.#refreshHindered(entry, now);
  }

  /** Nothing has ever kept it from work, as with most sessions: its leases alone decide. */
  #refreshUnhindered(entry: SessionEntry, now: number): void {
    this.#become(entry, entry.isLeased ? "leased" : "free");
    if (entry.hasRoom(this.#leasesPerSession)) this.ready.add(entry, now);
    else this.ready.remove(entry);
  }

  #refreshHindered(entry: SessionEntry, now: number): void {
    const state = entry.stateAt(now);
    this.#become(entry, state);
    if (!entry.owesNews && entry.hasAnnouncedCause(now)) entry.owesNews = true;
    if (state !== "free" && state !== "leased" && state !== "foreign") entry.shouldEmitRecovered = true;
    else if (state === "free" && entry.shouldEmitRecovered) {
      entry.shouldEmitRecovered = false;
      this.#recovered.push(entry);
    }
    // Never in both: they share the entry's position.
    if (entry.canServeAt(now, this.#leasesPerSession)) {
      if (entry.isDue) this.due.remove(entry);
      this.ready.add(entry, now);
    } else {
      this.ready.remove(entry);
      if (entry.becomesAvailableByTimeAt(now, this.#leasesPerSession)) this.due.set(entry);
      else if (entry.isDue) this.due.remove(entry);
    }
  }

  #become(entry: SessionEntry, state: SessionState): void {
    if (state === entry.state) return;
    this.#counts.move(entry.state, state);
    entry.state = state;
  }

  /** A method or peer of it rests now. */
  narrow(entry: SessionEntry, scope: CooldownScope, until: number, now: number): void {
    this.due.setNarrow(entry, scope, until);
    this.ready.onScopedCooldownChanged(entry, now);
  }

  /** Lets out what is due, at most so many. Whether that is all. */
  expireDue(now: number, most: number): boolean {
    let left = most;
    for (let entry = this.due.next(now); entry !== undefined; entry = this.due.next(now)) {
      if (left-- <= 0) return false;
      this.expire(entry, now);
    }
    for (let entry = this.due.takeScoped(now); entry !== undefined; entry = this.due.takeScoped(now)) {
      this.ready.onScopedCooldownChanged(entry, now);
      if (left-- <= 0) return this.due.nextAt > now;
    }
    return true;
  }

  /** Lets one out, if it is due. */
  expire(entry: SessionEntry, now: number): void {
    if (!entry.isDue || entry.dueAt > now) return;
    if (entry.restriction !== null) entry.setBlockers({ restriction: null });
    this.refresh(entry, now);
  }

  get hasRecovered(): boolean {
    return this.#recovered.length > 0;
  }

  /** The sessions that came back since the last call. */
  takeRecovered(): readonly SessionEntry[] {
    const recovered = this.#recovered;
    this.#recovered = [];
    return recovered;
  }

  /** Also what is due and not let out yet counts as what it will be. */
  status(now: number): Omit<PoolStatus, "waiters"> {
    const counts = this.#counts.all();
    this.due.forEachDue(now, (entry) => {
      counts[entry.state]--;
      counts[entry.stateAfterExpiry(now)]++;
    });
    const canServe = this.ready.size > 0 || counts.free > 0;
    return { total: this.#counts.total, ...counts, nextAvailableAt: canServe ? now : this.due.nextRestedAt(now) };
  }
}
