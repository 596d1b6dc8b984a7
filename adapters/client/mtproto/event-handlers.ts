import type { ClientInternals, EventBuilder, Library, LibraryClient } from "./library.js";

type Handler = (event: never) => unknown;

/** A process warning, as every failure of the user's own code becomes one. */
const WARNING = "SessionPoolWarning";

/**
 * The event handlers of one client. A library tells of a handler that throws by its logger alone, which is silent under
 * a pool, and GramJS lets a filter or an album's handler end the process (client/updates.js, events/Album.js, 2.26.22).
 * Here each failure goes to the library's logger and to `client.onError`; without the latter the first one of each
 * handler becomes a process warning. The other handlers get their events all the same.
 */
export class EventHandlers {
  readonly #client: LibraryClient;
  readonly #wrapped = new WeakMap<Handler, Handler>();
  readonly #originals = new WeakMap<object, Handler>();

  constructor(client: LibraryClient) {
    this.#client = client;
  }

  /** The handler as the library gets it: the same one for the same handler. */
  wrap(handler: Handler): Handler {
    if (typeof handler !== "function") return handler;
    const known = this.#wrapped.get(handler);
    if (known !== undefined) return known;
    const report = this.#reporter("An event handler");
    const wrapped: Handler = async (event) => {
      try {
        return await handler(event);
      } catch (error) {
        if (isStop(error)) throw error;
        return report(error);
      }
    };
    this.#wrapped.set(handler, wrapped);
    this.#originals.set(wrapped, handler);
    return wrapped;
  }

  /** The handler as the user knows it. */
  original(handler: unknown): unknown {
    return (typeof handler === "function" && this.#originals.get(handler)) || handler;
  }

  /** Makes a builder that throws fail alone: its handler gets no event, the others do. */
  tame(builder: EventBuilder): EventBuilder {
    if (tamed.has(builder)) return builder;
    tamed.add(builder);
    const report = this.#reporter("The filter of an event handler");
    for (const name of ["build", "filter"] as const) {
      const run = builder[name]?.bind(builder);
      if (run === undefined) continue;
      builder[name] = (...values) => {
        try {
          const result = run(...values);
          return result instanceof Promise ? result.catch(report) : result;
        } catch (error) {
          return report(error);
        }
      };
    }
    return builder;
  }

  #reporter(what: string): (error: unknown) => undefined {
    return reporterOf(this.#client as unknown as ClientInternals, what);
  }
}

/** Tells what failed of the user's own code: see {@link EventHandlers}. */
export function reporterOf(
  client: Pick<ClientInternals, "_log" | "_errorHandler">,
  what: string,
): (error: unknown) => undefined {
  let isTold = false;
  return (error) => {
    const { _errorHandler: onError, _log: log } = client;
    log.error(`${what} failed: ${textOf(error)}`);
    if (typeof onError === "function") void call(onError, error);
    else if (!isTold) process.emitWarning(`${what} failed: ${textOf(error)}`, WARNING);
    isTold = true;
  };
}

const tamed = new WeakSet<EventBuilder>();

/**
 * How a connection hands updates to its client. An update that a library cannot take in must not lose the answers that
 * came in the same container, and a user of whom nothing came but an id must not lose the update he came with.
 */
export function updateTaker(library: Library): (client: never, update: never) => void {
  return (client, update) => {
    const { users } = update as { users?: unknown };
    if (Array.isArray(users)) Object.assign(update, { users: users.filter(isThere) });
    try {
      library.handleUpdate(client, update);
    } catch (error) {
      (client as ClientInternals)._log.error(`An update was not taken in: ${textOf(error)}`);
    }
  };
}

/** GramJS asks for the marked id of each, which this one has not (Utils.js, 2.26.22). */
function isThere(user: unknown): boolean {
  return Reflect.get(Object(user), "className") !== "UserEmpty";
}

async function call(onError: (error: unknown) => unknown, error: unknown): Promise<void> {
  try {
    await onError(error);
  } catch (failure) {
    process.emitWarning(`client.onError failed: ${textOf(failure)}`, WARNING);
  }
}

/** What a library's handlers throw to keep an event from the handlers behind them. */
function isStop(error: unknown): boolean {
  return error instanceof Error && error.constructor.name === "StopPropagation";
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
