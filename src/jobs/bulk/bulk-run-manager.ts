import type { LeaseScheduler } from "../../acquire/lease-scheduler.js";
import type { AbortListeners } from "../../common/abort-listeners.js";
import type { ProcessRef } from "../../common/process-ref.js";
import type { MapCheckpoint, MapProgress } from "../../options/options.js";
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

/** A run of `map` as it stands, for those who watch the pool. */
export interface BulkRunInfo {
  /** Number of the run in its pool, from 1. */
  readonly number: number;
  /** Name of its checkpoint; `null` without one. */
  readonly name: string | null;
  /** Epoch milliseconds. */
  readonly startedAt: number | null;
  readonly progress: MapProgress;
  /** Number of items that may have taken effect, of this run and, with a checkpoint, of earlier ones. */
  readonly uncertain: number;
  /** The first of them: their keys in the checkpoint, or their indexes without one. */
  readonly uncertainItems: readonly string[];
  readonly hasEnded: boolean;
}

/** A bulk run that has begun and has not ended. */
export interface ActiveBulkRun {
  /** The run as it stands; `undefined` if runs of this kind are not observed. */
  describe?(): Omit<BulkRunInfo, "number" | "hasEnded">;
  /** Ends the run with an error. Resolves when none of its items is under way. */
  end(error: Error): Promise<void>;
}

/** Maximum of the default `concurrency`. */
const MAX_DEFAULT_CONCURRENCY = 1_000;
/** Maximum number of ended runs that are kept for those who watch the pool. */
const MAX_ENDED = 10;
/** How long a computed default `concurrency` is reused. */
const CONCURRENCY_REUSE_MS = 1_000;

/** What the bulk runs of a pool are built on. */
export interface BulkRunManagerParts<Client> {
  readonly lifecycle: PoolLifecycle;
  readonly sessionTable: SessionTable;
  readonly scheduler: LeaseScheduler;
  readonly jobRunner: JobRunner<Client>;
  readonly abortListeners: AbortListeners;
  readonly processRef: ProcessRef;
}

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
  /** The active runs and their numbers. */
  readonly #active = new Map<ActiveBulkRun, number>();
  /** Runs that ended while the pool was observed. */
  readonly #ended: BulkRunInfo[] = [];
  #runCount = 0;
  #concurrency = 0;
  #concurrencyUntil = Number.NEGATIVE_INFINITY;
  /** One for each storage object that a checkpoint was given; it stays open until the pool is closed. */
  readonly #storages = new Map<SessionStorage, Promise<void>>();

  constructor(context: PoolContext, parts: BulkRunManagerParts<Client>) {
    this.context = context;
    this.lifecycle = parts.lifecycle;
    this.sessionTable = parts.sessionTable;
    this.jobRunner = parts.jobRunner;
    this.abortListeners = parts.abortListeners;
    this.processRef = parts.processRef;
    this.#scheduler = parts.scheduler;
    this.#timeout = new StorageTimeout(context.clock, context.options.storageTimeoutMs, context.metrics);
  }

  add(run: ActiveBulkRun): void {
    this.#active.set(run, ++this.#runCount);
  }

  delete(run: ActiveBulkRun): void {
    const number = this.#active.get(run);
    if (number === undefined || !this.#active.delete(run) || this.context.metrics.timeline === undefined) return;
    const info = run.describe?.();
    if (info === undefined) return;
    this.#ended.push({ ...info, number, hasEnded: true });
    if (this.#ended.length > MAX_ENDED) this.#ended.shift();
  }

  /** The runs of `map`: the last ones that ended while the pool was observed, then the active ones. */
  list(): readonly BulkRunInfo[] {
    const active = [...this.#active].flatMap(([run, number]) => {
      const info = run.describe?.();
      return info === undefined ? [] : [{ ...info, number, hasEnded: false }];
    });
    return [...this.#ended, ...active];
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
    await Promise.allSettled(Array.from(this.#active.keys(), (run) => run.end(error)));
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
