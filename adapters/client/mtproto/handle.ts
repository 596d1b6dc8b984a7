import { redactError } from "../../../src/common/redact-error.js";
import {
  type ClientHandle,
  ConnectionLostError,
  type CreateClientOptions,
  type FloodWait,
  type OutgoingRequest,
} from "../../../src/connections/client-adapter.js";
import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import { OptionsError, SessionPoolError } from "../../../src/errors.js";
import { guardClient } from "../../../src/lease/guard-client.js";
import { secretsOf } from "../../../src/options/client-profile.js";
import { describeType } from "../../../src/options/validators.js";
import type { PeerReference } from "../../../src/telegram/peers.js";
import { formatSession } from "../../../src/telegram/session-string.js";
import { type ClientClasses, type ClientSettings, createClient } from "./client.js";
import { Dialer } from "./dialer.js";
import { ExportedSenders, type HomeClient } from "./exported-senders.js";
import {
  type ClientCalls,
  createLeaseSender,
  LeaseRules,
  type LeaseSender,
  leaseScopes,
  type Route,
  unwrapSender,
} from "./leased-client.js";
import type {
  ClientInternals,
  Config,
  Library,
  LibraryClient,
  LibrarySession,
  SenderBase,
  TlRequest,
} from "./library.js";
import { configuredProxy } from "./route.js";
import { describeRequest, type PooledSender } from "./sender.js";

/** State shared by all clients of one adapter. */
export interface HandleSettings extends Omit<ClientSettings, "profile" | "session" | "peers"> {
  readonly onConnect: ((client: LibraryClient, id: string) => void | Promise<void>) | undefined;
  /** Whether Telegram is to send updates to accounts that are not kept connected, too. */
  readonly updates: boolean;
}

/** One client of one session. */
export class MtprotoHandle implements ClientHandle<LibraryClient>, ClientCalls, HomeClient {
  readonly client: LibraryClient;
  readonly internals: ClientInternals;
  readonly #library: Library;
  readonly #request: CreateClientOptions;
  readonly #settings: HandleSettings;
  readonly #session: LibrarySession;
  readonly #rules: LeaseRules;
  readonly #dialer: Dialer;
  readonly #exportedSenders: ExportedSenders;
  #sender: PooledSender | undefined;
  #isClosed = false;
  #hasConnected = false;
  #restoring: Promise<void> | undefined;

  constructor(classes: ClientClasses, settings: HandleSettings, request: CreateClientOptions) {
    const { gate, clock, profile, peers } = request;
    const { apiId, apiHash, clientOptions } = settings;
    this.#library = classes.library;
    this.#settings = settings;
    this.#request = request;
    const session = formatSession(request.session, "gramjs");
    this.client = createClient(classes, { apiId, apiHash, clientOptions, profile, session, peers }, this);
    this.internals = this.client as unknown as ClientInternals;
    this.#session = this.internals.session;
    this.#session.onOwnUser = ({ id, bot }) => request.onOwnUser?.({ accountId: String(id), isBot: bot === true });
    this.#rules = new LeaseRules(this.client, this.#session, this, this.#library.differences.synchronous);
    const receivesUpdates = settings.updates || profile.keepConnected === true;
    this.#dialer = new Dialer(classes, this.client, gate, clock, receivesUpdates);
    this.#exportedSenders = new ExportedSenders(classes.library, this.#dialer, this, request);
  }

