import { ItemSource, type Pulled } from "./item-source.js";

/** Where the items go. */
export interface ItemPullerHooks<I> {
  /** Whether another item may be pulled now. */
  hasRoom(): boolean;
  /** Takes an item on. `false`: it is left out. */
  onItem(item: I, index: number): boolean;
  /** There are no more, because of an error or because that was all. */
  ended(failure: { readonly error: unknown } | undefined): void;
  /** An item has come, or may come now. */
  onProgress(): void;
}

/** So many items are left out in one go before others have their turn. */
const SKIPS_AT_ONCE = 1_000;

/** Pulls items as long as there is room for them, one at a time. */
export class ItemPuller<I> {
  readonly #source: ItemSource<I>;
  readonly #policy: ItemPullerHooks<I>;
  #index = 0;
  #isPausing = false;
  #isClosed = false;

  constructor(items: Iterable<I> | AsyncIterable<I>, policy: ItemPullerHooks<I>) {
    this.#source = new ItemSource(items);
    this.#policy = policy;
  }

  /** Nothing more is wanted. Rejects with what the source throws at that. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#source.close();
  }

  pull(): void {
    try {
      for (let skips = 0; this.#mayPull(); ) {
        const pulled = this.#source.pull();
        if (pulled instanceof Promise) this.#receive(pulled);
        else if (!this.#accept(pulled)) skips++;
        if (skips === SKIPS_AT_ONCE) this.#pause();
      }
    } catch (error) {
      this.#end({ error });
    }
  }

  #mayPull(): boolean {
    return !this.#isClosed && !this.#isPausing && !this.#source.isPulling && this.#policy.hasRoom();
  }

  #accept(pulled: Pulled<I>): boolean {
    if (pulled.done !== true) return this.#policy.onItem(pulled.value, this.#index++);
    this.#end(undefined);
    return true;
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    this.#isClosed = true;
    this.#policy.ended(failure);
  }

  /** An item that comes too late is not taken on. */
  #receive(coming: Promise<Pulled<I>>): void {
    coming.then(
      (pulled) => {
        if (!this.#isClosed) this.#accept(pulled);
        this.#policy.onProgress();
      },
      (error: unknown) => {
        if (!this.#isClosed) this.#end({ error });
      },
    );
  }

  #pause(): void {
    this.#isPausing = true;
    setImmediate(() => {
      this.#isPausing = false;
      this.#policy.onProgress();
    });
  }
}
