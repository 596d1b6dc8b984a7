/** A node that can be in one list at a time. */
export interface ListNode<Item> {
  /** Managed by the list. */
  isLinked: boolean;
  previous: Item | null;
  next: Item | null;
}

/** Items in insertion order. The items are the nodes, so adding and removing is cheaper than in a `Set`, which hashes. */
export class LinkedList<Item extends ListNode<Item>> {
  #first: Item | null = null;
  #last: Item | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Item | undefined {
    return this.#first ?? undefined;
  }

  /** The item MUST NOT be in another list. */
  add(item: Item): void {
    if (item.isLinked) return;
    item.isLinked = true;
    item.previous = this.#last;
    if (this.#last === null) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#size++;
  }

  remove(item: Item): void {
    if (!item.isLinked) return;
    item.isLinked = false;
    if (item.previous === null) this.#first = item.next;
    else item.previous.next = item.next;
    if (item.next === null) this.#last = item.previous;
    else item.next.previous = item.previous;
    item.previous = null;
    item.next = null;
    this.#size--;
  }

  /** Safe against removal while iterating; remaining items are visited at least once, in insertion order. */
  *[Symbol.iterator](): Generator<Item> {
    for (let item = this.#first; item !== null; ) {
      const following: Item | null = item.next;
      yield item;
      if (item.isLinked) item = item.next;
      else item = following?.isLinked === false ? this.#first : following;
    }
  }

  toArray(): Item[] {
    return [...this];
  }
}
