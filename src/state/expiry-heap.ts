import { IndexedHeap, type Positions } from "../common/indexed-heap.js";
import { type CooldownScope, Cooldowns } from "./cooldowns.js";
import { IN_ENTRIES, type SessionEntry } from "./session-entry.js";

/** The end of a method or peer cooldown: a session that stays free becomes usable for more callers then. */
interface ScopedExpiry {
  readonly entry: SessionEntry;
  readonly scope: string;
  position: number | undefined;
}

const IN_ENDS: Positions<ScopedExpiry> = {
  get: ({ position }) => position,
  set: (end, position) => {
    end.position = position;
  },
  delete: (end) => {
    end.position = undefined;
  },
};

/** When which session changes by itself. */
export class ExpiryHeap {
  /** Of those due at once, the longest rested comes first. */
  readonly #sessions = new IndexedHeap<SessionEntry>((a, b) => a.lastUsedSequence - b.lastUsedSequence, IN_ENTRIES);
  readonly #scoped = new IndexedHeap<ScopedExpiry>(() => 0, IN_ENDS);
  /** The same by session and scope: one for each that rests, until that ends or the session leaves. */
  readonly #ends = new Map<SessionEntry, Map<string, ScopedExpiry>>();

  /** The next instant at which anything changes; `Infinity` when nothing does. */
  get nextAt(): number {
    return Math.min(this.#sessions.firstKey, this.#scoped.firstKey);
  }

  set(entry: SessionEntry): void {
    this.#sessions.update(entry, entry.dueAt);
  }

  remove(entry: SessionEntry): void {
    this.#sessions.remove(entry);
  }

  /** The entry has left for good. */
  forget(entry: SessionEntry): void {
    this.remove(entry);
    for (const end of this.#ends.get(entry)?.values() ?? []) this.#scoped.remove(end);
    this.#ends.delete(entry);
  }

  /** Takes note of the cooldowns of methods and peers that an entry comes with. */
  watch(entry: SessionEntry, now: number): void {
    if (entry.cooldowns === Cooldowns.NONE) return;
    const { methods, peers } = entry.cooldowns.entries(now);
    for (const [method, until] of methods) this.setNarrow(entry, { kind: "method", method }, until);
    for (const [peer, until] of peers) this.setNarrow(entry, { kind: "peer", peer }, until);
  }

  /** When this scope of the entry rests no longer; replaces an earlier instant. */
  setNarrow(entry: SessionEntry, scope: CooldownScope, until: number): void {
    const ends = this.#ends.get(entry) ?? new Map<string, ScopedExpiry>();
    this.#ends.set(entry, ends);
    const name = nameOf(scope);
    const end = ends.get(name) ?? { entry, scope: name, position: undefined };
    ends.set(name, end);
    this.#scoped.update(end, until);
  }

  /** One that is due. It stays in until its instant is set anew, or it is removed. */
  next(now: number): SessionEntry | undefined {
    return this.#sessions.firstKey <= now ? this.#sessions.peek() : undefined;
  }

  /** All that are due. */
  forEachDue(now: number, visit: (entry: SessionEntry) => void): void {
    if (this.#sessions.firstKey <= now) this.#sessions.forEachUpTo(now, visit);
  }

  /** One of whose method or peer cooldowns has ended. */
  takeScoped(now: number): SessionEntry | undefined {
    if (this.#scoped.firstKey > now) return undefined;
    const end = this.#scoped.peek();
    if (end === undefined) return undefined;
    this.#scoped.remove(end);
    const ends = this.#ends.get(end.entry);
    ends?.delete(end.scope);
    if (ends?.size === 0) this.#ends.delete(end.entry);
    return end.entry;
  }

  /** The earliest instant at which one that rests can serve; one that is leased is here only when it has room. */
  nextRestedAt(now: number): number | null {
    const next = this.#sessions.find(
      ({ restriction, unavailableUntil: restsUntil }) => restriction === null && restsUntil > now,
    );
    let earliest = next?.unavailableUntil ?? Number.POSITIVE_INFINITY;
    this.forEachDue(now, (entry) => {
      // A restriction has ended; what it rests for besides may end later.
      if (entry.unavailableUntil > now && !entry.isForeign) earliest = Math.min(earliest, entry.unavailableUntil);
    });
    return Number.isFinite(earliest) ? earliest : null;
  }
}

/** Neither names of methods nor those of peers have spaces. */
function nameOf(scope: CooldownScope): string {
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
