import type { RequestGate } from "../../../src/connections/client-adapter.js";
import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import type { ClientGuardRules } from "../../../src/lease/guard-client.js";
import type { ClientInternals, EventBuilder, Library, LibraryClient, SenderBase, TlRequest } from "./library.js";
import { describeRequest, PooledSender } from "./sender.js";

/** Which data center or sender a call names; neither: the account's own. */
export interface Route {
  readonly dcId?: number | undefined;
  readonly sender?: unknown;
}

/** How the requests of one client are sent. */
export interface ClientCalls {
  /** On behalf of a lease, or of no lease when `scope` is `undefined`. */
  invoke(request: TlRequest, scope: LeaseScope | undefined, client: LibraryClient, route: Route): Promise<unknown>;
  /** The library's sender for a data center: the account's own one, or one to another data center. */
  senderFor(dcId: number | undefined): Promise<SenderBase>;
  /** A sender for use under one lease. */
  leaseSender(scope: LeaseScope, dcId: number | undefined): Promise<LeaseSender>;
  /** The account's own sender for use under one lease. */
  mainLeaseSender(scope: LeaseScope): LeaseSender;
}

/** Methods that return synchronously, in both libraries. All others of a client return a promise. */
const SYNCHRONOUS: ReadonlySet<string> = new Set([
  "addEventHandler",
  "buildReplyMarkup",
  "iterDialogs",
  "iterDownload",
  "iterMessages",
  "iterParticipants",
  "listEventHandlers",
  "on",
  "removeEventHandler",
  "setLogLevel",
  "setParseMode",
  "_getResponseMessage",
]);

/** Caches of the account: what one lease has learnt serves the next. */
const SHARED: ReadonlySet<string> = new Set(["_selfInputPeer", "_bot", "_config", "_lastRequest", "_appConfig"]);

/** Fields that a lease must not change: the library must never wait out a flood by itself. */
const FIXED: ReadonlySet<string> = new Set([
  "floodSleepThreshold",
  "_floodSleepThreshold",
  "session",
  "_sender",
  "_media",
  "_network",
  "updateManager",
]);

/** Properties that hold secrets: unreadable after the lease. */
const SECRET: ReadonlySet<string> = new Set(["apiHash", "_proxy", "_initRequest"]);

/** The rules by which the leases of one client are guarded. */
export class LeaseRules implements ClientGuardRules<LibraryClient> {
  readonly #client: LibraryClient;
  readonly #session: object;
  readonly #calls: ClientCalls;
  readonly #synchronous: ReadonlySet<string>;

  /** `synchronous`: methods of this library that return synchronously, beyond those of both. */
  constructor(client: LibraryClient, session: object, calls: ClientCalls, synchronous: readonly string[]) {
    this.#client = client;
    this.#session = session;
    this.#calls = calls;
    this.#synchronous = new Set([...SYNCHRONOUS, ...synchronous]);
  }

