import type { ProcessRef } from "../../common/process-ref.js";

interface Reader<T> {
  resolve(next: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** What an iterator that is over answers. */
export const ITERATOR_DONE: { readonly done: true; readonly value: undefined } = { done: true, value: undefined };

/** Those who wait for the next result. The process lives as long as there is one. */
export class PendingReads<T> {
  readonly #processRef: ProcessRef;
  readonly #waiting: Reader<T>[] = [];

  constructor(processRef: ProcessRef) {
    this.#processRef = processRef;
  }

  get isWaited(): boolean {
    return this.#waiting.length > 0;
  }

  wait(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ resolve, reject }) === 1) this.#processRef.ref();
    });
  }

  answer(next: IteratorResult<T, undefined>): void {
    this.#next()?.resolve(next);
  }

  fail(error: unknown): void {
    this.#next()?.reject(error);
  }

  #next(): Reader<T> | undefined {
    const reader = this.#waiting.shift();
    if (reader !== undefined && this.#waiting.length === 0) this.#processRef.unref();
    return reader;
  }
}
