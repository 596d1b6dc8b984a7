/** Result of a pull: an item, or the end. */
type Pulled<I> = IteratorResult<I, unknown>;

/** Consumes the items of a bulk run. */
export interface ItemConsumer<I> {
  /** Whether another item may be pulled now. */
  hasRoom(): boolean;
  /** Starts an item. Returns `false` if the item is skipped. */
  onItem(item: I, index: number): boolean;
  /** The items have ended, or pulling one has failed. */
  onEnd(failure: { readonly error: unknown } | undefined): void;
  /** A pull has ended, or may go on after a pause. */
  onProgress(): void;
}

/** Maximum number of consecutive items that are skipped in one turn of the event loop. */
const MAX_SKIPS_PER_TURN = 1_000;

/** Pulls items from an iterable of either kind, one at a time, while its consumer has room. */
export class ItemPuller<I> {
  readonly #items: Iterable<I> | AsyncIterable<I>;
  readonly #consumer: ItemConsumer<I>;
  #iterator: Iterator<I, unknown> | AsyncIterator<I, unknown> | undefined;
  #index = 0;
  /** Whether a pull is unanswered. */
  #isPulling = false;
  #isPaused = false;
  /** Whether no further item is wanted. */
  #isClosed = false;
  /** Whether the iterator has returned or thrown. */
  #hasEnded = false;

  constructor(items: Iterable<I> | AsyncIterable<I>, consumer: ItemConsumer<I>) {
    this.#items = items;
    this.#consumer = consumer;
  }

  /** Pulls items while there is room; an asynchronous iterable continues by `onProgress`. */
  pull(): void {
    try {
      for (let skips = 0; this.#mayPull(); ) {
        const pulled = this.#next();
        if (pulled instanceof Promise) this.#receive(pulled);
        else if (!this.#accept(pulled)) skips++;
        if (skips === MAX_SKIPS_PER_TURN) this.#pause();
      }
    } catch (error) {
      this.#end({ error });
    }
  }

  /**
   * Stops pulling and closes the iterator. Rejects with what its `return` throws. Does not wait for a busy
   * iterator.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    const iterator = this.#iterator;
    if (this.#hasEnded || iterator === undefined) return;
    this.#hasEnded = true;
    const closed = Promise.resolve(iterator.return?.());
    if (this.#isPulling) closed.catch(() => {});
    else await closed;
  }

  #mayPull(): boolean {
    return !this.#isClosed && !this.#isPaused && !this.#isPulling && this.#consumer.hasRoom();
  }

  /** The next item, synchronously where the iterable allows it. */
  #next(): Pulled<I> | Promise<Pulled<I>> {
    try {
      this.#iterator ??= iteratorOf(this.#items);
      const pulled = this.#iterator.next();
      return isPromise(pulled) ? this.#untilPulled(pulled) : this.#noteEnd(pulled);
    } catch (error) {
      this.#hasEnded = true;
      throw error;
    }
  }

  async #untilPulled(pulled: PromiseLike<Pulled<I>>): Promise<Pulled<I>> {
    this.#isPulling = true;
    try {
      return this.#noteEnd(await pulled);
    } catch (error) {
      this.#hasEnded = true;
      throw error;
    } finally {
      this.#isPulling = false;
    }
  }

  #noteEnd(pulled: Pulled<I>): Pulled<I> {
    if (pulled.done === true) this.#hasEnded = true;
    return pulled;
  }

  #accept(pulled: Pulled<I>): boolean {
    if (pulled.done !== true) return this.#consumer.onItem(pulled.value, this.#index++);
    this.#end(undefined);
    return true;
  }

  /** An item that arrives after `close` is dropped. */
  #receive(pulling: Promise<Pulled<I>>): void {
    pulling.then(
      (pulled) => {
        if (!this.#isClosed) this.#accept(pulled);
        this.#consumer.onProgress();
      },
      (error: unknown) => {
        if (!this.#isClosed) this.#end({ error });
      },
    );
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    this.#isClosed = true;
    this.#consumer.onEnd(failure);
  }

  #pause(): void {
    this.#isPaused = true;
    setImmediate(() => {
      this.#isPaused = false;
      this.#consumer.onProgress();
    });
  }
}

function iteratorOf<I>(items: Iterable<I> | AsyncIterable<I>): Iterator<I, unknown> | AsyncIterator<I, unknown> {
  // Not with `in`, which throws for a string.
  const asynchronous = (items as Partial<AsyncIterable<I>>)[Symbol.asyncIterator];
  return asynchronous === undefined ? (items as Iterable<I>)[Symbol.iterator]() : asynchronous.call(items);
}

function isPromise<T extends object>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>>).then === "function";
}
