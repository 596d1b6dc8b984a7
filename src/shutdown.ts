import type { LeaseScheduler } from "./acquire/lease-scheduler.js";
import type { Clock } from "./common/clock.js";
import type { ProcessRef } from "./common/process-ref.js";
import type { ConnectionPool } from "./connections/connection-pool.js";
import type { HealthProbe } from "./connections/health-probe.js";
import type { PersistentConnections } from "./connections/persistent-connections.js";
import { PoolClosedError } from "./errors.js";
import type { BulkRunManager } from "./jobs/bulk/bulk-run-manager.js";
import type { LeaseManager } from "./lease/lease-manager.js";
import type { PoolLog } from "./observability/pool-log.js";
import type { Ownership } from "./ownership/ownership.js";
import type { SingleProcessLock } from "./ownership/single-process-lock.js";
import type { RateLimiting } from "./rate-limits/rate-limiting.js";
import type { SessionRemoval } from "./sessions/session-removal.js";
import type { StorageSync } from "./sessions/storage-sync.js";
import type { PeerCacheWriter } from "./storage/peers/peer-cache-writer.js";
import type { RecordWriter } from "./storage/record-writer.js";
import type { SessionStorage } from "./storage/storage.js";
import type { StorageTimeout } from "./storage/storage-timeout.js";

/** What ending a pool needs. */
export interface ShutdownDeps {
  readonly clock: Clock;
  readonly closeTimeoutMs: number;
  readonly scheduler: LeaseScheduler;
  readonly leases: LeaseManager<unknown>;
  readonly connections: ConnectionPool<unknown>;
  readonly recordWriter: RecordWriter;
  readonly ownership: Ownership;
  readonly refresh: StorageSync;
  readonly removal: SessionRemoval;
  readonly peers: PeerCacheWriter;
  readonly budgets: Pick<RateLimiting, "flush"> | undefined;
  readonly persistentConnections: PersistentConnections;
  readonly healthProbe: HealthProbe;
  readonly processLock: SingleProcessLock | undefined;
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly processRef: ProcessRef;
  readonly maps: Pick<BulkRunManager<unknown>, "end" | "close">;
  storageFailed(error: Error): void;
  readonly log: Pick<PoolLog, "close" | "write">;
}

/** The end of a pool: callers, leases, clients, writes, storage, in that order, each within its deadline. */
export class Shutdown {
  readonly #parts: ShutdownDeps;
  /** Those that are under way. */
  readonly #changes = new Set<Promise<unknown>>();
  #ended: Promise<void> | undefined;
  #reason: Error | undefined;
  #isForced = false;
  /** Leases may still end by themselves. */
  #isWaiting = true;
  #forceClose: () => void = () => {};

  constructor(parts: ShutdownDeps) {
    this.#parts = parts;
  }

