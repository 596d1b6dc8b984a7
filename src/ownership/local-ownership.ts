import { randomUUID } from "node:crypto";
import { sharedByCopies } from "../common/shared-by-copies.js";
import { StorageError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { SessionTable } from "../state/session-table.js";
import { givenStorage } from "../storage/checked-storage.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { SessionStorage } from "../storage/storage.js";
import { type ClaimDraft, type ClaimHandle, type Ownership, type SessionHolder, setForeign } from "./ownership.js";

/** A pool as the others on its storage see it; it may belong to another copy of this package. */
interface Participant {
  /** Called when another pool has claimed or released the session. */
  readonly foreign: (id: string, isForeign: boolean) => void;
}

/** The pools on one storage, and the sessions that each of them holds. */
interface Table {
  /** The pool that holds each connected session. */
  readonly holders: Map<string, Participant>;
  /** The pool that held each session last, and may have written its record. Entries last until the record is gone. */
  readonly last: Map<string, string>;
  /** The pools that are not closed. */
  readonly pools: Set<Participant>;
}

/** By the storage object of the user: each copy of this package has its own handle for it. A table lasts as long as pools use the storage. */
const tables: WeakMap<SessionStorage, Table> = sharedByCopies("local-ownership.1", WeakMap<SessionStorage, Table>);

/** The claim in records that no other process reads. */
const NO_CLAIM: ClaimDraft = { claim: null, landed: () => {} };

/** A claim that lasts until it is released. */
class LocalClaim implements ClaimHandle {
  usableUntil = Number.POSITIVE_INFINITY;

  end(): void {
    this.usableUntil = Number.NEGATIVE_INFINITY;
  }
}

/**
 * Ownership over a storage that only this process uses: pools that were given the same storage object share a table in
 * memory. Costs no write, and needs none; where several pools use a session, the next one reads what the last one wrote.
 */
export class LocalOwnership implements Ownership {
  readonly #recordWriter: RecordWriter;
  readonly #storage: SessionStorage;
  readonly #table: Table;
  readonly #self: Participant;
  /** Random, one per pool: unlike a reference it does not keep a closed pool in memory. */
  readonly #name = randomUUID();
  /** By session id. Bounded by the number of sessions that this pool holds. */
  readonly #holds = new Map<string, LocalClaim>();

  constructor(context: PoolContext, sessionTable: SessionTable, recordWriter: RecordWriter) {
    this.#recordWriter = recordWriter;
    this.#storage = givenStorage(context.options.storage);
    this.#self = { foreign: (id, isForeign) => setForeign(context, sessionTable, id, isForeign) };
    this.#table = tables.get(this.#storage) ?? { holders: new Map(), last: new Map(), pools: new Set() };
    tables.set(this.#storage, this.#table);
    this.#table.pools.add(this.#self);
  }

  isHeld(id: string): boolean {
    return this.#table.holders.get(id) === this.#self;
  }

  needsRevalidation(): boolean {
    return false;
  }

  isForeign(id: string): boolean {
    const holder = this.#table.holders.get(id);
    return holder !== undefined && holder !== this.#self;
  }

  /** Only pools of this process use the storage. */
  holderOf(id: string): SessionHolder | undefined {
    return this.isForeign(id) ? { pid: process.pid, isLocal: true } : undefined;
  }

  async claim(id: string): Promise<ClaimHandle | undefined> {
    if (this.isForeign(id)) return undefined;
    const { holders, last } = this.#table;
    const isMine = (last.get(id) ?? this.#name) === this.#name;
    holders.set(id, this.#self);
    const hold = this.#startClaim(id);
    this.#notifyOthers(id, true);
    if (isMine) last.set(id, this.#name);
    else await this.#catchUp(id);
    return this.isHeld(id) ? hold : undefined;
  }

  async release(id: string): Promise<void> {
    const hold = this.#holds.get(id);
    hold?.end();
    if (this.#table.pools.size > 1) await this.#recordWriter.flush(id);
    if (this.#holds.get(id) === hold) this.#drop(id);
  }

  forget(id: string): void {
    this.#drop(id);
    this.#table.last.delete(id);
  }

  #drop(id: string): void {
    this.#holds.get(id)?.end();
    this.#holds.delete(id);
    if (!this.isHeld(id)) return;
    this.#table.holders.delete(id);
    this.#notifyOthers(id, false);
  }

  draft(): ClaimDraft {
    return NO_CLAIM;
  }

  onRecordRead(id: string): void {
    this.#self.foreign(id, this.isForeign(id));
  }

  end(): void {
    for (const [id, holder] of this.#table.holders) if (holder === this.#self) this.#drop(id);
    this.#table.pools.delete(this.#self);
    if (this.#table.pools.size === 0 && tables.get(this.#storage) === this.#table) tables.delete(this.#storage);
  }

  /** A claim that is being released is not reused: its release must not end the new one. */
  #startClaim(id: string): ClaimHandle {
    const current = this.#holds.get(id);
    if (current?.usableUntil === Number.POSITIVE_INFINITY) return current;
    const hold = new LocalClaim();
    this.#holds.set(id, hold);
    return hold;
  }

  async #catchUp(id: string): Promise<void> {
    try {
      await this.#recordWriter.refresh(id);
      // A write under way merges the other pool's changes by itself.
      await this.#recordWriter.flush(id);
      this.#table.last.set(id, this.#name);
    } catch (error) {
      this.#drop(id);
      if (error instanceof StorageError) throw error;
      throw new StorageError(`Session "${id}" cannot be used: its record cannot be read.`, {
        cause: error,
        sessionId: id,
      });
    }
  }

  #notifyOthers(id: string, isForeign: boolean): void {
    for (const pool of this.#table.pools) if (pool !== this.#self) pool.foreign(id, isForeign);
  }
}
