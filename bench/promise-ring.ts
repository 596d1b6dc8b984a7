/** The least a pool can be: a first-in-first-out ring behind a promise. */
export class PromiseRing<T> {
  readonly #items: (T | undefined)[];
  #head = 0;
  #size: number;
  readonly #waiting: ((item: T) => void)[] = [];

  constructor(items: readonly T[]) {
    this.#items = [...items];
    this.#size = items.length;
  }

  take(): Promise<T> {
    if (this.#size === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    const item = this.#items[this.#head] as T;
    this.#head = (this.#head + 1) % this.#items.length;
    this.#size--;
    return Promise.resolve(item);
  }

  put(item: T): void {
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) {
      waiter(item);
      return;
    }
    this.#items[(this.#head + this.#size) % this.#items.length] = item;
    this.#size++;
  }
}
