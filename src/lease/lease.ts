import { callSafely, textOf, warn } from "../common/process-warning.js";
import type { LeaseScope } from "../connections/lease-scope.js";
import type { SessionInfo } from "../session-info.js";

/** What of a session rests, when not all of it: one method, or one peer. */
export interface CooldownTarget {
  readonly method?: string | undefined;
  readonly peer?: string | undefined;
}

/** The exclusive right of one caller to use one session's client, until it is given back. */
export interface Lease<Client> extends Disposable, AsyncDisposable {
  /** The session's id. */
  readonly id: string;
  /** The connected client. Once the lease has ended, every method of it throws or rejects with `LeaseReleasedError`. */
  readonly client: Client;
  /** The session as it is now. */
  readonly session: SessionInfo;
  /** Aborts when the lease ends in any way but `release()`. */
  readonly signal: AbortSignal;
  /**
   * Rests the session, or one method or peer of it, for this number of seconds: for a wait that only the caller can
   * read. Throws `OptionsError`, and `LeaseReleasedError` when the lease has ended: another caller may hold the session.
   */
  coolDown(seconds: number, scope?: CooldownTarget): void;
  /**
   * Marks the session dead, for good: only `enable` or `update` brings it back. Throws `LeaseReleasedError` when the
   * lease has ended: another caller may hold the session. Does nothing when `update` has given the session another auth
   * key since the lease began.
   */
  retire(reason: string): void;
  /** Gives the session back. The second time is a no-op. */
  release(): void;
}

/** Who holds what since when. */
export interface LeaseInfo {
  readonly id: string;
  /** Epoch milliseconds. */
  readonly leasedAt: number;
  readonly heldMs: number;
  /** Where it was taken; only with `traceLeases`. */
  readonly stack?: string;
}

/** A lease from the inside, as far as its caller gets at it. */
export interface LeaseInternals<Client> extends LeaseScope {
  guard(): Client;
  info(): SessionInfo;
  coolDown(seconds: number, where: CooldownTarget): void;
  retire(reason: string): void;
  release(): void;
}

/** One lease as its caller holds it. */
export class LeaseHandle<Client> implements Lease<Client> {
  readonly id: string;
  readonly #inside: LeaseInternals<Client>;
  #client: Client | undefined;
  #abort: AbortController | undefined;

  constructor(inside: LeaseInternals<Client>) {
    this.id = inside.sessionId;
    this.#inside = inside;
  }

  get client(): Client {
    this.#client ??= this.#inside.guard();
    return this.#client;
  }

  get session(): SessionInfo {
    return this.#inside.info();
  }

  get signal(): AbortSignal {
    this.#abort ??= abortedWith(this.#inside);
    return this.#abort.signal;
  }

  coolDown(seconds: number, scope: CooldownTarget = {}): void {
    this.#inside.coolDown(seconds, scope);
  }

  retire(reason: string): void {
    this.#inside.retire(reason);
  }

  release(): void {
    this.#inside.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}

/** Aborts when the lease is taken back. */
function abortedWith(scope: LeaseScope): AbortController {
  const abort = new AbortController();
  isolateListeners(abort.signal);
  if (scope.revoked !== undefined) abort.abort(scope.revoked);
  else scope.onEnd(() => scope.revoked !== undefined && abort.abort(scope.revoked));
  return abort;
}

/** The listeners are the work's: one that fails becomes a process warning, where Node.js would end the process. */
function isolateListeners(signal: AbortSignal): void {
  const isolated = new WeakMap<object, (event: Event) => void>();
  const isolate = (listener: unknown): unknown => {
    if ((typeof listener !== "object" && typeof listener !== "function") || listener === null) return listener;
    const known = isolated.get(listener) ?? ((event: Event): void => hear(listener, signal, event));
    isolated.set(listener, known);
    return known;
  };
  for (const name of ["addEventListener", "removeEventListener"] as const) {
    const original: (...values: unknown[]) => void = signal[name].bind(signal) as (...values: unknown[]) => void;
    const value = (type: unknown, listener: unknown, ...rest: unknown[]): void =>
      original(type, isolate(listener), ...rest);
    Object.defineProperty(signal, name, { value, configurable: true, writable: true });
  }
}

interface ListenerObject {
  handleEvent(event: Event): unknown;
}

function hear(listener: object, signal: AbortSignal, event: Event): void {
  callSafely(
    () => {
      if (typeof listener === "function") return listener.call(signal, event);
      return (listener as ListenerObject).handleEvent(event);
    },
    (error) => warn(`A listener of a lease's signal failed: ${textOf(error)}`),
  );
}
