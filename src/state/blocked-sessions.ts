import type { AvailableSessions } from "./available-sessions.js";
import type { ExpiryHeap } from "./expiry-heap.js";
import type { FrozenSessions } from "./frozen-sessions.js";
import type { SessionEntry } from "./session-entry.js";

/**
 * Sessions that anything but a lease makes unavailable, or has at some time: whether they are available, when that changes
 * by itself, and which of them have become free again.
 */
export class BlockedSessions {
  /** Whether {@link takeRecovered} would return any. A field: every lease reads it. */
  hasRecovered = false;
  readonly #available: AvailableSessions;
  readonly #frozen: FrozenSessions;
  readonly #expiries: ExpiryHeap;
  readonly #leasesPerSession: number;
  #recovered: SessionEntry[] = [];

  constructor(available: AvailableSessions, frozen: FrozenSessions, expiries: ExpiryHeap, leasesPerSession: number) {
    this.#available = available;
    this.#frozen = frozen;
    this.#expiries = expiries;
    this.#leasesPerSession = leasesPerSession;
  }

  /** The sessions that have become free again since the last call. */
  takeRecovered(): readonly SessionEntry[] {
    const recovered = this.#recovered;
    this.#recovered = [];
    this.hasRecovered = false;
    return recovered;
  }

  /** Updates everything that depends on the entry, after its state. */
  update(entry: SessionEntry, now: number): void {
    if (!entry.shouldEmitRecovered && entry.hasReportedCause(now)) entry.shouldEmitRecovered = true;
    const { state } = entry;
    if (state !== "free" && state !== "leased" && state !== "foreign") entry.isRecovering = true;
    else if (state === "free" && entry.isRecovering) {
      entry.isRecovering = false;
      this.#recovered.push(entry);
      this.hasRecovered = true;
    }
    this.#refreshFrozen(entry, now);
    // Never in both the queue and the expiry heap: they share the entry's position.
    if (entry.canServeAt(now, this.#leasesPerSession)) {
      if (entry.isScheduled) this.#expiries.remove(entry);
      this.#available.add(entry, now);
      return;
    }
    this.#available.remove(entry);
    if (entry.becomesAvailableByTimeAt(now, this.#leasesPerSession)) this.#expiries.set(entry);
    else if (entry.isScheduled) this.#expiries.remove(entry);
  }

  /** The end of a cooldown makes a frozen session available to callers that read, while the heap has the end of its freeze. */
  #refreshFrozen(entry: SessionEntry, now: number): void {
    if (this.#frozen.size === 0 && !entry.isFrozen) return;
    this.#frozen.update(entry);
    if (entry.isFrozen && entry.unavailableUntil > now)
      this.#expiries.setScoped(entry, { kind: "session" }, entry.unavailableUntil);
  }
}
