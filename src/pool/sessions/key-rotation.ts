import { OptionsError, type PoolClosedError } from "../../errors.js";
import type { Ledger } from "../../records/ledger.js";
import { sealedPeers } from "../../records/sealing/sealed-peers.js";
import { isFresh, type Sealer } from "../../records/sealing/sealing.js";
import type { PeerStorage } from "../../records/storage.js";
import type { StorageDeadline } from "../../records/storage-deadline.js";
import { notWritten } from "../refusals.js";
import type { CredentialSealing } from "./credentials.js";
import type { KeyedLocks } from "./keyed-locks.js";
import { reseal } from "./resealing.js";
import type { SessionBook } from "./session-book.js";

/** What sealing everything anew needs. */
export interface KeyRotationParts {
  readonly sealer: Sealer | undefined;
  readonly sealing: CredentialSealing;
  readonly book: SessionBook;
  readonly ledger: Ledger;
  readonly locks: KeyedLocks;
  readonly deadline: StorageDeadline;
  /** As they are stored. */
  readonly peers: PeerStorage | undefined;
  /** Takes in what other processes have written. Rejects as the storage does. */
  lookAround(): Promise<void>;
  /** What a call gets that comes after the pool was closed. */
  closed(): PoolClosedError | undefined;
}

/** Seals what was sealed with an older key, or not at all, with the newest one. */
export class KeyRotation {
  readonly #parts: KeyRotationParts;

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
  }

  /**
   * Resolves how many records were rewritten. One that could not be written ends it, and so does `close`, which waits for
   * one record alone: what was done stays done.
   */
  async rotate(): Promise<number> {
    const { sealer, book, locks, lookAround } = this.#parts;
    if (sealer === undefined) {
      throw new OptionsError("rotateKeys: the pool has no encryption; open it with encryption: aesGcm(key).");
    }
    await lookAround();
    let count = 0;
    for (const id of book.ids()) {
      const isRewritten = await locks.hold([`id ${id}`], () => {
        const closed = this.#parts.closed();
        if (closed !== undefined) throw closed;
        return this.#rotate(id);
      });
      if (isRewritten) count++;
    }
    return count;
  }

  async #rotate(id: string): Promise<boolean> {
    const { sealing, book, ledger } = this.#parts;
    const known = book.get(id);
    if (known === undefined) return false;
    await this.#rotatePeers(id);
    // What was sealed anew and is not on disk yet is not done.
    if (sealing.isFresh(known.credentials) && !known.changing.has("credentials")) return false;
    await reseal(sealing, known);
    if (!(await ledger.save(id))) throw notWritten(id);
    return true;
  }

  /** Seals all rows anew if one is not fresh. Those that cannot be opened go: nobody could use them. */
  async #rotatePeers(id: string): Promise<void> {
    const { sealer, peers, deadline } = this.#parts;
    if (sealer === undefined || peers === undefined) return;
    const rows = await deadline.run(`load the peers of "${id}"`, () => peers.load(id));
    if (rows.every(({ accessHash }) => isFresh(sealer, accessHash))) return;
    const sealed = sealedPeers(peers, sealer);
    const known = await deadline.run(`load the peers of "${id}"`, () => sealed.load(id));
    await deadline.run(`clear the peers of "${id}"`, () => peers.clear(id));
    await deadline.run(`write the peers of "${id}"`, () => sealed.save(id, known));
  }
}