  /** What everybody gets who comes too late. A caller that is under way may go on until leases are waited for no longer. */
  closedError(isUnderWay = false): PoolClosedError | undefined {
    const mayGoOn = this.#ended === undefined || (isUnderWay && this.#isWaiting);
    return mayGoOn ? undefined : poolClosedError(this.#reason);
  }

  /** A change that is under way is waited for. */
  track<T>(change: Promise<T>): Promise<T> {
    this.#changes.add(change);
    const forget = (): boolean => this.#changes.delete(change);
    change.then(forget, forget);
    return change;
  }

  close(timeoutMs: number = this.#parts.closeTimeoutMs): Promise<void> {
    this.#ended ??= this.#end(timeoutMs);
    return this.#ended;
  }

  destroy(reason?: Error): Promise<void> {
    this.#reason ??= reason;
    this.#isForced = true;
    this.#ended ??= this.#end(undefined);
    this.#forceClose();
    return this.#ended;
  }

  /** Leases get `timeoutMs` to end; with `undefined` they end now, and it is nobody's fault. */
  async #end(timeoutMs: number | undefined): Promise<void> {
    const {
      scheduler,
      leases,
      connections,
      recordWriter,
      ownership,
      refresh,
      removal,
      peers,
      budgets,
      persistentConnections,
      healthProbe,
      processLock,
      processRef,
      storageFailed,
    } = this.#parts;
    processRef.ref();
    // One turn later `closed()` is set, and what is rejected here can look at it.
    await Promise.resolve();
    scheduler.fail(() => poolClosedError(this.#reason));
    const mapsEnd = this.#parts.maps.end(poolClosedError(this.#reason));
    if (timeoutMs !== undefined && !this.#isForced) await this.#drainLeases(timeoutMs);
    this.#isWaiting = false;
    persistentConnections.end();
    healthProbe.end();
    leases.revokeAll((id) => poolClosedError(this.#reason, id), "the pool was closed", timeoutMs !== undefined);
    await connections.closeAll("the pool was closed");
    refresh.stop();
    await Promise.allSettled([mapsEnd]);
    await this.#drainChanges();
    await Promise.all([removal.end(), recordWriter.flushAll(), peers.flush(), budgets?.flush().catch(storageFailed)]);
    await this.#drainChanges();
    recordWriter.close();
    ownership.end();
    peers.close();
    await processLock?.release().catch(storageFailed);
    await this.#parts.maps.close().catch(storageFailed);
    await this.#closeStorage();
    scheduler.close();
    this.#parts.log.close();
    processRef.end();
  }

  /** A change that ends may leave something to be done after it. */
  async #drainChanges(): Promise<void> {
    while (this.#changes.size > 0) await Promise.allSettled(this.#changes);
  }

  /** Resolves when no lease is left, or after `timeoutMs`. */
  #drainLeases(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { clock, leases, log } = this.#parts;
      const timer = Number.isFinite(timeoutMs) ? clock.setTimer(timeoutMs, () => end()) : undefined;
      const notice = clock.setTimer(NOTICE_AFTER_MS, () => {
        log.write("warn", waitsFor(leases, timeoutMs - NOTICE_AFTER_MS), { event: "closeWaits" });
      });
      const end = (): void => {
        timer?.cancel();
        notice.cancel();
        resolve();
      };
      this.#forceClose = end;
      void leases.idle().then(end);
    });
  }

  async #closeStorage(): Promise<void> {
    const { storage, deadline, storageFailed } = this.#parts;
    await deadline.run("close", () => storage.close?.()).catch(storageFailed);
  }
}

/** So long `close` waits in silence. */
const NOTICE_AFTER_MS = 1_000;
/** Leases that are named one by one. */
const MOST_NAMED = 10;

/** For whom a pool waits that is being closed: without it, that looks as if the process hung. */
function waitsFor(all: Pick<LeaseManager<unknown>, "list" | "expected">, leftMs: number): string {
  const leases = all.list();
  const named = leases.slice(0, MOST_NAMED).map(({ id, heldMs, stack }) => {
    const place = stack === undefined ? "" : `, taken at${stack.replace(/^[^\n]*/, "")}`;
    return `"${id}" (held for ${Math.round(heldMs / 1000)} s${place})`;
  });
  const more = leases.length > MOST_NAMED ? ` and ${leases.length - MOST_NAMED} more` : "";
  const end = Number.isFinite(leftMs)
    ? ` for ${Math.max(0, Math.ceil(leftMs / 1000))} s more, then takes them back`
    : "";
  if (leases.length === 0) return `close() waits for ${all.expected} callers whose session still connects${end}.`;
  const hint = leases.some(({ stack }) => stack !== undefined)
    ? ""
    : " Was release() forgotten? traceLeases: true tells where they were taken.";
  return `close() waits for ${leases.length === 1 ? "a lease" : `${leases.length} leases`}${end}: ${named.join(", ")}${more}.${hint}`;
}

function poolClosedError(reason: Error | undefined, sessionId?: string): PoolClosedError {
  return new PoolClosedError("The pool is closed.", {
    ...(reason === undefined ? {} : { cause: reason }),
    sessionId,
  });
}
