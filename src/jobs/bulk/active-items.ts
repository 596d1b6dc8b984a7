import type { Criteria } from "../../state/criteria.js";
import type { BulkItem } from "./bulk-item.js";

/** The items of one run that have been taken on and are not over. */
export class ActiveItems<Client, I, O> {
  /** At most `concurrency`. */
  readonly #items = new Set<BulkItem<Client, I, O>>();
  #atIdle: () => void = () => {};

  add(item: BulkItem<Client, I, O>): void {
    this.#items.add(item);
  }

  delete(item: BulkItem<Client, I, O>): void {
    this.#items.delete(item);
    if (this.#items.size === 0) this.#atIdle();
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    if (this.#items.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#atIdle = resolve;
    });
  }

  /** What they wait for, each kind once, if no work of any of them runs. */
  get waitFor(): readonly Criteria[] {
    const kinds = new Map<string, Criteria>();
    for (const { waitsFor } of this.#items) {
      if (waitsFor === undefined) return [];
      kinds.set(kindOf(waitsFor), waitsFor);
    }
    return [...kinds.values()];
  }
}

/** A key says which session is preferred, not which could serve. */
function kindOf({ id, tags, methods, peers }: Criteria): string {
  return JSON.stringify([id, tags, methods, peers]);
}
