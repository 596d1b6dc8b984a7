import { EventEmitter } from "eventemitter3";
import { callSafely, textOf, warn } from "./common/process-warning.js";
import { OptionsError } from "./errors.js";
import { describeType, nearestName } from "./options/validators.js";

/** Events emitted by a pool, keyed by name. Payloads are frozen and never contain a secret. */
export interface SessionPoolEvents {
  /** Emitted when a caller has to wait. */
  waiting: (event: { readonly waiters: number; readonly nextAvailableAt: number | null }) => void;
  /** Emitted when a session is leased; `waitedMs` is the time since the call, a connect included. */
  leased: (event: { readonly id: string; readonly waitedMs: number }) => void;
  /** Emitted when a lease is released. */
  released: (event: { readonly id: string; readonly heldMs: number }) => void;
  /**
   * Emitted when a session, or one method or peer of it, starts to cool down. `reason` is Telegram's error code
   * (`"FLOOD_WAIT"`) or `"coolDown"`; `refusedMethod` is the method that Telegram refused, also when the whole session
   * cools down. It is absent after a refused connect, and when another process was refused. Each session of an account gets an
   * event of its own; `sharedBy` is the session of the same account from which the cooldown comes.
   */
  cooled: (event: {
    readonly id: string;
    readonly until: number;
    readonly seconds: number;
    readonly reason: string;
    readonly refusedMethod?: string;
    readonly sharedBy?: string;
    readonly method?: string;
    readonly peer?: string;
  }) => void;
  /**
   * Emitted when a session could not connect and backs off; `reason` is `"connect failed"`, `"proxyFailed"` or the
   * transport error. No `recovered` follows.
   */
  backedOff: (event: { readonly id: string; readonly until: number; readonly reason: string }) => void;
  /** Emitted when a session can serve again after `cooled`, `restricted` or `died`. */
  recovered: (event: { readonly id: string }) => void;
  /** Emitted when Telegram restricted the account. */
  restricted: (event: { readonly id: string; readonly reason: string }) => void;
  /** Emitted when a session is dead: `reason` is Telegram's error, or the one given to `retire`. */
  died: (event: { readonly id: string; readonly reason: string }) => void;
  /** Emitted when a client has connected. */
  connected: (event: { readonly id: string }) => void;
  /**
   * Emitted when a client was closed or lost its connection; with reason `"proxyFailed"` also for the session whose
   * failed connect showed that its proxy is down.
   */
  disconnected: (event: { readonly id: string; readonly reason: string }) => void;
  /** Emitted when the user id of a session's account was learned: from Telegram, or from another process. */
  accountLearnt: (event: { readonly id: string; readonly accountId: string }) => void;
  /**
   * Emitted 30 days before Telegram terminates a session that stays unused, once until a use has moved that instant away, and
   * again after a restart. `expiresAt` is in epoch milliseconds. Only for sessions of which it is known: see `check()`.
   */
  expiring: (event: { readonly id: string; readonly expiresAt: number }) => void;
  /** Emitted when the stored session string, tags or profile changed. */
  sessionChanged: (event: { readonly id: string }) => void;
  /** Emitted when this process lost a session: its claim was not renewed in time, or another process took it. */
  ownershipLost: (event: { readonly id: string }) => void;
  /** Emitted when a lease exceeded `maxLeaseMs` and was revoked. */
  leaked: (event: { readonly id: string; readonly heldMs: number; readonly stack?: string }) => void;
  /** Emitted when a record could not be read. The record is left unchanged. */
  recordRejected: (event: { readonly id: string; readonly reason: string }) => void;
  /**
   * Emitted when the storage failed: a write, which is retried, a sync with other processes, or an operation on peers.
   */
  storageFailed: (event: { readonly error: Error }) => void;
}

