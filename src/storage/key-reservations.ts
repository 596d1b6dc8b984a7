import { StorageCorruptError } from "../errors.js";
import { isObject } from "../options/validators.js";
import { decodeRecord, type SessionRecord } from "./record.js";
import { RESERVED_PREFIXES } from "./reserved-ids.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import { endless, ROUNDS, type StorageTimeout } from "./storage-timeout.js";

/** Grows when an older version of this package could not read what a newer one wrote. */
const FORMAT = 1;

/** Who has taken a key, and whether for good. */
interface Claim {
  readonly id: string;
  readonly isConfirmed: boolean;
}

/**
 * One auth key, one session: each key is taken by a reserved record named by its fingerprint, so that of two processes
 * that add one key under two ids the first wins.
 *
 * A process may die between taking the key and writing its session, so a key is taken in two steps: `take` before the
 * session's record is written, `confirm` after, and before anything connects with it. A key whose holder's record is not
 * there or has another key may be taken over; which of two writers has it is decided by one compare-and-set of the
 * reservation alone: the confirmation.
 */
export class KeyReservations {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  readonly #isConnected: (fingerprint: string, holder: string) => boolean;

  /** `isConnected` tells whether a client of this process may still use the key, which its session has given up. */
  constructor(
    storage: SessionStorage,
    deadline: StorageTimeout,
    isConnected: (fingerprint: string, holder: string) => boolean = () => false,
  ) {
    this.#storage = storage;
    this.#deadline = deadline;
    this.#isConnected = isConnected;
  }

  /** Takes the key for a session, until `confirm`. Resolves the id that holds it, or `undefined` when it is taken now. */
  async reserve(fingerprint: string, id: string): Promise<string | undefined> {
    const key = RESERVED_PREFIXES.key + fingerprint;
    for (let round = 0; round < ROUNDS; round++) {
      if ((await this.#write(key, 0, textOf({ id, isConfirmed: false }))) !== undefined) return undefined;
      const reservation = await this.#read(key);
      if (reservation === undefined) continue;
      const claim = claimIn(reservation);
      if (claim !== undefined && claim.id !== id && (await this.#isHeld(claim, fingerprint))) return claim.id;
      // Also where it is this session's already: a release that is under way finds another version.
      const isConfirmed = claim?.id === id && claim.isConfirmed;
      if ((await this.#write(key, reservation.version, textOf({ id, isConfirmed }))) !== undefined) return undefined;
    }
    throw endless(key);
  }

  /**
   * Makes the key this session's for good; its record MUST be on disk. Resolves the id that was faster, or `undefined`.
   */
  async confirm(fingerprint: string, id: string): Promise<string | undefined> {
    const key = RESERVED_PREFIXES.key + fingerprint;
    for (let round = 0; round < ROUNDS; round++) {
      const reservation = await this.#read(key);
      const claim = reservation && claimIn(reservation);
      if (claim?.isConfirmed) return claim.id === id ? undefined : claim.id;
      const version = await this.#write(key, reservation?.version ?? 0, textOf({ id, isConfirmed: true }));
      if (version !== undefined) return undefined;
    }
    throw endless(key);
  }

  /** The id that has the key for good, if one has. */
  async ownerOf(fingerprint: string): Promise<string | undefined> {
    return confirmedIn(await this.#read(RESERVED_PREFIXES.key + fingerprint));
  }

  /** Gives the key back, if it is this session's, and its record does not have it. */
  async release(fingerprint: string, id: string): Promise<void> {
    const key = RESERVED_PREFIXES.key + fingerprint;
    for (let round = 0; round < ROUNDS; round++) {
      const reservation = await this.#read(key);
      if (reservation === undefined || claimIn(reservation)?.id !== id) return;
      const stored = await this.#read(id);
      if (stored !== undefined && recordIn(stored)?.fingerprint === fingerprint) return;
      if ((await this.#write(key, reservation.version, null)) !== undefined) return;
    }
    throw endless(key);
  }

  /**
   * Whether the key is the holder's. One whose record has another key by now may still be connected with this one; one
   * that has not confirmed it never is, whether or not its record can be read.
   */
  async #isHeld({ id, isConfirmed }: Claim, fingerprint: string): Promise<boolean> {
    const stored = await this.#read(id).catch((error: unknown) => {
      if (isConfirmed) throw error;
      return undefined;
    });
    if (stored === undefined) return false;
    const record = recordIn(stored);
    if (record?.fingerprint === fingerprint) return true;
    return isConfirmed && (record === undefined || record.owner !== null || this.#isConnected(fingerprint, id));
  }

  #write(key: string, expected: number, data: string | null): Promise<number | undefined> {
    return this.#deadline.run("write the record of an auth key", () => this.#storage.write(key, expected, data));
  }

  #read(id: string): Promise<StoredRecord | undefined> {
    return this.#deadline.run("read a record", () => this.#storage.read(id));
  }
}

/** The same by records that were listed. */
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

function confirmedIn(reservation: StoredRecord | undefined): string | undefined {
  const claim = reservation && claimIn(reservation);
  return claim?.isConfirmed ? claim.id : undefined;
}

function textOf(claim: Claim): string {
  return JSON.stringify({ v: FORMAT, ...claim });
}

/**
 * Whose the key is; `undefined` of a damaged reservation, which the next one replaces: it is derived from the records of
 * sessions. Throws `StorageCorruptError` for one of a newer version.
 */
function claimIn({ id: key, data }: StoredRecord): Claim | undefined {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { v, id, isConfirmed } = value;
  if (typeof v === "number" && v > FORMAT) {
    throw new StorageCorruptError(
      `The record "${key}" was written by a newer version of this package (format ${v}; this one knows ${FORMAT}). Nothing was overwritten.`,
    );
  }
  return v === FORMAT && typeof id === "string" && typeof isConfirmed === "boolean" ? { id, isConfirmed } : undefined;
}
