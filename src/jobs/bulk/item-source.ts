/** What a source has given: an item, or its end. */
export type Pulled<I> = IteratorResult<I, unknown>;

/** The items of a bulk job, one after the other, from whichever kind of iterable they come. */
export class ItemSource<I> {
  readonly #items: Iterable<I> | AsyncIterable<I>;
  #iterator: Iterator<I, unknown> | AsyncIterator<I, unknown> | undefined;
  #isPulling = false;
  #isOver = false;

  constructor(items: Iterable<I> | AsyncIterable<I>) {
    this.#items = items;
  }

  /** Whether a pulled item is still to come. */
  get isPulling(): boolean {
    return this.#isPulling;
  }

  /** The next item, at once where that is possible. Throws or rejects with what the source throws; it is over then. */
  pull(): Pulled<I> | Promise<Pulled<I>> {
    try {
      this.#iterator ??= iteratorOf(this.#items);
      const pulled = this.#iterator.next();
      return isPromise(pulled) ? this.#settled(pulled) : this.#noted(pulled);
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  /** Tells the source that nothing more is wanted, unless it is over. One that is busy is not waited for. */
  async close(): Promise<void> {
    const iterator = this.#iterator;
    if (this.#isOver || iterator === undefined) return;
    this.#isOver = true;
    const closed = Promise.resolve(iterator.return?.());
    if (this.#isPulling) closed.catch(() => {});
    else await closed;
  }

  async #settled(pulled: PromiseLike<Pulled<I>>): Promise<Pulled<I>> {
    this.#isPulling = true;
    try {
      return this.#noted(await pulled);
    } catch (error) {
      this.#isOver = true;
      throw error;
    } finally {
      this.#isPulling = false;
    }
  }

  #noted(pulled: Pulled<I>): Pulled<I> {
    if (pulled.done === true) this.#isOver = true;
    return pulled;
  }
}

function iteratorOf<I>(items: Iterable<I> | AsyncIterable<I>): Iterator<I, unknown> | AsyncIterator<I, unknown> {
  // Not `in`: a string has no properties that could be asked for that way.
  const asynchronous = (items as Partial<AsyncIterable<I>>)[Symbol.asyncIterator];
  return asynchronous === undefined ? (items as Iterable<I>)[Symbol.iterator]() : asynchronous.call(items);
}

function isPromise<T extends object>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>>).then === "function";
}
