import type { Clock } from "../../common/clock.js";
import { sleep } from "../../common/timers.js";
import { StorageCorruptError, StorageError } from "../../errors.js";
import { isObject, RESERVED_PREFIXES } from "../../options/validators.js";
import type { ProcessIdentity } from "../../ownership/process-identity.js";
import { newerFormat } from "../record.js";
import type { SessionStorage, StoredRecord } from "../storage.js";
import type { StorageTimeout } from "../storage-timeout.js";

/** Maximum number of keys in one record: a write for one more key stays small. */
export const KEYS_PER_RECORD = 500;

const FORMAT = 1;

/** The run that a checkpoint belongs to. */
export interface RunClaim extends ProcessIdentity {
  /** Random, one per run. */
  readonly run: string;
}

/** The first record of a checkpoint: whose it is, and what is under way. */
export interface CheckpointHead {
  /** `null` if the last run has ended normally. */
  readonly claim: RunClaim | null;
  /** Items whose first write may have been sent: their outcome is unknown unless they are finished. */
  readonly begun: readonly string[];
}

/** One of the records of finished items: at most `KEYS_PER_RECORD` keys. */
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
  const fields = parseFields(data);
  if (fields?.v === FORMAT) return fields;
  throw unreadable(id, newerFormat(fields?.v, FORMAT));
}

/** Returns `undefined` for other text. It is not repeated in an error, as another program may have written it. */
function parseFields(data: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
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

function unreadable(id: string, reason = "it is damaged"): StorageCorruptError {
  return new StorageCorruptError(`The checkpoint record "${id}" cannot be read: ${reason}. Nothing was overwritten.`);
}

/**
 * Runs one write at a time: requests during a write are served by the next one. After a failure nothing is written any
 * more, and every request rejects.
 */
export class CoalescingWriter {
  readonly #write: () => Promise<void>;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** `write` writes the current state. */
  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when the current state is on disk. */
  flush(): Promise<void> {
    this.#next ??= this.#begin();
    return this.#next;
  }

  async #begin(): Promise<void> {
    const before = this.#running;
    // The next write begins when this one is over, and serves every request until then.
    const write = before.then(() => {
      this.#next = undefined;
      return this.#write();
    });
    this.#running = write;
    await write;
  }
}

/** The storage of a checkpoint: each call is bounded by the deadline. */
export class CheckpointStorage {
  readonly #storage: SessionStorage;
  readonly #deadline: StorageTimeout;
  readonly #clock: Clock;

  constructor(storage: SessionStorage, deadline: StorageTimeout, clock: Clock) {
    this.#storage = storage;
    this.#deadline = deadline;
    this.#clock = clock;
  }

  read(id: string): Promise<StoredRecord | undefined> {
    return this.#deadline.run("read a checkpoint", () => this.#storage.read(id));
  }

  write(id: string, expected: number, data: string | null): Promise<number | undefined> {
    return this.#deadline.run("write a checkpoint", () => this.#storage.write(id, expected, data));
  }

  /** Deletes the record, if there is one. */
  async delete(id: string): Promise<void> {
    const stored = await this.read(id);
    if (stored !== undefined) await this.write(id, stored.version, null);
  }

  pause(delayMs: number): Promise<void> {
    return sleep(this.#clock, delayMs, true);
  }
}

const TRIES = 4;
const FIRST_PAUSE_MS = 200;

/**
 * A record with one writer at a time. A failed write is retried a few times; a write whose answer was lost is recognized by
 * what is stored. Another process that writes the record becomes its writer, and this one has to stop.
 */
export class FencedRecord {
  readonly #storage: CheckpointStorage;
  readonly #id: string;
  #version: number;

  /** `version` is 0 if the record does not exist yet. */
  constructor(storage: CheckpointStorage, id: string, version = 0) {
    this.#storage = storage;
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
        await this.#storage.pause(FIRST_PAUSE_MS * 2 ** (tries - 1));
      }
    }
    throw new StorageError(
      `The record "${this.#id}" was written by another process: another run continues this checkpoint, and this one ends.`,
    );
  }

  /** Resolves with whether the record is written; `false` if another process has written it. */
  async #writeOnce(data: string): Promise<boolean> {
    const version = await this.#storage.write(this.#id, this.#version, data);
    if (version === undefined) {
      // An earlier attempt may have been applied.
      const current = await this.#storage.read(this.#id);
      if (current?.data !== data) return false;
      this.#version = current.version;
    } else this.#version = version;
    return true;
  }
}
