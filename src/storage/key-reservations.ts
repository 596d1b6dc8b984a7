import { StorageCorruptError } from "../errors.js";
import { isObject } from "../options/validators.js";
import { decodeRecord, RESERVED_PREFIXES, type SessionRecord } from "./record.js";
import type { SessionStorage, StoredRecord } from "./storage.js";
import type { StorageTimeout } from "./storage-timeout.js";
import { type RecordUpdate, type RecordWrite, updateRecord } from "./update-record.js";

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
    const first = { expected: 0, data: textOf({ id, isConfirmed: false }) };
    const change = async (reservation: StoredRecord | undefined): Promise<string | undefined> => {
      const claim = reservation && claimIn(reservation);
      if (claim !== undefined && claim.id !== id && (await this.#isHeld(claim, fingerprint))) return undefined;
      // Written even if this session has it already: a release that is under way must find another version.
      return textOf({ id, isConfirmed: claim?.id === id && claim.isConfirmed });
    };
    return holderIn(await this.#update(fingerprint, change, first));
  }

  /**
   * Makes the key this session's for good; its record MUST be on disk. Resolves the id that was faster, or `undefined`.
   */
  async confirm(fingerprint: string, id: string): Promise<string | undefined> {
    const update = await this.#update(fingerprint, (reservation) =>
      confirmedIn(reservation) === undefined ? textOf({ id, isConfirmed: true }) : undefined,
    );
    const holder = holderIn(update);
    return holder === id ? undefined : holder;
  }

  /** The id that has the key for good, if one has. */
  async ownerOf(fingerprint: string): Promise<string | undefined> {
    return confirmedIn(await this.#read(RESERVED_PREFIXES.key + fingerprint));
  }

  /** Gives the key back, if it is this session's, and its record does not have it. */
  async release(fingerprint: string, id: string): Promise<void> {
    await this.#update(fingerprint, async (reservation) => {
      if (reservation === undefined || claimIn(reservation)?.id !== id) return undefined;
      const stored = await this.#read(id);
      return stored !== undefined && recordIn(stored)?.fingerprint === fingerprint ? undefined : null;
    });
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

  #update(fingerprint: string, change: Parameters<typeof updateRecord>[1], first?: RecordWrite): Promise<RecordUpdate> {
    const id = RESERVED_PREFIXES.key + fingerprint;
    const write = (expected: number, data: string | null): Promise<number | undefined> =>
      this.#deadline.run("write the record of an auth key", () => this.#storage.write(id, expected, data));
    return updateRecord({ id, read: () => this.#read(id), write, ...(first && { first }) }, change);
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

/** The id that kept an update from taking the key. */
function holderIn({ before, version }: RecordUpdate): string | undefined {
  return version === undefined && before !== undefined ? claimIn(before)?.id : undefined;
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
