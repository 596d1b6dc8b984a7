import type { LeaseScheduler } from "./acquire/lease-scheduler.js";
import type { Clock } from "./common/clock.js";
import type { ProcessRef } from "./common/process-ref.js";
import type { ConnectionPool } from "./connections/connection-pool.js";
import type { HealthProbe } from "./connections/health-probe.js";
import type { PersistentConnections } from "./connections/persistent-connections.js";
import type { BulkRunManager } from "./jobs/bulk/bulk-run-manager.js";
import type { LeaseManager } from "./lease/lease-manager.js";
import type { PoolLog } from "./observability/pool-log.js";
import type { Ownership } from "./ownership/ownership.js";
import type { SingleProcessLock } from "./ownership/single-process-lock.js";
import type { PoolLifecycle } from "./pool-lifecycle.js";
import type { RateLimiting } from "./rate-limits/rate-limiting.js";
import type { SessionRemoval } from "./sessions/session-removal.js";
import type { StorageSync } from "./sessions/storage-sync.js";
import type { PeerCacheWriter } from "./storage/peer-cache-writer.js";
import type { RecordWriter } from "./storage/record-writer.js";
import type { SessionStorage } from "./storage/storage.js";
import type { StorageTimeout } from "./storage/storage-timeout.js";

/** What ending a pool needs. */
export interface ShutdownDeps {
  readonly lifecycle: PoolLifecycle;
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
  #ended: Promise<void> | undefined;
  #isForced = false;
  #forceClose: () => void = () => {};

  constructor(parts: ShutdownDeps) {
    this.#parts = parts;
  }

  close(timeoutMs: number = this.#parts.closeTimeoutMs): Promise<void> {
    this.#ended ??= this.#end(timeoutMs);
    return this.#ended;
  }

  destroy(reason?: Error): Promise<void> {
    this.#parts.lifecycle.setReason(reason);
    this.#isForced = true;
    this.#ended ??= this.#end(undefined);
    this.#forceClose();
    return this.#ended;
  }

  /** Leases get `timeoutMs` to end; with `undefined` they end now, and it is nobody's fault. */
  async #end(timeoutMs: number | undefined): Promise<void> {
    const {
      lifecycle,
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
    lifecycle.beginClosing();
    // One turn later: nothing is rejected in the stack of the caller of `close`.
    await Promise.resolve();
    scheduler.fail(() => lifecycle.toClosedError());
    const mapsEnd = this.#parts.maps.end(lifecycle.toClosedError());
    if (timeoutMs !== undefined && !this.#isForced) await this.#drainLeases(timeoutMs);
    lifecycle.endWaiting();
    persistentConnections.end();
    healthProbe.end();
    leases.revokeAll((id) => lifecycle.toClosedError(id), "the pool was closed", timeoutMs !== undefined);
    await connections.closeAll("the pool was closed");
    refresh.stop();
    await Promise.allSettled([mapsEnd]);
    await lifecycle.drain();
    await Promise.all([removal.end(), recordWriter.flushAll(), peers.flush(), budgets?.flush().catch(storageFailed)]);
    await lifecycle.drain();
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
