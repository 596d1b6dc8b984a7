import { memory } from "../../src/storage/memory.js";
import type { SessionStorage, StoredRecord } from "../../src/storage/storage.js";

/** What becomes of one operation: it works, fails, never answers, or waits for the test. */
export type Fate = "works" | "fails" | "hangs" | Promise<unknown>;

/** A storage in memory that fails, hangs or lags as a test tells it to. */
export class FaultyStorage implements SessionStorage {
  shared = true;
  fateOfWrite: (id: string, data: string | null) => Fate = () => "works";
  fateOfRead: (id: string) => Fate = () => "works";
  fateOfList: () => Fate = () => "works";
  fateOfClose: () => Fate = () => "works";
  /** Writes that were begun, also those that failed. */
  readonly writes: { readonly id: string; readonly data: string | null }[] = [];
  isClosed = false;
  /** Writes of one id that ran at the same time. */
  mostAtOnce = 0;
  readonly #inner: SessionStorage;
  readonly #running = new Map<string, number>();

  /** With a storage given it looks at the same records, as another process would. */
  constructor(inner: SessionStorage = memory()) {
    this.#inner = inner;
  }

  async open(): Promise<void> {
    this.isClosed = false;
    await this.#inner.open?.();
  }

  async list(): Promise<readonly StoredRecord[]> {
    await meet(this.fateOfList());
    return this.#inner.list();
  }

  async read(id: string): Promise<StoredRecord | undefined> {
    await meet(this.fateOfRead(id));
    return this.#inner.read(id);
  }

  async write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    this.writes.push({ id, data });
    const running = (this.#running.get(id) ?? 0) + 1;
    this.#running.set(id, running);
    this.mostAtOnce = Math.max(this.mostAtOnce, running);
    try {
      await meet(this.fateOfWrite(id, data));
      return await this.#inner.write(id, expected, data);
    } finally {
      this.#running.set(id, (this.#running.get(id) ?? 1) - 1);
    }
  }

  async close(): Promise<void> {
    await meet(this.fateOfClose());
    this.isClosed = true;
  }

  /** The record on disk, past all faults. */
  async stored(id: string): Promise<Record<string, unknown> | undefined> {
    const record = await this.#inner.read(id);
    return record === undefined ? undefined : (JSON.parse(record.data) as Record<string, unknown>);
  }

  /** Another process's view of the same records, without faults. */
  sibling(): FaultyStorage {
    return new FaultyStorage(this.#inner);
  }

  /** Every fault ends. */
  heal(): void {
    this.fateOfWrite = () => "works";
    this.fateOfRead = () => "works";
    this.fateOfList = () => "works";
    this.fateOfClose = () => "works";
  }
}

export async function meet(fate: Fate): Promise<void> {
  if (fate === "works") return;
  if (fate === "fails") throw new Error("disk full");
  if (fate === "hangs") return new Promise(() => {});
  await fate;
}
