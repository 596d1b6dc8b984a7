import type { LeaseScheduler } from "./acquire/lease-scheduler.js";
import type { PeerKnowledge } from "./acquire/peer-knowledge.js";
import type { SessionAcquirer } from "./acquire/session-acquirer.js";
import type { ProcessRef } from "./common/process-ref.js";
import type { ConnectionPool } from "./connections/connection-pool.js";
import type { ExpiryReader } from "./connections/expiry-reader.js";
import type { ExpiryTouch } from "./connections/expiry-touch.js";
import type { ExpiryWatch } from "./connections/expiry-watch.js";
import type { HealthProbe } from "./connections/health-probe.js";
import type { PersistentConnections } from "./connections/persistent-connections.js";
import type { BulkRunManager } from "./jobs/bulk/bulk-run-manager.js";
import type { SessionCheck } from "./jobs/check-session.js";
import type { JobRunner } from "./jobs/job-runner.js";
import type { LeaseManager } from "./lease/lease-manager.js";
import type { Ownership } from "./ownership/ownership.js";
import type { SingleProcessLock } from "./ownership/single-process-lock.js";
import type { PoolContext } from "./pool-context.js";
import type { PoolLifecycle } from "./pool-lifecycle.js";
import type { RateLimiting } from "./rate-limits/rate-limiting.js";
import type { Reencryption } from "./sessions/reencryption.js";
import type { SessionAdmin } from "./sessions/session-admin.js";
import type { SessionRemoval } from "./sessions/session-removal.js";
import type { StorageSync } from "./sessions/storage-sync.js";
import type { SessionRegistry } from "./state/session-registry.js";
import type { PeerCacheWriter } from "./storage/peer-cache-writer.js";
import type { RecordWriter } from "./storage/record-writer.js";
import { StorageTimeout } from "./storage/storage-timeout.js";

/** The parts of a pool: what its methods call, and what its end has to end. */
export interface PoolParts<Client> {
  readonly context: PoolContext<Client>;
  readonly lifecycle: PoolLifecycle;
  readonly processRef: ProcessRef;
  readonly processLock: SingleProcessLock | undefined;
  readonly registry: SessionRegistry;
  readonly recordWriter: RecordWriter;
  readonly peers: PeerCacheWriter;
  readonly ownership: Ownership;
  readonly rateLimits: RateLimiting | undefined;
  readonly connections: ConnectionPool<Client>;
  readonly persistentConnections: PersistentConnections;
  readonly healthProbe: HealthProbe<Client>;
  readonly expiryWatch: ExpiryWatch;
  readonly expiryTouch: ExpiryTouch<Client>;
  readonly expiryReader: ExpiryReader<Client>;
  readonly admin: SessionAdmin;
  readonly removal: SessionRemoval;
  readonly storageSync: StorageSync;
  readonly reencryption: Reencryption;
  readonly scheduler: LeaseScheduler;
  readonly leases: LeaseManager<Client>;
  readonly peerKnowledge: PeerKnowledge;
  readonly acquirer: SessionAcquirer<Client>;
  readonly jobRunner: JobRunner<Client>;
  readonly sessionCheck: SessionCheck<Client>;
  readonly bulkRuns: BulkRunManager<Client>;
}

/** Ends a pool: callers, leases, clients, writes and storage, in this order, each within its deadline. */
export class Shutdown {
  readonly #parts: PoolParts<unknown>;
  #ended: Promise<void> | undefined;
  #isForced = false;
  #forceClose: () => void = () => {};

  constructor(parts: PoolParts<unknown>) {
    this.#parts = parts;
  }

  /** Ends the pool after its leases, which get `timeoutMs` to end. A second call returns the same promise. */
  close(timeoutMs: number = this.#parts.context.options.closeTimeoutMs): Promise<void> {
    this.#ended ??= this.#end(timeoutMs);
    return this.#ended;
  }

  /** Ends the pool now; a concurrent `close` stops waiting for leases. */
  destroy(reason?: Error): Promise<void> {
    this.#parts.lifecycle.setReason(reason);
    this.#isForced = true;
    this.#ended ??= this.#end(undefined);
    this.#forceClose();
    return this.#ended;
  }

