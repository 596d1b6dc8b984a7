/** Does the work for each name once: concurrent callers share it, and after a failure the next caller tries again. */
export class Once<Name extends string> {
  readonly #work: (name: Name) => Promise<unknown>;
  /** Bounded by the number of names. */
  readonly #done = new Map<Name, Promise<unknown>>();

  constructor(work: (name: Name) => Promise<unknown>) {
    this.#work = work;
  }

  async ensure(name: Name): Promise<void> {
    const doing = this.#done.get(name) ?? this.#work(name);
    this.#done.set(name, doing);
    try {
      await doing;
    } catch (error) {
      if (this.#done.get(name) === doing) this.#done.delete(name);
      throw error;
    }
  }
}
