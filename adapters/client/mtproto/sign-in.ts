import { redactError } from "../../../src/common/redact-error.js";
import type { RequestGate } from "../../../src/connections/client-adapter.js";
import type { SignInClient, SignInOptions, TelegramObject } from "../../../src/connections/sign-in-client.js";
import { CallTimeoutError, ConnectError, OptionsError, SessionPoolError } from "../../../src/errors.js";
import { secretsOf } from "../../../src/options/client-profile.js";
import { addressOfDataCenter } from "../../../src/telegram/data-centers.js";
import { createSessionData, type SessionData } from "../../../src/telegram/session-data.js";
import { type ClientClasses, type ClientSettings, createClient } from "./client.js";
import { Dialer, KeyExchangeError } from "./dialer.js";
import { centerOf } from "./exported-senders.js";
import type { ClientCalls } from "./leased-client.js";
import type { ClientInternals, Config, DcAddress, Library, LibraryClient, TlRequest } from "./library.js";
import { configuredProxy } from "./route.js";
import type { PooledSender } from "./sender.js";

/** The data center of the first request; Telegram answers with another one if the account lives there. */
const FIRST_DC = 2;
const PORT = 443;
/** GramJS fails with every 256th key, which begins with a zero (network/Authenticator.js, 2.26.22). */
const KEY_EXCHANGES = 4;

/** A client that is not signed in has no cooldowns. */
const OPEN_GATE: RequestGate = {
  call: (_request, _scope, transmit) => transmit().answer,
  isBlocked: () => false,
};

const NO_PEERS = { limit: 1, load: async () => [], save: () => {} };

/** Requests go through `SignInClient.call` only. */
const NO_CALLS: ClientCalls = new Proxy({} as ClientCalls, {
  get: () => () => {
    throw new OptionsError("This client is not signed in.");
  },
});

interface Address {
  readonly dcId: number;
  readonly address: string;
  readonly port: number;
}

/** A client without an authorization: see `SignInClient`. */
export class MtprotoSignIn implements SignInClient {
  readonly #classes: ClientClasses;
  readonly #settings: Pick<ClientSettings, "apiId" | "apiHash" | "clientOptions">;
  readonly #options: SignInOptions;
  readonly #client: LibraryClient;
  readonly #dialer: Dialer;
  /** The library's own auth keys, by data center. */
  readonly #keys = new Map<number, { getKey(): Buffer | undefined }>();
  readonly #closing = new AbortController();
  #address: Address;
  #config: readonly DcAddress[] = [];
  #sender: PooledSender | undefined;
  #connecting: Promise<void> | undefined;
  #keyFailure: unknown;

