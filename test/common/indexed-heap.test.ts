import fc from "fast-check";
import { expect, test } from "vitest";
import { IndexedHeap } from "../../src/common/indexed-heap.js";

interface Item {
  key: number;
}

const heapOfItems = (): IndexedHeap<Item> => new IndexedHeap<Item>();

test("IndexedHeap - add, update, remove and removeFirst as a sorted list does", () => {
  const step = fc.tuple(fc.constantFrom("add", "update", "remove", "first"), fc.nat(30), fc.integer());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = heapOfItems();
      const items: Item[] = Array.from({ length: 31 }, () => ({ key: 0 }));
      const inside = new Set<Item>();
      for (const [kind, index, key] of steps) {
        const item = items[index] as Item;
        const first = heap.peek();
        if (kind === "remove") {
          heap.remove(item);
          inside.delete(item);
        } else if (kind === "first" && first !== undefined) {
          heap.removeFirst();
          inside.delete(first);
        } else if (kind === "update" || (kind === "add" && !inside.has(item))) {
          item.key = key;
          heap.update(item, key);
          inside.add(item);
        }
        expect(heap.size).toBe(inside.size);
        expect(heap.peek()?.key).toBe(
          inside.size === 0 ? undefined : Math.min(...Array.from(inside, (one) => one.key)),
        );
      }
      for (const item of items) expect(heap.has(item)).toBe(inside.has(item));
    }),
    { numRuns: 50 },
  );
});

test("remove() - of an item that is not in is a no-op", () => {
  const heap = heapOfItems();
  heap.add({ key: 1 }, 1);
  heap.remove({ key: 1 });
  expect(heap.size).toBe(1);
});

test("removeFirst() - of an empty heap is a no-op", () => {
  const heap = heapOfItems();
  heap.removeFirst();
  expect(heap.size).toBe(0);
});
