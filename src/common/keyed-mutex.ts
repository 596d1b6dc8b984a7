import { Mutex } from "async-mutex";

/** One lock per name: what holds the same name runs one after the other, everything else at once. */
export class KeyedMutex {
  /** One for each name that is held or waited for. */
  readonly #locks = new Map<string, { readonly mutex: Mutex; users: number }>();

  /** Runs the work while no other holds any of the names. Names are locked in the order given. */
  async runExclusive<T>(names: readonly string[], work: () => Promise<T>): Promise<T> {
    const [name, ...rest] = names;
    if (name === undefined) return work();
    const lock = this.#locks.get(name) ?? { mutex: new Mutex(), users: 0 };
    this.#locks.set(name, lock);
    lock.users++;
    try {
      return await lock.mutex.runExclusive(() => this.runExclusive(rest, work));
    } finally {
      if (--lock.users === 0) this.#locks.delete(name);
    }
  }
}
