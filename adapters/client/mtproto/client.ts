import type { PeerStore } from "../../../src/connections/client-adapter.js";
import type { ResolvedProfile } from "../../../src/options/client-profile.js";
import type { ProxyProfile } from "../../../src/options/proxy.js";
import { EventHandlers } from "./event-handlers.js";
import type { ClientCalls } from "./leased-client.js";
import type { ClientInternals, ClientParams, EventBuilder, Library, LibraryClient, TlRequest } from "./library.js";
import type { PrivateServer } from "./private-server.js";
import { checkRoute, configuredProxy } from "./route.js";
import { hideSecrets } from "./secrets.js";
import { createSenderClasses, type SenderClasses } from "./sender.js";
import { type SessionClass, sessionClass } from "./session.js";
import { configuredSocketClass } from "./socket.js";

/** Options of every client, which override the user's: the pool controls waits and reconnects. */
const FORCED_PARAMS = {
  floodSleepThreshold: 0,
  requestRetries: 1,
  connectionRetries: 1,
  reconnectRetries: 0,
  autoReconnect: false,
  retryDelay: 0,
} as const;

/** Arguments for creating a client. */
export interface ClientSettings {
  readonly apiId: number;
  readonly apiHash: string;
  readonly clientOptions: ClientParams;
  readonly profile: ResolvedProfile;
  /** In the libraries' own format. */
  readonly session: string;
  readonly peers: PeerStore;
}

/** The classes that all clients of one adapter share. */
export interface ClientClasses extends SenderClasses {
  readonly Client: PooledClientClass;
  readonly Session: SessionClass;
  /** The one server to connect to, instead of Telegram. */
  readonly server?: PrivateServer | undefined;
}

type PooledClientClass = new (
  calls: ClientCalls,
  session: object,
  apiId: number,
  apiHash: string,
  params: ClientParams,
) => LibraryClient;

const CALLS: unique symbol = Symbol("calls");
const HANDLERS: unique symbol = Symbol("handlers");

/** Makes the classes, once per adapter. */
export function createClientClasses(library: Library): ClientClasses {
  class PooledClient extends library.TelegramClient {
    declare readonly [CALLS]: ClientCalls;
    declare readonly [HANDLERS]: EventHandlers;

    constructor(calls: ClientCalls, session: object, apiId: number, apiHash: string, params: ClientParams) {
      super(session, apiId, apiHash, params);
      Object.defineProperty(this, CALLS, { value: calls, enumerable: false });
      Object.defineProperty(this, HANDLERS, { value: new EventHandlers(this), enumerable: false });
    }

    override invoke(request: TlRequest, dcId?: number): Promise<unknown> {
      return this[CALLS].invoke(request, undefined, this, { dcId });
    }

    override invokeWithSender(request: TlRequest, sender?: unknown): Promise<unknown> {
      return this[CALLS].invoke(request, undefined, this, { sender });
    }

    override getSender(dcId: number): Promise<unknown> {
      return this[CALLS].senderFor(dcId);
    }

    override addEventHandler(callback: (event: never) => unknown, builder?: EventBuilder): void {
      const handlers = this[HANDLERS];
      super.addEventHandler(handlers.wrap(callback), builder && handlers.isolate(builder));
    }

    override removeEventHandler(callback: (event: never) => unknown, builder?: EventBuilder): void {
      super.removeEventHandler(this[HANDLERS].wrap(callback), builder);
    }

    override listEventHandlers(): (readonly [builder: unknown, callback: unknown])[] {
      return super.listEventHandlers().map(([builder, callback]) => [builder, this[HANDLERS].original(callback)]);
    }

    override async connect(): Promise<boolean> {
      return true;
    }
  }
  return { ...createSenderClasses(library), Client: PooledClient, Session: sessionClass(library) };
}

/** Makes a client whose every request goes through `calls`. Touches no network. */
export function createClient(classes: ClientClasses, settings: ClientSettings, calls: ClientCalls): LibraryClient {
  const { library } = classes;
  const { profile } = settings;
  checkRoute(
    library,
    "The session's proxy",
    settings.clientOptions,
    profile.proxy ?? configuredProxy(settings.clientOptions),
  );
  const session = hideSecrets(new classes.Session(settings.session, settings.peers), "session");
  const params: ClientParams = {
    ...settings.clientOptions,
    ...profileParams(profile),
    ...FORCED_PARAMS,
    baseLogger: settings.clientOptions.baseLogger ?? new library.Logger("none"),
    networkSocket: configuredSocketClass(settings.clientOptions.networkSocket ?? library.PromisedNetSockets),
  };
  const apiId = profile.apiId ?? settings.apiId;
  const client = new classes.Client(calls, session, apiId, profile.apiHash ?? settings.apiHash, params);
  const internals = client as unknown as ClientInternals;
  internals._loopStarted = true;
  internals._entityCache = session.entityCache;
  return hideSecrets(client, "client");
}

function profileParams(profile: ResolvedProfile): ClientParams {
  const { deviceModel, systemVersion, appVersion, langCode, systemLangCode, proxy } = profile;
  const named = { deviceModel, systemVersion, appVersion, langCode, systemLangCode };
  const given = Object.entries(named).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(given), ...(proxy === undefined ? {} : { proxy: proxyParams(proxy) }) };
}

function proxyParams(proxy: ProxyProfile): object {
  const { ip, port, username, password, timeout } = proxy;
  const common = {
    ip,
    port,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(timeout === undefined ? {} : { timeout }),
  };
  if (proxy.secret !== undefined) return { ...common, secret: proxy.secret, MTProxy: true };
  // The libraries know no HTTP proxy and want a socksType; the socket class of this package speaks to either.
  return {
    ...common,
    socksType: proxy.socksType ?? 5,
    ...(proxy.protocol === undefined ? {} : { protocol: proxy.protocol }),
  };
}
