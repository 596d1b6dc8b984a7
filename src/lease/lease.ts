import { callSafely, textOf, warn } from "../common/process-warning.js";
import type { LeaseScope } from "../connections/lease-scope.js";
import type { SessionInfo } from "../session-info.js";

/** Limits a cooldown to one method or one peer of a session. */
export interface CooldownTarget {
  /** Full name of a method, for example `"contacts.ResolveUsername"`. */
  readonly method?: string | undefined;
  /** `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`. */
  readonly peer?: string | undefined;
}

/**
 * The exclusive right of one caller to use the client of one session, until it is released.
 *
 * @example
 * ```ts
 * using lease = await pool.acquire({ tags: ["eu"] });
 * const me = await lease.client.getMe();
 * ```
 */
export interface Lease<Client> extends Disposable, AsyncDisposable {
  /** Id of the session. */
  readonly id: string;
  /** The connected client. Once the lease has ended, each of its methods throws or rejects with `LeaseReleasedError`. */
  readonly client: Client;
  /**
   * Current state of the session, as `pool.get(id)` returns it. Throws `SessionNotFoundError` when the session has been
   * removed since the lease ended.
   *
   * @example
   * ```ts
   * const isEuropean = lease.session.tags.includes("eu");
   * ```
   */
  readonly session: SessionInfo;
  /**
   * Aborts when the lease ends in any way other than `release()`: at `maxLeaseMs` or `timeoutMs`, when the pool closes or
   * the session is lost to another process. The reason of the signal says which.
   *
   * @example
   * ```ts
   * await pool.use(async (client, lease) => {
   *   const response = await fetch(url, { signal: lease.signal });
   *   await client.sendMessage("me", { message: await response.text() });
   * });
   * ```
   */
  readonly signal: AbortSignal;
  /**
   * Starts a cooldown of the session, or of one method or peer of it, for a wait that the pool cannot read from an error.
   * At least one second and at most 365 days. Throws `OptionsError`, and `LeaseReleasedError` once the lease has ended:
   * another caller may hold the session by then.
   *
   * @example
   * ```ts
   * lease.coolDown(30);
   * lease.coolDown(3_600, { method: "contacts.ResolveUsername" });
   * ```
   */
  coolDown(seconds: number, scope?: CooldownTarget): void;
  /**
   * Marks the session as dead; only `enable` or `update` revives it. Has no effect if `update` has given the session
   * another auth key since the lease began. Throws `OptionsError`, and `LeaseReleasedError` once the lease has ended:
   * another caller may hold the session by then.
   *
   * @example
   * ```ts
   * lease.retire("the account was handed over");
   * ```
   */
  retire(reason: string): void;
  /**
   * Ends the lease and makes the session available to the next caller. Synchronous; further calls have no effect.
   *
   * @example
   * ```ts
   * const lease = await pool.acquire();
   * try {
   *   await lease.client.getMe();
   * } finally {
   *   lease.release();
   * }
   * ```
   */
  release(): void;
}

/** One active lease, as returned by `pool.leases()`. */
export interface LeaseInfo {
  /** Id of the session. */
  readonly id: string;
  /** Start of the lease, in epoch milliseconds. */
  readonly leasedAt: number;
  /** Time since then, in milliseconds. */
  readonly heldMs: number;
  /** Stack of the call that took the lease; present only with `traceLeases`. */
  readonly stack?: string;
}

/** Creates the signal of a lease, which aborts once the lease is revoked. */
export function createLeaseSignal(scope: LeaseScope): AbortSignal {
  const abort = new AbortController();
  isolateListeners(abort.signal);
  const abortIfRevoked = (): void => {
    if (scope.revoked !== undefined) abort.abort(scope.revoked);
  };
  abortIfRevoked();
  scope.onEnd(abortIfRevoked);
  return abort.signal;
}

/**
 * Turns an error thrown by a listener of the signal into a process warning. Node.js would end the process, and the
 * listeners belong to the work of one lease among many.
 */
function isolateListeners(signal: AbortSignal): void {
  const isolated = new WeakMap<object, (event: Event) => void>();
  const isolate = (listener: unknown): unknown => {
    if ((typeof listener !== "object" && typeof listener !== "function") || listener === null) return listener;
    const existing = isolated.get(listener) ?? ((event: Event): void => callListener(listener, signal, event));
    isolated.set(listener, existing);
    return existing;
  };
  for (const name of ["addEventListener", "removeEventListener"] as const) {
    const original: (...values: unknown[]) => void = signal[name].bind(signal) as (...values: unknown[]) => void;
    const value = (type: unknown, listener: unknown, ...rest: unknown[]): void =>
      original(type, isolate(listener), ...rest);
    Object.defineProperty(signal, name, { value, configurable: true, writable: true });
  }
}

function callListener(listener: object, signal: AbortSignal, event: Event): void {
  callSafely(
    () => {
      if (typeof listener === "function") return listener.call(signal, event);
      return (listener as EventListenerObject).handleEvent(event);
    },
    (error) => warn(`A listener of a lease's signal failed: ${textOf(error)}`),
  );
}

interface EventListenerObject {
  handleEvent(event: Event): unknown;
}
