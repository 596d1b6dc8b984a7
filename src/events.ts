import { EventEmitter } from "eventemitter3";
import { callSafely, textOf, warn } from "./common/process-warning.js";
import { OptionsError } from "./errors.js";
import { describeType, nearestName } from "./options/validators.js";

/** What a pool tells, by event name. Payloads are readonly and never hold a secret. */
export interface SessionPoolEvents {
  /** A caller has to wait. */
  waiting: (event: { readonly waiters: number; readonly nextAvailableAt: number | null }) => void;
  leased: (event: { readonly id: string }) => void;
  released: (event: { readonly id: string; readonly heldMs: number }) => void;
  /** A session, or one method or peer of it, rests until an instant. */
  cooled: (event: {
    readonly id: string;
    readonly until: number;
    readonly seconds: number;
    readonly method?: string;
    readonly peer?: string;
  }) => void;
  /**
   * A session could not connect and rests until an instant; `reason` is `"connect failed"`, `"proxyFailed"` or the
   * transport error. No `recovered` follows.
   */
  backedOff: (event: { readonly id: string; readonly until: number; readonly reason: string }) => void;
  /** A session of which `cooled`, `restricted` or `died` was told can serve again. */
  recovered: (event: { readonly id: string }) => void;
  restricted: (event: { readonly id: string; readonly reason: string }) => void;
  died: (event: { readonly id: string; readonly reason: string }) => void;
  connected: (event: { readonly id: string }) => void;
  /** Also of the session whose failed connect showed that its proxy has failed: `"proxyFailed"`. */
  disconnected: (event: { readonly id: string; readonly reason: string }) => void;
  /** The stored session string, tags or profile changed. */
  sessionChanged: (event: { readonly id: string }) => void;
  /** The session is not this process's any more: its claim was not renewed in time, or another process took it. */
  ownershipLost: (event: { readonly id: string }) => void;
  /** A lease was held too long and taken back. */
  leaked: (event: { readonly id: string; readonly heldMs: number; readonly stack?: string }) => void;
  /** A record could not be read; it was left as it is. */
  recordRejected: (event: { readonly id: string; readonly reason: string }) => void;
  /** The storage failed: a write, which is retried, a look for other processes' changes, or something about peers. */
  storageFailed: (event: { readonly error: Error }) => void;
}

/** Every event: an emitter refuses to listen to anything else. */
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
  sessionChanged: true,
  ownershipLost: true,
  leaked: true,
  recordRejected: true,
  storageFailed: true,
} satisfies Readonly<Record<keyof SessionPoolEvents, true>>);

type Listener = (...values: never[]) => unknown;

/**
 * An emitter whose listeners cannot hurt each other: one that throws or rejects becomes one process warning, and the
 * others are called all the same.
 */
export class SafeEmitter<Events extends object> extends EventEmitter<Events> {
  /** By listener and event. */
  readonly #wrappers = new WeakMap<Listener, Map<unknown, Listener>>();
  /** Whether anybody listens to anything: to look for the listeners of one event costs a part of what a lease does. */
  #isHeard = false;

  /** Events that can be listened to; `undefined`: any. */
  readonly #names: readonly string[] | undefined;

  constructor(names?: readonly string[]) {
    super();
    this.#names = names;
  }

  override emit<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    ...values: EventEmitter.EventArgs<Events, Name>
  ): boolean {
    return this.#isHeard && super.emit(event, ...values);
  }

  override listenerCount(event: EventEmitter.EventNames<Events>): number {
    return this.#isHeard ? super.listenerCount(event) : 0;
  }

  override on<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
  ): this {
    super.on(event, this.#wrap(event, listener), context);
    return this.#looked();
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
    return this.#looked();
  }

  override off<Name extends EventEmitter.EventNames<Events>>(
    event: Name,
    listener?: EventEmitter.EventListener<Events, Name>,
    context?: unknown,
    once?: boolean,
  ): this {
    const wrapper = listener && (this.#wrappers.get(listener as Listener)?.get(event) ?? listener);
    super.off(event, wrapper as EventEmitter.EventListener<Events, Name> | undefined, context, once);
    return this.#looked();
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
    return this.#looked();
  }

  #looked(): this {
    this.#isHeard = this.eventNames().length > 0;
    return this;
  }

  /** `once` and `on` of `node:events` listen to "error" as well, which never comes. */
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
