import { memory } from "../../src/storage/memory.js";
import type { PeerField, PeerStorage, StoredPeer } from "../../src/storage/storage.js";
import { type Fate, meet } from "./faulty-storage.js";

/** Peers in memory, with a storage that fails, hangs or lags as a test tells it to. */
export class FaultyPeers implements PeerStorage {
  fateOfLoad: (sessionId: string) => Fate = () => "works";
  fateOfSave: (sessionId: string) => Fate = () => "works";
  fateOfKnowing: () => Fate = () => "works";
  fateOfClear: (sessionId: string) => Fate = () => "works";
  /** What was to be saved, call by call, also when it failed. */
  readonly saves: { readonly sessionId: string; readonly peers: readonly StoredPeer[] }[] = [];
  /** Calls of `clear`. */
  readonly clears: string[] = [];
  loads = 0;
  /** Calls of `knowing`. */
  readonly lookUps: string[] = [];
  /** Writes that ran at the same time: of one session, and of all. */
  mostAtOnce = { session: 0, all: 0 };
  readonly #inner: PeerStorage;
  readonly #running: string[] = [];

  constructor() {
    const { peers } = memory();
    if (peers === undefined) throw new Error("The memory storage has no peers.");
    this.#inner = peers;
  }

  async load(sessionId: string): Promise<readonly StoredPeer[]> {
    this.loads++;
    await meet(this.fateOfLoad(sessionId));
    return this.#inner.load(sessionId);
  }

  async save(sessionId: string, peers: readonly StoredPeer[]): Promise<void> {
    this.saves.push({ sessionId, peers: [...peers] });
    await this.#run(sessionId, this.fateOfSave(sessionId), () => this.#inner.save(sessionId, peers));
  }

  async clear(sessionId: string): Promise<void> {
    this.clears.push(sessionId);
    await this.#run(sessionId, this.fateOfClear(sessionId), () => this.#inner.clear(sessionId));
  }

  async knowing(field: PeerField, values: readonly string[]): Promise<readonly string[]> {
    this.lookUps.push(`${field} ${values}`);
    // As a database would: the answer is as old as the question.
    const answer = await this.#inner.knowing?.(field, values);
    await meet(this.fateOfKnowing());
    return answer ?? [];
  }

  /** Ids of the peers on disk, past all faults. */
  async ids(sessionId: string): Promise<readonly string[]> {
    return (await this.stored(sessionId)).map(({ id }) => id);
  }

  stored(sessionId: string): Promise<readonly StoredPeer[]> {
    return this.#inner.load(sessionId);
  }

  /** Puts peers on disk, past all faults. */
  put(sessionId: string, peers: readonly StoredPeer[]): Promise<void> {
    return this.#inner.save(sessionId, peers);
  }

  heal(): void {
    this.fateOfLoad = () => "works";
    this.fateOfSave = () => "works";
    this.fateOfClear = () => "works";
    this.fateOfKnowing = () => "works";
  }

  async #run(sessionId: string, fate: Fate, write: () => Promise<void>): Promise<void> {
    this.#running.push(sessionId);
    const same = this.#running.filter((id) => id === sessionId).length;
    this.mostAtOnce = {
      session: Math.max(this.mostAtOnce.session, same),
      all: Math.max(this.mostAtOnce.all, this.#running.length),
    };
    try {
      await meet(fate);
      await write();
    } finally {
      this.#running.splice(this.#running.indexOf(sessionId), 1);
    }
  }
}
