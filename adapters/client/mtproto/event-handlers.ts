import type { ClientInternals, EventBuilder, Library, LibraryClient } from "./library.js";

type Handler = (event: never) => unknown;

/** A process warning, as every failure of the user's own code becomes one. */
const WARNING = "SessionPoolWarning";

/**
 * The event handlers of one client. A library reports a handler that throws to its logger alone, which is silent under a
 * pool, and in GramJS a filter or an album's handler can end the process (client/updates.js, events/Album.js, 2.26.22).
 * Here each failure is reported to the library's logger and to `client.onError`; without the latter the first failure of
 * each handler becomes a process warning. Other handlers still get their events.
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

  /** A builder that throws: its handler gets no event, the others do. */
  isolate(builder: EventBuilder): EventBuilder {
    if (isolated.has(builder)) return builder;
    isolated.add(builder);
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

/** Reports failures of the user's own code: see {@link EventHandlers}. */
export function reporterOf(
  client: Pick<ClientInternals, "_log" | "_errorHandler">,
  what: string,
): (error: unknown) => undefined {
  let hasWarned = false;
  return (error) => {
    const { _errorHandler: onError, _log: log } = client;
    log.error(`${what} failed: ${textOf(error)}`);
    if (typeof onError === "function") void call(onError, error);
    else if (!hasWarned) process.emitWarning(`${what} failed: ${textOf(error)}`, WARNING);
    hasWarned = true;
  };
}

const isolated = new WeakSet<EventBuilder>();

/**
 * How a connection passes updates to its client. An update that a library cannot process must not lose the answers in the
 * same container, and a user without anything but an id must not lose its update.
 */
export function updateHandler(library: Library): (client: never, update: never) => void {
  return (client, update) => {
    const { users } = update as { users?: unknown };
    if (Array.isArray(users)) Object.assign(update, { users: users.filter(isNotEmpty) });
    try {
      library.handleUpdate(client, update);
    } catch (error) {
      (client as ClientInternals)._log.error(`An update was not processed: ${textOf(error)}`);
    }
  };
}

/** GramJS reads the marked id of each user, which a `UserEmpty` lacks (Utils.js, 2.26.22). */
function isNotEmpty(user: unknown): boolean {
  return Reflect.get(Object(user), "className") !== "UserEmpty";
}

async function call(onError: (error: unknown) => unknown, error: unknown): Promise<void> {
  try {
    await onError(error);
  } catch (failure) {
    process.emitWarning(`client.onError failed: ${textOf(failure)}`, WARNING);
  }
}

/** Whether a handler threw it to keep the event from the handlers after it. */
function isStop(error: unknown): boolean {
  return error instanceof Error && error.constructor.name === "StopPropagation";
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
