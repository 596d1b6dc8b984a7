import { deferred } from "../../common/deferred.js";
import { callSafely, textOf, warn } from "../../common/process-warning.js";
import { ProgressReporter } from "../../common/progress.js";
import {
  type AddedSession,
  AddManyInputError,
  type AddManyReport,
  AddManyStorageError,
  OptionsError,
  PoolClosedError,
  type RefusedSession,
  SessionPoolError,
  StorageCorruptError,
  StorageError,
} from "../../errors.js";
import type { AddManyOptions, AddManyProgress, NewSession } from "../../options/options.js";
import { checkNewSession, isShowableId } from "../../options/validate.js";
import type { ActiveBulkRun, BulkRunManager } from "./bulk-run-manager.js";
import { ItemPuller } from "./item-puller.js";
import { sizeOf } from "./progress-report.js";

/** Initial and minimum number of concurrent entries, which any storage can handle. */
const FIRST_CONCURRENCY = 32;
/** Maximum number of concurrent entries. */
const MAX_CONCURRENCY = 500;
/** Maximum number of peers of all concurrent entries together. */
const MAX_PEERS = 50_000;
/** Share of `storageTimeoutMs` above which an entry takes too long, and concurrency is reduced if that is why. */
const SLOW_PART = 1 / 4;
/** Factor over the fastest entry above which concurrency is why an entry is slow. */
const CONGESTION_FACTOR = 2;
/** Share of `storageTimeoutMs` below which concurrency grows. */
const FAST_PART = 1 / 10;
/** Maximum time in which entries start without a turn of the event loop. */
const MAX_TURN_MS = 10;

/** Adds one entry; resolves whether it is new. */
type Add = (entry: NewSession) => Promise<{ readonly isNew: boolean }>;

/**
 * One run of `addMany`: pulls entries while there is room and adds each as `add` would. Entries that start in one turn of
 * the event loop also write in one, and a storage with `writeMany` writes them together; so the more are under way, the
 * fewer commits there are. How many that is follows from how long an entry takes.
 */
export class BulkAddition implements ActiveBulkRun {
  readonly #runs: BulkRunManager<unknown>;
  readonly #options: AddManyOptions;
  readonly #add: Add;
  readonly #total: number | undefined;
  readonly #puller: ItemPuller<NewSession>;
  readonly #added: AddedSession[] = [];
  readonly #known: AddedSession[] = [];
  readonly #refused: RefusedSession[] = [];
  /** When the first entry of this turn of the event loop started, on the monotonic clock. */
  #turnBeganAt: number | undefined;
  #concurrency = FIRST_CONCURRENCY;
  #active = 0;
  #activePeers = 0;
  /** Milliseconds that the fastest new entry took: what the storage needs however little is under way. */
  #fastestMs = Number.POSITIVE_INFINITY;
  #hasEnded = false;
  /** Why the run ended before its input did. */
  #failure: { readonly error: unknown } | undefined;
  /** The error that the input threw. */
  #inputFailure: { readonly error: unknown } | undefined;
  /** Number of storage failures since the last entry that was stored. */
  #storageFailures = 0;
  /** Number at which the run is given up: a whole round of entries, as many as were under way at the first failure. */
  #maxStorageFailures = FIRST_CONCURRENCY;
  /** The last of them, if they ended the run. */
  #storageFailure: StorageError | undefined;
  readonly #progressReporter: ProgressReporter<AddManyProgress>;
  readonly #settled = deferred();

