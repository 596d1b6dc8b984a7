import type { StoredPeer } from "../../src/records/storage.js";

/** A peer from a row of a table of peers, without what is NULL. */
export function toPeer(row: Readonly<Record<string, unknown>>): StoredPeer {
  return {
    id: String(row.id),
    accessHash: String(row.access_hash),
    ...(typeof row.username === "string" ? { username: row.username } : {}),
    ...(typeof row.phone === "string" ? { phone: row.phone } : {}),
    ...(typeof row.name === "string" ? { name: row.name } : {}),
  };
}
