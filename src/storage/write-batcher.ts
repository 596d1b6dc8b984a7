import { inOwnContext } from "../common/own-context.js";
import type { StorageError } from "../errors.js";
import type { RecordWrite, WriteResult } from "./storage.js";
import { asStorageError } from "./storage-timeout.js";

/** Maximum number of writes in one batch. Larger batches are not faster, and block server and event loop for longer. */
const MAX_WRITES = 500;
/** Maximum length of the data in one batch, in UTF-16 code units. */
const MAX_DATA_LENGTH = 1_000_000;

interface PendingWrite extends RecordWrite {
  resolve(version: number | undefined): void;
  reject(error: unknown): void;
}

/**
 * Sends the writes of one turn of the event loop together. Each still has its own result, and no write waits for an
 * earlier batch, so a hanging storage call does not block later ones.
 */
export class WriteBatcher {
  readonly #writeOne: (write: RecordWrite) => Promise<number | undefined>;
  readonly #writeMany: (writes: readonly RecordWrite[]) => Promise<readonly WriteResult[]>;
  /** Bounded by `MAX_WRITES`. */
  #pending = new Map<string, PendingWrite>();
  #dataLength = 0;

  constructor(
    writeOne: (write: RecordWrite) => Promise<number | undefined>,
    writeMany: (writes: readonly RecordWrite[]) => Promise<readonly WriteResult[]>,
  ) {
    this.#writeOne = writeOne;
    this.#writeMany = writeMany;
  }

  /** Resolves and rejects as `SessionStorage.write`. */
  write(write: RecordWrite): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const { id, expected, data } = write;
      // A batch contains each record once; writes of one record keep their order.
      if (this.#pending.has(id)) this.#send();
      // Runs after pending microtasks, whose writes belong to the same turn.
      if (this.#pending.size === 0) process.nextTick(this.#sendBatch, this.#pending);
      this.#pending.set(id, { id, expected, data, resolve, reject });
      this.#dataLength += data?.length ?? 0;
      if (this.#pending.size >= MAX_WRITES || this.#dataLength >= MAX_DATA_LENGTH) this.#send();
    });
  }

  /** Sends the batch, unless it was already sent because it was full. */
  readonly #sendBatch = (batch: ReadonlyMap<string, PendingWrite>): void => {
    if (batch === this.#pending) this.#send();
  };

  #send(): void {
    const writes = [...this.#pending.values()];
    this.#pending = new Map();
    this.#dataLength = 0;
    const [first] = writes;
    if (first !== undefined && writes.length === 1) this.#writeOne(first).then(first.resolve, first.reject);
    else void inOwnContext(() => this.#sendMany(writes));
  }

  async #sendMany(writes: readonly PendingWrite[]): Promise<void> {
    try {
      const results = await this.#writeMany(writes.map(({ id, expected, data }) => ({ id, expected, data })));
      const shared = sharedErrors(results, writes);
      for (const [index, { resolve, reject }] of writes.entries()) {
        const result = results[index];
        if (result instanceof Error) reject(shared.get(result) ?? result);
        else resolve(result);
      }
    } catch (error) {
      const failure = withoutData(error, writes);
      for (const { reject } of writes) reject(failure);
    }
  }
}

/** Returns redacted replacements for errors that several writes share. */
function sharedErrors(
  results: readonly WriteResult[],
  writes: readonly RecordWrite[],
): ReadonlyMap<Error, StorageError> {
  const [seen, shared] = [new Set<Error>(), new Map<Error, StorageError>()];
  for (const result of results) {
    if (!(result instanceof Error)) continue;
    if (seen.has(result) && !shared.has(result)) shared.set(result, withoutData(result, writes));
    seen.add(result);
  }
  return shared;
}

/** An error about several records may quote any of them, but each caller checks only for its own data. */
function withoutData(error: unknown, writes: readonly RecordWrite[]): StorageError {
  const secrets = writes.map(({ data }) => data ?? "").join("\n");
  return asStorageError(error, `write ${writes.length} records`, secrets);
}
