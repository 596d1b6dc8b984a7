/** A pulled item's place among the results. */
export interface ResultSlot<R> {
  isSettled: boolean;
  /** `undefined`: it has none. */
  result: R | undefined;
}

/** Results on their way to whoever reads them: as they finish, or in the order of the items. */
export class ResultBuffer<R> {
  readonly #isOrdered: boolean;
  /** Ordered: every item that was pulled. Otherwise: those that are over. */
  #places: ResultSlot<R>[] = [];
  #next = 0;

  constructor(isOrdered: boolean) {
    this.#isOrdered = isOrdered;
  }

  /** The place of the next item. */
  open(): ResultSlot<R> {
    const place: ResultSlot<R> = { isSettled: false, result: undefined };
    if (this.#isOrdered) this.#places.push(place);
    return place;
  }

  settle(place: ResultSlot<R>, result: R | undefined): void {
    place.isSettled = true;
    place.result = result;
    if (!this.#isOrdered) this.#places.push(place);
  }

  /** The next result that may be read. */
  take(): R | undefined {
    for (let place = this.#places[this.#next]; place?.isSettled; place = this.#places[this.#next]) {
      this.#next++;
      if (this.#next > 32 && this.#next * 2 > this.#places.length) {
        this.#places = this.#places.slice(this.#next);
        this.#next = 0;
      }
      if (place.result !== undefined) return place.result;
    }
    return undefined;
  }

  clear(): void {
    this.#places = [];
    this.#next = 0;
  }
}
