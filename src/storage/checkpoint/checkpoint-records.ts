import type { Clock } from "../../common/clock.js";
import { StorageCorruptError, StorageError } from "../../errors.js";
import { RESERVED_PREFIXES } from "../../options/validators.js";
import type { ProcessIdentity } from "../../ownership/process-identity.js";
import type { SessionStorage } from "../storage.js";
import type { StorageTimeout } from "../storage-timeout.js";

/** So many keys are in one record at most: what is written for one more key stays small. */
export const KEYS_PER_RECORD = 500;

const FORMAT = 1;

/** The run that a checkpoint belongs to. */
export interface RunClaim extends ProcessIdentity {
  /** Random, one per run. */
  readonly run: string;
}

/** The first record of a checkpoint: whose it is, and what is under way. */
export interface CheckpointHead {
  /** `null`: nobody's, the last run has ended in order. */
  readonly claim: RunClaim | null;
  /** Items that have been about to write: of each either nothing has happened yet, or everything, or nobody knows. */
  readonly begun: readonly string[];
}

/** One of the records that hold what is over: at most `KEYS_PER_RECORD` keys. */
export interface CheckpointPart {
  readonly done: readonly string[];
  readonly unknown: readonly string[];
}

/** The id of the first record. No two names share one, whatever is in them. */
export function headId(name: string): string {
  return `${RESERVED_PREFIXES.map}${name}:head`;
}

/** The id of a part, counted from 0. */
export function partId(name: string, index: number): string {
  return `${RESERVED_PREFIXES.map}${name}:${index}`;
}

export function serialize(content: CheckpointHead | CheckpointPart): string {
  return JSON.stringify({ v: FORMAT, ...content });
}

/** Throws `StorageCorruptError`. */
export function parseHead(id: string, data: string): CheckpointHead {
  const { claim, begun } = fieldsIn(id, data);
  if ((claim !== null && !isClaim(claim)) || !isKeys(begun)) throw unreadable(id);
  return { claim, begun };
}

/** Throws `StorageCorruptError`. */
export function parsePart(id: string, data: string): CheckpointPart {
  const { done, unknown } = fieldsIn(id, data);
  if (!isKeys(done) || !isKeys(unknown)) throw unreadable(id);
  return { done, unknown };
}

function fieldsIn(id: string, data: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "object" && value !== null && Reflect.get(value, "v") === FORMAT) return { ...value };
  } catch {
    // What it says is not repeated: it may be of another program.
  }
  throw unreadable(id);
}

function isKeys(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((key) => typeof key === "string");
}

function isClaim(value: unknown): value is RunClaim {
  if (typeof value !== "object" || value === null) return false;
  const { run, host, pid, thread, startedAt } = value as Partial<Record<keyof RunClaim, unknown>>;
  return (
    [run, startedAt].every((text) => typeof text === "string") &&
    [pid, thread].every(Number.isFinite) &&
    (host === null || typeof host === "string")
  );
}

function unreadable(id: string): StorageCorruptError {
  return new StorageCorruptError(
    `The checkpoint record "${id}" cannot be read, or is of a newer version. Nothing was overwritten.`,
  );
}

/**
 * Runs one write at a time: what is asked for while one runs goes with the next one, however much it is. After a
 * failure nothing is written any more, and everybody is told of it.
 */
export class CoalescingWriter {
  readonly #write: () => Promise<void>;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** `write` writes what is to be written at that moment. */
  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when everything that was to be written by now is on disk. */
  flush(): Promise<void> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<void> {
    const before = this.#running;
    // The next one begins when this one is over; whoever comes until then is in time for it.
    const write = before.then(() => {
      this.#next = undefined;
      return this.#write();
    });
    this.#running = write;
    await write;
  }
}

/** What writing needs. */
export interface RecordParts {
  readonly storage: SessionStorage;
  readonly deadline: StorageTimeout;
  readonly clock: Clock;
}

const TRIES = 4;
const FIRST_PAUSE_MS = 200;

/**
 * One record that has one writer at a time. A write that fails is tried again a few times; a write whose answer was
 * lost is found by what is stored. Whoever else writes the record becomes its writer: this one may not go on then.
 */
export class FencedRecord {
  readonly #parts: RecordParts;
  readonly #id: string;
  #version: number;

  /** `version` 0: there is none yet. */
  constructor(parts: RecordParts, id: string, version = 0) {
    this.#parts = parts;
    this.#id = id;
    this.#version = version;
  }

  /** Resolves when it is on disk. Rejects with `StorageError` when it cannot be written, or has another writer now. */
  async write(data: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        if (await this.#writeOnce(data)) return;
        break;
      } catch (error) {
        if (tries === TRIES) throw error;
        await this.#pause(FIRST_PAUSE_MS * 2 ** (tries - 1));
      }
    }
    throw new StorageError(
      `The record "${this.#id}" was written by somebody else: another run goes on with this checkpoint. This one ends.`,
    );
  }

  /** Whether the record is as wanted now; `false`: somebody else has written it. */
  async #writeOnce(data: string): Promise<boolean> {
    const { storage, deadline } = this.#parts;
    const version = await deadline.run("write a checkpoint", () => storage.write(this.#id, this.#version, data));
    if (version === undefined) {
      // An earlier try may have landed after all.
      const current = await deadline.run("read a checkpoint", () => storage.read(this.#id));
      if (current?.data !== data) return false;
      this.#version = current.version;
    } else this.#version = version;
    return true;
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.clock.setTimer(delayMs, resolve).ref();
    });
  }
}
