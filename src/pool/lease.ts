import type { LeaseScope } from "../connections/lease-scope.js";
import type { SessionInfo } from "../session-info.js";

/** What of a session rests, when not all of it: one method, or one peer. */
export interface CoolDownScope {
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
   * Rests the session, or one method or peer of it, for so many seconds: for a wait that only the caller can read.
   * Counts after the release, too. Throws `OptionsError`.
   */
  coolDown(seconds: number, scope?: CoolDownScope): void;
  /**
   * Marks the session dead, for good: only `enable` or `update` brings it back. Throws `LeaseReleasedError` when the
   * lease has ended: the session is somebody else's then.
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

/** What leases hand on to the pool, which knows each by its inside. */
export interface LeaseActions<Client, Inside> {
  guard(inside: Inside): Client;
  session(inside: Inside): SessionInfo;
  coolDown(inside: Inside, seconds: number, scope: CoolDownScope): void;
  retire(inside: Inside, reason: string): void;
  release(inside: Inside): void;
}

/** One lease as its caller holds it. */
export class PoolLease<Client, Inside extends { readonly scope: LeaseScope } = { readonly scope: LeaseScope }>
  implements Lease<Client>
{
  readonly id: string;
  readonly #inside: Inside;
  readonly #actions: LeaseActions<Client, Inside>;
  #client: Client | undefined;
  #abort: AbortController | undefined;

  constructor(inside: Inside, actions: LeaseActions<Client, Inside>) {
    this.id = inside.scope.sessionId;
    this.#inside = inside;
    this.#actions = actions;
  }

  get client(): Client {
    this.#client ??= this.#actions.guard(this.#inside);
    return this.#client;
  }

  get session(): SessionInfo {
    return this.#actions.session(this.#inside);
  }

  get signal(): AbortSignal {
    this.#abort ??= this.#controller();
    return this.#abort.signal;
  }

  coolDown(seconds: number, scope: CoolDownScope = {}): void {
    this.#actions.coolDown(this.#inside, seconds, scope);
  }

  retire(reason: string): void {
    this.#actions.retire(this.#inside, reason);
  }

  release(): void {
    this.#actions.release(this.#inside);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }

  #controller(): AbortController {
    const abort = new AbortController();
    const { scope } = this.#inside;
    if (scope.revoked !== undefined) abort.abort(scope.revoked);
    else scope.onEnd(() => scope.revoked !== undefined && abort.abort(scope.revoked));
    return abort;
  }
}
