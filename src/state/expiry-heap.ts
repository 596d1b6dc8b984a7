import { IndexedHeap, type Positions } from "../common/indexed-heap.js";
import { type CooldownScope, Cooldowns } from "./cooldowns.js";
import { ENTRY_POSITIONS, type SessionEntry } from "./session-entry.js";

/** The end of a method or peer cooldown: from then on the session can serve more callers. */
interface ScopedExpiry {
  readonly entry: SessionEntry;
  readonly scope: string;
  position: number | undefined;
}

const EXPIRY_POSITIONS: Positions<ScopedExpiry> = {
  get: ({ position }) => position,
  set: (expiry, position) => {
    expiry.position = position;
  },
  delete: (expiry) => {
    expiry.position = undefined;
  },
};

/** The instants at which sessions change by themselves. */
export class ExpiryHeap {
  /** The next instant at which anything changes; `Infinity` if nothing does. A field: every lease reads it. */
  nextAt: number = Number.POSITIVE_INFINITY;
  /** Sessions by due instant; at the same instant, the least recently used is first. */
  readonly #sessions = new IndexedHeap<SessionEntry>(
    (a, b) => a.lastUsedSequence - b.lastUsedSequence,
    ENTRY_POSITIONS,
  );
  readonly #scoped = new IndexedHeap<ScopedExpiry>(() => 0, EXPIRY_POSITIONS);
  /** The same expiries by session and scope, until they are reached or the session is removed. */
  readonly #scopedByEntry = new Map<SessionEntry, Map<string, ScopedExpiry>>();

  /** Sets the instant of an entry to its `dueAt`. */
  set(entry: SessionEntry): void {
    this.#sessions.update(entry, entry.dueAt);
    this.#updateNext();
  }

  remove(entry: SessionEntry): void {
    this.#sessions.remove(entry);
    this.#updateNext();
  }

  /** Removes the entry and its method and peer cooldowns. */
  removeAll(entry: SessionEntry): void {
    for (const expiry of this.#scopedByEntry.get(entry)?.values() ?? []) this.#scoped.remove(expiry);
    this.#scopedByEntry.delete(entry);
    this.remove(entry);
  }

  /** Adds the method and peer cooldowns that a loaded entry has. */
  addScoped(entry: SessionEntry, now: number): void {
    if (entry.cooldowns === Cooldowns.NONE) return;
    const { methods, peers } = entry.cooldowns.entries(now);
    for (const [method, until] of methods) this.setScoped(entry, { kind: "method", method }, until);
    for (const [peer, until] of peers) this.setScoped(entry, { kind: "peer", peer }, until);
  }

  /** Sets the end of a cooldown of the entry. */
  setScoped(entry: SessionEntry, scope: CooldownScope, until: number): void {
    const expiries = this.#scopedByEntry.get(entry) ?? new Map<string, ScopedExpiry>();
    this.#scopedByEntry.set(entry, expiries);
    const name = scopeName(scope);
    const expiry = expiries.get(name) ?? { entry, scope: name, position: undefined };
    expiries.set(name, expiry);
    this.#scoped.update(expiry, until);
    this.#updateNext();
  }

  /** The entry that is due first. It stays in the heap until its instant is set again or it is removed. */
  firstDue(now: number): SessionEntry | undefined {
    return this.#sessions.firstKey <= now ? this.#sessions.peek() : undefined;
  }

  /** Visits all entries that are due. */
  forEachDue(now: number, visit: (entry: SessionEntry) => void): void {
    if (this.#sessions.firstKey <= now) this.#sessions.forEachUpTo(now, visit);
  }

  /** Removes one method or peer cooldown that has ended, and returns its entry. */
  takeScoped(now: number): SessionEntry | undefined {
    if (this.#scoped.firstKey > now) return undefined;
    const expiry = this.#scoped.peek();
    if (expiry === undefined) return undefined;
    this.#scoped.remove(expiry);
    this.#updateNext();
    const expiries = this.#scopedByEntry.get(expiry.entry);
    expiries?.delete(expiry.scope);
    if (expiries?.size === 0) this.#scopedByEntry.delete(expiry.entry);
    return expiry.entry;
  }

  /** The earliest instant at which a cooldown or back-off ends and its session can serve; a restriction counts as none. */
  nextAvailableAt(now: number): number | null {
    const next = this.#sessions.find(
      ({ restriction, unavailableUntil }) => restriction === null && unavailableUntil > now,
    );
    let earliest = next?.unavailableUntil ?? Number.POSITIVE_INFINITY;
    this.forEachDue(now, (entry) => {
      // The restriction has ended; a cooldown of the session may end later.
      if (entry.unavailableUntil > now && !entry.isForeign) earliest = Math.min(earliest, entry.unavailableUntil);
    });
    return Number.isFinite(earliest) ? earliest : null;
  }

  #updateNext(): void {
    this.nextAt = Math.min(this.#sessions.firstKey, this.#scoped.firstKey);
  }
}

/** Names of methods and peers contain no spaces. */
function scopeName(scope: CooldownScope): string {
  switch (scope.kind) {
    case "session":
      return "";
    case "method":
      return `method ${scope.method}`;
    case "peer":
      return `peer ${scope.peer}`;
    case "budget":
      return `budget ${scope.method} ${scope.peer ?? ""}`;
  }
}
