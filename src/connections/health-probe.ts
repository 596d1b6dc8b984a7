import type { LeaseScheduler } from "../acquire/lease-scheduler.js";
import type { Clock, Timer } from "../common/clock.js";
import type { PoolTime } from "../common/pool-time.js";
import { markDirty, type PooledSession } from "../state/pooled-session.js";
import { NO_BACK_OFF } from "../state/session-entry.js";
import type { SessionRegistry } from "../state/session-registry.js";
import { isTelegramErrorCode, type SessionStateManager } from "../state/session-state.js";
import type { SessionTable } from "../state/session-table.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { type ConnectionPool, Opening } from "./connection-pool.js";

/** What asking for sessions needs. */
export interface HealthProbeDeps {
  readonly clock: Clock;
  readonly time: PoolTime;
  readonly probeIntervalMs: number;
  readonly registry: SessionRegistry;
  readonly sessionTable: SessionTable;
  readonly recordWriter: RecordWriter;
  readonly scheduler: LeaseScheduler;
  readonly sessionState: SessionStateManager;
  readonly connections: () => ConnectionPool<unknown>;
}

/**
 * Asks Telegram, every `probeIntervalMs`, whether an account that it restricted, or whose session it called dead, is answered
 * again; then the session is free. One at a time: very many may have died at once. What a person has said (`disable`,
 * `retire`) nobody but a person takes back.
 */
export class HealthProbe {
  readonly #parts: HealthProbeDeps;
  /** One for each session that may come back; that of one that was removed goes when it fires. */
  readonly #timers = new Map<string, Timer>();
  #queue: Promise<void> = Promise.resolve();
  #probingId: string | undefined;
  #isEnded = false;

  constructor(parts: HealthProbeDeps) {
    this.#parts = parts;
  }

  /** Whether it is asked right now: the one reason to connect it and to send with it. */
  isProbing(id: string): boolean {
    return this.#probingId === id;
  }

  /** The session may have come to need to be asked. */
  schedule(id: string): void {
    const { registry, clock, probeIntervalMs } = this.#parts;
    const known = registry.get(id);
    if (this.#isEnded || !Number.isFinite(probeIntervalMs) || this.#timers.has(id) || known === undefined) return;
    if (!isProbeable(known)) return;
    const timer = clock.setTimer(probeIntervalMs, () => {
      this.#timers.delete(id);
      this.#queue = this.#queue.then(() => this.#ask(id));
    });
    this.#timers.set(id, timer);
  }

  scheduleAll(): void {
    if (Number.isFinite(this.#parts.probeIntervalMs)) for (const id of this.#parts.registry.ids()) this.schedule(id);
  }

  end(): void {
    this.#isEnded = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  async #ask(id: string): Promise<void> {
    const known = this.#parts.registry.get(id);
    if (this.#isEnded || known === undefined) return;
    if (isProbeable(known) && this.#mayBeAsked(known)) {
      this.#probingId = id;
      try {
        if (await this.#isAnswered(id)) this.#revive(known);
      } catch {
        // What it tells was taken in where it came in: it still stands, rests now, or could not connect.
      } finally {
        this.#probingId = undefined;
      }
    }
    this.schedule(id);
  }

  #mayBeAsked(known: PooledSession): boolean {
    if (known.isLeased || known.isForeign || known.disabledReason !== null) return false;
    return known.unavailableUntil <= this.#parts.time.now();
  }

  async #isAnswered(id: string): Promise<boolean> {
    const connections = this.#parts.connections();
    const opening = new Opening(true);
    const connection = await connections.checkOut(id, opening);
    let isAnswered = false;
    try {
      const { handle } = connection;
      if (handle.probe !== undefined) {
        await handle.probe();
        isAnswered = true;
      }
    } finally {
      await connections.end(opening, isAnswered ? undefined : "the session is still not to be used");
    }
    return isAnswered;
  }

  #revive(known: PooledSession): void {
    const { sessionTable, time, scheduler, recordWriter, sessionState } = this.#parts;
    if (!isProbeable(known)) return;
    const now = time.now();
    sessionState.clearFatal(known.id);
    sessionTable.restrict(known, null, now);
    sessionTable.backOff(known, NO_BACK_OFF, now);
    sessionTable.kill(known, null, now);
    markDirty(known, "answered");
    void recordWriter.save(known.id);
    scheduler.serveWaiters();
  }
}

/** Whether Telegram has said what keeps it from work. */
function isProbeable({ isRemoving, restriction, deadReason }: PooledSession): boolean {
  if (isRemoving) return false;
  return deadReason === null ? restriction !== null : isTelegramErrorCode(deadReason);
}
