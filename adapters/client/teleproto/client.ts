import { reporterOf } from "../mtproto/event-handlers.js";
import { getScope } from "../mtproto/lease-scopes.js";
import type { ClientInternals, ClientParams, LibraryClientClass } from "../mtproto/library.js";
import { MediaTransfers, type TransferParts, type TransferWindows } from "./transfers.js";
import { leasedManager, leasedUpdates, type UpdateManager, type Updates } from "./updates.js";

/** What teleproto's client is made of beyond what GramJS's has. */
export interface ClientParts extends TransferParts {
  createApiProxy(api: never, invoke: (request: unknown, dcId?: number) => Promise<unknown>): unknown;
  /** Since 1.229.0. */
  readonly ClientUpdates: (new (client: never) => unknown) | undefined;
}

/** What a client keeps of its own parts, hidden: an instance of them for each lease is made on demand. */
interface Internals {
  updates: Updates | undefined;
  manager: UpdateManager;
  network: object;
  windows: TransferWindows;
}

const INTERNALS: unique symbol = Symbol("kept");

/**
 * teleproto's client whose parts hold whom they were asked of. Its own `api`, `updates`, `updateManager` and uploads hold
 * the client itself, so that a lease could go on through them after its end, and files would go over connections of
 * their own with the account's auth key (client/TelegramClient.js, network/MediaScheduler.js, 1.229.0).
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

    /** Its own lends senders of a network that opens connections by itself. */
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

    /** Its pool of connections, which holds the client itself, and of which a pooled client uses none. */
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

/** Its own tells of a middleware that fails by the logger alone, unless `updates.onError` is set. */
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

/** The client's own, also when it is asked by way of a lease. */
function internalsOf(client: { readonly [INTERNALS]?: Partial<Internals> }): Partial<Internals> {
  if (client[INTERNALS] === undefined) Object.defineProperty(client, INTERNALS, { value: {}, enumerable: false });
  return client[INTERNALS] as Partial<Internals>;
}
