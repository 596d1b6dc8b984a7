import { PoolClosedError } from "../../errors.js";
import type { Lease } from "../../lease/lease.js";
import type { MapOptions, MapResult, MapRun } from "../../options/options.js";
import { checkItemKey } from "../../options/validate.js";
import type { Checkpoint } from "../../storage/checkpoint/checkpoint.js";
import { ActiveItems, BulkItem, commonOptions, type ItemContext, unknownOutcomeIn } from "./bulk-item.js";
import type { ActiveBulkRun, BulkRunInfo, BulkRunManager } from "./bulk-run-manager.js";
import { ItemPuller } from "./item-puller.js";
import { ProgressReport, sizeOf } from "./progress-report.js";
import { ITERATOR_DONE, ResultQueue, type ResultSlot } from "./result-queue.js";

type Next<I, O> = IteratorResult<MapResult<I, O>, undefined>;

/** How the iteration ends once no item is under way. */
interface Ending {
  readonly failure: { readonly error: unknown } | undefined;
  /** Whether the checkpoint could not be written: this failure takes precedence over all others. */
  readonly isDurabilityFailure: boolean;
}

/** Maximum number of uncertain items that a description of the run names. */
const MAX_NAMED = 100;

const NORMAL_ENDING: Ending = { failure: undefined, isDurabilityFailure: false };

/**
 * One run of `map`: pulls items while there is room, runs each one as `use` does, and passes the results to the reader.
 *
 * A run ends with its items, with an error, or when its reader leaves. From then on no item is pulled, and items that wait
 * for a session are dropped. Work that runs may finish, unless the caller's own signal ends it. Results that exist are
 * read before the error.
 */
export class BulkRun<Client, I, O> implements MapRun<I, O>, ActiveBulkRun {
  readonly #runs: BulkRunManager<Client>;
  readonly #options: MapOptions<I>;
  readonly #puller: ItemPuller<I>;
  readonly #itemContext: ItemContext<Client, I, O>;
  readonly #checkpoint: Checkpoint | undefined;
  readonly #progress: ProgressReport;
  readonly #results: ResultQueue<MapResult<I, O>>;
  readonly #activeItems = new ActiveItems<Client, I, O>();
  readonly #stop = new AbortController();
  #stopListening: () => void = () => {};
  #opening: Promise<void> | undefined;
  #isOpen = false;
  /** Number of items that were pulled and whose results were not read. */
  #buffered = 0;
  /** Number of results that were read since the last call of `next`: the reader still processes them. */
  #unacknowledged = 0;
  #ending: Ending | undefined;
  #finishing: Promise<void> | undefined;
  /** Number of items of this run that may have taken effect, and the indexes of the first of them. */
  #uncertain = 0;
  readonly #uncertainIndexes: number[] = [];
  /** Whether the reader has left. */
  #isAbandoned = false;
  #isFinished = false;

