/** A place in the line. */
export interface Turn {
  /** Resolves when all ahead have ended; `undefined` when nobody is ahead. */
  readonly before: Promise<void> | undefined;
  end(): void;
}

/** One after the other, in order of arrival. */
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