  /** Leases get `timeoutMs` to end; with `undefined` they end now, and none of them counts as leaked. */
  async #end(timeoutMs: number | undefined): Promise<void> {
    const { lifecycle, processRef, scheduler, leases, bulkRuns, connections } = this.#parts;
    processRef.ref();
    lifecycle.beginClosing();
    // One turn later: nothing is rejected in the stack of the caller of `close`.
    await Promise.resolve();
    scheduler.rejectAll(() => lifecycle.toClosedError());
    this.#parts.peerKnowledge.end();
    const bulkRunsEnd = bulkRuns.end(lifecycle.toClosedError());
    if (timeoutMs !== undefined && !this.#isForced) await this.#drainLeases(timeoutMs);
    lifecycle.endWaiting();
    this.#parts.persistentConnections.end();
    this.#parts.healthProbe.end();
    this.#parts.expiryWatch.end();
    this.#parts.expiryTouch.end();
    this.#parts.expiryReader.end();
    leases.revokeAll((id) => lifecycle.toClosedError(id), "the pool was closed", timeoutMs !== undefined);
    await connections.closeAll("the pool was closed");
    this.#parts.storageSync.stop();
    await Promise.allSettled([bulkRunsEnd]);
    await this.#flush();
    await this.#release();
    scheduler.close();
    this.#parts.context.log.close();
    processRef.end();
    lifecycle.end();
  }

  /** Writes all pending changes, each part within `storageTimeoutMs`. */
  async #flush(): Promise<void> {
    const { lifecycle, removal, recordWriter, peers, rateLimits } = this.#parts;
    await lifecycle.drain();
    await Promise.all([
      removal.end(),
      recordWriter.flushAll(),
      peers.flush(),
      rateLimits?.flush().catch((error: Error) => this.#reportFailure(error)),
    ]);
    await lifecycle.drain();
  }

  /** Releases every claim and closes the storages. */
  async #release(): Promise<void> {
    const { context, recordWriter, ownership, peers, processLock, bulkRuns } = this.#parts;
    const { storage, storageTimeoutMs } = context.options;
    const report = (error: Error): void => this.#reportFailure(error);
    recordWriter.close();
    ownership.end();
    peers.close();
    await processLock?.release().catch(report);
    await bulkRuns.close().catch(report);
    await new StorageTimeout(context.clock, storageTimeoutMs).run("close", () => storage.close?.()).catch(report);
  }

  /** Resolves when no lease is left, or after `timeoutMs`. */
  #drainLeases(timeoutMs: number): Promise<void> {
    const { context, leases } = this.#parts;
    const { clock, log } = context;
    return new Promise((resolve) => {
      const timer = Number.isFinite(timeoutMs) ? clock.setTimer(timeoutMs, () => end()) : undefined;
      const notice = clock.setTimer(NOTICE_AFTER_MS, () => {
        const fields = { event: "closeWaits", leases: leases.list().length, connecting: leases.pendingCount };
        log.write("warn", waitNotice(leases, timeoutMs - NOTICE_AFTER_MS), fields);
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

  #reportFailure(error: Error): void {
    this.#parts.context.events.emit("storageFailed", error);
  }
}

/** Time after which `close` logs what it waits for. */
const NOTICE_AFTER_MS = 1_000;
/** Maximum number of leases that the message names. */
const MAX_NAMED = 10;

/** Describes what a closing pool waits for: without this message the process would seem to hang. */
function waitNotice(all: Pick<LeaseManager<unknown>, "list" | "pendingCount">, leftMs: number): string {
  const leases = all.list();
  const named = leases.slice(0, MAX_NAMED).map(({ id, heldMs, stack }) => {
    const place = stack === undefined ? "" : `, taken at${stack.replace(/^[^\n]*/, "")}`;
    return `"${id}" (held for ${Math.round(heldMs / 1000)} s${place})`;
  });
  const more = leases.length > MAX_NAMED ? ` and ${leases.length - MAX_NAMED} more` : "";
  const end = Number.isFinite(leftMs)
    ? ` for ${Math.max(0, Math.ceil(leftMs / 1000))} s more, then takes them back`
    : "";
  if (leases.length === 0) return `close() waits for ${all.pendingCount} callers whose session still connects${end}.`;
  const hint = leases.some(({ stack }) => stack !== undefined)
    ? ""
    : " Was release() forgotten? traceLeases: true shows where they were taken.";
  return `close() waits for ${leases.length === 1 ? "a lease" : `${leases.length} leases`}${end}: ${named.join(", ")}${more}.${hint}`;
}
