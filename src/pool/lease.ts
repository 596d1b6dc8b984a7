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

/** What a lease hands on to the pool. */
export interface LeaseActions<Client> {
  guard(): Client;
  session(): SessionInfo;
  coolDown(seconds: number, scope: CoolDownScope): void;
  retire(reason: string): void;
  release(): void;
}

/** One lease as its caller holds it. */
export class PoolLease<Client> implements Lease<Client> {
  readonly id: string;
  readonly #scope: LeaseScope;
  readonly #actions: LeaseActions<Client>;
  #client: Client | undefined;
  #abort: AbortController | undefined;

  constructor(scope: LeaseScope, actions: LeaseActions<Client>) {
    this.id = scope.sessionId;
    this.#scope = scope;
    this.#actions = actions;
  }

  get client(): Client {
    this.#client ??= this.#actions.guard();
    return this.#client;
  }

  get session(): SessionInfo {
    return this.#actions.session();
  }

  get signal(): AbortSignal {
    this.#abort ??= this.#controller();
    return this.#abort.signal;
  }

  coolDown(seconds: number, scope: CoolDownScope = {}): void {
    this.#actions.coolDown(seconds, scope);
  }

  retire(reason: string): void {
    this.#actions.retire(reason);
  }

  release(): void {
    this.#actions.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }

  #controller(): AbortController {
    const abort = new AbortController();
    const { revoked } = this.#scope;
    if (revoked !== undefined) abort.abort(revoked);
    else this.#scope.onEnd(() => this.#scope.revoked !== undefined && abort.abort(this.#scope.revoked));
    return abort;
  }
}
