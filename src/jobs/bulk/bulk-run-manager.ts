import type { AbortListeners } from "../../acquire/abort-listeners.js";
import type { PoolTime } from "../../common/pool-time.js";
import type { ProcessRef } from "../../common/process-ref.js";
import type { PoolClosedError } from "../../errors.js";
import type { MapCheckpoint, ResolvedOptions } from "../../options/options.js";
import { ownIdentity } from "../../ownership/process-identity.js";
import type { PoolStatus } from "../../session-info.js";
import type { SessionTable } from "../../state/session-table.js";
import { checkedStorage } from "../../storage/checked-storage.js";
import { Checkpoint } from "../../storage/checkpoint/checkpoint.js";
import { CheckpointStorage } from "../../storage/checkpoint/checkpoint-records.js";
import type { SessionStorage } from "../../storage/storage.js";
import { LISTING_TAKES, type StorageTimeout } from "../../storage/storage-timeout.js";
import type { JobRunner } from "../job-runner.js";

/** What bulk jobs need. */
export interface BulkRunDeps<Client> {
  readonly options: Pick<
    ResolvedOptions<Client>,
    "clock" | "storage" | "leasesPerSession" | "maxConnected" | "ownership" | "traceLeases"
  >;
  readonly time: PoolTime;
  readonly sessionTable: SessionTable;
  readonly jobRunner: JobRunner<Client>;
  readonly signals: AbortListeners;
  readonly processRef: ProcessRef;
  readonly deadline: StorageTimeout;
  status(): PoolStatus;
  closed(): PoolClosedError | undefined;
}

/** A bulk job that goes on. */
export interface ActiveBulkRun {
  /** Ends it; resolves when nothing of it is under way any more. */
  end(error: Error): Promise<void>;
}

/** However many sessions there are: so many items are pulled ahead by default. */
const MOST_BY_DEFAULT = 1_000;
const USABLE_FOR_MS = 1_000;

/** The bulk jobs of one pool, and the storages of their checkpoints. */
export class BulkRunManager<Client> {
  readonly parts: BulkRunDeps<Client>;
  /** Those that run. */
  readonly #live = new Set<ActiveBulkRun>();
  #usable = 0;
  #usableUntil = Number.NEGATIVE_INFINITY;
  /** Bound: the storage objects that checkpoints were given; each stays open until the pool is closed. */
  readonly #storages = new Map<SessionStorage, Promise<void>>();

  constructor(parts: BulkRunDeps<Client>) {
    this.parts = parts;
  }

  began(map: ActiveBulkRun): void {
    this.#live.add(map);
  }

  ended(map: ActiveBulkRun): void {
    this.#live.delete(map);
  }

  /** How many items can be under way at once: looked at once a second. */
  defaultConcurrency(): number {
    const now = this.parts.time.now();
    if (now < this.#usableUntil) return this.#usable;
    const { leasesPerSession, maxConnected } = this.parts.options;
    const { free, leased, cooling } = this.parts.status();
    const most = Math.min(Math.min(free + leased + cooling, maxConnected) * leasesPerSession, MOST_BY_DEFAULT);
    this.#usable = Math.max(1, most);
    this.#usableUntil = now + USABLE_FOR_MS;
    return this.#usable;
  }

  checkpoint<I>({ name, storage }: MapCheckpoint<I>): Checkpoint {
    const { deadline, options } = this.parts;
    const { clock, ownership } = options;
    const checked = new CheckpointStorage(checkedStorage(storage), deadline, clock);
    return new Checkpoint(checked, ownIdentity(ownership.host), name);
  }

  /** A storage that is not the pool's own is opened when it is needed first. */
  async openStorage(given: SessionStorage): Promise<void> {
    const storage = checkedStorage(given);
    if (storage === this.parts.options.storage) return;
    const opening = this.#storages.get(storage) ?? this.#open(storage);
    this.#storages.set(storage, opening);
    await opening;
  }

  /** The pool is closed: so are they, when what they have sent is answered or lost. */
  async end(error: Error): Promise<void> {
    await Promise.allSettled(Array.from(this.#live, (map) => map.end(error)));
  }

  /** Closes the storages that were opened here. Rejects with the first error. */
  async close(): Promise<void> {
    const closing = Array.from(this.#storages.keys(), (storage) =>
      this.parts.deadline.run("close", () => storage.close?.()),
    );
    this.#storages.clear();
    await Promise.all(closing);
  }

  async #open(storage: SessionStorage): Promise<void> {
    const { deadline } = this.parts;
    try {
      await deadline.times(LISTING_TAKES).run("be opened", () => storage.open?.());
    } catch (error) {
      this.#storages.delete(storage);
      await deadline.run("close", () => storage.close?.()).catch(() => {});
      throw error;
    }
  }
}
