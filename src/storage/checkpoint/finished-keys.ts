import {
  CoalescingWriter,
  FencedRecord,
  KEYS_PER_RECORD,
  parsePart,
  partId,
  type RecordParts,
  serialize,
} from "./checkpoint-records.js";

/** A key that is over, and how. */
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

/** The keys that are over, in numbered records of `KEYS_PER_RECORD` each: only the last one is written again. */
export class FinishedKeys {
  readonly #parts: RecordParts;
  readonly #name: string;
  /** Bound: the items of the job, for as long as it runs. */
  readonly #keys = new Set<string>();
  /** Bound: those of `#keys`. */
  readonly #unknown = new Set<string>();
  readonly #writes = new CoalescingWriter(() => this.#write());
  #pending: Finished[] = [];
  #index = 0;
  #part: OpenPart;

  constructor(parts: RecordParts, name: string) {
    this.#parts = parts;
    this.#name = name;
    this.#part = this.#newPart();
  }

  /** Keys whose outcome nobody knows. */
  get unknown(): readonly string[] {
    return [...this.#unknown];
  }

  /** Whether it is on disk as over. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Reads all of them. `isContested`: their last writer may live on; it is made to notice. */
  async load(isContested: boolean, signal?: AbortSignal): Promise<void> {
    const { storage, deadline } = this.#parts;
    for (;;) {
      // There may be very many, and whoever ends the run waits for this.
      signal?.throwIfAborted();
      const id = partId(this.#name, this.#index);
      const stored = await deadline.run("read a checkpoint", () => storage.read(id));
      if (stored === undefined) break;
      const { done, unknown } = parsePart(id, stored.data);
      for (const key of done) this.#learn(key, "done");
      for (const key of unknown) this.#learn(key, "unknown");
      this.#part = {
        record: new FencedRecord(this.#parts, id, stored.version),
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

  /** Deletes all of them, the last first: what is left by a crash are the first ones, without a gap. */
  async erase(): Promise<void> {
    const { storage, deadline } = this.#parts;
    for (let index = this.#index; index >= 0; index--) {
      const id = partId(this.#name, index);
      const stored = await deadline.run("read a checkpoint", () => storage.read(id));
      if (stored !== undefined) {
        await deadline.run("delete a checkpoint", () => storage.write(id, stored.version, null));
      }
    }
  }

  /** Resolves when it is on disk. */
  add(key: string, outcome: Outcome): Promise<void> {
    this.#pending.push({ key, outcome });
    return this.#writes.flush();
  }

  /** Resolves when all of them are on disk. */
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

  /** Goes on to the next record when this one is full. */
  #openPart(): void {
    if (sizeOf(this.#part) < KEYS_PER_RECORD) return;
    this.#index++;
    this.#part = this.#newPart();
  }

  #save(): Promise<void> {
    const { record, done, unknown } = this.#part;
    return record.write(serialize({ done, unknown }));
  }

  /** What is done is done, whatever else was thought of it. */
  #learn(key: string, outcome: Outcome): void {
    if (outcome === "done") this.#unknown.delete(key);
    else if (!this.#keys.has(key)) this.#unknown.add(key);
    this.#keys.add(key);
  }

  #newPart(): OpenPart {
    return { record: new FencedRecord(this.#parts, partId(this.#name, this.#index)), done: [], unknown: [] };
  }
}

function sizeOf({ done, unknown }: OpenPart): number {
  return done.length + unknown.length;
}