  constructor(
    runs: BulkRunManager<Client>,
    items: Iterable<I> | AsyncIterable<I>,
    work: (client: Client, item: I, lease: Lease<Client>) => O | Promise<O>,
    options: MapOptions<I>,
  ) {
    const { context, jobRunner, processRef } = runs;
    const { checkpoint, onProgress, total = sizeOf(items), ordered = false } = options;
    this.#runs = runs;
    this.#options = options;
    this.#puller = new ItemPuller(items, {
      hasRoom: () => this.#hasRoom(),
      onItem: (item, index) => this.#accept(item, index),
      onEnd: (failure) => this.#setEnding({ failure, isDurabilityFailure: false }),
      onProgress: () => this.#advance(),
    });
    this.#checkpoint = checkpoint && runs.createCheckpoint(checkpoint);
    this.#results = new ResultQueue(processRef, ordered);
    this.#progress = new ProgressReport(context, onProgress, total, () => this.#waitingUntil());
    this.#itemContext = {
      jobRunner,
      work,
      options,
      checkpoint: this.#checkpoint,
      common: commonOptions(options, this.#stop.signal),
      stack: context.options.traceLeases ? new Error("leased for map() here").stack : undefined,
      isEndOfRun: (error) => this.#isEndOfRun(error),
      onCheckpointFailed: (error) => this.#fail(error, true),
    };
  }

  get uncertainKeys(): readonly string[] {
    return this.#checkpoint?.unknown ?? [];
  }

  describe(): Omit<BulkRunInfo, "number" | "hasEnded"> {
    const keys = this.#checkpoint?.unknown;
    return {
      name: this.#options.checkpoint?.name ?? null,
      startedAt: this.#progress.startedAt,
      progress: this.#progress.read(),
      uncertain: keys?.length ?? this.#uncertain,
      uncertainItems: keys?.slice(0, MAX_NAMED) ?? this.#uncertainIndexes.map(String),
    };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Next<I, O>> {
    this.#opening ??= this.#open();
    this.#unacknowledged = 0;
    const result = this.#results.hasReader ? undefined : this.#take();
    const next = result === undefined ? this.#results.read() : Promise.resolve(result);
    this.#advance();
    return next;
  }

  async drain(): Promise<void> {
    this.#opening ??= Promise.resolve();
    this.#ending ??= NORMAL_ENDING;
    try {
      await this.#stopAndFinish();
    } finally {
      this.#advance();
    }
  }

  async return(): Promise<Next<I, O>> {
    this.#opening ??= Promise.resolve();
    if (this.#ending?.isDurabilityFailure !== true) this.#ending = NORMAL_ENDING;
    this.#isAbandoned = true;
    this.#results.clear();
    await this.#stopAndFinish();
    const { failure } = this.#takeEnding();
    this.#advance();
    if (failure !== undefined) throw failure.error;
    return ITERATOR_DONE;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async deleteCheckpoint(): Promise<void> {
    await this.return();
    const { checkpoint } = this.#options;
    if (checkpoint === undefined) return;
    await this.#runs.processRef.whileRunning(async () => {
      await this.#runs.openStorage(checkpoint.storage);
      await this.#runs.createCheckpoint(checkpoint).erase();
    });
  }

  async end(error: Error): Promise<void> {
    this.#fail(error);
    await this.#finish();
  }

  /** Starts no further item, and resolves when no item is under way. Rejects with what closing the iterable throws. */
  async #stopAndFinish(): Promise<void> {
    this.#stop.abort(new Error("The iteration has ended."));
    await this.#runs.processRef.whileRunning(async () => {
      try {
        await this.#puller.close();
      } finally {
        await this.#finish();
      }
    });
  }

  async #open(): Promise<void> {
    const { abortListeners, lifecycle } = this.#runs;
    const { signal, checkpoint } = this.#options;
    this.#runs.add(this);
    this.#progress.start();
    const closedError = lifecycle.closedError();
    if (closedError !== undefined) return this.#fail(closedError);
    if (signal?.aborted) return this.#fail(signal.reason);
    if (signal !== undefined) this.#stopListening = abortListeners.onAbort(signal, () => this.#fail(signal.reason));
    if (checkpoint !== undefined) {
      try {
        await this.#runs.openStorage(checkpoint.storage);
        await this.#checkpoint?.open(this.#stop.signal);
      } catch (error) {
        return this.#fail(error, true);
      }
    }
    this.#isOpen = true;
    this.#advance();
  }

  /** Passes results to waiting readers, pulls items while there is room, and finishes a run that has ended. */
  #advance(): void {
    while (this.#results.hasReader) {
      const result = this.#take();
      if (result !== undefined) this.#results.resolveReader(result);
      else if (this.#isFinished) this.#deliverEnding();
      else break;
    }
    this.#puller.pull();
    if (this.#ending !== undefined && this.#finishing === undefined) void this.#finish().then(() => this.#advance());
  }

  #take(): Next<I, O> | undefined {
    const value = this.#results.take();
    if (value === undefined) return undefined;
    this.#buffered--;
    this.#unacknowledged++;
    return { done: false, value };
  }

  #deliverEnding(): void {
    const { failure } = this.#takeEnding();
    if (failure === undefined) this.#results.resolveReader(ITERATOR_DONE);
    else this.#results.rejectReader(failure.error);
  }

  /** The ending for the reader. A failure is delivered once. */
  #takeEnding(): Ending {
    const ending = this.#ending ?? NORMAL_ENDING;
    this.#ending = NORMAL_ENDING;
    return ending;
  }

  #hasRoom(): boolean {
    if (!this.#isOpen || this.#ending !== undefined) return false;
    const processing = this.#results.hasReader ? 0 : this.#unacknowledged;
    return this.#buffered + processing < (this.#options.concurrency ?? this.#runs.defaultConcurrency());
  }

  #accept(item: I, index: number): boolean {
    let key: string | undefined;
    try {
      key = this.#keyOf(item);
    } catch (error) {
      this.#buffered++;
      this.#settle(this.#results.createSlot(), { item, index, ok: false, error, sessionId: null, attempts: 0 });
      queueMicrotask(() => this.#advance());
      return true;
    }
    if (key !== undefined && this.#checkpoint?.take(key) === false) {
      this.#progress.countSkipped();
      return false;
    }
    this.#buffered++;
    void this.#run(new BulkItem(this.#itemContext, item, index, key));
    return true;
  }

  #keyOf(item: I): string | undefined {
    if (this.#options.checkpoint === undefined) return undefined;
    const key: unknown = this.#options.checkpoint.key(item);
    checkItemKey(key);
    return key;
  }

  async #run(item: BulkItem<Client, I, O>): Promise<void> {
    const slot = this.#results.createSlot();
    this.#activeItems.add(item);
    let result: MapResult<I, O> | undefined;
    try {
      result = await item.run();
    } catch (error) {
      this.#fail(error, true);
    }
    this.#settle(slot, result);
    this.#activeItems.delete(item);
    this.#advance();
  }

  #settle(slot: ResultSlot<MapResult<I, O>>, result: MapResult<I, O> | undefined): void {
    if (result !== undefined) this.#progress.countCompleted(result.ok);
    if (result?.ok === false && unknownOutcomeIn(result.error)?.executed === "unknown") {
      this.#uncertain++;
      if (this.#uncertainIndexes.length < MAX_NAMED) this.#uncertainIndexes.push(result.index);
    }
    this.#results.settle(slot, this.#isAbandoned ? undefined : result);
  }

  #isEndOfRun(error: unknown): boolean {
    if (error instanceof PoolClosedError && this.#runs.lifecycle.closedError() !== undefined) return true;
    return this.#stop.signal.aborted && error === this.#stop.signal.reason;
  }

  /** Keeps the first failure, unless the new one is the first durability failure. */
  #setEnding(ending: Ending): void {
    const isSettled = this.#ending?.failure !== undefined || this.#isAbandoned;
    if (!isSettled || (ending.isDurabilityFailure && this.#ending?.isDurabilityFailure !== true)) this.#ending = ending;
  }

  #fail(error: unknown, isDurabilityFailure = false): void {
    if (this.#isFinished) return;
    this.#setEnding({ failure: { error }, isDurabilityFailure });
    this.#stop.abort(error);
    this.#puller.close().catch(() => {});
    this.#advance();
  }

  /** Resolves when no item is under way and the checkpoint is closed. */
  #finish(): Promise<void> {
    this.#finishing ??= (async () => {
      await this.#opening;
      await this.#activeItems.idle();
      this.#stopListening();
      await this.#checkpoint?.close();
      this.#progress.stop();
      this.#runs.delete(this);
      this.#isFinished = true;
    })();
    return this.#finishing;
  }

  /** When a session can serve any of the items, if all of them wait and none can be served now; otherwise `null`. */
  #waitingUntil(): number | null {
    const { sessionTable, context } = this.#runs;
    const now = context.time.now();
    let earliest: number | null = null;
    for (const criteria of this.#activeItems.awaitedCriteria) {
      const { earliestPossibleAt } = sessionTable.forecast(criteria, now);
      if (earliestPossibleAt !== null && earliestPossibleAt <= now) return null;
      if (earliestPossibleAt !== null && (earliest === null || earliestPossibleAt < earliest))
        earliest = earliestPossibleAt;
    }
    return earliest;
  }
}
