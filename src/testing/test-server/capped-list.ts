/** A list that forgets its oldest entries once it holds more than `limit`. */
export class CappedList<T> {
  #entries: T[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(entry: T): void {
    if (this.#limit === 0) return;
    this.#entries.push(entry);
    // Amortised: half of the list goes at once.
    if (this.#entries.length >= 2 * this.#limit) this.#entries = this.#entries.slice(-this.#limit);
  }

  all(): readonly T[] {
    return this.#entries.length > this.#limit ? this.#entries.slice(-this.#limit) : this.#entries;
  }

  keep(predicate: (entry: T) => boolean): void {
    this.#entries = this.#entries.filter(predicate);
  }
}
