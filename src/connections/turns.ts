/** A place in the queue. */
export interface Turn {
  /** Resolves when all turns ahead have ended; `undefined` if there are none. */
  readonly before: Promise<void> | undefined;
  end(): void;
}

/**
 * A first-in-first-out mutex. Unlike the one of async-mutex it is entered synchronously while it is free, so that an
 * uncontended request is sent in the same turn of the event loop, and a waiter can give up its place by `end()`.
 */
export class Turns {
  #last: Promise<void> | undefined;

  take(): Turn {
    const before = this.#last;
    let end: () => void = () => {};
    const mine = new Promise<void>((resolve) => {
      end = resolve;
    });
    const last = before === undefined ? mine : before.then(() => mine);
    this.#last = last;
    return {
      before,
      end: () => {
        if (this.#last === last) this.#last = undefined;
        end();
      },
    };
  }
}
