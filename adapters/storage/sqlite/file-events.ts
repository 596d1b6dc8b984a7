import { existsSync, type FSWatcher, watch } from "node:fs";

/**
 * Calls back on writes to a database file or its WAL, at the first write of a commit rather than at its end. Costs nothing
 * while there are none.
 *
 * Linux only: elsewhere watching a file may open it, and closing it again drops the locks of this process's SQLite
 * connections (see `prepareFile`). inotify watches the file itself, without a descriptor: it sees the writes of every process on
 * this kernel, and the file being moved or deleted. Source: inotify(7), libuv `uv_fs_event_start`.
 */
export class FileEvents {
  readonly #watchers: readonly FSWatcher[];

  constructor(path: string, written: () => void) {
    const paths = process.platform === "linux" && path !== "" ? [path, `${path}-wal`] : [];
    this.#watchers = paths.filter((file) => existsSync(file)).flatMap((file) => watcherOf(file, written));
  }

  /** Whether writes are reported. */
  get isWatching(): boolean {
    return this.#watchers.length > 0;
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}

/** None when the system has no watch left for this user: the limit `fs.inotify.max_user_watches`. */
function watcherOf(file: string, written: () => void): readonly FSWatcher[] {
  try {
    return [watch(file, { persistent: false }, written).on("error", () => {})];
  } catch {
    return [];
  }
}