  constructor(
    classes: ClientClasses,
    settings: Pick<ClientSettings, "apiId" | "apiHash" | "clientOptions">,
    options: SignInOptions,
  ) {
    const { profile, clock } = options;
    this.#classes = classes;
    this.#settings = settings;
    this.#options = options;
    this.#client = createClient(classes, { ...settings, profile, session: "", peers: NO_PEERS }, NO_CALLS);
    const internals = this.#client as unknown as ClientInternals;
    const getAuthKey = (dcId: number): unknown => this.#keys.get(dcId);
    Object.defineProperty(internals.session, "getAuthKey", { value: getAuthKey });
    Object.assign(internals, { _errorHandler: this.#onKeyFailure.bind(this) });
    const handleUpdate = (_: never, update: never): void => this.#onUpdate(update);
    const own = { ...classes, library: { ...classes.library, handleUpdate } };
    this.#dialer = new Dialer(own, this.#client, OPEN_GATE, clock, true);
    this.#address = this.#firstAddress();
  }

  get dcId(): number {
    return this.#address.dcId;
  }

  async connect(signal: AbortSignal, dcId: number = this.dcId): Promise<void> {
    const former = this.#sender;
    former?.disconnectWith("another connection takes its place");
    await former?.closed;
    if (dcId !== this.dcId) this.#address = this.#addressOf(dcId);
    const { clock, connectTimeoutMs } = this.#options;
    const late = new AbortController();
    const timer = clock.setTimer(connectTimeoutMs, () => late.abort(this.#timeoutError()));
    try {
      await this.#open(AbortSignal.any([signal, late.signal, this.#closing.signal]));
    } catch (error) {
      signal.throwIfAborted();
      throw late.signal.aborted ? late.signal.reason : this.#presentable(error);
    } finally {
      timer.cancel();
    }
  }

  async call(method: string, fields: Readonly<Record<string, unknown>> = {}): Promise<TelegramObject> {
    const request = createRequest(this.#classes.library, method, fields);
    await this.#ensureConnected();
    const sender = this.#sender;
    if (sender === undefined) throw new ConnectError("The client that signs in is not connected.");
    const { clock, callTimeoutMs } = this.#options;
    const answer = sender.transmitService(request);
    answer.catch(() => {});
    const late = new Promise<never>((_, reject) => {
      const timer = clock.setTimer(callTimeoutMs, () => {
        sender.disconnectWith("a request was not answered");
        reject(new CallTimeoutError(`Telegram did not answer ${method} within ${callTimeoutMs} ms (callTimeoutMs).`));
      });
      const cancel = (): void => timer.cancel();
      answer.then(cancel, cancel);
    });
    try {
      return (await Promise.race([answer, late])) as TelegramObject;
    } catch (error) {
      throw this.#presentable(error);
    }
  }

  application(): { readonly apiId: number; readonly apiHash: string } {
    const { apiId, apiHash } = this.#options.profile;
    return { apiId: apiId ?? this.#settings.apiId, apiHash: apiHash ?? this.#settings.apiHash };
  }

  session(): SessionData {
    const { dcId, address, port } = this.#address;
    const authKey = this.#keys.get(dcId)?.getKey();
    if (authKey === undefined) throw new ConnectError("The client that signs in has no auth key yet.");
    return createSessionData({ dcId, serverAddress: address, port, authKey, format: "gramjs", isTest: this.#isTest });
  }

  async disconnect(): Promise<void> {
    await Promise.allSettled([this.#connecting]);
    this.#sender?.disconnectWith("the client is signed in");
    await this.#sender?.closed;
  }

  async close(): Promise<void> {
    this.#closing.abort(new ConnectError("The client that signs in was closed."));
    this.#sender?.disconnectWith("the client was closed");
    const internals = this.#client as unknown as ClientInternals;
    internals._destroyed = true;
    internals._eventBuilders = [];
    await Promise.allSettled([this.#sender?.closed, this.#connecting]);
    this.#classes.library.differences.disconnected(internals);
  }

  get #isTest(): boolean {
    return this.#settings.clientOptions.testServers === true;
  }

  async #ensureConnected(): Promise<void> {
    if (this.#sender?.isLost === false) return;
    this.#connecting ??= this.connect(this.#closing.signal).finally(() => {
      this.#connecting = undefined;
    });
    await this.#connecting;
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { library } = this.#classes;
    const { differences } = library;
    const internals = this.#client as unknown as ClientInternals;
    const { dcId } = this.#address;
    for (let attempt = 1; ; attempt++) {
      differences.onConnecting(internals);
      try {
        const destination = { ...this.#address, isHomeDc: true, lost: () => {} };
        this.#sender = await this.#dialer.open(destination, signal, async (opened) => {
          // Kept before the first answer: with it the key is signed in at Telegram's.
          this.#keys.set(dcId, opened.base.authKey);
          const config = this.#dialer.initConnection(new library.Api.help.GetConfig());
          this.#config = ((await opened.transmitService(config)) as Config).dcOptions;
        });
        return;
      } catch (error) {
        if (!(error instanceof KeyExchangeError) || signal.aborted || attempt === KEY_EXCHANGES) throw error;
      }
    }
  }

  async #onKeyFailure(error: unknown): Promise<void> {
    this.#keyFailure = error;
  }

  #onUpdate(update: unknown): void {
    const { className, update: short, updates } = Object(update) as Record<string, unknown>;
    const all = className === "UpdateShort" ? [short] : Array.isArray(updates) ? updates : [update];
    if (all.some((one) => Object(one).className === "UpdateLoginToken")) this.#options.onLoginToken();
  }

  #firstAddress(): Address {
    const { address } = this.#options;
    const { server } = this.#classes;
    if (address !== undefined) return { dcId: address.dcId, address: address.serverAddress, port: address.port };
    if (server !== undefined) return { dcId: server.dcId, address: server.host, port: server.port };
    return this.#addressOf(FIRST_DC);
  }

  /** As Telegram names it, else as it is known to be. */
  #addressOf(dcId: number): Address {
    const named = centerOf(this.#config, dcId, this.#address?.address.includes(":") ?? false);
    if (named !== undefined) return { dcId, address: named.ipAddress, port: named.port };
    const address = addressOfDataCenter(dcId, this.#isTest);
    if (address === undefined) throw new ConnectError(`Telegram names no data center ${dcId}.`);
    return { dcId, address, port: PORT };
  }

  #timeoutError(): ConnectError {
    const { connectTimeoutMs } = this.#options;
    return new ConnectError(
      `Data center ${this.dcId} could not be reached within ${connectTimeoutMs} ms (connectTimeoutMs).`,
    );
  }

  /** Telegram's own answer as it is; anything else without the secrets that a proxy's library may put into it. */
  #presentable(error: unknown): Error {
    const { RPCError } = this.#classes.library.errors;
    if (error instanceof RPCError || error instanceof SessionPoolError) return error;
    const { apiHash, clientOptions } = this.#settings;
    const proxy = configuredProxy(clientOptions);
    const secrets = [...secretsOf({ apiHash, proxy }), ...secretsOf(this.#options.profile)];
    const cause = redactError(error instanceof KeyExchangeError ? (this.#keyFailure ?? error) : error, secrets);
    return new ConnectError(`Data center ${this.dcId} could not be reached: ${cause.message}.`, { cause });
  }
}

type AnyClass = new (fields: object) => object;

/** Makes a request of the library by the name of its method. Throws `OptionsError` for one that it does not have. */
export function createRequest(
  { Api, helpers, differences }: Library,
  method: string,
  fields: Readonly<Record<string, unknown>>,
): TlRequest {
  const make = (name: string, values: Readonly<Record<string, unknown>>): object => {
    const found = name.split(".").reduce<unknown>((scope, part) => Reflect.get(Object(scope), part), Api);
    if (typeof found !== "function") throw new OptionsError(`${differences.name} has no ${name}.`);
    const converted = Object.entries(values).map(([field, value]) => [field, convert(value)]);
    return new (found as AnyClass)(Object.fromEntries(converted));
  };
  const convert = (value: unknown): unknown => {
    if (typeof value === "bigint") return helpers.returnBigInt(value);
    if (typeof value !== "object" || value === null || !("className" in value)) return value;
    const { className, ...rest } = value as TelegramObject;
    return make(className, rest);
  };
  return make(method, fields) as TlRequest;
}
