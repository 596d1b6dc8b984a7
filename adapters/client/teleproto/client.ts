import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import { reporterOf } from "../mtproto/event-handlers.js";
import { getScope } from "../mtproto/leased-client.js";
import type { ClientInternals, ClientParams, LibraryClientClass } from "../mtproto/library.js";
import { MediaTransfers, type TransferParts, type TransferWindows } from "./transfers.js";

/** Parts of teleproto's client that GramJS's lacks. */
export interface ClientParts extends TransferParts {
  createApiProxy(api: never, invoke: (request: unknown, dcId?: number) => Promise<unknown>): unknown;
  /** Since 1.229.0. */
  readonly ClientUpdates: (new (client: never) => unknown) | undefined;
}

/** The client's own parts, hidden: each lease gets instances of its own on demand. */
interface Internals {
  updates: Updates | undefined;
  manager: UpdateManager;
  network: object;
  windows: TransferWindows;
}

const INTERNALS: unique symbol = Symbol("kept");

/**
 * teleproto's client with parts that belong to the lease they were obtained through. Its own `api`, `updates`,
 * `updateManager` and uploads hold the client itself, so that a lease could continue through them after its end, and files
 * would use further connections with the account's auth key (client/TelegramClient.js, network/MediaScheduler.js, 1.229.0).
 */
export function leaseAwareClient(library: unknown, parts: ClientParts): LibraryClientClass {
  const Client = library as LibraryClientClass;
  const pipelines = new WeakMap<object, Updates>();
  const { ClientUpdates } = parts;
  const pipelineOf = (client: object): Updates | undefined =>
    ClientUpdates === undefined ? undefined : reporting(new ClientUpdates(client as never) as Updates, client);
  return class LeasedClient extends Client {
    declare readonly [INTERNALS]: Partial<Internals>;

    constructor(session: object, apiId: number, apiHash: string, params: ClientParams) {
      super(session, apiId, apiHash, params);
      internalsOf(this).updates = pipelineOf(this);
    }

    /** The original lends senders of a network that opens its own connections. */
    async _leaseSender(dcId: number): Promise<{ readonly sender: unknown; release(): void }> {
      return { sender: await this.getSender(dcId), release: () => {} };
    }

    get api(): unknown {
      return parts.createApiProxy(parts.Api as never, (request, dcId) => this.invoke(request as never, dcId));
    }

    get updates(): Updates | undefined {
      const main = internalsOf(this).updates;
      const scope = getScope(this);
      if (scope === undefined || main === undefined) return main;
      const known = pipelines.get(this) ?? leasedUpdates(main, pipelineOf(this) as Updates, scope);
      pipelines.set(this, known);
      return known;
    }

    get updateManager(): UpdateManager {
      const manager = internalsOf(this).manager as UpdateManager;
      const scope = getScope(this);
      return scope === undefined ? manager : leasedManager(manager, this, scope);
    }

    set updateManager(manager: UpdateManager) {
      internalsOf(this).manager = manager;
    }

    /** Its pool of connections, which holds the client itself; a pooled client uses none of them. */
    get _network(): object | undefined {
      return getScope(this) === undefined ? internalsOf(this).network : NOTHING_CONNECTED;
    }

    set _network(network: object) {
      internalsOf(this).network = network;
    }

    get _media(): MediaTransfers {
      return new MediaTransfers(this, parts, internalsOf(this).windows as TransferWindows);
    }

    set _media(scheduler: { readonly opts: TransferWindows }) {
      internalsOf(this).windows = scheduler.opts;
    }
  };
}

/** The original reports a failed middleware to the logger alone, unless `updates.onError` is set. */
function reporting(updates: Updates, client: object): Updates {
  const report = reporterOf(client as ClientInternals, "A middleware of client.updates");
  const reportItself = updates.reportError?.bind(updates);
  if (reportItself === undefined) return updates;
  updates.reportError = async (error, update) => {
    if (updates.onError === undefined) report(error);
    else await reportItself(error, update);
  };
  return updates;
}

const NOTHING_CONNECTED = { purge: async (): Promise<void> => {}, close: async (): Promise<void> => {} };

/** Those of the client itself, even when `client` is a guarded one. */
function internalsOf(client: { readonly [INTERNALS]?: Partial<Internals> }): Partial<Internals> {
  if (client[INTERNALS] === undefined) Object.defineProperty(client, INTERNALS, { value: {}, enumerable: false });
  return client[INTERNALS] as Partial<Internals>;
}

type Middleware = (update: unknown, next: () => Promise<void>) => unknown;

/** teleproto's pipeline of updates (client/updates/composer.js, 1.229.0), as far as it is used. */
interface Updates {
  use(middleware: Middleware): () => void;
  watch(...values: unknown[]): () => void;
  _dispatch(update: unknown): Promise<void>;
  onError?: unknown;
  /** A middleware has failed. */
  reportError?(error: unknown, update: unknown): Promise<void>;
}

/** teleproto's tracker of the state of updates (client/updates/manager.js, 1.229.0). */
interface UpdateManager {
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

/** Methods that remain usable, so that the watches of a lease can end. */
const AFTERWARDS: ReadonlySet<string | symbol> = new Set(["releaseChannel", "watchedChannelIds"]);

/**
 * A lease's own pipeline, attached to the client's for the time of the lease. `own` was created with the guarded client,
 * so that its handlers get that one.
 */
function leasedUpdates(main: Updates, own: Updates, scope: LeaseScope): Updates {
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

/** The manager for use under one lease; `client`: the guarded one, which it shows instead of its own. */
function leasedManager(manager: UpdateManager, client: object, scope: LeaseScope): UpdateManager {
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
