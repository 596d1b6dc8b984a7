/** Negative when `a` comes out before `b`. */
export type HeapOrder<T> = (a: T, b: T) => number;

/** A binary min-heap that knows where its items stand, so that any of them can be removed or moved in O(log n). */
export class IndexedHeap<T> {
  readonly #compare: HeapOrder<T>;
  readonly #items: T[] = [];
  /** Not kept by the items: most are in no heap, and there may be very many. */
  readonly #positions = new Map<T, number>();

  constructor(compare: HeapOrder<T>) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#items.length;
  }

  has(item: T): boolean {
    return this.#positions.has(item);
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
    const position = this.#positions.get(item);
    if (position === undefined) this.add(item);
    else this.#down(item, this.#up(item, position));
  }

  removeFirst(): void {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (first === undefined || last === undefined) return;
    this.#positions.delete(first);
    if (last !== first) this.#down(last, 0);
  }

  remove(item: T): void {
    const position = this.#positions.get(item);
    if (position === undefined) return;
    this.#positions.delete(item);
    const last = this.#items.pop();
    if (last !== undefined && last !== item) this.#down(last, this.#up(last, position));
  }

  #up(item: T, from: number): number {
    let position = from;
    while (position > 0) {
      const parentPosition = (position - 1) >> 1;
      const parent = this.#items[parentPosition] as T;
      if (this.#compare(item, parent) >= 0) break;
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
        right < this.#items.length && this.#compare(this.#items[right] as T, this.#items[left] as T) < 0;
      const childPosition = isRightFirst ? right : left;
      const child = this.#items[childPosition] as T;
      if (this.#compare(item, child) <= 0) break;
      this.#place(child, position);
      position = childPosition;
    }
    this.#place(item, position);
  }

  #place(item: T, position: number): void {
    this.#items[position] = item;
    this.#positions.set(item, position);
  }
}
