import {
  type CheckpointStorage,
  CoalescingWriter,
  FencedRecord,
  KEYS_PER_RECORD,
  parsePart,
  partId,
  serialize,
} from "./checkpoint-records.js";

/** The key of a finished item, and its outcome. */
interface Finished {
  readonly key: string;
  readonly outcome: Outcome;
}

type Outcome = "done" | "unknown";

/** The record that is being filled. */
interface OpenPart {
  readonly record: FencedRecord;
  readonly done: string[];
  readonly unknown: string[];
}

/** The keys of finished items, in numbered records of `KEYS_PER_RECORD` keys: only the last record is written again. */
export class FinishedKeys {
  readonly #storage: CheckpointStorage;
  readonly #name: string;
  /** Bounded by the number of items of the job, while it runs. */
  readonly #keys = new Set<string>();
  /** Bounded by `#keys`. */
  readonly #unknown = new Set<string>();
  readonly #writes = new CoalescingWriter(() => this.#write());
  #pending: Finished[] = [];
  #index = 0;
  #part: OpenPart;

  constructor(storage: CheckpointStorage, name: string) {
    this.#storage = storage;
    this.#name = name;
    this.#part = this.#newPart();
  }

  /** Keys of items whose outcome is unknown. */
  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  /** Whether the item is recorded as finished. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Reads all records. `isContested`: their last writer may still run, and is made to notice. */
  async load(isContested: boolean, signal?: AbortSignal): Promise<void> {
    for (;;) {
      // There may be very many, and the end of the run waits for this.
      signal?.throwIfAborted();
      const id = partId(this.#name, this.#index);
      const stored = await this.#storage.read(id);
      if (stored === undefined) break;
      const { done, unknown } = parsePart(id, stored.data);
      for (const key of done) this.#learn(key, "done");
      for (const key of unknown) this.#learn(key, "unknown");
      this.#part = {
        record: new FencedRecord(this.#storage, id, stored.version),
        done: [...done],
        unknown: [...unknown],
      };
      this.#index++;
    }
    if (this.#index > 0) this.#index--;
    if (!isContested) return;
    this.#openPart();
    await this.#save();
  }

  /** Deletes all records, the last first: a crash leaves the first ones, without a gap. */
  async erase(): Promise<void> {
    for (let index = this.#index; index >= 0; index--) await this.#storage.delete(partId(this.#name, index));
  }

  /** Resolves when the key is on disk. */
  add(key: string, outcome: Outcome): Promise<void> {
    this.#pending.push({ key, outcome });
    return this.#writes.flush();
  }

  /** Resolves when all keys are on disk. */
  async addAll(keys: readonly string[], outcome: Outcome): Promise<void> {
    for (const key of keys) this.#pending.push({ key, outcome });
    await this.#writes.flush();
  }

  async #write(): Promise<void> {
    const keys = this.#pending;
    this.#pending = [];
    for (let from = 0; from < keys.length; ) {
      this.#openPart();
      const batch = keys.slice(from, from + KEYS_PER_RECORD - sizeOf(this.#part));
      for (const { key, outcome } of batch) this.#part[outcome].push(key);
      await this.#save();
      for (const { key, outcome } of batch) this.#learn(key, outcome);
      from += batch.length;
    }
  }

  /** Opens the next record when this one is full. */
  #openPart(): void {
    if (sizeOf(this.#part) < KEYS_PER_RECORD) return;
    this.#index++;
    this.#part = this.#newPart();
  }

  #save(): Promise<void> {
    const { record, done, unknown } = this.#part;
    return record.write(serialize({ done, unknown }));
  }

  /** Records an outcome; `done` takes precedence over `unknown`. */
  #learn(key: string, outcome: Outcome): void {
    if (outcome === "done") this.#unknown.delete(key);
    else if (!this.#keys.has(key)) this.#unknown.add(key);
    this.#keys.add(key);
  }

  #newPart(): OpenPart {
    return { record: new FencedRecord(this.#storage, partId(this.#name, this.#index)), done: [], unknown: [] };
  }
}

function sizeOf({ done, unknown }: OpenPart): number {
  return done.length + unknown.length;
}
