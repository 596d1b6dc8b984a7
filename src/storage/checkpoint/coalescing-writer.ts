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
