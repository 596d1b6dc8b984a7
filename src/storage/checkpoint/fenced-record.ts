import type { Clock } from "../../common/clock.js";
import { StorageError } from "../../errors.js";
import type { SessionStorage } from "../storage.js";
import type { StorageTimeout } from "../storage-timeout.js";

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
