import { StorageCorruptError } from "../../src/errors.js";
import type { StoredPeer, StoredRecord } from "../../src/records/storage.js";

/** A row as its driver gives it: an object by column name, or an array. */
export type AnyRow = Readonly<Record<string, unknown>> | readonly unknown[];

/**
 * The fields of a row in the order of its columns. Never by name: drivers can be told to rename columns (`transform` of
 * postgres.js) or to leave names out (`returnArrays` of node:sqlite).
 */
export function fields(row: AnyRow): readonly unknown[] {
  return Array.isArray(row) ? row : Object.values(row);
}

/** A record from a row of id, version and data. */
export function toRecord(row: AnyRow): StoredRecord {
  const [id, version, data] = fields(row);
  if (typeof id !== "string") throw new StorageCorruptError("The database gave a row without an id.");
  return { id, version: Number(version), data: typeof data === "string" ? data : "" };
}

/** The peers of rows of id, access hash, username, phone and name. What has no access hash is of no use. */
export function toPeers(rows: readonly AnyRow[]): readonly StoredPeer[] {
  return rows.flatMap((row) => {
    const [id, accessHash, username, phone, name] = fields(row);
    if (typeof id !== "string" || typeof accessHash !== "string") return [];
    return {
      id,
      accessHash,
      ...(typeof username === "string" ? { username } : {}),
      ...(typeof phone === "string" ? { phone } : {}),
      ...(typeof name === "string" ? { name } : {}),
    };
  });
}
