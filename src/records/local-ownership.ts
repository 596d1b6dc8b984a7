import type { ClaimDraft, Ownership, OwnershipEvents } from "./ownership.js";
import type { SessionStorage } from "./storage.js";

/** The pools on one storage, and what each of them holds. */
interface Table {
  readonly holders: Map<string, LocalOwnership>;
  readonly pools: Set<LocalOwnership>;
}

const tables = new WeakMap<SessionStorage, Table>();

/** Written where no other process looks at the records. */
const NO_CLAIM: ClaimDraft = { claim: null, landed: () => {} };

/**
 * Ownership over a storage that only this process uses: pools that were given the same storage object share a table in
 * memory. Costs no write, and needs none.
 */
export class LocalOwnership implements Ownership {
  readonly #events: OwnershipEvents;
  readonly #table: Table;

  constructor(storage: SessionStorage, events: OwnershipEvents) {
    this.#events = events;
    this.#table = tables.get(storage) ?? { holders: new Map(), pools: new Set() };
    tables.set(storage, this.#table);
    this.#table.pools.add(this);
  }

  isHeld(id: string): boolean {
    return this.#table.holders.get(id) === this;
  }

  isDoubtful(): boolean {
    return false;
  }

  isForeign(id: string): boolean {
    const holder = this.#table.holders.get(id);
    return holder !== undefined && holder !== this;
  }

  async hold(id: string): Promise<boolean> {
    if (this.isForeign(id)) return false;
    this.#table.holders.set(id, this);
    this.#tellOthers(id, true);
    return true;
  }

  async release(id: string): Promise<void> {
    this.forget(id);
  }

  forget(id: string): void {
    if (!this.isHeld(id)) return;
    this.#table.holders.delete(id);
    this.#tellOthers(id, false);
  }

  draft(): ClaimDraft {
    return NO_CLAIM;
  }

  observe(id: string): void {
    this.#events.foreign(id, this.isForeign(id));
  }

  end(): void {
    for (const [id, holder] of this.#table.holders) if (holder === this) this.forget(id);
    this.#table.pools.delete(this);
  }

  #tellOthers(id: string, isForeign: boolean): void {
    for (const pool of this.#table.pools) if (pool !== this) pool.#events.foreign(id, isForeign);
  }
}
