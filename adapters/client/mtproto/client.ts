import type { PeerStore } from "../../../src/connections/client-adapter.js";
import type { ClientProfile, ProxyProfile } from "../../../src/options/client-profile.js";
import { EventHandlers } from "./event-handlers.js";
import type { Calls } from "./guard-rules.js";
import type { ClientInternals, ClientParams, EventBuilder, Library, LibraryClient, SenderBase } from "./library.js";
import { hideSecrets } from "./secrets.js";
import { type PooledSenderClass, senderClass } from "./sender.js";
import { type SessionClass, sessionClass } from "./session.js";
import { configuredSocketClass } from "./socket.js";
import type { TlRequest } from "./tl.js";

/** What a client of ours does differently from a library's own. */
export interface ClientHooks {
  calls(): Calls;
  /** The sender for a data center: the account's own one, or one that was made for another. */
  sender(dcId: number | undefined): Promise<SenderBase>;
}

/** The options that every client of a pool has, whatever the user wishes: waits and reconnects are the pool's matter. */
const OURS = {
  floodSleepThreshold: 0,
  requestRetries: 1,
  connectionRetries: 1,
  reconnectRetries: 0,
  autoReconnect: false,
  retryDelay: 0,
} as const;

/** What a client is made from. */
export interface ClientSettings {
  readonly apiId: number;
  readonly apiHash: string;
  readonly clientOptions: ClientParams;
  readonly profile: ClientProfile;
  /** In the libraries' own format. */
  readonly session: string;
  readonly peers: PeerStore;
}

/** The classes that all clients of one adapter share. */
export interface ClientClasses {
  readonly library: Library;
  readonly clients: PooledClientClass;
  readonly senders: PooledSenderClass;
  readonly sessions: SessionClass;
}

type PooledClientClass = new (
  hooks: ClientHooks,
  session: object,
  apiId: number,
  apiHash: string,
  params: ClientParams,
) => LibraryClient;

const FORCED_PARAMS: unique symbol = Symbol("hooks");
const HANDLERS: unique symbol = Symbol("handlers");

/** Makes the classes, once per adapter. */
export function createClientClasses(library: Library): ClientClasses {
  class PooledClient extends library.TelegramClient {
    declare readonly [FORCED_PARAMS]: ClientHooks;
    declare readonly [HANDLERS]: EventHandlers;

    constructor(hooks: ClientHooks, session: object, apiId: number, apiHash: string, params: ClientParams) {
      super(session, apiId, apiHash, params);
      Object.defineProperty(this, FORCED_PARAMS, { value: hooks, enumerable: false });
      Object.defineProperty(this, HANDLERS, { value: new EventHandlers(this), enumerable: false });
    }

    override invoke(request: TlRequest, dcId?: number): Promise<unknown> {
      return this[FORCED_PARAMS].calls().invoke(request, undefined, this, { dcId });
    }

    override invokeWithSender(request: TlRequest, sender?: unknown): Promise<unknown> {
      return this[FORCED_PARAMS].calls().invoke(request, undefined, this, { sender });
    }

    override getSender(dcId: number): Promise<unknown> {
      return this[FORCED_PARAMS].sender(dcId);
    }

    override addEventHandler(callback: (event: never) => unknown, builder?: EventBuilder): void {
      const handlers = this[HANDLERS];
      super.addEventHandler(handlers.wrap(callback), builder && handlers.tame(builder));
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
  return { library, clients: PooledClient, senders: senderClass(library), sessions: sessionClass(library) };
}

/** Makes a client whose every request goes through `hooks`. Touches no network. */
export function createClient(kit: ClientClasses, settings: ClientSettings, hooks: ClientHooks): LibraryClient {
  const { library } = kit;
  const { profile } = settings;
  const session = hideSecrets(new kit.sessions(settings.session, settings.peers), "session");
  const params: ClientParams = {
    ...settings.clientOptions,
    ...profileParams(profile),
    ...OURS,
    baseLogger: settings.clientOptions.baseLogger ?? new library.Logger("none"),
    networkSocket: configuredSocketClass(settings.clientOptions.networkSocket ?? library.PromisedNetSockets),
  };
  const apiId = profile.apiId ?? settings.apiId;
  const client = new kit.clients(hooks, session, apiId, profile.apiHash ?? settings.apiHash, params);
  const internals = client as unknown as ClientInternals;
  internals._loopStarted = true;
  internals._entityCache = session.entityCache;
  return hideSecrets(client, "client");
}

function profileParams(profile: ClientProfile): ClientParams {
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
  return { ...common, socksType: proxy.socksType ?? 5 };
}
