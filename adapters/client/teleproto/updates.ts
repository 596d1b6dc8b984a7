import type { LeaseScope } from "../../../src/connections/lease-scope.js";

type Middleware = (update: unknown, next: () => Promise<void>) => unknown;

/** teleproto's pipeline of updates (client/updates/composer.js, 1.229.0), as far as it is led on. */
export interface Updates {
  use(middleware: Middleware): () => void;
  watch(...values: unknown[]): () => void;
  _dispatch(update: unknown): Promise<void>;
  onError?: unknown;
  /** A middleware has failed. */
  reportError?(error: unknown, update: unknown): Promise<void>;
}

/** What teleproto follows the state of updates with (client/updates/manager.js, 1.229.0). */
export interface UpdateManager {
  start(): void;
  stop(): void;
}

type Method = (...values: unknown[]) => unknown;

/** Methods that return a promise: they reject when the lease is over, the others throw. */
const ASYNCHRONOUS: ReadonlySet<string | symbol> = new Set([
  "catchUp",
  "watchChannel",
  "readChannelPts",
  "ensureState",
  "recoverIfStale",
]);

/** What a lease's watches need in order to end. */
const AFTERWARDS: ReadonlySet<string | symbol> = new Set(["releaseChannel", "watchedChannelIds"]);

/**
 * A lease's own pipeline: it takes part in the client's while the lease lives. `own` is one that was made with the
 * guarded client, so that what its handlers get holds that.
 */
export function leasedUpdates(main: Updates, own: Updates, scope: LeaseScope): Updates {
  const stops = new Set<() => void>();
  const stopDispatch = main.use(async (update, next) => {
    await own._dispatch(update);
    await next();
  });
  const watch: Updates["watch"] = (...values) => {
    const stop = own.watch(...values);
    stops.add(stop);
    return stop;
  };
  scope.onEnd(() => {
    stopDispatch();
    for (const stop of stops) stop();
  });
  return throwAfterLease(own, scope, { watch });
}

/** The manager as one lease may use it; `client` is the guarded one, which it is to show instead of its own. */
export function leasedManager(manager: UpdateManager, client: object, scope: LeaseScope): UpdateManager {
  return throwAfterLease(manager, scope, { client });
}

function throwAfterLease<T extends object>(
  target: T,
  scope: LeaseScope,
  instead: Readonly<Record<string, unknown>>,
): T {
  return new Proxy(target, {
    getOwnPropertyDescriptor: (_, name) => {
      const descriptor = Reflect.getOwnPropertyDescriptor(target, name);
      if (descriptor === undefined || typeof name !== "string" || !(name in instead)) return descriptor;
      return { ...descriptor, value: instead[name] };
    },
    get: (_, name) => {
      const value: unknown = (typeof name === "string" ? instead[name] : undefined) ?? Reflect.get(target, name);
      if (typeof value !== "function" || AFTERWARDS.has(name)) return value;
      return (...values: unknown[]) => {
        const { ended } = scope;
        if (ended === undefined) return raced((value as Method).apply(target, values), scope);
        if (!ASYNCHRONOUS.has(name)) throw ended;
        return Promise.reject(ended);
      };
    },
  });
}

function raced(result: unknown, scope: LeaseScope): unknown {
  return result instanceof Promise ? scope.race(result) : result;
}
