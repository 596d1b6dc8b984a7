import { Mutex } from "async-mutex";

/** One mutex per name: work under the same name runs sequentially, other work concurrently. */
export class KeyedMutex {
  /** Mutexes of the names that are held or waited for. */
  readonly #locks = new Map<string, { readonly mutex: Mutex; users: number }>();

  /** Runs the work while holding all of the names, which are locked in the given order. */
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
