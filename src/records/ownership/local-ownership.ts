import { StorageError } from "../../errors.js";
import type { SessionStorage } from "../storage.js";
import type { Hold } from "./hold.js";
import type { ClaimDraft, Ownership, OwnershipEvents } from "./ownership.js";

/** The pools on one storage, and what each of them holds. */
interface Table {
  readonly holders: Map<string, LocalOwnership>;
  /** Who held each session last, and so may have written of it. */
  readonly last: Map<string, LocalOwnership>;
  readonly pools: Set<LocalOwnership>;
}

const tables = new WeakMap<SessionStorage, Table>();

/** Written where no other process looks at the records. */
const NO_CLAIM: ClaimDraft = { claim: null, landed: () => {} };

/** Lasts until it is given up: no clock ends it. */
class LocalHold implements Hold {
  #hasEnded = false;

  end(): void {
    this.#hasEnded = true;
  }

  isUsable(): boolean {
    return !this.#hasEnded;
  }
}

/** What local ownership needs to know and to tell. */
export interface LocalOwnershipPolicy extends OwnershipEvents {
  /** Takes in what another pool has written of the session. */
  look(id: string): Promise<void>;
  /** Resolves when what this pool has to write of the session is written, or is late. */
  settled(id: string): Promise<void>;
}

/**
 * Ownership over a storage that only this process uses: pools that were given the same storage object share a table in
 * memory. Costs no write, and needs none; where several pools use a session, the next one reads what the last one wrote.
 */
export class LocalOwnership implements Ownership {
  readonly #events: LocalOwnershipPolicy;
  readonly #table: Table;
  readonly #holds = new Map<string, LocalHold>();

  constructor(storage: SessionStorage, policy: LocalOwnershipPolicy) {
    this.#events = policy;
    this.#table = tables.get(storage) ?? { holders: new Map(), last: new Map(), pools: new Set() };
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

  async hold(id: string): Promise<Hold | undefined> {
    if (this.isForeign(id)) return undefined;
    const { holders, last } = this.#table;
    const isMine = (last.get(id) ?? this) === this;
    holders.set(id, this);
    const hold = this.#beginHold(id);
    this.#tellOthers(id, true);
    if (isMine) last.set(id, this);
    else await this.#catchUp(id);
    return this.isHeld(id) ? hold : undefined;
  }

  async release(id: string): Promise<void> {
    const hold = this.#holds.get(id);
    hold?.end();
    if (this.#table.pools.size > 1) await this.#events.settled(id);
    if (this.#holds.get(id) === hold) this.forget(id);
  }

  forget(id: string): void {
    this.#holds.get(id)?.end();
    this.#holds.delete(id);
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

  /** One that is being released is not to be had again: that release is not to end the new one. */
  #beginHold(id: string): Hold {
    const current = this.#holds.get(id);
    if (current?.isUsable()) return current;
    const hold = new LocalHold();
    this.#holds.set(id, hold);
    return hold;
  }

  async #catchUp(id: string): Promise<void> {
    try {
      await this.#events.look(id);
      // A write that is under way finds the other pool's by itself.
      await this.#events.settled(id);
      this.#table.last.set(id, this);
    } catch (error) {
      this.forget(id);
      if (error instanceof StorageError) throw error;
      throw new StorageError(`Session "${id}" cannot be used: its record cannot be read.`, {
        cause: error,
        sessionId: id,
      });
    }
  }

  #tellOthers(id: string, isForeign: boolean): void {
    for (const pool of this.#table.pools) if (pool !== this) pool.#events.foreign(id, isForeign);
  }
}
