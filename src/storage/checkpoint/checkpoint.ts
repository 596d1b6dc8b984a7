import { randomUUID } from "node:crypto";
import { StorageError } from "../../errors.js";
import { isRunning, isSameThread, type ProcessIdentity } from "../../ownership/process-identity.js";
import { updateRecord } from "../update-record.js";
import {
  type CheckpointHead,
  CoalescingWriter,
  FencedRecord,
  headId,
  parseHead,
  type RecordParts,
  type RunClaim,
  serialize,
} from "./checkpoint-records.js";
import { FinishedKeys } from "./finished-keys.js";

/** Dependencies of a `Checkpoint`. */
export interface CheckpointParts extends RecordParts {
  readonly self: ProcessIdentity;
}

/** Ids of the active runs of this process. */
const liveRuns = new Set<string>();

/**
 * What a bulk job has done so far, durably, under a name.
 *
 * An item is noted as *begun* before its first write is sent, and as done when its work is over, before anybody hears of
 * it. What a killed process leaves begun and not done may have taken effect: the next run takes it as unknown, and
 * repeats it as little as what is done. An item that only reads is never begun: it is done or is to be done again.
 *
 * One run at a time: a second one is refused while the first one's process lives on this host. Where that cannot be
 * known it takes over; the first one's next write fails then, and nothing that was to follow it is sent.
 */
export class Checkpoint {
  readonly #parts: CheckpointParts;
  readonly #name: string;
  readonly #claim: RunClaim;
  /** Bound: the items under way, and those that a cut run left. */
  readonly #begun = new Set<string>();
  /** Of those under way: several items may have one key. */
  readonly #taken = new Set<string>();
  readonly #finished: FinishedKeys;
  readonly #headWrites: CoalescingWriter;
  #head: FencedRecord;
  #isClaimed = false;

  constructor(parts: CheckpointParts, name: string) {
    this.#parts = parts;
    this.#name = name;
    this.#claim = { run: randomUUID(), ...parts.self };
    this.#head = new FencedRecord(parts, headId(name));
    this.#finished = new FinishedKeys(parts, name);
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

  /** Takes an item on. `false`: it is over, or under way. */
  take(key: string): boolean {
    if (this.#taken.has(key) || this.#finished.has(key)) return false;
    this.#taken.add(key);
    return true;
  }

  /** Its first write is about to be sent. Resolves when that is on disk. */
  markStarted(key: string): Promise<void> {
    this.#begun.add(key);
    return this.#headWrites.flush();
  }

  /** Nothing of it has taken effect. Resolves when that is on disk: it may be long until it is tried again. */
  unmarkStarted(key: string): Promise<void> {
    this.#begun.delete(key);
    return this.#headWrites.flush();
  }

  /** It is not over, and nothing of it has taken effect: it may be taken again. */
  release(key: string): void {
    this.#begun.delete(key);
    this.#taken.delete(key);
  }

  /** It is over. Resolves when that is on disk. */
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

  /** Forgets all that is done. The name is free then. */
  async erase(): Promise<void> {
    const { storage, deadline } = this.#parts;
    await this.open();
    try {
      await this.#finished.erase();
      const id = headId(this.#name);
      const stored = await deadline.run("read a checkpoint", () => storage.read(id));
      if (stored !== undefined) {
        await deadline.run("delete a checkpoint", () => storage.write(id, stored.version, null));
      }
      this.#isClaimed = false;
    } finally {
      await this.close();
    }
  }

  /** Makes the first record this run's. Resolves what it said before. */
  async #take(): Promise<CheckpointHead | undefined> {
    const { storage, deadline } = this.#parts;
    const id = headId(this.#name);
    let head: CheckpointHead | undefined;
    const { version } = await updateRecord(
      {
        id,
        read: () => deadline.run("read a checkpoint", () => storage.read(id)),
        write: (expected, data) => deadline.run("write a checkpoint", () => storage.write(id, expected, data)),
      },
      (stored) => {
        head = stored && parseHead(id, stored.data);
        if (head?.claim != null && this.#isAlive(head.claim)) throw inUse(this.#name, head.claim);
        for (const key of head?.begun ?? []) this.#begun.add(key);
        return this.#headText(this.#claim);
      },
    );
    this.#head = new FencedRecord(this.#parts, id, version);
    return head;
  }

  #isAlive(claim: RunClaim): boolean {
    const { self } = this.#parts;
    if (liveRuns.has(claim.run)) return true;
    return claim.host !== null && claim.host === self.host && !isSameThread(claim, self) && isRunning(claim);
  }

  #headText(claim: RunClaim | null): string {
    return serialize({ claim, begun: [...this.#begun] });
  }
}

function inUse(name: string, { pid }: RunClaim): StorageError {
  return new StorageError(
    `The checkpoint "${name}" belongs to a run that goes on (pid ${pid}): two would do the same work. End that one first, or use another name.`,
  );
}