  override(name: string, scope: LeaseScope, guarded: LibraryClient): ((...values: never[]) => unknown) | undefined {
    const calls = this.#calls;
    switch (name) {
      case "invoke":
        return (request: TlRequest, dcId?: number) => calls.invoke(request, scope, guarded, { dcId });
      case "invokeWithSender":
        return (request: TlRequest, sender?: unknown) => calls.invoke(request, scope, guarded, { sender });
      case "getSender":
        return (dcId?: number) => calls.leaseSender(scope, dcId);
      case "_leaseSender":
        return async (dcId?: number) => ({ sender: await calls.leaseSender(scope, dcId), release: () => {} });
      case "connect":
        return async () => true;
      case "disconnect":
      case "destroy":
        return async () => {};
      case "setLogLevel":
        return logLevelSetter(this.#client, scope);
      case "addEventHandler":
        return leaseHandlers(this.#client, scope, guarded).add;
      case "removeEventHandler":
        return leaseHandlers(this.#client, scope, guarded).remove;
      default:
        return undefined;
    }
  }

  substitute(name: string, scope: LeaseScope): { readonly value: unknown } | undefined {
    if (SECRET.has(name) && scope.ended !== undefined) throw scope.ended;
    if (name === "_sender") return { value: this.#calls.mainLeaseSender(scope) };
    return name === "session" ? { value: leaseSession(this.#session, scope) } : undefined;
  }

  isSynchronous(name: string): boolean {
    return this.#synchronous.has(name);
  }

  isClientWide(name: string): boolean {
    return SHARED.has(name);
  }

  isReadonly(name: string): boolean {
    return FIXED.has(name);
  }
}

type Handler = (event: unknown) => unknown;

/** A handler as the lease added it, and as the client has it. */
interface Registration {
  readonly callback: Handler;
  readonly builder: EventBuilder | undefined;
  readonly wrapped: Handler;
}

const registrations = new WeakMap<LeaseScope, Registration[]>();

/** Adds and removes the event handlers of a lease: they get the guarded client, and are removed when the lease ends. */
function leaseHandlers(client: LibraryClient, scope: LeaseScope, guarded: LibraryClient) {
  const known = registrations.get(scope) ?? [];
  registrations.set(scope, known);
  const add = (callback: Handler, builder?: EventBuilder): void => {
    const wrapped: Handler = async (event) => {
      if (scope.ended !== undefined) return;
      try {
        setClient(event, guarded);
        await callback(event);
      } catch (error) {
        // A handler that was still running when the lease ended.
        if (error === scope.ended) return;
        await reportError(guarded, client, error);
      }
    };
    known.push({ callback, builder, wrapped });
    client.addEventHandler(wrapped, builder);
    scope.onEnd(() => client.removeEventHandler(wrapped));
  };
  const remove = (callback: Handler, builder?: EventBuilder): void => {
    for (const entry of known) {
      const isSame = entry.callback === callback && (builder === undefined || entry.builder === builder);
      if (isSame) client.removeEventHandler(entry.wrapped);
    }
  };
  return { add, remove };
}

/** All leases of a client share its logger: the level that a lease sets is restored when it ends. */
function logLevelSetter(client: LibraryClient, scope: LeaseScope): (level: unknown) => void {
  return (level) => {
    const { logLevel: former } = client.logger;
    client.setLogLevel(level);
    scope.onEnd(() => client.setLogLevel(former));
  };
}

/** Reports to the `client.onError` that the lease has set, else lets the client report it. */
async function reportError(guarded: LibraryClient, client: LibraryClient, error: unknown): Promise<void> {
  const onError = (guarded as unknown as ClientInternals)._errorHandler;
  if (typeof onError !== "function" || onError === (client as unknown as ClientInternals)._errorHandler) throw error;
  await onError(error);
}

function setClient(event: unknown, guarded: LibraryClient): void {
  if (typeof event !== "object" || event === null) return;
  const carrier = event as { _client?: unknown; _setClient?: (client: LibraryClient) => void };
  carrier._client = guarded;
  carrier._setClient?.(guarded);
}

/** The leases of guarded clients. */
export const leaseScopes: WeakMap<object, LeaseScope> = new WeakMap();

/** The lease that a guarded client belongs to; `undefined` for the client itself. */
export function getScope(client: object): LeaseScope | undefined {
  return leaseScopes.get(client);
}

/** The methods of a sender that uploads and downloads of a library use. */
export interface LeaseSender {
  readonly dcId: number;
  isConnected(): boolean;
  send(request: TlRequest): Promise<unknown>;
}

const senders = new WeakMap<object, () => PooledSender>();

/** The sender that a lease's sender, or a sender of the library, stands for. */
export function unwrapSender(sender: unknown): PooledSender | undefined {
  if (typeof sender !== "object" || sender === null) return undefined;
  return senders.get(sender)?.() ?? PooledSender.of(sender);
}

/**
 * A sender for use under one lease. It remains usable after a lost connection, because the gate connects again before the
 * next request.
 */
export function createLeaseSender(
  library: Library,
  current: () => PooledSender,
  gate: RequestGate,
  scope: LeaseScope,
  transmit: PooledSender["transmit"],
): LeaseSender {
  const { dcId, isHomeDc } = current();
  const leased: LeaseSender = {
    dcId,
    isConnected: () => scope.ended === undefined,
    send: async (request) => {
      const outgoing = describeRequest(request, isHomeDc);
      try {
        return await gate.call(outgoing, scope, () => transmit(request, outgoing));
      } catch (error) {
        throw library.differences.toTransferError(error, request);
      }
    },
  };
  senders.set(leased, current);
  return leased;
}

const sessions = new WeakMap<LeaseScope, object>();

/** The client's session for use under one lease, the auth key in it included: after the lease all of it throws. */
function leaseSession(session: object, scope: LeaseScope): object {
  let leased = sessions.get(scope);
  if (leased === undefined) {
    leased = new Proxy(session, new LeaseBound(scope));
    sessions.set(scope, leased);
  }
  return leased;
}

type Method = (...values: unknown[]) => unknown;

/** Throws on every access after the lease has ended. */
class LeaseBound implements ProxyHandler<object> {
  readonly #scope: LeaseScope;
  readonly #methods = new Map<string, Method>();

  constructor(scope: LeaseScope) {
    this.#scope = scope;
  }

  /** A method is the same function each time. */
  get(target: object, name: string | symbol): unknown {
    const value: unknown = Reflect.get(target, name);
    if (typeof name === "symbol" || name === "constructor") return value;
    if (typeof value !== "function") {
      if (this.#scope.ended !== undefined) throw this.#scope.ended;
      return isAuthKey(value) ? new Proxy(value, new LeaseBound(this.#scope)) : value;
    }
    let method = this.#methods.get(name);
    if (method === undefined) {
      method = (...values) => {
        if (this.#scope.ended !== undefined) throw this.#scope.ended;
        return value.apply(target, values);
      };
      this.#methods.set(name, method);
    }
    return method;
  }

  getOwnPropertyDescriptor(target: object, name: string | symbol): PropertyDescriptor | undefined {
    const descriptor = Reflect.getOwnPropertyDescriptor(target, name);
    if (descriptor?.configurable !== true) return descriptor;
    const { enumerable = false } = descriptor;
    return { value: this.get(target, name), enumerable, writable: true, configurable: true };
  }

  set(target: object, name: string | symbol, value: unknown): boolean {
    if (this.#scope.ended !== undefined) throw this.#scope.ended;
    return Reflect.set(target, name, value);
  }
}

/** Whether the value is an auth key of a library, which must not remain readable after the lease. */
function isAuthKey(value: unknown): value is object {
  return typeof value === "object" && value !== null && typeof Reflect.get(value, "getKey") === "function";
}
