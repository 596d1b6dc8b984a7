import { inspect } from "node:util";
import type { Api, TelegramClient } from "telegram";
import type { TelegramClientParams } from "telegram/client/telegramBaseClient.js";
import type { ClientProfile, ProxyProfile } from "../../../src/client-profile.js";
import type { PeerMemory } from "../../../src/connections/client-adapter.js";
import type { Calls } from "./guard-plan.js";
import type { ClientInternals, Library, SenderBase } from "./library.js";
import { type PooledSenderClass, senderClass } from "./sender.js";
import { type SessionClass, sessionClass } from "./session.js";
import { politeSocketClass } from "./socket.js";

/** What a client of ours does differently from GramJS's own. */
export interface ClientHooks {
  calls(): Calls;
  /** The sender for a data centre: the account's own one, or one that was made for another. */
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
  readonly clientOptions: TelegramClientParams;
  readonly profile: ClientProfile;
  /** In GramJS's own format. */
  readonly session: string;
  readonly peers: PeerMemory;
}

/** The classes that all clients of one adapter share. */
export interface ClientKit {
  readonly library: Library;
  readonly clients: PooledClientClass;
  readonly senders: PooledSenderClass;
  readonly sessions: SessionClass;
}

type PooledClientClass = new (
  hooks: ClientHooks,
  ...values: ConstructorParameters<Library["TelegramClient"]>
) => TelegramClient;

const HOOKS: unique symbol = Symbol("hooks");

/** Makes the classes, once per adapter. */
export function makeKit(library: Library): ClientKit {
  class PooledClient extends library.TelegramClient {
    declare readonly [HOOKS]: ClientHooks;

    constructor(hooks: ClientHooks, ...values: ConstructorParameters<Library["TelegramClient"]>) {
      super(...values);
      Object.defineProperty(this, HOOKS, { value: hooks, enumerable: false });
    }

    override invoke<R extends Api.AnyRequest>(request: R, dcId?: number): Promise<R["__response"]> {
      return this[HOOKS].calls().invoke(request, undefined, this, { dcId });
    }

    override invokeWithSender<R extends Api.AnyRequest>(request: R, sender?: never): Promise<R["__response"]> {
      return this[HOOKS].calls().invoke(request, undefined, this, { sender });
    }

    override getSender(dcId: number): ReturnType<TelegramClient["getSender"]> {
      return this[HOOKS].sender(dcId) as unknown as ReturnType<TelegramClient["getSender"]>;
    }

    override addEventHandler(...[callback, builder]: Parameters<TelegramClient["addEventHandler"]>): void {
      super.addEventHandler(callback, builder === undefined ? undefined : patient(builder));
    }

    override async connect(): Promise<boolean> {
      return true;
    }
  }
  return { library, clients: PooledClient, senders: senderClass(library), sessions: sessionClass(library) };
}

type Builder = NonNullable<Parameters<TelegramClient["addEventHandler"]>[1]>;

const patientBuilders = new WeakSet<Builder>();

/**
 * Lets a builder that has to ask Telegram first (`chats: ["name"]`) fail quietly and ask again with the next update.
 * GramJS awaits it where nobody catches, and the process would end.
 */
function patient(builder: Builder): Builder {
  if (patientBuilders.has(builder)) return builder;
  patientBuilders.add(builder);
  const resolve = builder.resolve.bind(builder);
  builder.resolve = (client) => resolve(client).catch(() => {});
  return builder;
}

/** Makes a client whose every request goes through `hooks`. Touches no network. */
export function createClient(kit: ClientKit, settings: ClientSettings, hooks: ClientHooks): TelegramClient {
  const { library } = kit;
  const { profile } = settings;
  const session = hideSecrets(new kit.sessions(settings.session, settings.peers), "session");
  const params: TelegramClientParams = {
    ...settings.clientOptions,
    ...profileParams(profile),
    ...OURS,
    baseLogger: settings.clientOptions.baseLogger ?? new library.Logger(library.LogLevel.NONE),
    networkSocket: politeSocketClass(settings.clientOptions.networkSocket ?? library.PromisedNetSockets),
  };
  const apiId = profile.apiId ?? settings.apiId;
  const client = new kit.clients(hooks, session, apiId, profile.apiHash ?? settings.apiHash, params);
  const internals = client as unknown as ClientInternals;
  internals._loopStarted = true;
  internals._entityCache = session.entityCache;
  return hideSecrets(client, "client");
}

/** Fields through which a secret could be seen, also those that are set later. */
const HIDDEN = ["session", "apiHash", "_sender", "_proxy", "_initRequest", "_key", "_authKey"];

/** Makes `inspect` and JSON of the object itself say nothing: they look through a Proxy. */
function hideSecrets<T extends object>(target: T, kind: string): T {
  for (const key of HIDDEN) {
    Object.defineProperty(target, key, {
      value: Reflect.get(target, key),
      enumerable: false,
      writable: true,
      configurable: true,
    });
  }
  const text = `[TelegramClient ${kind}: redacted]`;
  Object.defineProperty(target, inspect.custom, { value: () => text, enumerable: false });
  Object.defineProperty(target, "toJSON", { value: () => text, enumerable: false });
  return target;
}

function profileParams(profile: ClientProfile): Partial<TelegramClientParams> {
  const params: Partial<TelegramClientParams> = {};
  if (profile.deviceModel !== undefined) params.deviceModel = profile.deviceModel;
  if (profile.systemVersion !== undefined) params.systemVersion = profile.systemVersion;
  if (profile.appVersion !== undefined) params.appVersion = profile.appVersion;
  if (profile.langCode !== undefined) params.langCode = profile.langCode;
  if (profile.systemLangCode !== undefined) params.systemLangCode = profile.systemLangCode;
  if (profile.proxy !== undefined) params.proxy = proxyParams(profile.proxy);
  return params;
}

function proxyParams(proxy: ProxyProfile): NonNullable<TelegramClientParams["proxy"]> {
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
