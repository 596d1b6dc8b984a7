import {
  type ClientHandle,
  ConnectionLostError,
  type CreateClientOptions,
  type FloodWait,
  type OutgoingRequest,
} from "../../../src/connections/client-adapter.js";
import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import { redactError } from "../../../src/connections/redact-error.js";
import { OptionsError, SessionPoolError } from "../../../src/errors.js";
import { guardClient } from "../../../src/lease/guard-client.js";
import { type ProxyProfile, secretsOf } from "../../../src/options/client-profile.js";
import { describeType } from "../../../src/options/validators.js";
import { formatSession } from "../../../src/telegram/session-string.js";
import { type ClientClasses, type ClientSettings, createClient } from "./client.js";
import { Dialer } from "./dialer.js";
import { ExportedSenders } from "./exported-senders.js";
import { type Calls, clientGuardRules, type Route } from "./guard-rules.js";
import { Heartbeat } from "./heartbeat.js";
import { setScope } from "./lease-scopes.js";
import { createLeaseSender, type LeaseSender, unwrapSender } from "./lease-sender.js";
import type { ClientInternals, Config, Library, LibraryClient } from "./library.js";
import { describeRequest } from "./request.js";
import type { PooledSender } from "./sender.js";
import type { TlRequest } from "./tl.js";

/** What all clients of one adapter share. */
export interface HandleSettings extends Omit<ClientSettings, "profile" | "session" | "peers"> {
  readonly onConnect: ((client: LibraryClient, id: string) => void | Promise<void>) | undefined;
  /** Whether Telegram is to send updates, also to accounts that do not have to listen. */
  readonly updates: boolean;
}

/** One client of one session. */
export class MtprotoHandle implements ClientHandle<LibraryClient> {
  readonly client: LibraryClient;
  readonly #library: Library;
  readonly #request: CreateClientOptions;
  readonly #settings: HandleSettings;
  readonly #internals: ClientInternals;
  readonly #calls: Calls;
  readonly #wire: Dialer;
  readonly #exportedSenders: ExportedSenders;
  #sender: PooledSender | undefined;
  #heartbeat: Heartbeat | undefined;
  #isClosed = false;
  #hasConnected = false;
  #restoring: Promise<void> | undefined;