  async connect(signal: AbortSignal): Promise<void> {
    const { internals } = this;
    await this.#sender?.closed;
    await internals._initSession();
    // Concurrently with the connect: both take time, and the client is used after both.
    this.#restoring ??= this.#session.restorePeers();
    this.#library.differences.onConnecting(internals);
    const sender = await this.#open(signal, this.#restoring).catch((error: unknown) => {
      throw this.sanitize(error);
    });
    if (this.#isClosed) {
      sender.disconnectWith("the client was closed");
      await sender.closed;
      throw new ConnectionLostError("the client was closed", false);
    }
    if (sender.isLost) throw new ConnectionLostError(sender.lossReason, false);
    this.#sender = sender;
    internals._sender = sender.base;
    internals._connectedDeferred.resolve();
  }

  /** Runs the user's `onConnect`, once. */
  async prepare(): Promise<void> {
    if (this.#hasConnected) return;
    this.#hasConnected = true;
    await this.#settings.onConnect?.(this.client, this.#request.id);
  }

  /** Opens the connection to the account's own data center, and waits until the peers are restored. */
  #open(signal: AbortSignal, restoring: Promise<void>): Promise<PooledSender> {
    const { dcId, serverAddress, port } = this.#session;
    const lost = (sender: PooledSender, reason: string): void => {
      if (this.#sender !== sender) return;
      this.#library.differences.disconnected(this.internals);
      this.#request.onDisconnect(reason);
    };
    const home = { dcId, address: serverAddress, port, isHomeDc: true, lost };
    return this.#dialer.open(home, signal, async (opened) => {
      const config = this.#dialer.initConnection(new this.#library.Api.help.GetConfig());
      this.internals._config = (await opened.transmitService(config)) as Config;
      await restoring;
    });
  }

  guard(scope: LeaseScope): LibraryClient {
    const guarded = guardClient(this.client, scope, this.#rules);
    leaseScopes.set(guarded, scope);
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
    await this.invoke(new this.#library.Api.updates.GetState(), undefined, this.client, {});
  }

  knows(peer: PeerReference): boolean | undefined {
    return this.#session.knows(peer);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sender?.disconnectWith("the client was closed");
    this.#library.differences.disconnected(this.internals);
    this.internals._destroyed = true;
    this.internals._eventBuilders = [];
    await Promise.all([this.#sender?.closed, this.#exportedSenders.close()]);
  }

  /** A library's own invoke repeats writes and sleeps; this one sends once and leaves the rest to the gate. */
  async invoke(
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
    const isHomeRoute = route.dcId === undefined && route.sender === undefined;
    const other = isHomeRoute ? undefined : await this.#otherSender(route, scope);
    await request.resolve(client, this.#library.utils);
    this.internals._lastRequest = this.#request.clock.now();
    const outgoing = describeRequest(request, other === undefined);
    const transmit = () =>
      other === undefined
        ? this.main().transmit(request, outgoing)
        : this.#exportedSenders.transmit(other.dcId, request, outgoing);
    const result = await this.#request.gate.call(outgoing, scope, transmit);
    // Telegram has executed the request: nothing from here on may fail it.
    this.#session.processEntities(result);
    if (other === undefined && this.#library.differences.answered !== undefined) this.#notifyAnswered(request, result);
    return result;
  }

  async senderFor(dcId: number | undefined): Promise<SenderBase> {
    return (await this.#senderFor(dcId)).base;
  }

  async leaseSender(scope: LeaseScope, dcId: number | undefined): Promise<LeaseSender> {
    const sender = await scope.race(this.#senderFor(dcId));
    if (sender.isHomeDc) return this.mainLeaseSender(scope);
    const senders = this.#exportedSenders;
    return createLeaseSender(
      this.#library,
      () => senders.current(sender),
      this.#request.gate,
      scope,
      (request, outgoing) => senders.transmit(sender.dcId, request, outgoing),
    );
  }

  mainLeaseSender(scope: LeaseScope): LeaseSender {
    return createLeaseSender(
      this.#library,
      () => this.main(),
      this.#request.gate,
      scope,
      (request, outgoing) => this.main().transmit(request, outgoing),
    );
  }

  main(): PooledSender {
    if (this.#sender === undefined) throw new ConnectionLostError("the client is not connected", false);
    return this.#sender;
  }

  sanitize(error: unknown): Error {
    if (error instanceof this.#library.errors.RPCError || error instanceof SessionPoolError) return error;
    const { apiHash, clientOptions } = this.#settings;
    const proxy = configuredProxy(clientOptions);
    return redactError(error, [...secretsOf({ apiHash, proxy }), ...secretsOf(this.#request.profile)]);
  }

  /** Uploads use the one connection of the account: a second one with the same key can cost the account. */
  async #senderFor(dcId: number | undefined): Promise<PooledSender> {
    return dcId === undefined || dcId === this.#session.dcId ? this.main() : this.#exportedSenders.get(dcId);
  }

  /** The sender that a call names, unless that is the account's own one. */
  async #otherSender(route: Route, scope: LeaseScope | undefined): Promise<PooledSender | undefined> {
    const named = unwrapSender(route.sender);
    if (named !== undefined) return named.isHomeDc ? undefined : named;
    if (route.dcId === undefined || route.dcId === this.#session.dcId) return undefined;
    const opening = this.#exportedSenders.get(route.dcId);
    return scope === undefined ? opening : scope.race(opening);
  }

  #notifyAnswered(request: TlRequest, result: unknown): void {
    try {
      this.#library.differences.answered?.(this.internals, request, result);
    } catch {
      // A gap in the state of updates, which is detected and filled with the next update.
    }
  }
}

/** Whether it is a request, possibly of another copy of the library: by its members, not by its class. */
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
