import { StorageError } from "../../../src/errors.js";
import type { StoredRecord } from "../../../src/storage/storage.js";
import { fields } from "../sql-rows.js";
import { FileEvents } from "./file-events.js";
import type { Run } from "./schema.js";

// By the system's clock, as all times of the storages: their contract has none, and other processes write by no injected clock.

/** How often the database is checked for commits of other connections where no event of its file announces them. */
const CHECK_EVERY_MS = 700;
/** The same while events of the file announce them. A process that wakes costs more than the check: about 0.3 ms of CPU time. */
const CHECK_ANNOUNCED_EVERY_MS = 5_000;
/** From the first write of a commit to the check: while it is written a check waits for its lock. */
const COMMIT_MS = 25;
/** Minimum time between two checks, for a file that is written all the time. */
const MIN_INTERVAL_MS = 100;
/** The pause after reading all versions, as a multiple of the time that it took. */
const PAUSE_PER_CHECK = 50;

const FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'";

/** One row of three JSON arrays: drivers take several times as long for a row per record. */
const VERSIONS = `SELECT json_group_array(id), json_group_array(version), json_group_array(data IS NULL)
  FROM telegram_session_pool`;

/**
 * Reports the records that other connections have written, within a second. Asks for `PRAGMA data_version`, which costs
 * microseconds and changes with the commits of others only, and reads all versions when it has changed. It asks when the file is
 * written to, and at an interval, because events of files can be missing.
 */
export class SqliteWatch {
  readonly #run: Run;
  readonly #changed: (id: string) => void;
  readonly #failed: (error: Error) => void;
  readonly #listening: () => void;
  /** Bounded by the records of the database, deleted ones included. */
  readonly #versions = new Map<string, number>();
  #dataVersion: unknown;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires, by the monotonic clock; `-Infinity` while a check runs. */
  #checkAt = Number.NEGATIVE_INFINITY;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #pauseUntil = Number.NEGATIVE_INFINITY;
  #events: FileEvents | undefined;
  /** Whether the file was written to since the last check began. */
  #isAnnounced = false;
  /** Whether every change so far was announced by an event. */
  #areAnnounced = false;
  #isSilent: boolean;
  #isFailing = false;
  #isStopped = false;

  /**
   * First reports records that are not at their `listed` version. Without a list, calls `listening` once the versions are
   * known, and reports only what is written from then on.
   */
  constructor(
    run: Run,
    listed: readonly StoredRecord[] | undefined,
    changed: (id: string) => void,
    failed: (error: Error) => void,
    listening: () => void,
  ) {
    this.#run = run;
    for (const { id, version } of listed ?? []) this.#versions.set(id, version);
    this.#isSilent = listed === undefined;
    this.#changed = changed;
    this.#failed = failed;
    this.#listening = listening;
  }

  start(): this {
    void this.#check();
    return this;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#events?.close();
  }

  /** A write of this connection's own. */
  wrote(id: string, version: number): void {
    this.#versions.set(id, version);
  }

  async #check(): Promise<void> {
    this.#checkAt = Number.NEGATIVE_INFINITY;
    this.#checkedAt = performance.now();
    const isAnnounced = this.#isAnnounced;
    this.#isAnnounced = false;
    try {
      // Before the first look, so that nothing is written between the two.
      this.#events ??= await this.#listen();
      await this.#look(isAnnounced);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing && !this.#isStopped)
        this.#failed(error instanceof Error ? error : new StorageError(String(error)));
      this.#isFailing = true;
    }
    if (this.#isStopped) return this.#events?.close();
    // After an announcement soon again: a WAL is written to before the commit can be seen.
    const canRest = this.#areAnnounced && !isAnnounced && !this.#isFailing;
    const waitMs = this.#isAnnounced ? COMMIT_MS : canRest ? CHECK_ANNOUNCED_EVERY_MS : CHECK_EVERY_MS;
    this.#checkIn(waitMs);
  }

  async #listen(): Promise<FileEvents> {
    const [row = []] = await this.#run(FILE);
    const [file] = fields(row);
    const events = new FileEvents(typeof file === "string" ? file : "", () => this.#onWritten());
    this.#areAnnounced = events.isWatching;
    return events;
  }

  #onWritten(): void {
    this.#isAnnounced = true;
    this.#areAnnounced = true;
    // While a check runs, its end sets the timer.
    if (this.#checkAt > performance.now() + COMMIT_MS) this.#checkIn(COMMIT_MS);
  }

  #checkIn(waitMs: number): void {
    const now = performance.now();
    this.#checkAt = Math.max(now + waitMs, this.#checkedAt + MIN_INTERVAL_MS, this.#pauseUntil);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#check(), this.#checkAt - now).unref();
  }

  async #look(isAnnounced: boolean): Promise<void> {
    const [row = []] = await this.#run("PRAGMA data_version");
    const [dataVersion] = fields(row);
    if (dataVersion === this.#dataVersion || this.#isStopped) return;
    const isFirst = this.#dataVersion === undefined;
    if (!isFirst && !isAnnounced && !this.#isAnnounced) this.#areAnnounced = false;
    await this.#compare();
    this.#dataVersion = dataVersion;
  }

  async #compare(): Promise<void> {
    const began = performance.now();
    const [row = []] = await this.#run(VERSIONS);
    const [ids, versions, deleted] = fields(row).map((json) => JSON.parse(String(json)) as readonly unknown[]);
    const ended = performance.now();
    this.#pauseUntil = ended + (ended - began) * PAUSE_PER_CHECK;
    for (const [index, id] of (ids ?? []).entries()) {
      this.#onVersion(String(id), Number(versions?.[index]), deleted?.[index] === 1);
    }
    const wasSilent = this.#isSilent;
    this.#isSilent = false;
    if (wasSilent && !this.#isStopped) this.#listening();
  }

  #onVersion(id: string, version: number, isDeleted: boolean): void {
    const known = this.#versions.get(id);
    if (known !== undefined && known >= version) return;
    this.#versions.set(id, version);
    const isNews = known !== undefined || !isDeleted;
    if (isNews && !this.#isSilent && !this.#isStopped) this.#changed(id);
  }
}