/** All event names; listening to any other name throws. */
export const EVENT_NAMES: readonly string[] = Object.keys({
  waiting: true,
  leased: true,
  released: true,
  cooled: true,
  recovered: true,
  restricted: true,
  died: true,
  connected: true,
  disconnected: true,
  backedOff: true,
  accountLearnt: true,
  expiring: true,
  sessionChanged: true,
  ownershipLost: true,
  leaked: true,
  recordRejected: true,
  storageFailed: true,
} satisfies Readonly<Record<keyof SessionPoolEvents, true>>);

type Listener = (...values: never[]) => unknown;

/**
 * An emitter that isolates its listeners: a listener that throws or rejects causes a process warning, and the others
 * are still called.
 */
export class SafeEmitter<Events extends object> extends EventEmitter<Events> {
  /** Wrappers by listener and event. */
  readonly #wrappers = new WeakMap<Listener, Map<unknown, Listener>>();
  readonly #subscribed: Set<unknown>;
  /** Known event names; `undefined` allows any. */
  readonly #names: readonly string[] | undefined;

  /**
   * `subscribed` is kept equal to the names of the events that have listeners: looking there is much cheaper than counting
   * listeners for each lease.
   */
  constructor(names?: readonly string[], subscribed: Set<unknown> = new Set()) {
    super();
    this.#names = names;
    this.#subscribed = subscribed;
  }

  override emit<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    ...values: EventEmitter.EventArgs<Events, Name>
  ): boolean {
    return this.#subscribed.size > 0 && super.emit(event, ...values);
  }

  override listenerCount(event: EventEmitter.EventNames<Events>): number {
    return this.#subscribed.size > 0 ? super.listenerCount(event) : 0;
  }

  override on<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
  ): this {
    super.on(event, this.#wrap(event, listener), context);
    return this.#updateSubscribed();
  }

  override addListener<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
  ): this {
    return this.on(event, listener, context);
  }

  override once<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
  ): this {
    super.once(event, this.#wrap(event, listener), context);
    return this.#updateSubscribed();
  }

  override off<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener?: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
    once?: boolean,
  ): this {
    const wrapper = listener && (this.#wrappers.get(listener as Listener)?.get(event) ?? listener);
    super.off(event, wrapper as EventEmitter.EventListener<Events, Name> | undefined, context, once);
    return this.#updateSubscribed();
  }

  override removeListener<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener?: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
    once?: boolean,
  ): this {
    return this.off(event, listener, context, once);
  }

  override removeAllListeners(event?: EventEmitter.EventNames<Events>): this {
    super.removeAllListeners(event);
    return this.#updateSubscribed();
  }

  #updateSubscribed(): this {
    this.#subscribed.clear();
    for (const name of this.eventNames()) this.#subscribed.add(name);
    return this;
  }

  /** Allows "error", which is never emitted: `once` and `on` of `node:events` listen to it as well. */
  #assertKnown(event: unknown): void {
    if (this.#names === undefined || event === "error" || this.#names.includes(event as string)) return;
    const meant = typeof event === "string" ? nearestName(event, this.#names) : undefined;
    const hint = meant === undefined ? "" : ` Did you mean "${meant}"?`;
    throw new OptionsError(
      `on: there is no event ${typeof event === "string" ? `"${event}"` : describeType(event)}.${hint} Events: ${this.#names.join(", ")}.`,
    );
  }

  #wrap<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener: EventEmitter.EventListener<Events, Name>,
  ): EventEmitter.EventListener<Events, Name> {
    this.#assertKnown(event);
    if (typeof listener !== "function") return listener;
    const original = listener as Listener;
    const wrappers = this.#wrappers.get(original) ?? new Map<unknown, Listener>();
    this.#wrappers.set(original, wrappers);
    let wrapper = wrappers.get(event);
    if (wrapper === undefined) {
      wrapper = function (this: unknown, ...values: never[]): void {
        callSafely(
          () => original.apply(this, values),
          (error) => warn(`A listener of "${String(event)}" failed: ${textOf(error)}`),
        );
      };
      wrappers.set(event, wrapper);
    }
    return wrapper as EventEmitter.EventListener<Events, Name>;
  }
}
