/** Storage for the position of each item in a heap. */
export interface Positions<T> {
  get(item: T): number | undefined;
  set(item: T, position: number): void;
  delete(item: T): void;
}

/** Compares two items with equal keys: negative if `a` comes first. */
export type TieBreak<T> = (a: T, b: T) => number;

/**
 * A binary min-heap by a numeric key that knows the positions of its items, so that any of them can be removed or moved in
 * O(log n). The keys are stored in the heap: comparisons read no items, which would cost a memory access each.
 */
export class IndexedHeap<T> {
  readonly #items: T[] = [];
  readonly #keys: number[] = [];
  readonly #positions: Positions<T>;
  readonly #breakTie: TieBreak<T>;

  constructor(breakTie: TieBreak<T> = () => 0, positions: Positions<T> = new Map()) {
    this.#breakTie = breakTie;
    this.#positions = positions;
  }

  get size(): number {
    return this.#items.length;
  }

  has(item: T): boolean {
    return this.#positions.get(item) !== undefined;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  /** The lowest key; `Infinity` if the heap is empty. */
  get firstKey(): number {
    return this.#keys.length === 0 ? Number.POSITIVE_INFINITY : (this.#keys[0] as number);
  }

  /** In no particular order. */
  forEach(visit: (item: T, key: number) => void): void {
    for (const [position, item] of this.#items.entries()) visit(item, this.#keys[position] as number);
  }

  add(item: T, key: number): void {
    this.#items.push(item);
    this.#keys.push(key);
    this.#up(item, key, this.#items.length - 1);
  }

  /** Sets the key of an item, which is added if it is not in the heap. */
  update(item: T, key: number): void {
    const position = this.#positions.get(item);
    if (position === undefined) this.add(item, key);
    else if (this.#keys[position] !== key) this.#down(item, key, this.#up(item, key, position));
  }

  removeFirst(): void {
    const first = this.#items[0];
    if (this.#items.length > 0) this.#removeAt(first as T, 0);
  }

  remove(item: T): void {
    const position = this.#positions.get(item);
    if (position !== undefined) this.#removeAt(item, position);
  }

  /** The key of an item; `undefined` if it is not in the heap. */
  keyOf(item: T): number | undefined {
    const position = this.#positions.get(item);
    return position === undefined ? undefined : this.#keys[position];
  }

  /** The first item in order that matches. Visits no more than the items before it and their children. */
  find(matches: (item: T) => boolean): T | undefined {
    const first = this.#items[0];
    if (this.#items.length === 0 || matches(first as T)) return first;
    const items = this.#items;
    const open = new IndexedHeap<number>((a, b) => this.#breakTie(items[a] as T, items[b] as T), NO_POSITIONS);
    let position: number | undefined = 0;
    while (position !== undefined) {
      for (let child = 2 * position + 1; child <= 2 * position + 2 && child < items.length; child++) {
        open.add(child, this.#keys[child] as number);
      }
      position = open.peek();
      open.removeFirst();
      if (position !== undefined && matches(items[position] as T)) return items[position];
    }
    return undefined;
  }

  /** Visits all items whose key is at most `key`, in no particular order. */
  forEachUpTo(key: number, visit: (item: T) => void): void {
    const open = [0];
    for (let position = open.pop(); position !== undefined; position = open.pop()) {
      if (position >= this.#items.length || (this.#keys[position] as number) > key) continue;
      visit(this.#items[position] as T);
      open.push(2 * position + 1, 2 * position + 2);
    }
  }

  #removeAt(item: T, position: number): void {
    this.#positions.delete(item);
    const last = this.#items.pop() as T;
    const key = this.#keys.pop() as number;
    if (position < this.#items.length) this.#down(last, key, this.#up(last, key, position));
  }

  #isBefore(item: T, key: number, position: number): boolean {
    const other = this.#keys[position] as number;
    return key < other || (key === other && this.#breakTie(item, this.#items[position] as T) < 0);
  }

  #up(item: T, key: number, from: number): number {
    let position = from;
    while (position > 0) {
      const parent = (position - 1) >> 1;
      if (!this.#isBefore(item, key, parent)) break;
      this.#place(this.#items[parent] as T, this.#keys[parent] as number, position);
      position = parent;
    }
    this.#place(item, key, position);
    return position;
  }

  #down(item: T, key: number, from: number): void {
    let position = from;
    for (;;) {
      let child = 2 * position + 1;
      if (child >= this.#items.length) break;
      const right = child + 1;
      if (right < this.#items.length && this.#isBefore(this.#items[right] as T, this.#keys[right] as number, child)) {
        child = right;
      }
      const below = this.#items[child] as T;
      const keyBelow = this.#keys[child] as number;
      if (key < keyBelow || (key === keyBelow && this.#breakTie(item, below) <= 0)) break;
      this.#place(below, keyBelow, position);
      position = child;
    }
    this.#place(item, key, position);
  }

  #place(item: T, key: number, position: number): void {
    this.#items[position] = item;
    this.#keys[position] = key;
    this.#positions.set(item, position);
  }
}

/** For heaps of which only the first item is ever removed. */
const NO_POSITIONS: Positions<unknown> = { get: () => undefined, set: () => {}, delete: () => {} };
