import { StorageError } from "../errors.js";
import type { RecordWrite, StoredRecord } from "./storage.js";

/** Compare-and-set losses in a row after which the storage is considered broken: no real contention lasts that long. */
export const MAX_CONFLICTS: number = 100;

/** Error for a storage that keeps refusing writes at the version it has just reported. */
export function endlessConflict(key: string): StorageError {
  return new StorageError(
    `The storage has refused ${MAX_CONFLICTS} writes of "${key}" at the version that it had just returned.`,
  );
}

/** One record, and how to reach it. */
export interface RecordAccess {
  readonly id: string;
  read(): Promise<StoredRecord | undefined>;
  /** Resolves with the new version, or `undefined` if another writer won. */
  write(expected: number, data: string | null): Promise<number | undefined>;
  /** Write to try before the record is read, for callers that expect to know its version. */
  readonly first?: Omit<RecordWrite, "id">;
}

/** Result of `updateRecord`. */
export interface RecordUpdate {
  /** The record as last read; `undefined` if it did not exist, or if the first write succeeded without a read. */
  readonly before: StoredRecord | undefined;
  /** The written version; `undefined` if `change` left the record as it was. */
  readonly version: number | undefined;
}

/**
 * Reads a record, derives its new data and writes it by compare-and-set; starts over when another writer was faster.
 * `change` may run several times. It returns the new data, `null` to delete the record, or `undefined` to leave it.
 * Throws `StorageError` after 100 conflicts in a row.
 */
export async function updateRecord(
  { id, read, write, first }: RecordAccess,
  change: (current: StoredRecord | undefined) => string | null | undefined | Promise<string | null | undefined>,
): Promise<RecordUpdate> {
  let before: StoredRecord | undefined;
  let next = first;
  for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
    if (next === undefined) {
      before = await read();
      const data = await change(before);
      if (data === undefined) return { before, version: undefined };
      next = { expected: before?.version ?? 0, data };
    }
    const version = await write(next.expected, next.data);
    if (version !== undefined) return { before, version };
    next = undefined;
  }
  throw endlessConflict(id);
}
