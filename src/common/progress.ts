import type { Clock } from "./clock.js";
import { callSafely, textOf, warn } from "./process-warning.js";

/** Minimum time between two reports, unless one is forced. */
const INTERVAL_MS = 100;

/** A user's progress callback. What it returns is ignored; a promise is not waited for. */
export type OnProgress<State> = ((progress: State) => void) | undefined;

/**
 * Reports the progress of a long operation to a user's callback. A callback that throws or rejects stops nothing; its
 * first failure becomes a process warning.
 */
export class ProgressReporter<State extends object> {
  readonly #name: string;
  readonly #onProgress: OnProgress<State>;
  readonly #clock: Clock;
  readonly #state: (done: number) => State;
  #done = 0;
  #reportedAt: number;
  #hasFailed = false;

  /**
   * @param name of the callback, for the warning
   * @param state returns the progress after `done` steps
   */
  constructor(name: string, onProgress: OnProgress<State>, clock: Clock, state: (done: number) => State) {
    this.#name = name;
    this.#onProgress = onProgress;
    this.#clock = clock;
    this.#state = state;
    this.#reportedAt = clock.monotonic();
  }

  /** Counts a step. Reports at most ten times a second, and for the first time after a tenth of one. */
  advance(): void {
    this.#done++;
    if (this.#onProgress === undefined) return;
    const now = this.#clock.monotonic();
    if (now - this.#reportedAt < INTERVAL_MS) return;
    this.#reportedAt = now;
    this.report();
  }

  /** Reports that all steps are done, also those that were not to be taken. */
  complete(steps: number): void {
    this.#done = steps;
    this.report();
  }

  /** Reports in any case: at the end. */
  report(): void {
    const onProgress = this.#onProgress;
    if (onProgress === undefined) return;
    callSafely(
      () => onProgress(Object.freeze(this.#state(this.#done))),
      (error) => {
        if (!this.#hasFailed) warn(`${this.#name} failed: ${textOf(error)}`);
        this.#hasFailed = true;
      },
    );
  }
}
