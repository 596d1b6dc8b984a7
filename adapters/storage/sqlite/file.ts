import { randomUUID } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { StorageError } from "../../../src/errors.js";
import { codeOf, toStorageError } from "../to-storage-error.js";

/**
 * Creates the file readable by its owner only, before SQLite would create it readable by all (its journal takes over
 * the mode).
 *
 * An existing file MUST NOT be opened here, not even to read its header. POSIX drops all locks of a process on a file
 * when the process closes any descriptor of it, those of other SQLite connections and threads included; two processes
 * would then write at once. Source: sqlite.org/howtocorrupt.html, 2.2.
 */
export function prepareFile(path: string): void {
  const target = targetOf(path);
  const found = statOf(target) ?? create(path, target);
  if (!found.isFile()) throw new StorageError(`${path} is not a file: give sqlite() the path of a file.`);
  assertAccess(path, target);
}

/** Throws `StorageError` once the path no longer names the file that it named when this was called. */
export function fileGuard(path: string): () => void {
  const opened = statSync(path);
  return () => {
    const found = statOf(path);
    if (found?.ino === opened.ino && found.dev === opened.dev) return;
    throw new StorageError(
      `${path} was deleted or replaced while it was open: what is written now is lost at the next start. Put the same file back, or restart the process.`,
    );
  };
}

/** Where symbolic links lead, also to a file that does not exist yet. */
function targetOf(path: string): string {
  let target = path;
  for (let links = 0; links < 40 && lstatOf(target)?.isSymbolicLink() === true; links += 1) {
    target = resolve(dirname(target), readlinkSync(target));
  }
  return target;
}

/**
 * An empty file, made under another name and then linked to this one: its descriptor is closed before anyone can hold a
 * lock on it. Where the file system has no hard links it is created in place.
 */
function create(path: string, target: string): Stats {
  const draft = `${target}.${randomUUID()}.new`;
  try {
    createEmpty(draft);
    try {
      linkSync(draft, target);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") createEmpty(target);
    } finally {
      unlinkSync(draft);
    }
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw creationFailure(path, target, error);
  }
  return statSync(target);
}

function createEmpty(path: string): void {
  const descriptor = openSync(path, "wx", 0o600);
  try {
    fchmodSync(descriptor, 0o600); // regardless of the umask
  } finally {
    closeSync(descriptor);
  }
}

function creationFailure(path: string, target: string, error: unknown): StorageError {
  const folder = dirname(target);
  const link = target === path ? "" : `${path} is a symbolic link to ${target}. `;
  if (codeOf(error) === "ENOENT") {
    return new StorageError(`${link}The folder ${folder} does not exist: create it first.`, { cause: error });
  }
  if (isRefusal(error)) return folderFailure(folder, link, error);
  return toStorageError(`${path} cannot be created`, error);
}

/** Refuses a file that others own or can reach: a session string is the whole account. */
export function assertPrivate(path: string): void {
  if (process.platform === "win32") return;
  const { mode, uid } = statSync(path);
  if ((mode & 0o077) !== 0) {
    throw new StorageError(
      `Other users can reach ${path} (mode ${(mode & 0o777).toString(8)}), and reading it is enough to use the accounts: run "chmod 600 ${path}", or pass allowOpenPermissions: true.`,
    );
  }
  const own = process.geteuid?.();
  if (own !== undefined && uid !== own) {
    throw new StorageError(
      `${path} belongs to another user (uid ${uid}; this process runs as ${own}), who can read every account in it: run "chown ${own} ${path}", or pass allowOpenPermissions: true.`,
    );
  }
}

/** SQLite itself says no more than "unable to open database file" or "attempt to write a readonly database". */
function assertAccess(path: string, target: string): void {
  const folder = dirname(target);
  try {
    accessSync(target, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw toStorageError(`${path} cannot be opened for reading and writing`, error);
  }
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw folderFailure(folder, "", error);
  }
}

function folderFailure(folder: string, link: string, error: unknown): StorageError {
  return new StorageError(
    `${link}The folder ${folder} is not writable for this process (${String(codeOf(error))}): SQLite keeps its journal there, beside the file.`,
    { cause: error },
  );
}

function isRefusal(error: unknown): boolean {
  return ["EACCES", "EPERM", "EROFS"].includes(String(codeOf(error)));
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function lstatOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
