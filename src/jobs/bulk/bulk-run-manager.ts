import type { LeaseScheduler } from "../../acquire/lease-scheduler.js";
import type { AbortListeners } from "../../common/abort-listeners.js";
import type { ProcessRef } from "../../common/process-ref.js";
import type { MapCheckpoint } from "../../options/options.js";
import { ownIdentity } from "../../ownership/process-identity.js";
import type { PoolContext } from "../../pool-context.js";
import type { PoolLifecycle } from "../../pool-lifecycle.js";
import type { SessionTable } from "../../state/session-table.js";
import { checkedStorage } from "../../storage/checked-storage.js";
import { Checkpoint } from "../../storage/checkpoint/checkpoint.js";
import { CheckpointStorage } from "../../storage/checkpoint/checkpoint-records.js";
import type { SessionStorage } from "../../storage/storage.js";
import { LIST_TIMEOUT_FACTOR, StorageTimeout } from "../../storage/storage-timeout.js";
import type { JobRunner } from "../job-runner.js";

/** A bulk run that has begun and has not ended. */
export interface ActiveBulkRun {
  /** Ends the run with an error. Resolves when none of its items is under way. */
  end(error: Error): Promise<void>;
}

/** Maximum of the default `concurrency`. */
const MAX_DEFAULT_CONCURRENCY = 1_000;
/** How long a computed default `concurrency` is reused. */
const CONCURRENCY_REUSE_MS = 1_000;

/** The bulk runs of one pool, what they share, and the storages of their checkpoints. */
export class BulkRunManager<Client> {
  readonly context: PoolContext;
  readonly lifecycle: PoolLifecycle;
  readonly sessionTable: SessionTable;
  readonly jobRunner: JobRunner<Client>;
  readonly abortListeners: AbortListeners;
  readonly processRef: ProcessRef;
  readonly #scheduler: LeaseScheduler;
  readonly #timeout: StorageTimeout;
  readonly #active = new Set<ActiveBulkRun>();
  #concurrency = 0;
  #concurrencyUntil = Number.NEGATIVE_INFINITY;
  /** One for each storage object that a checkpoint was given; it stays open until the pool is closed. */
  readonly #storages = new Map<SessionStorage, Promise<void>>();

  constructor(
    context: PoolContext,
    lifecycle: PoolLifecycle,
    sessionTable: SessionTable,
    scheduler: LeaseScheduler,
    jobRunner: JobRunner<Client>,
    abortListeners: AbortListeners,
    processRef: ProcessRef,
  ) {
    this.context = context;
    this.lifecycle = lifecycle;
    this.sessionTable = sessionTable;
    this.jobRunner = jobRunner;
    this.abortListeners = abortListeners;
    this.processRef = processRef;
    this.#scheduler = scheduler;
    this.#timeout = new StorageTimeout(context.clock, context.options.storageTimeoutMs, context.metrics);
  }

  add(run: ActiveBulkRun): void {
    this.#active.add(run);
  }

  delete(run: ActiveBulkRun): void {
    this.#active.delete(run);
  }

  /** Number of leases that the pool can have at once, computed at most once a second. */
  defaultConcurrency(): number {
    const now = this.context.time.now();
    if (now < this.#concurrencyUntil) return this.#concurrency;
    const { leasesPerSession, maxConnected } = this.context.options;
    const { free, leased, cooling } = this.#scheduler.status();
    const usable = Math.min(free + leased + cooling, maxConnected) * leasesPerSession;
    this.#concurrency = Math.max(1, Math.min(usable, MAX_DEFAULT_CONCURRENCY));
    this.#concurrencyUntil = now + CONCURRENCY_REUSE_MS;
    return this.#concurrency;
  }

  createCheckpoint<I>({ name, storage }: MapCheckpoint<I>): Checkpoint {
    const { clock, ownership } = this.context.options;
    const checked = new CheckpointStorage(checkedStorage(storage), this.#timeout, clock);
    return new Checkpoint(checked, ownIdentity(ownership.host), name);
  }

  /** Opens the storage of a checkpoint, unless it is open or the pool's own. Rejects with `StorageError`. */
  async openStorage(given: SessionStorage): Promise<void> {
    const storage = checkedStorage(given);
    if (storage === this.context.options.storage) return;
    const opening = this.#storages.get(storage) ?? this.#open(storage);
    this.#storages.set(storage, opening);
    await opening;
  }

  /** Ends every run with an error. Resolves when no item is under way. */
  async end(error: Error): Promise<void> {
    await Promise.allSettled(Array.from(this.#active, (run) => run.end(error)));
  }

  /** Closes the storages of the checkpoints. Rejects with the first error. */
  async close(): Promise<void> {
    const closing = Array.from(this.#storages.keys(), (storage) => this.#timeout.run("close", () => storage.close?.()));
    this.#storages.clear();
    await Promise.all(closing);
  }

  async #open(storage: SessionStorage): Promise<void> {
    try {
      await this.#timeout.times(LIST_TIMEOUT_FACTOR).run("be opened", () => storage.open?.());
    } catch (error) {
      this.#storages.delete(storage);
      await this.#timeout.run("close", () => storage.close?.()).catch(() => {});
      throw error;
    }
  }
}
