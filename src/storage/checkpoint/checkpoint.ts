import { randomUUID } from "node:crypto";
import { StorageError } from "../../errors.js";
import { isRunning, isSameThread, type ProcessIdentity } from "../../ownership/process-identity.js";
import { updateRecord } from "../update-record.js";
import {
  type CheckpointHead,
  type CheckpointStorage,
  CoalescingWriter,
  FencedRecord,
  headId,
  parseHead,
  type RunClaim,
  serialize,
} from "./checkpoint-records.js";
import { FinishedKeys } from "./finished-keys.js";

/** Ids of the active runs of this process. */
const liveRuns = new Set<string>();

/**
 * The durable progress of a bulk job, stored under a name.
 *
 * An item is recorded as *started* before its first write is sent, and as done when its work has ended, before its result
 * is delivered. An item that a killed process leaves started and not done may have taken effect: the next run treats it as
 * unknown and does not repeat it. An item that only reads is never started: it is done, or is to be run again.
 *
 * One run at a time: a second one is refused while the process of the first one runs on this host. Where that cannot be
 * known it takes over; the next write of the first run then fails, and nothing that was to follow it is sent.
 */
export class Checkpoint {
  readonly #storage: CheckpointStorage;
  readonly #self: ProcessIdentity;
  readonly #name: string;
  readonly #claim: RunClaim;
  /** Keys of started items. Bounded by the items in progress, and those that an interrupted run has left. */
  readonly #begun = new Set<string>();
  /** Keys of the items in progress, as several items may have the same key. */
  readonly #taken = new Set<string>();
  readonly #finished: FinishedKeys;
  readonly #headWrites: CoalescingWriter;
  #head: FencedRecord;
  #isClaimed = false;

  constructor(storage: CheckpointStorage, self: ProcessIdentity, name: string) {
    this.#storage = storage;
    this.#self = self;
    this.#name = name;
    this.#claim = { run: randomUUID(), ...self };
    this.#head = new FencedRecord(storage, headId(name));
    this.#finished = new FinishedKeys(storage, name);
    this.#headWrites = new CoalescingWriter(() => this.#head.write(this.#headText(this.#claim)));
  }

  /** Claims the name and reads what is done. Rejects with `StorageError`, or with the reason of the signal. */
  async open(signal?: AbortSignal): Promise<void> {
    liveRuns.add(this.#claim.run);
    try {
      const before = await this.#take();
      this.#isClaimed = true;
      const wasCut = before?.claim != null;
      await this.#finished.load(wasCut, signal);
      const lost = (before?.begun ?? []).filter((key) => !this.#finished.has(key));
      if (lost.length > 0) await this.#finished.addAll(lost, "unknown");
      this.#begun.clear();
    } catch (error) {
      liveRuns.delete(this.#claim.run);
      throw error;
    }
  }

  /** Keys of the items whose outcome is unknown. */
  get unknown(): readonly string[] {
    return this.#finished.unknown;
  }

  /** Reserves an item for this run. Returns `false` if it is finished or in progress. */
  take(key: string): boolean {
    if (this.#taken.has(key) || this.#finished.has(key)) return false;
    this.#taken.add(key);
    return true;
  }

  /** Records that the first write of the item is about to be sent. Resolves when that is on disk. */
  markStarted(key: string): Promise<void> {
    this.#begun.add(key);
    return this.#headWrites.flush();
  }

  /** Records that nothing of the item has taken effect. Resolves when that is on disk, as the next attempt may be far off. */
  unmarkStarted(key: string): Promise<void> {
    this.#begun.delete(key);
    return this.#headWrites.flush();
  }

  /** Releases an item that is not finished and has had no effect, so that it can be reserved again. */
  release(key: string): void {
    this.#begun.delete(key);
    this.#taken.delete(key);
  }

  /** Records that the item is finished. Resolves when that is on disk. */
  async markFinished(key: string, outcome: "done" | "unknown"): Promise<void> {
    await this.#finished.add(key, outcome);
    this.#begun.delete(key);
    this.#taken.delete(key);
  }

  /** Releases the name. State that could not be written is left to the next run. */
  async close(): Promise<void> {
    if (this.#isClaimed) {
      await this.#headWrites
        .flush()
        .then(() => this.#head.write(this.#headText(null)))
        .catch(() => {});
    }
    this.#isClaimed = false;
    liveRuns.delete(this.#claim.run);
  }

  /** Deletes the checkpoint. Its name can be used again. */
  async erase(): Promise<void> {
    await this.open();
    try {
      await this.#finished.erase();
      await this.#storage.delete(headId(this.#name));
      this.#isClaimed = false;
    } finally {
      await this.close();
    }
  }

  /** Claims the first record for this run. Resolves with its previous content. */
  async #take(): Promise<CheckpointHead | undefined> {
    const storage = this.#storage;
    const id = headId(this.#name);
    let head: CheckpointHead | undefined;
    const { version } = await updateRecord(
      {
        id,
        read: () => storage.read(id),
        write: (expected, data) => storage.write(id, expected, data),
      },
      (stored) => {
        head = stored && parseHead(id, stored.data);
        if (head?.claim != null && this.#isAlive(head.claim)) throw inUse(this.#name, head.claim);
        for (const key of head?.begun ?? []) this.#begun.add(key);
        return this.#headText(this.#claim);
      },
    );
    this.#head = new FencedRecord(this.#storage, id, version);
    return head;
  }

  #isAlive(claim: RunClaim): boolean {
    const self = this.#self;
    if (liveRuns.has(claim.run)) return true;
    return claim.host !== null && claim.host === self.host && !isSameThread(claim, self) && isRunning(claim);
  }

  #headText(claim: RunClaim | null): string {
    return serialize({ claim, begun: [...this.#begun] });
  }
}

function inUse(name: string, { pid }: RunClaim): StorageError {
  return new StorageError(
    `The checkpoint "${name}" belongs to a run that is still active (pid ${pid}): two runs would process the same items. End that run first, or use another name.`,
  );
}
