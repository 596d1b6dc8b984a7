import { deferred } from "../common/deferred.js";

/** The place of a request among the ordered ones. */
interface Turn {
  /** Resolves when all requests ahead have ended; `undefined` if there are none. */
  readonly before: Promise<void> | undefined;
  /** Ends the request. MUST be called. */
  end(): void;
}

/**
 * The queue of the requests of one session that are sent one at a time. GramJS would chain them, so that all of them were on
 * the wire when the first one is refused.
 */
export class OrderedRequests {
  /** Resolves when the last request has ended; `undefined` if none is in progress. */
  #last: Promise<void> | undefined;

  /** Queues a request. Synchronous, so that one without others ahead is sent in the same turn of the event loop. */
  takeTurn(): Turn {
    const before = this.#last;
    const mine = deferred();
    const last = before === undefined ? mine.promise : before.then(() => mine.promise);
    this.#last = last;
    const end = (): void => {
      if (this.#last === last) this.#last = undefined;
      mine.resolve();
    };
    return { before, end };
  }
}
