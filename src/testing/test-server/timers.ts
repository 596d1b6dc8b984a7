/** Timers that end together. */
export class Timers {
  readonly #pending = new Set<NodeJS.Timeout>();

  /** Calls `callback` once, `delayMs` from now, and returns what stops it. */
  after(delayMs: number, callback: () => void): () => void {
    const timer = setTimeout(() => {
      this.#pending.delete(timer);
      callback();
    }, delayMs);
    this.#pending.add(timer);
    return () => {
      clearTimeout(timer);
      this.#pending.delete(timer);
    };
  }

  /** Stops all of them. */
  clear(): void {
    for (const timer of this.#pending) clearTimeout(timer);
    this.#pending.clear();
  }
}
