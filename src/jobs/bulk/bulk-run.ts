import { PoolClosedError } from "../../errors.js";
import type { Lease } from "../../lease/lease.js";
import type { MapOptions, MapResult, MapRun } from "../../options/options.js";
import { checkItemKey } from "../../options/validate.js";
import type { Checkpoint } from "../../storage/checkpoint/checkpoint.js";
import { ActiveItems } from "./active-items.js";
import { BulkItem, commonOptions, type ItemParts } from "./bulk-item.js";
import type { ActiveBulkRun, BulkRunManager } from "./bulk-run-manager.js";
import { ItemPuller } from "./item-puller.js";
import { ITERATOR_DONE, PendingReads } from "./pending-reads.js";
import { ProgressReport, sizeOf } from "./progress-report.js";
import { ResultBuffer } from "./result-buffer.js";

type Next<I, O> = IteratorResult<MapResult<I, O>, undefined>;

/** How the iteration ends when nothing is under way any more. */
interface Ending {
  readonly failure: { readonly error: unknown } | undefined;
  /** Whether something could not be made durable: that is told whatever else happens. */
  readonly isDurabilityFailure: boolean;
}

const IN_ORDER: Ending = { failure: undefined, isDurabilityFailure: false };

/**
 * One run of `map`: pulls items while there is room, runs each as `use` would, hands the results over.
 *
 * It ends with its items, or for a reason: then nothing more is pulled, what waits for a session is given up, what runs
 * may finish (but for the caller's own signal, which ends that too), and what there is of results is handed over first.
 */
export class BulkRun<Client, I, O> implements MapRun<I, O>, ActiveBulkRun {
  readonly #maps: BulkRunManager<Client>;
  readonly #options: MapOptions<I>;
  readonly #feed: ItemPuller<I>;
  readonly #parts: ItemParts<Client, I, O>;
  readonly #checkpoint: Checkpoint | undefined;
  readonly #progress: ProgressReport;
  readonly #results: ResultBuffer<MapResult<I, O>>;
  readonly #readers: PendingReads<MapResult<I, O>>;
  readonly #underWay = new ActiveItems<Client, I, O>();
  readonly #stop = new AbortController();
  #stopListening: () => void = () => {};
  #opening: Promise<void> | undefined;
  #isOpen = false;
  /** Items that were pulled and whose results were not handed over. */
  #buffered = 0;
  /** Results that were handed over since somebody asked: whoever has them is not done with them yet. */
  #unacknowledged = 0;
  #ending: Ending | undefined;
  #finishing: Promise<void> | undefined;
  /** Nobody wants further results. */
  #isGivenUp = false;
  #isFinished = false;

