import { Cooldowns } from "./cooldowns.js";
import { IndexedHeap, NOWHERE } from "./heap.js";
import { IN_ENTRIES, type RosterEntry } from "./roster-entry.js";

/** The end of a method or peer cooldown: a session that stays free becomes usable for more callers then. */
interface NarrowEnd {
  readonly entry: RosterEntry;
}

/** When which session changes by itself. */
export class DueTimes {
  /** Of those due at once, the longest rested comes first. */
  readonly #sessions = new IndexedHeap<RosterEntry>((a, b) => a.usedOrder - b.usedOrder, IN_ENTRIES);
  readonly #narrow = new IndexedHeap<NarrowEnd>(() => 0, NOWHERE);

  /** The next instant at which anything changes; `Infinity` when nothing does. */
  get nextAt(): number {
    return Math.min(this.#sessions.firstKey, this.#narrow.firstKey);
  }

  set(entry: RosterEntry): void {
    this.#sessions.update(entry, entry.dueAt);
  }

  remove(entry: RosterEntry): void {
    this.#sessions.remove(entry);
  }

  /** Takes note of the cooldowns of methods and peers that an entry comes with. */
  watch(entry: RosterEntry, now: number): void {
    if (entry.cooldowns === Cooldowns.NONE) return;
    const { methods, peers } = entry.cooldowns.entries(now);
    for (const [, until] of [...methods, ...peers]) this.addNarrow(entry, until);
  }

  addNarrow(entry: RosterEntry, until: number): void {
    this.#narrow.add({ entry }, until);
  }

  /** One that is due. It stays in until its instant is set anew, or it is removed. */
  next(now: number): RosterEntry | undefined {
    return this.#sessions.firstKey <= now ? this.#sessions.peek() : undefined;
  }

  /** All that are due. */
  forEachDue(now: number, visit: (entry: RosterEntry) => void): void {
    if (this.#sessions.firstKey <= now) this.#sessions.forEachUpTo(now, visit);
  }

  /** One of whose method or peer cooldowns has ended. */
  takeNarrow(now: number): RosterEntry | undefined {
    if (this.#narrow.firstKey > now) return undefined;
    const end = this.#narrow.peek();
    this.#narrow.removeFirst();
    return end?.entry;
  }

  /** The earliest instant at which one that rests can serve; one that is leased is here only when it has room. */
  nextRestedAt(now: number): number | null {
    const next = this.#sessions.find(({ restriction, restsUntil }) => restriction === null && restsUntil > now);
    let earliest = next?.restsUntil ?? Number.POSITIVE_INFINITY;
    this.forEachDue(now, (entry) => {
      // A restriction has ended; what it rests for besides may end later.
      if (entry.restsUntil > now && !entry.isForeign) earliest = Math.min(earliest, entry.restsUntil);
    });
    return Number.isFinite(earliest) ? earliest : null;
  }
}
