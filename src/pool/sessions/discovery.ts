import { StorageCorruptError, StorageError } from "../../errors.js";
import type { KeyReservations } from "../../records/key-reservations.js";
import type { Ledger } from "../../records/ledger.js";
import type { Ownership } from "../../records/ownership/ownership.js";
import { decodeRecord } from "../../records/record.js";
import type { SessionStorage, StoredRecord } from "../../records/storage.js";
import type { StorageDeadline } from "../../records/storage-deadline.js";
import type { Dispatcher } from "../dispatcher.js";
import type { Departures } from "./departures.js";
import type { KeyedLocks } from "./keyed-locks.js";
import type { KnownSession } from "./known-session.js";
import { KeyTakenError, type SessionBook } from "./session-book.js";

/** What discovering needs. */
export interface DiscoveryParts {
  readonly book: SessionBook;
  readonly ownership: Ownership;
  readonly ledger: Ledger;
  readonly storage: SessionStorage;
  readonly deadline: StorageDeadline;
  readonly locks: KeyedLocks;
  readonly keys: KeyReservations;
  readonly departures: Departures;
  readonly dispatcher: Dispatcher;
  /** A record could not be read. */
  rejected(id: string): void;
}

/** How sessions come that other processes have added. */
export class Discovery {
  readonly #parts: DiscoveryParts;

  constructor(parts: DiscoveryParts) {
    this.#parts = parts;
  }

  /**
   * There is a record of a session that is not in the book: another process has added it, or has not finished removing it.
   * Resolves whether that may change though nobody writes the record again.
   */
  async discovered(id: string): Promise<boolean> {
    const { book, storage, deadline, locks } = this.#parts;
    return locks.hold([`id ${id}`], async () => {
      if (book.get(id) !== undefined) return false;
      const stored = await deadline.run(`read the record of "${id}"`, () => storage.read(id));
      if (stored === undefined) {
        book.forgetRejected(id);
        return false;
      }
      return this.#takeIn(stored);
    });
  }

  /** Takes in a session that another process has added. Throws as loading rejects. */
  async enter(stored: StoredRecord): Promise<KnownSession> {
    const { book, ledger, ownership, keys } = this.#parts;
    // An addition that was given up may land after somebody else has added the key under another id.
    const holder = await keys.holderOf(decodeRecord(stored.data).fingerprint);
    if (holder !== undefined && holder !== stored.id) throw new KeyTakenError(holder);
    const { known, owner } = await book.adopt(stored);
    ledger.track(stored.id, stored.version);
    ownership.observe(stored.id, owner);
    return known;
  }

  /** Resolves as `discovered`: a process that is removing it may die, and a key that is taken may be given up. */
  async #takeIn(stored: StoredRecord): Promise<boolean> {
    const { book, departures, dispatcher } = this.#parts;
    const { id } = stored;
    const isNew = book.rejection(id) === undefined;
    try {
      const state = await departures.sweep(stored);
      if (state === "stays") await this.enter(stored);
      book.forgetRejected(id);
      dispatcher.changed();
      return state === "leaving";
    } catch (error) {
      if (error instanceof StorageError && !(error instanceof StorageCorruptError)) throw error;
      book.reject(id, error);
      if (isNew) this.#parts.rejected(id);
      return error instanceof KeyTakenError;
    }
  }
}
