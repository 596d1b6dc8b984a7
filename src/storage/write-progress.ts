import type { Clock } from "../common/clock.js";

/** A caller that waits until a state is on disk. */
interface StateWaiter {
  readonly sequence: number;
  readonly done: () => void;
}

/**
 * Progress of one record: which of its states were requested, written and awaited. States are numbered in the order in
 * which they are requested.
 */
export class WriteProgress {
  /** The version on disk, as far as is known. */
  version: number;
  isWriting = false;
  /** Number of writes that failed or timed out. */
  failures = 0;
  #requested = 0;
  #written = 0;
  /** The latest state that a caller awaits. */
  #awaited = 0;
  /** The latest state for which a wait timed out. It is not awaited again. */
  #timedOut = 0;
  #waiters: StateWaiter[] = [];
  #endPause: (() => void) | undefined;

  constructor(version: number) {
    this.version = version;
  }

  /** The latest state that was requested. */
  get requested(): number {
    return this.#requested;
  }

  /** The latest state that a caller awaits. */
  get awaited(): number {
    return this.#awaited;
  }

  get hasUnwritten(): boolean {
    return this.#written < this.#requested;
  }

  /** Whether nothing is left to wait for: what is awaited is on disk, or its wait has timed out. */
  get isSettled(): boolean {
    return Math.max(this.#written, this.#timedOut) >= this.#awaited;
  }

  isWritten(sequence: number): boolean {
    return this.#written >= sequence;
  }

  /** Requests the current state. Returns its number. */
  request(): number {
    return ++this.#requested;
  }

  /** Marks the state that is requested next as awaited. */
  awaitNext(): void {
    this.#awaited = this.#requested + 1;
  }

  /** Reports that a state is on disk, and with it those before. */
  onWritten(sequence: number): void {
    this.#written = sequence;
    const done = this.#waiters.filter((waiter) => waiter.sequence <= sequence);
    if (done.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > sequence);
    for (const waiter of done) waiter.done();
  }

  /** Resolves when the state is on disk, or after `timeoutMs`, when `onTimeout` is called. */
  untilWritten(sequence: number, clock: Clock, timeoutMs: number, onTimeout: () => void): Promise<void> {
    return new Promise((resolve) => {
      const timer = clock.setTimer(timeoutMs, () => {
        this.#waiters = this.#waiters.filter((entry) => entry !== waiter);
        this.#timedOut = Math.max(this.#timedOut, sequence);
        onTimeout();
        resolve();
      });
      const done = (): void => {
        timer.cancel();
        resolve();
      };
      const waiter: StateWaiter = { sequence, done };
      this.#waiters.push(waiter);
    });
  }

  /** Resolves when a failed write is to be tried again: after `delayMs`, or when {@link retryNow} is called. */
  pause(clock: Clock, delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#endPause = undefined;
        resolve();
      };
      const timer = clock.setTimer(delayMs, end);
      this.#endPause = end;
    });
  }

  /** Ends the pause before the next retry. */
  retryNow(): void {
    this.#endPause?.();
  }
}
