import { StorageCorruptError } from "../errors.js";
import { isObject, RESERVED_PREFIXES } from "../options/validators.js";
import { decodeRecord, newerFormat, type SessionRecord } from "./record.js";
import type { RecordWrite, SessionStorage, StoredRecord } from "./storage.js";
import type { StorageTimeout } from "./storage-timeout.js";
import { type RecordUpdate, updateRecord } from "./update-record.js";

/** Format version; increased when older versions of this package can no longer read the record. */
const FORMAT = 1;

/** The session that has reserved a key, and whether the reservation is confirmed. */
interface KeyClaim {
  readonly id: string;
  readonly isConfirmed: boolean;
}

/** Result of `reserve`. */
export interface Reservation {
  /** The id that holds the key already; `undefined` if it is reserved now. */
  readonly holder: string | undefined;
  /** The version of the reservation, for `confirm`. */
  readonly version: number | undefined;
}

/**
 * Ensures that one auth key belongs to one session. Each key is reserved by a record named after its fingerprint, so if
 * two processes add one key under two ids, the first wins.
 *
 * A process may die between reserving the key and writing its session, so there are two steps: `reserve` before the
 * session's record is written, and `confirm` after that and before any client connects. A key can be taken over if its
 * holder's record is missing or has another key. The compare-and-set of the confirmation alone decides between two
 * writers.
 */
export class KeyReservations {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  readonly #isConnected: (fingerprint: string, holder: string) => boolean;

  /** `isConnected` returns whether a client of this process may still use a key that its session no longer has. */
  constructor(
    storage: SessionStorage,
    deadline: StorageTimeout,
    isConnected: (fingerprint: string, holder: string) => boolean = () => false,
  ) {
    this.#storage = storage;
    this.#deadline = deadline;
    this.#isConnected = isConnected;
  }

  /** Reserves the key for a session until `confirm`. */
  async reserve(fingerprint: string, id: string): Promise<Reservation> {
    const first = { expected: 0, data: textOf({ id, isConfirmed: false }) };
    const change = async (reservation: StoredRecord | undefined): Promise<string | undefined> => {
      const claim = reservation && claimIn(reservation);
      if (claim !== undefined && claim.id !== id && (await this.#isHeld(claim, fingerprint))) return undefined;
      // Written even if this session already has it: a concurrent release must find another version.
      return textOf({ id, isConfirmed: claim?.id === id && claim.isConfirmed });
    };
    const update = await this.#update(fingerprint, change, first);
    return { holder: holderIn(update), version: update.version };
  }

  /**
   * Confirms the reservation; the session's record MUST be on disk. `reserved` is the version that `reserve` has written:
   * with it the reservation is read only if it has changed since. Resolves with the id that was faster, or `undefined`
   * on success.
   */
  async confirm(fingerprint: string, id: string, reserved?: number): Promise<string | undefined> {
    const data = textOf({ id, isConfirmed: true });
    const update = await this.#update(
      fingerprint,
      (reservation) => (confirmedIn(reservation) === undefined ? data : undefined),
      reserved === undefined ? undefined : { expected: reserved, data },
    );
    const holder = holderIn(update);
    return holder === id ? undefined : holder;
  }

  /** Returns the id with a confirmed reservation of the key, if any. */
  async ownerOf(fingerprint: string): Promise<string | undefined> {
    return confirmedIn(await this.#read(RESERVED_PREFIXES.key + fingerprint));
  }

  /** Deletes the reservation if it is this session's and its record does not have the key. */
  async release(fingerprint: string, id: string): Promise<void> {
    await this.#update(fingerprint, async (reservation) => {
      if (reservation === undefined || claimIn(reservation)?.id !== id) return undefined;
      const stored = await this.#read(id);
      return stored !== undefined && recordIn(stored)?.fingerprint === fingerprint ? undefined : null;
    });
  }

  /**
   * Whether the reservation is valid. A confirmed holder whose record has another key by now may still be connected
   * with this one; an unconfirmed holder never is, whether or not its record can be read.
   */
  async #isHeld({ id, isConfirmed }: KeyClaim, fingerprint: string): Promise<boolean> {
    const stored = await this.#read(id).catch((error: unknown) => {
      if (isConfirmed) throw error;
      return undefined;
    });
    if (stored === undefined) return false;
    const record = recordIn(stored);
    if (record?.fingerprint === fingerprint) return true;
    return isConfirmed && (record === undefined || record.owner !== null || this.#isConnected(fingerprint, id));
  }

  #update(
    fingerprint: string,
    change: Parameters<typeof updateRecord>[1],
    first?: Omit<RecordWrite, "id">,
  ): Promise<RecordUpdate> {
    const id = RESERVED_PREFIXES.key + fingerprint;
    const write = (expected: number, data: string | null): Promise<number | undefined> =>
      this.#deadline.run("write the record of an auth key", () => this.#storage.write(id, expected, data));
    return updateRecord({ id, read: () => this.#read(id), write, ...(first && { first }) }, change);
  }

  #read(id: string): Promise<StoredRecord | undefined> {
    return this.#deadline.run("read a record", () => this.#storage.read(id));
  }
}

/** Like `ownerOf`, from a list of records. */
export function ownerAmong(fingerprint: string, records: readonly StoredRecord[]): string | undefined {
  return confirmedIn(records.find(({ id }) => id === RESERVED_PREFIXES.key + fingerprint));
}

function recordIn(stored: StoredRecord): SessionRecord | undefined {
  try {
    return decodeRecord(stored.data);
  } catch {
    return undefined;
  }
}

/** Returns the id that prevented an update from taking the key. */
function holderIn({ before, version }: RecordUpdate): string | undefined {
  return version === undefined && before !== undefined ? claimIn(before)?.id : undefined;
}

function confirmedIn(reservation: StoredRecord | undefined): string | undefined {
  const claim = reservation && claimIn(reservation);
  return claim?.isConfirmed ? claim.id : undefined;
}

function textOf(claim: KeyClaim): string {
  return JSON.stringify({ v: FORMAT, ...claim });
}

/**
 * Parses a reservation. Returns `undefined` if it is damaged; it is then replaced, since it can be derived from the
 * records of sessions. Throws `StorageCorruptError` for a newer format.
 */
function claimIn({ id: key, data }: StoredRecord): KeyClaim | undefined {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { v, id, isConfirmed } = value;
  const newer = newerFormat(v, FORMAT);
  if (newer !== undefined) {
    throw new StorageCorruptError(`The record "${key}" cannot be used: ${newer}. Nothing was overwritten.`);
  }
  return v === FORMAT && typeof id === "string" && typeof isConfirmed === "boolean" ? { id, isConfirmed } : undefined;
}