  constructor(
    maps: BulkRunManager<Client>,
    items: Iterable<I> | AsyncIterable<I>,
    work: (client: Client, item: I, lease: Lease<Client>) => O | Promise<O>,
    options: MapOptions<I>,
  ) {
    const { time, jobRunner, processRef } = maps.parts;
    const { clock, traceLeases } = maps.parts.options;
    const { checkpoint, onProgress, total = sizeOf(items) } = options;
    this.#maps = maps;
    this.#options = options;
    this.#feed = new ItemPuller(items, {
      hasRoom: () => this.#hasRoom(),
      onItem: (item, index) => this.#accept(item, index),
      ended: (failure) => this.#end({ failure, isDurabilityFailure: false }),
      onProgress: () => this.#advance(),
    });
    this.#checkpoint = checkpoint && maps.checkpoint(checkpoint);
    this.#results = new ResultBuffer(options.ordered ?? false);
    this.#readers = new PendingReads(processRef);
    this.#progress = new ProgressReport({ clock, time, onProgress, total, waitingUntil: () => this.#waitingUntil() });
    this.#parts = {
      jobRunner,
      work,
      options,
      checkpoint: this.#checkpoint,
      common: commonOptions(options, this.#stop.signal),
      stack: traceLeases ? new Error("leased for map() here").stack : undefined,
      isEnd: (error) => this.#isEnd(error),
      failed: (error) => this.#fail(error, true),
    };
  }

  get uncertainKeys(): readonly string[] {
    return this.#checkpoint?.unknown ?? [];
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Next<I, O>> {
    this.#opening ??= this.#open();
    this.#unacknowledged = 0;
    const result = this.#readers.isWaited ? undefined : this.#take();
    const next = result === undefined ? this.#readers.wait() : Promise.resolve(result);
    this.#advance();
    return next;
  }

  async drain(): Promise<void> {
    this.#opening ??= Promise.resolve();
    this.#ending ??= IN_ORDER;
    try {
      await this.#quiet();
    } finally {
      this.#advance();
    }
  }

  async return(): Promise<Next<I, O>> {
    this.#opening ??= Promise.resolve();
    if (this.#ending?.isDurabilityFailure !== true) this.#ending = IN_ORDER;
    this.#isGivenUp = true;
    this.#results.clear();
    await this.#quiet();
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
    await this.#maps.parts.processRef.whileRunning(async () => {
      await this.#maps.openStorage(checkpoint.storage);
      await this.#maps.checkpoint(checkpoint).erase();
    });
  }

  async end(error: Error): Promise<void> {
    this.#fail(error);
    await this.#finish();
  }

  /** Resolves when what runs is over; nothing else begins. Rejects with what the source throws at its end. */
  async #quiet(): Promise<void> {
    this.#stop.abort(new Error("The iteration has ended."));
    await this.#maps.parts.processRef.whileRunning(async () => {
      try {
        await this.#feed.close();
      } finally {
        await this.#finish();
      }
    });
  }

  async #open(): Promise<void> {
    const { signals, closed } = this.#maps.parts;
    const { signal, checkpoint } = this.#options;
    this.#maps.began(this);
    this.#progress.start();
    const end = closed();
    if (end !== undefined) return this.#fail(end);
    if (signal?.aborted) return this.#fail(signal.reason);
    if (signal !== undefined) this.#stopListening = signals.onAbort(signal, () => this.#fail(signal.reason));
    if (checkpoint !== undefined) {
      try {
        await this.#maps.openStorage(checkpoint.storage);
        await this.#checkpoint?.open(this.#stop.signal);
      } catch (error) {
        return this.#fail(error, true);
      }
    }
    this.#isOpen = true;
    this.#advance();
  }

  /** Hands over what there is, pulls while there is room, ends when that is all. */
  #advance(): void {
    while (this.#readers.isWaited) {
      const result = this.#take();
      if (result !== undefined) this.#readers.answer(result);
      else if (this.#isFinished) this.#tellEnd();
      else break;
    }
    this.#feed.pull();
    if (this.#ending !== undefined && this.#finishing === undefined) void this.#finish().then(() => this.#advance());
  }

  #take(): Next<I, O> | undefined {
    const value = this.#results.take();
    if (value === undefined) return undefined;
    this.#buffered--;
    this.#unacknowledged++;
    return { done: false, value };
  }

  #tellEnd(): void {
    const { failure } = this.#takeEnding();
    if (failure === undefined) this.#readers.answer(ITERATOR_DONE);
    else this.#readers.fail(failure.error);
  }

  /** A failure is told once. */
  #takeEnding(): Ending {
    const ending = this.#ending ?? IN_ORDER;
    this.#ending = IN_ORDER;
    return ending;
  }

  #hasRoom(): boolean {
    if (!this.#isOpen || this.#ending !== undefined) return false;
    const inHand = this.#readers.isWaited ? 0 : this.#unacknowledged;
    return this.#buffered + inHand < (this.#options.concurrency ?? this.#maps.defaultConcurrency());
  }

  #accept(item: I, index: number): boolean {
    let key: string | undefined;
    try {
      key = this.#keyOf(item);
    } catch (error) {
      this.#buffered++;
      this.#settle(this.#results.open(), { item, index, ok: false, error, sessionId: null, attempts: 0 });
      queueMicrotask(() => this.#advance());
      return true;
    }
    if (key !== undefined && this.#checkpoint?.take(key) === false) {
      this.#progress.skipped();
      return false;
    }
    this.#buffered++;
    void this.#run(new BulkItem(this.#parts, item, index, key));
    return true;
  }

  #keyOf(item: I): string | undefined {
    if (this.#options.checkpoint === undefined) return undefined;
    const key: unknown = this.#options.checkpoint.key(item);
    checkItemKey(key);
    return key;
  }

  async #run(item: BulkItem<Client, I, O>): Promise<void> {
    const place = this.#results.open();
    this.#underWay.add(item);
    let result: MapResult<I, O> | undefined;
    try {
      result = await item.run();
    } catch (error) {
      this.#fail(error, true);
    }
    this.#settle(place, result);
    this.#underWay.delete(item);
    this.#advance();
  }

  #settle(place: ReturnType<ResultBuffer<MapResult<I, O>>["open"]>, result: MapResult<I, O> | undefined): void {
    if (result !== undefined) this.#progress.completed(result.ok);
    this.#results.settle(place, this.#isGivenUp ? undefined : result);
  }

  #isEnd(error: unknown): boolean {
    if (error instanceof PoolClosedError && this.#maps.parts.closed() !== undefined) return true;
    return this.#stop.signal.aborted && error === this.#stop.signal.reason;
  }

  /** The first failure stands, but for a loss. */
  #end(ending: Ending): void {
    const stands = this.#ending?.failure !== undefined || this.#isGivenUp;
    if (!stands || (ending.isDurabilityFailure && this.#ending?.isDurabilityFailure !== true)) this.#ending = ending;
  }

  #fail(error: unknown, isDurabilityFailure = false): void {
    if (this.#isFinished) return;
    this.#end({ failure: { error }, isDurabilityFailure });
    this.#stop.abort(error);
    this.#feed.close().catch(() => {});
    this.#advance();
  }

  /** Resolves when nothing of it is under way, nor listens, nor is claimed. */
  #finish(): Promise<void> {
    this.#finishing ??= (async () => {
      await this.#opening;
      await this.#underWay.idle();
      this.#stopListening();
      await this.#checkpoint?.close();
      this.#progress.stop();
      this.#maps.ended(this);
      this.#isFinished = true;
    })();
    return this.#finishing;
  }

  /** The first instant at which a session can serve any of its items, when no work runs and none can begin. */
  #waitingUntil(): number | null {
    const { sessionTable, time } = this.#maps.parts;
    const now = time.now();
    let first: number | null = null;
    for (const criteria of this.#underWay.waitFor) {
      const { earliestPossibleAt } = sessionTable.forecast(criteria, now);
      if (earliestPossibleAt !== null && earliestPossibleAt <= now) return null;
      if (earliestPossibleAt !== null && (first === null || earliestPossibleAt < first)) first = earliestPossibleAt;
    }
    return first;
  }
}
