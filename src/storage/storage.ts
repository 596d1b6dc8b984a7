import type { KnownPeer } from "../telegram/peer-cache.js";

/** One durable record. The pool owns `data`; a storage treats it as opaque text. */
export interface StoredRecord {
  readonly id: string;
  /** At least 1. Grows with every write of this id, also over delete and re-create. */
  readonly version: number;
  readonly data: string;
}

/** One of the writes of `writeMany`: a compare-and-set, as by `write(id, expected, data)`. */
export interface RecordWrite {
  readonly id: string;
  /** The version that the record has to be at; 0 creates it. */
  readonly expected: number;
  /** `null` deletes the record. */
  readonly data: string | null;
}

/** The new version, `undefined` when another writer won, or why this write failed. */
export type WriteResult = number | undefined | Error;

/**
 * The whole contract of a storage adapter.
 *
 * Everything durable is a versioned write: the pool never asks for a transaction, a query or an expiry. Every method
 * that cannot do its work rejects (adapters of this package: with `StorageError`); none swallows a failure, none
 * repeats `data` in an error message.
 *
 * One entry that cannot be read fails neither `list` nor `read`, so that the others load: it is given with its id, with
 * the text there is of it as `data` or `""` when there is none, and with its version or 1 when that is lost. The pool
 * sets it aside and never writes it; `write(id, thatVersion, null)` deletes it when the user asks for that.
 */
export interface SessionStorage {
  /**
   * Called once, before anything else, and again only after `close`, however many pools and checkpoints were given the
   * object. Nothing touches disk or network before it.
   */
  open?(): Promise<void>;
  /** Every record, each internally consistent, damaged ones too. Throws; MUST NOT return a partial list. */
  list(): Promise<readonly StoredRecord[]>;
  /** One record as it is now, or `undefined` when there is none. */
  read(id: string): Promise<StoredRecord | undefined>;
  /**
   * Compare-and-set, in one atomic step: `expected` 0 creates, `data` null deletes. Resolves the new version, or
   * `undefined` when the record is not at `expected` (another writer won). MUST be durable when it resolves.
   */
  write(id: string, expected: number, data: string | null): Promise<number | undefined>;
  /**
   * Optional: many writes in one transaction, pipeline or statement; the pool sends what it writes in one turn of the
   * event loop together. Each write is a compare-and-set of its own, as `write` would do it, and atomic by itself;
   * whether others win makes no difference to it. No id occurs twice. Resolves with one result per write, in their
   * order: what `write` would resolve, or an `Error` for a write that failed while others may not have. MUST be durable
   * when it resolves. Rejects when all of them failed.
   */
  writeMany?(writes: readonly RecordWrite[]): Promise<readonly WriteResult[]>;
  /** Whether `write` is atomic across processes. `false`: the pool has to be the only process. */
  readonly shared: boolean;
  /** Optional: persists what each session knows of its peers. */
  readonly peers?: PeerStorage;
  /**
   * Optional: reports the writes of other processes until the returned function is called. `failed` is for a watch, or an
   * idle connection, that fails: the watch resumes by itself, and each outage is reported once.
   *
   * `listening` is to be called whenever the watch starts to receive changes without having those before: after it has
   * subscribed, and after each outage. The pool then lists all records once. A watch that misses nothing since the
   * latest `list` does not need it; one that never calls it leaves such changes to the regular list.
   */
  watch?(changed: (id: string) => void, failed?: (error: Error) => void, listening?: () => void): () => void;
  /** Ends every handle; called when the last pool or checkpoint that uses the object is done. MUST be idempotent. */
  close?(): Promise<void>;
}

/** A peer as one session knows it. The access hash is valid for that session alone. */
export type StoredPeer = KnownPeer;

/** A field by which peers are found. */
export type PeerField = "id" | "username";

/** Where peers survive a restart. */
export interface PeerStorage {
  /** All peers of a session, the most recently used last. */
  load(sessionId: string): Promise<readonly StoredPeer[]>;
  /** Inserts or replaces. */
  save(sessionId: string, peers: readonly StoredPeer[]): Promise<void>;
  /** Forgets all peers of a session. */
  clear(sessionId: string): Promise<void>;
  /**
   * Optional: the ids of all sessions with a record that hold a peer with one of the values in this field, each once; others
   * may be among them. To be answered by an index: the pool asks for every caller with `knows`. Without it such a caller
   * gets only sessions whose client is open in its own process.
   */
  knowing?(field: PeerField, values: readonly string[]): Promise<readonly string[]>;
}
