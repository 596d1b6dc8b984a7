import { type Deferred, deferred } from "../../common/deferred.js";
import type { ProcessRef } from "../../common/process-ref.js";

/** The place of one item among the results. */
export interface ResultSlot<Result> {
  isSettled: boolean;
  /** `undefined` if the item has no result. */
  result: Result | undefined;
}

type Next<Result> = IteratorResult<Result, undefined>;

/** The last result of an iterator. */
export const ITERATOR_DONE: { readonly done: true; readonly value: undefined } = { done: true, value: undefined };

/** Minimum number of results that were taken before their slots are discarded. */
const MIN_DISCARDED_SLOTS = 32;

/**
 * Results on their way to the readers of an iterator, in the order of the items (`isOrdered`) or as they are settled. The
 * process is kept alive while there is a reader that waits.
 */
export class ResultQueue<Result> {
  readonly #processRef: ProcessRef;
  readonly #isOrdered: boolean;
  /** Ordered: the slots of all items. Otherwise: the settled ones. */
  #slots: ResultSlot<Result>[] = [];
  #nextSlot = 0;
  readonly #readers: Deferred<Next<Result>>[] = [];

  constructor(processRef: ProcessRef, isOrdered: boolean) {
    this.#processRef = processRef;
    this.#isOrdered = isOrdered;
  }

  /** Creates the slot of the next item. */
  createSlot(): ResultSlot<Result> {
    const slot: ResultSlot<Result> = { isSettled: false, result: undefined };
    if (this.#isOrdered) this.#slots.push(slot);
    return slot;
  }

  /** Settles a slot; without a result it is left out. */
  settle(slot: ResultSlot<Result>, result: Result | undefined): void {
    slot.isSettled = true;
    slot.result = result;
    if (!this.#isOrdered) this.#slots.push(slot);
  }

  /** Removes the next result that can be read. Returns `undefined` if there is none. */
  take(): Result | undefined {
    for (let slot = this.#slots[this.#nextSlot]; slot?.isSettled; slot = this.#slots[this.#nextSlot]) {
      this.#nextSlot++;
      if (this.#nextSlot > MIN_DISCARDED_SLOTS && this.#nextSlot * 2 > this.#slots.length) {
        this.#slots = this.#slots.slice(this.#nextSlot);
        this.#nextSlot = 0;
      }
      if (slot.result !== undefined) return slot.result;
    }
    return undefined;
  }

  clear(): void {
    this.#slots = [];
    this.#nextSlot = 0;
  }

  /** Whether a reader waits. */
  get hasReader(): boolean {
    return this.#readers.length > 0;
  }

  /** Adds a reader, behind those that wait. */
  read(): Promise<Next<Result>> {
    const reader = deferred<Next<Result>>();
    if (this.#readers.push(reader) === 1) this.#processRef.ref();
    return reader.promise;
  }

  /** Resolves the first reader. */
  resolveReader(next: Next<Result>): void {
    this.#shiftReader()?.resolve(next);
  }

  /** Rejects the first reader. */
  rejectReader(error: unknown): void {
    this.#shiftReader()?.reject(error);
  }

  #shiftReader(): Deferred<Next<Result>> | undefined {
    const reader = this.#readers.shift();
    if (reader !== undefined && this.#readers.length === 0) this.#processRef.unref();
    return reader;
  }
}
