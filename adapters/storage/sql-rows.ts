import { StorageCorruptError } from "../../src/errors.js";
import type { StoredPeer, StoredRecord } from "../../src/storage/storage.js";

/** A row as its driver gives it: an object by column name, or an array. */
export type AnyRow = Readonly<Record<string, unknown>> | readonly unknown[];

/**
 * The fields of a row in the order of its columns. Never by name: drivers can be configured to rename columns (`transform` of
 * postgres.js) or to leave names out (`returnArrays` of node:sqlite).
 */
export function fields(row: AnyRow): readonly unknown[] {
  return Array.isArray(row) ? row : Object.values(row);
}

/** The names of the columns, in their order; of an array its indexes. All rows of one answer have the same. */
export function columnsOf(rows: readonly AnyRow[]): readonly string[] {
  return Object.keys(rows[0] ?? {});
}

/** The records of rows of id, version and data. */
export function toRecords(rows: readonly AnyRow[]): readonly StoredRecord[] {
  // By name, since there may be very many: taking all values of each row costs several times as much.
  const [idColumn = "", versionColumn = "", dataColumn = ""] = columnsOf(rows);
  return (rows as readonly Readonly<Record<string, unknown>>[]).map((row) => {
    const id = row[idColumn];
    const data = row[dataColumn];
    if (typeof id !== "string") throw new StorageCorruptError("The database gave a row without an id.");
    return { id, version: Number(row[versionColumn]), data: typeof data === "string" ? data : "" };
  });
}

/** The peers of rows of id, access hash, username, phone and name. Rows without an access hash are dropped. */
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

/** The first column of the rows. */
export function toTexts(rows: readonly AnyRow[]): readonly string[] {
  return rows.flatMap((row) => {
    const [text] = fields(row);
    return typeof text === "string" ? text : [];
  });
}
