/** Where a heap keeps an item's position, so that any item can be removed or moved in O(log n). */
export interface HeapOrder<T> {
  /** Negative when `a` comes out before `b`. */
  compare(a: T, b: T): number;
  position(item: T): number;
  /** `-1` when the item is in no heap of this order. */
  setPosition(item: T, position: number): void;
}

/** A binary min-heap whose items know where they stand. */
export class IndexedHeap<T> {
  readonly #order: HeapOrder<T>;
  readonly #items: T[] = [];

  constructor(order: HeapOrder<T>) {
    this.#order = order;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  /** In no particular order. */
  values(): readonly T[] {
    return this.#items;
  }

  add(item: T): void {
    this.#items.push(item);
    this.#up(item, this.#items.length - 1);
  }

  /** Puts the item where its changed key belongs; adds it when it was not in. */
  update(item: T): void {
    const position = this.#order.position(item);
    if (position < 0) this.add(item);
    else this.#down(item, this.#up(item, position));
  }

  removeFirst(): void {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (first === undefined || last === undefined) return;
    this.#order.setPosition(first, -1);
    if (last !== first) this.#down(last, 0);
  }

  remove(item: T): void {
    const position = this.#order.position(item);
    if (position < 0) return;
    this.#order.setPosition(item, -1);
    const last = this.#items.pop();
    if (last !== undefined && last !== item) this.#down(last, this.#up(last, position));
  }

  #up(item: T, from: number): number {
    let position = from;
    while (position > 0) {
      const parentPosition = (position - 1) >> 1;
      const parent = this.#items[parentPosition] as T;
      if (this.#order.compare(item, parent) >= 0) break;
      this.#place(parent, position);
      position = parentPosition;
    }
    this.#place(item, position);
    return position;
  }

  #down(item: T, from: number): void {
    let position = from;
    for (;;) {
      const left = 2 * position + 1;
      if (left >= this.#items.length) break;
      const right = left + 1;
      const isRightFirst =
        right < this.#items.length && this.#order.compare(this.#items[right] as T, this.#items[left] as T) < 0;
      const childPosition = isRightFirst ? right : left;
      const child = this.#items[childPosition] as T;
      if (this.#order.compare(item, child) <= 0) break;
      this.#place(child, position);
      position = childPosition;
    }
    this.#place(item, position);
  }

  #place(item: T, position: number): void {
    this.#items[position] = item;
    this.#order.setPosition(item, position);
  }
}