  constructor(kit: ClientClasses, settings: HandleSettings, request: CreateClientOptions) {
    const { library } = kit;
    const { id, gate, clock, connectTimeoutMs, profile, peers } = request;
    this.#library = library;
    this.#settings = settings;
    this.#request = request;
    this.#calls = this.#makeCalls();
    const { apiId, apiHash, clientOptions } = settings;
    const session = formatSession(request.session, "gramjs");
    this.client = createClient(
      kit,
      { apiId, apiHash, clientOptions, profile, session, peers },
      { calls: () => this.#calls, sender: (dcId) => this.#senderFor(dcId) },
    );
    this.#internals = this.client as unknown as ClientInternals;
    this.#wire = new Dialer(kit, this.client, gate, settings.updates || profile.keepConnected === true);
    const centers = () => this.#internals._config?.dcOptions ?? [];
    const usesIpv6 = () => this.#internals.session.serverAddress.includes(":");
    const home = () => this.#main();
    const presentable = (error: unknown) => this.#sanitize(error);
    this.#exportedSenders = new ExportedSenders({
      library,
      id,
      wire: this.#wire,
      gate,
      clock,
      connectTimeoutMs,
      centers,
      usesIpv6,
      home,
      presentable,
    });
  }

  get isConnected(): boolean {
    return this.#sender?.isLost === false;
  }

  async connect(signal: AbortSignal): Promise<void> {
    const internals = this.#internals;
    await this.#sender?.closed;
    await internals._initSession();
    // Beside the connect: both take their time, and the client is used after both.
    this.#restoring ??= internals.session.restorePeers();
    const restoring = this.#restoring;
    const { dcId, serverAddress, port } = internals.session;
    const { differences } = this.#library;
    const lost = (sender: PooledSender, reason: string): void => {
      if (this.#sender !== sender) return;
      this.#heartbeat?.stop();
      differences.disconnected(internals);
      this.#request.onDisconnect(reason);
    };
    const home = { dcId, address: serverAddress, port, isHomeDc: true, lost };
    const setUp = async (opened: PooledSender): Promise<void> => {
      const config = this.#wire.initConnection(new this.#library.Api.help.GetConfig());
      internals._config = (await opened.transmitService(config)) as Config;
      await restoring;
    };
    differences.onConnecting(internals);
    const sender = await this.#wire.open(home, signal, setUp).catch((error: unknown) => {
      throw this.#sanitize(error);
    });
    if (this.#isClosed) {
      sender.disconnectWith("the client was closed");
      await sender.closed;
      throw new ConnectionLostError("the client was closed", false);
    }
    this.#sender = sender;
    internals._sender = sender;
    internals._connectedDeferred.resolve();
    this.#heartbeat = new Heartbeat(this.#library, this.#request.clock, sender);
    if (this.#hasConnected) return;
    this.#hasConnected = true;
    await this.#settings.onConnect?.(this.client, this.#request.id);
  }

  guard(scope: LeaseScope): LibraryClient {
    const { synchronous } = this.#library.differences;
    const guarded = guardClient(this.client, scope, clientGuardRules(this.client, this.#calls, synchronous));
    setScope(guarded, scope);
    return guarded;
  }

  floodError(notice: FloodWait, request: OutgoingRequest): Error {
    const { FloodWaitError, SlowModeWaitError } = this.#library.errors;
    const FloodError = notice.isSlowMode ? SlowModeWaitError : FloodWaitError;
    const error = new FloodError({ request: { className: request.method } as never, capture: notice.seconds });
    const code = notice.isSlowMode ? "SLOWMODE_WAIT" : "FLOOD_WAIT";
    return this.#library.differences.toLibraryError(error, `${code}_${notice.seconds}`);
  }

  async probe(): Promise<void> {
    await this.#invoke(new this.#library.Api.updates.GetState(), undefined, this.client, {});
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#heartbeat?.stop();
    this.#sender?.disconnectWith("the client was closed");
    this.#library.differences.disconnected(this.#internals);
    this.#internals._destroyed = true;
    this.#internals._eventBuilders = [];
    await Promise.all([this.#sender?.closed, this.#exportedSenders.close()]);
  }

  /** Uploads go over the one connection of the account: a second one with the same key can cost the account. */
  async #senderFor(dcId: number | undefined): Promise<PooledSender> {
    return dcId === undefined || dcId === this.#internals.session.dcId ? this.#main() : this.#exportedSenders.get(dcId);
  }

  /** The sender that a call names, unless that is the account's own one. */
  async #otherSender(route: Route): Promise<PooledSender | undefined> {
    const named = unwrapSender(route.sender);
    if (named !== undefined) return named.isHomeDc ? undefined : named;
    if (route.dcId === undefined || route.dcId === this.#internals.session.dcId) return undefined;
    return this.#exportedSenders.get(route.dcId);
  }

  /** Telegram's own answer as it is; anything else without the secrets that a proxy's library may put into it. */
  #sanitize(error: unknown): Error {
    if (error instanceof this.#library.errors.RPCError || error instanceof SessionPoolError) return error;
    const { apiHash, clientOptions } = this.#settings;
    const proxy = clientOptions.proxy as ProxyProfile | undefined;
    return redactError(error, [...secretsOf({ apiHash, proxy }), ...secretsOf(this.#request.profile)]);
  }

  #makeCalls(): Calls {
    return {
      invoke: (request, scope, client, route = {}) => this.#invoke(request, scope, client, route),
      mainSenderView: (scope) => this.#mainView(scope),
      senderView: async (scope, dcId) => {
        const sender = await scope.race(this.#senderFor(dcId));
        if (sender.isHomeDc) return this.#mainView(scope);
        const current = () => this.#exportedSenders.current(sender);
        return createLeaseSender(this.#library, current, this.#request.gate, scope, (request, outgoing) =>
          this.#exportedSenders.transmit(sender.dcId, request, outgoing),
        );
      },
    };
  }

  #mainView(scope: LeaseScope): LeaseSender {
    const main = () => this.#main();
    return createLeaseSender(this.#library, main, this.#request.gate, scope, (...sent) => main().transmit(...sent));
  }

  #main(): PooledSender {
    if (this.#sender === undefined) throw new ConnectionLostError("the client is not connected", false);
    return this.#sender;
  }

  /** A library's own invoke repeats writes and sleeps; this one sends once and leaves the rest to the gate. */
  async #invoke(
    request: TlRequest,
    scope: LeaseScope | undefined,
    client: LibraryClient,
    route: Route,
  ): Promise<unknown> {
    if (!isRequest(request)) {
      throw new OptionsError(
        `invoke: expected a request of ${this.#library.differences.name}, for instance new Api.help.GetConfig(); got ${describeType(request)}.`,
      );
    }
    const finding = this.#otherSender(route);
    const other = await (scope === undefined ? finding : scope.race(finding));
    await request.resolve(client, this.#library.utils);
    this.#internals._lastRequest = this.#request.clock.now();
    const outgoing = describeRequest(request, other === undefined);
    const transmit = () =>
      other === undefined
        ? this.#main().transmit(request, outgoing)
        : this.#exportedSenders.transmit(other.dcId, request, outgoing);
    const result = await this.#request.gate.call(outgoing, scope, transmit);
    this.#takeNote(request, result, other === undefined);
    return result;
  }

  /** What an answer tells beside the answer: the call was granted, so nothing here may fail it. */
  #takeNote(request: TlRequest, result: unknown, isHomeDc: boolean): void {
    this.#internals.session.processEntities(result);
    if (!isHomeDc) return;
    try {
      this.#library.differences.answered(this.#internals, request, result);
    } catch {
      // A gap in the state of updates, which is found and filled with the next update.
    }
  }
}

/** Also of another copy of the library: told by what it can do, not by its class. */
function isRequest(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  try {
    const { className, classType, getBytes, resolve } = value as Partial<TlRequest>;
    const isCallable = typeof getBytes === "function" && typeof resolve === "function";
    return classType === "request" && typeof className === "string" && isCallable;
  } catch {
    return false;
  }
}
