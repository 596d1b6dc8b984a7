import type { LeaseScope } from "../../../src/connections/lease-scope.js";
import type { ClientGuardRules } from "../../../src/lease/guard-client.js";
import type { LeaseSender } from "./lease-sender.js";
import { createLeaseSession } from "./lease-session.js";
import type { ClientInternals, EventBuilder, LibraryClient } from "./library.js";
import type { TlRequest } from "./tl.js";

/** Which data center or sender a call names; neither: the account's own. */
export interface Route {
  readonly dcId?: number | undefined;
  readonly sender?: unknown;
}

/** How requests of one client go out on behalf of a lease, or of nobody. */
export interface Calls {
  invoke(request: TlRequest, scope: LeaseScope | undefined, client: LibraryClient, route?: Route): Promise<unknown>;
  /** A sender as one lease may use it. */
  senderView(scope: LeaseScope, dcId?: number): Promise<LeaseSender>;
  mainSenderView(scope: LeaseScope): LeaseSender;
}

/** Methods that answer at once, in both libraries. Everything else of a client returns a promise. */
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

/** Caches that belong to the account, so that each lease need not ask for them again. */
const SHARED: ReadonlySet<string> = new Set(["_selfInputPeer", "_bot", "_config", "_lastRequest", "_appConfig"]);

/** What a lease must not change: a wait is never slept out inside the library. */
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

type Handler = (event: unknown) => unknown;

/** How a lease's view of a library's client is guarded. `synchronous`: methods of this library that answer at once. */
export function clientGuardRules(
  client: LibraryClient,
  calls: Calls,
  synchronous: readonly string[],
): ClientGuardRules<LibraryClient> {
  const answersAtOnce = new Set([...SYNCHRONOUS, ...synchronous]);
  return {
    override: (name, scope, guarded) => {
      switch (name) {
        case "invoke":
          return (request: TlRequest, dcId?: number) => calls.invoke(request, scope, guarded, { dcId });
        case "invokeWithSender":
          return (request: TlRequest, sender?: unknown) => calls.invoke(request, scope, guarded, { sender });
        case "getSender":
          return (dcId?: number) => calls.senderView(scope, dcId);
        case "_leaseSender":
          return async (dcId?: number) => ({ sender: await calls.senderView(scope, dcId), release: () => {} });
        case "connect":
          return async () => true;
        case "disconnect":
        case "destroy":
          return async () => {};
        case "setLogLevel":
          return logLevel(client, scope);
        case "addEventHandler":
          return handlers(client, scope, guarded).add;
        case "removeEventHandler":
          return handlers(client, scope, guarded).remove;
        default:
          return undefined;
      }
    },
    substitute: (name, scope) => {
      if (SECRET.has(name) && scope.ended !== undefined) throw scope.ended;
      if (name === "_sender") return { value: calls.mainSenderView(scope) };
      return name === "session" ? { value: createLeaseSession(client.session as object, scope) } : undefined;
    },
    isSynchronous: (name) => answersAtOnce.has(name),
    isClientWide: (name) => SHARED.has(name),
    isReadonly: (name) => FIXED.has(name),
  };
}

type Builder = EventBuilder | undefined;

/** A handler as its lease added it, and as the client has it. */
interface Registration {
  readonly callback: Handler;
  readonly builder: Builder;
  readonly wrapped: Handler;
}

const registrations = new WeakMap<LeaseScope, Registration[]>();

/** Event handlers of a lease: they get the guarded client, and they are gone when the lease ends. */
function handlers(client: LibraryClient, scope: LeaseScope, guarded: LibraryClient) {
  const known = registrations.get(scope) ?? [];
  registrations.set(scope, known);
  const add = (callback: Handler, builder?: Builder): void => {
    const wrapped: Handler = async (event) => {
      if (scope.ended !== undefined) return;
      try {
        handClient(event, guarded);
        await callback(event);
      } catch (error) {
        // What it was still about has ended with the lease.
        if (error === scope.ended) return;
        await toldTo(guarded, client, error);
      }
    };
    known.push({ callback, builder, wrapped });
    client.addEventHandler(wrapped, builder);
    scope.onEnd(() => client.removeEventHandler(wrapped));
  };
  const remove = (callback: Handler, builder?: Builder): void => {
    for (const entry of known) {
      const isMeant = entry.callback === callback && (builder === undefined || entry.builder === builder);
      if (isMeant) client.removeEventHandler(entry.wrapped);
    }
  };
  return { add, remove };
}

/** All leases of a client share its logger: what one sets is put back when it ends. */
function logLevel(client: LibraryClient, scope: LeaseScope): (level: unknown) => void {
  return (level) => {
    const { logLevel: former } = client.logger;
    client.setLogLevel(level);
    scope.onEnd(() => client.setLogLevel(former));
  };
}

/** To the `client.onError` that the lease has set, else to the client's own. */
async function toldTo(guarded: LibraryClient, client: LibraryClient, error: unknown): Promise<void> {
  const onError = (guarded as unknown as ClientInternals)._errorHandler;
  if (typeof onError !== "function" || onError === (client as unknown as ClientInternals)._errorHandler) throw error;
  await onError(error);
}

function handClient(event: unknown, guarded: LibraryClient): void {
  if (typeof event !== "object" || event === null) return;
  const carrier = event as { _client?: unknown; _setClient?: (client: LibraryClient) => void };
  carrier._client = guarded;
  carrier._setClient?.(guarded);
}
