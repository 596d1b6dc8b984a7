import { createHash } from "node:crypto";
import { StorageCorruptError } from "../../../src/errors.js";
import type { StoredRecord } from "../../../src/storage/storage.js";

/** What is where: Keyv cannot list with every adapter, so the ids are an entry of their own. */
export interface KeyvIndex {
  readonly ids: ReadonlySet<string>;
  /** At least the version of every deleted record: a created one starts above it. */
  readonly highest: number;
  /** Ids whose entry is still to be deleted, should the process have ended before it was. */
  readonly deleted: readonly string[];
}

/** The key of the index. */
export const INDEX_KEY = "telegram-session-pool/index";

/** The key of a record: a digest, since stores limit the length of keys and some ignore case or trailing blanks. */
export function recordKey(id: string): string {
  return `telegram-session-pool/${createHash("sha256").update(id).digest("hex")}`;
}

/** The text of the index, as {@link parseIndex} reads it. */
export function formatIndex(index: KeyvIndex): string {
  return JSON.stringify({ ...index, ids: [...index.ids] });
}

/** No entry: nothing was ever kept. Anything that is not an index throws, so that it is not overwritten. */
export function parseIndex(entry: unknown): KeyvIndex {
  if (entry === undefined || entry === null) return { ids: new Set(), highest: 0, deleted: [] };
  const { ids, highest, deleted } = parseObject(entry);
  if (!isTexts(ids) || typeof highest !== "number" || !isTexts(deleted)) throw unreadable();
  return { ids: new Set(ids), highest, deleted };
}

/** The index names the record, so that a missing entry is a lost one. What cannot be read is given as it stands, at version 1. */
export function parseRecord(id: string, entry: unknown): StoredRecord {
  const record = typeof entry === "string" ? objectIn(entry) : undefined;
  const { version, data } = record ?? {};
  const isOurs = record?.id === id && typeof version === "number" && Number.isSafeInteger(version) && version > 0;
  if (isOurs && typeof data === "string") return { id, version, data };
  return { id, version: isOurs ? version : 1, data: typeof entry === "string" ? entry : "" };
}

function parseObject(entry: unknown): Readonly<Record<string, unknown>> {
  const value = typeof entry === "string" ? objectIn(entry) : undefined;
  if (value === undefined) throw unreadable();
  return value;
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return Object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

/** Without a cause: a JSON error quotes what it could not read. */
function unreadable(): StorageCorruptError {
  return new StorageCorruptError(
    `The Keyv's list of sessions (its entry "${INDEX_KEY}") is damaged. Nothing was overwritten: restore it from a backup.`,
  );
}
