import { existsSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { StorageCorruptError, StorageError } from "../../../src/errors.js";
import { codeOf, storageFailure } from "../storage-failure.js";
import { APPLICATION_ID } from "./schema.js";

/**
 * Creates the file readable by its owner only, before SQLite would create it readable by all (its -wal and -shm files
 * take over the mode), and refuses one that others can read: a session string is the whole account.
 */
export async function prepareFile(path: string, allowOpenPermissions: boolean): Promise<void> {
  const file = await openFile(path);
  try {
    await assertOurHeader(path, file);
    const { mode } = await file.stat();
    const isOpen = process.platform !== "win32" && (mode & 0o077) !== 0;
    if (isOpen && !allowOpenPermissions) {
      throw new StorageError(
        `Other users can reach ${path} (mode ${(mode & 0o777).toString(8)}), and whoever reads it has the accounts: run "chmod 600 ${path}", or pass allowOpenPermissions: true.`,
      );
    }
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "a+", 0o600);
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      throw new StorageError(`The folder ${dirname(path)} does not exist: create it first.`, { cause: error });
    }
    throw storageFailure(`${path} cannot be opened for reading and writing`, error);
  }
}

/**
 * Looks at the header before any driver does, because one of them creates a table as it opens. Beside a journal the
 * file may be half-written: then SQLite has to say what it is.
 * Source: sqlite.org/fileformat.html, 1.3, "application ID" at offset 68.
 */
async function assertOurHeader(path: string, file: FileHandle): Promise<void> {
  const header = Buffer.alloc(72);
  const { bytesRead } = await file.read(header, 0, header.length, 0);
  if (bytesRead === 0 || existsSync(`${path}-journal`)) return;
  if (header.toString("latin1", 0, 16) !== "SQLite format 3\0") {
    throw new StorageCorruptError(`${path} is no SQLite database. Nothing was overwritten.`);
  }
  const applicationId = header.readInt32BE(68);
  if (applicationId === 0 || applicationId === APPLICATION_ID) return;
  throw new StorageError(`${path} is a database of another application (application_id ${applicationId}).`);
}
