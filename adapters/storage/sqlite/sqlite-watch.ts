import { StorageError } from "../../../src/errors.js";
import type { StoredRecord } from "../../../src/storage/storage.js";
import { columnsOf, fields } from "../sql-rows.js";
import type { Run } from "./schema.js";

/**
 * How often the database is checked for commits of other connections. By the system's clock, as all times of the storages:
 * their contract has none, and other processes write by no injected clock.
 */
const CHECK_EVERY_MS = 1_000;
/** The pause after reading all versions, as a multiple of the time that it took. */
const PAUSE_PER_CHECK = 50;

const VERSIONS = "SELECT id, version, data IS NULL FROM telegram_session_pool";

/**
 * Reports the records that other connections have written. Asks for `PRAGMA data_version`, which costs microseconds and
 * changes with the commits of others only, and reads all versions when it has changed.
 */
export class SqliteWatch {
  readonly #run: Run;
  readonly #changed: (id: string) => void;
  readonly #failed: (error: Error) => void;
  /** Bounded by the records of the database, deleted ones included. */
  readonly #versions = new Map<string, number>();
  #dataVersion: unknown;
  #timer: NodeJS.Timeout | undefined;
  #isSilent: boolean;
  #isFailing = false;
  #isStopped = false;

  /** First reports records that are not at their `listed` version; without a list, only what is written from now on. */
  constructor(
    run: Run,
    listed: readonly StoredRecord[] | undefined,
    changed: (id: string) => void,
    failed: (error: Error) => void,
  ) {
    this.#run = run;
    for (const { id, version } of listed ?? []) this.#versions.set(id, version);
    this.#isSilent = listed === undefined;
    this.#changed = changed;
    this.#failed = failed;
  }

  start(): this {
    void this.#check();
    return this;
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** A write of this connection's own. */
  wrote(id: string, version: number): void {
    this.#versions.set(id, version);
  }

  async #check(): Promise<void> {
    let tookMs = 0;
    try {
      const [row = []] = await this.#run("PRAGMA data_version");
      const [dataVersion] = fields(row);
      if (dataVersion !== this.#dataVersion && !this.#isStopped) tookMs = await this.#compare();
      this.#dataVersion = dataVersion;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing && !this.#isStopped)
        this.#failed(error instanceof Error ? error : new StorageError(String(error)));
      this.#isFailing = true;
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#check(), Math.max(CHECK_EVERY_MS, tookMs * PAUSE_PER_CHECK)).unref();
  }

  async #compare(): Promise<number> {
    const began = performance.now();
    const rows = await this.#run(VERSIONS);
    const tookMs = performance.now() - began;
    const [id = "", version = "", isDeleted = ""] = columnsOf(rows);
    for (const row of rows) this.#onVersion(String(row[id]), Number(row[version]), Number(row[isDeleted]) === 1);
    this.#isSilent = false;
    return tookMs;
  }

  #onVersion(id: string, version: number, isDeleted: boolean): void {
    const known = this.#versions.get(id);
    if (known !== undefined && known >= version) return;
    this.#versions.set(id, version);
    const isNews = known !== undefined || !isDeleted;
    if (isNews && !this.#isSilent && !this.#isStopped) this.#changed(id);
  }
}