  constructor(
    runs: BulkRunManager<unknown>,
    sessions: Iterable<NewSession> | AsyncIterable<NewSession>,
    options: AddManyOptions,
    add: Add,
  ) {
    this.#runs = runs;
    this.#options = options;
    this.#add = add;
    this.#total = sizeOf(sessions);
    const { clock } = runs.context;
    this.#progressReporter = new ProgressReporter("onProgress of addMany", options.onProgress, clock, () =>
      this.#progress(),
    );
    this.#puller = new ItemPuller(sessions, {
      hasRoom: () => this.#hasRoom(),
      onItem: (entry, index) => {
        if (!this.#hasEnded) void this.#process(entry, index);
        return true;
      },
      onEnd: (failure) => {
        this.#inputFailure = failure;
        this.#end(undefined);
      },
      onProgress: () => this.#puller.pull(),
    });
  }

  /** Rejects as `addMany` does, when no entry is under way any more. */
  async run(): Promise<AddManyReport> {
    const { lifecycle, abortListeners, processRef } = this.#runs;
    const { signal } = this.#options;
    const closed = lifecycle.closedError();
    if (closed !== undefined) throw closed;
    if (signal?.aborted) throw signal.reason;
    const stopListening = signal && abortListeners.onAbort(signal, () => this.#end({ error: signal.reason }));
    this.#runs.add(this);
    try {
      await processRef.whileRunning(() => {
        this.#puller.pull();
        return this.#settled.promise;
      });
    } finally {
      stopListening?.();
      this.#runs.delete(this);
    }
    this.#progressReporter.report();
    const report = this.#report();
    if (this.#failure !== undefined) {
      callSafely(
        () => this.#options.onAborted?.(report),
        (error) => warn(`onAborted failed: ${textOf(error)}`),
      );
      throw this.#failure.error;
    }
    if (this.#storageFailure !== undefined) throw storageError(report, this.#storageFailure, this.#maxStorageFailures);
    if (this.#inputFailure !== undefined) throw inputError(report, this.#inputFailure.error);
    return report;
  }

  end(error: Error): Promise<void> {
    this.#end({ error });
    return this.#settled.promise;
  }

  async #process(entry: NewSession, index: number): Promise<void> {
    const { clock } = this.#runs.context;
    const startedAt = clock.monotonic();
    let peers = 0;
    let isStored = false;
    this.#active++;
    try {
      checkNewSession(entry);
      peers = entry.peers?.length ?? 0;
      this.#activePeers += peers;
      const { isNew } = await this.#add(entry);
      (isNew ? this.#added : this.#known).push({ index, id: entry.id });
      isStored = isNew;
    } catch (error) {
      this.#refuse(entry, index, error);
    }
    this.#active--;
    this.#activePeers -= peers;
    const tookMs = clock.monotonic() - startedAt;
    if (isStored) {
      this.#fastestMs = Math.min(this.#fastestMs, tookMs);
      this.#storageFailures = 0;
    }
    this.#adapt(tookMs);
    this.#onDone();
  }

  #hasRoom(): boolean {
    if (this.#hasEnded || this.#active >= this.#concurrency || this.#activePeers >= MAX_PEERS) return false;
    return !this.#isTurnOver();
  }

  /** Whether entries have started in this turn of the event loop for too long; the next turn goes on. */
  #isTurnOver(): boolean {
    const now = this.#runs.context.clock.monotonic();
    if (this.#turnBeganAt !== undefined) return now - this.#turnBeganAt >= MAX_TURN_MS;
    this.#turnBeganAt = now;
    setImmediate(() => {
      this.#turnBeganAt = undefined;
      this.#puller.pull();
    });
    return false;
  }

  #onDone(): void {
    if (this.#hasEnded) {
      if (this.#active === 0) this.#settled.resolve();
      return;
    }
    this.#progressReporter.advance();
    this.#puller.pull();
  }

  /** An entry that is not added because the pool is closed ends the run instead. */
  #refuse(entry: unknown, index: number, thrown: unknown): void {
    if (thrown instanceof PoolClosedError) {
      this.#end({ error: thrown });
      return;
    }
    const error =
      thrown instanceof SessionPoolError
        ? thrown
        : new OptionsError(`addMany: the entry at index ${index} cannot be read.`, { cause: thrown });
    this.#refused.push({ index, id: idOf(entry), error, reason: error.message });
    if (error instanceof StorageError && !(error instanceof StorageCorruptError)) this.#onStorageFailure(error);
  }

  /** Gives up on a storage that does not work, which would refuse every entry that is left. */
  #onStorageFailure(error: StorageError): void {
    if (this.#hasEnded) return;
    if (this.#storageFailures === 0) this.#maxStorageFailures = Math.max(this.#active, FIRST_CONCURRENCY);
    this.#storageFailures++;
    if (this.#storageFailures < this.#maxStorageFailures) return;
    this.#storageFailure = error;
    this.#end(undefined);
  }

  /**
   * Grows while entries are fast, one by one, so that it doubles with each round of them. Shrinks only when entries are
   * slower than the fastest one was: fewer at once do not help against a storage that is merely far away.
   */
  #adapt(tookMs: number): void {
    const { storageTimeoutMs } = this.#runs.context.options;
    const isFast = tookMs < storageTimeoutMs * FAST_PART;
    if (isFast && this.#storageFailures === 0) this.#concurrency = Math.min(this.#concurrency + 1, MAX_CONCURRENCY);
    else if (tookMs > Math.max(storageTimeoutMs * SLOW_PART, this.#fastestMs * CONGESTION_FACTOR)) {
      this.#concurrency = Math.max(this.#concurrency - 1, FIRST_CONCURRENCY);
    }
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#failure = failure;
    // Later: a generator that has aborted the signal itself is still running.
    queueMicrotask(() => {
      this.#puller.close().catch((error: unknown) => warn(`The input of addMany failed to close: ${textOf(error)}`));
    });
    if (this.#active === 0) this.#settled.resolve();
  }

  #report(): AddManyReport {
    const byIndex = (one: AddedSession, other: AddedSession): number => one.index - other.index;
    this.#added.sort(byIndex);
    this.#known.sort(byIndex);
    this.#refused.sort(byIndex);
    return Object.freeze({ added: this.#added, known: this.#known, refused: this.#refused });
  }

  #progress(): AddManyProgress {
    const [added, known, refused] = [this.#added.length, this.#known.length, this.#refused.length];
    const total = this.#total === undefined ? {} : { total: this.#total };
    return { done: added + known + refused, ...total, added, known, refused };
  }
}

function storageError(report: AddManyReport, cause: StorageError, failures: number): AddManyStorageError {
  const done = report.added.length + report.known.length;
  return new AddManyStorageError(
    `addMany: gave up because the storage failed for ${failures} entries in a row: ${cause.message} ${done} ${done === 1 ? "entry" : "entries"} of the input ${done === 1 ? "is" : "are"} in the pool. Call addMany again with all entries once the storage works.`,
    report,
    { cause },
  );
}

function inputError(report: AddManyReport, cause: unknown): AddManyInputError {
  const count = report.added.length + report.known.length + report.refused.length;
  return new AddManyInputError(
    `addMany: the input failed after ${count} ${count === 1 ? "entry" : "entries"}. Entries added so far stay in the pool. Call addMany again with all or the remaining entries.`,
    report,
    { cause },
  );
}

/** Returns the entry's id if it may be shown. */
function idOf(entry: unknown): string {
  try {
    const id: unknown = Object(entry).id;
    return isShowableId(id) ? id : "";
  } catch {
    return "";
  }
}
