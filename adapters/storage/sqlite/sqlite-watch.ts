import { StorageError } from "../../../src/errors.js";
import { fields } from "../peer-rows.js";
import type { Run } from "./sqlite-peers.js";

/** How often the database is asked whether another connection has committed. */
const LOOK_MS = 1_000;
/** So many times as long as a look at all versions took nothing is looked at. */
const REST_PER_LOOK = 50;

const VERSIONS = "SELECT id, version FROM telegram_session_pool";

/**
 * Reports the records that other connections have written. Asks for `PRAGMA data_version`, which costs microseconds and
 * changes with the commits of others only, and reads all versions when it has changed.
 */
export class SqliteWatch {
  readonly #run: Run;
  readonly #changed: (id: string) => void;
  readonly #failed: (error: Error) => void;
  readonly #versions = new Map<string, number>();
  #dataVersion: unknown;
  #timer: NodeJS.Timeout | undefined;
  #isFailing = false;
  #isStopped = false;

  constructor(run: Run, changed: (id: string) => void, failed: (error: Error) => void) {
    this.#run = run;
    this.#changed = changed;
    this.#failed = failed;
  }

  start(): this {
    void this.#look(() => {});
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

  async #look(changed: (id: string) => void): Promise<void> {
    let tookMs = 0;
    try {
      const [row = []] = await this.#run("PRAGMA data_version");
      const [dataVersion] = fields(row);
      if (dataVersion !== this.#dataVersion && !this.#isStopped) tookMs = await this.#compare(changed);
      this.#dataVersion = dataVersion;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing && !this.#isStopped)
        this.#failed(error instanceof Error ? error : new StorageError(String(error)));
      this.#isFailing = true;
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#look(this.#changed), Math.max(LOOK_MS, tookMs * REST_PER_LOOK)).unref();
  }

  async #compare(changed: (id: string) => void): Promise<number> {
    const began = performance.now();
    const rows = await this.#run(VERSIONS);
    const tookMs = performance.now() - began;
    for (const row of rows) {
      const [id, version] = [String(fields(row)[0]), Number(fields(row)[1])];
      if ((this.#versions.get(id) ?? 0) >= version) continue;
      this.#versions.set(id, version);
      if (!this.#isStopped) changed(id);
    }
    return tookMs;
  }
}
