import { deferred } from "../common/deferred.js";
import type { ListNode } from "../common/linked-list.js";
import { captureContext, inOwnContext, type RunInContext } from "../common/own-context.js";
import { withTimeout } from "../common/timers.js";
import { ConnectError } from "../errors.js";
import { CONNECT_CHANNEL, trace } from "../observability/tracing.js";
import type { ClaimHandle } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { ClientHandle } from "./client-adapter.js";

/** Rejects a connect because the session has changed since it was selected: the caller selects again. */
export class SessionChangedError extends Error {
  override readonly name = "SessionChangedError";
}

/** Decides for one connection whether it may connect, and hears what becomes of it. */
export interface ConnectionHooks {
  /** Whether the session still has the auth key that the client was made with. */
  hasCurrentKey(): boolean;
  /** Describes the proxy in messages; empty for a direct connection. */
  readonly route: string;
  /** Returns why the session must not connect now, if so. */
  refusal(): Error | undefined;
  /** Claims the session for this process before it connects; rejects with the reason when it cannot be claimed. */
  claim(): Promise<ClaimHandle>;
  /** Called when the client is closed: other processes may claim the session. */
  closed(): void;
  /** The client has connected; `durationMs` is how long it took. */
  connected(durationMs: number): void;
  /**
   * Called after `connected`, before the client is leased: learns whose session it is, if that is not known. Never rejects,
   * and resolves within `limitMs`.
   */
  identify(limitMs: number): Promise<void>;
  disconnected(reason: string): void;
  /** Records a failed connect; returns the error for the callers. */
  connectFailed(error: unknown): Error;
  /** Called when closing the client failed or timed out; it is treated as closed. */
  closeFailed(error: unknown): void;
}

/** Time after which a client that is still closing is treated as closed. */
const CLOSE_WITHIN_MS = 5_000;

/** The client of one session: connects it, reconnects it after a loss, and closes it permanently. */
export class Connection<Client> implements ListNode<Connection<Client>> {
  readonly id: string;
  readonly #context: PoolContext;
  readonly #hooks: ConnectionHooks;
  readonly #gone = deferred();
  #connecting: Promise<void> | undefined;
  #abort: AbortController | undefined;
  /** Why it is being closed. More specific than the client's own reason. */
  #closeReason: string | undefined;
  // The fields below are read by every lease, and are adjacent for that reason.
  readonly handle: ClientHandle<Client>;
  /** Set while it is being closed. Resolves when the client is gone; never rejects. */
  closing: Promise<void> | undefined;
  /** Whether its client can be used: from when it has connected until it is lost or closed. */
  isConnected = false;
  #staleReason: string | undefined;
  /** Whether a connect was reported whose loss was not. */
  #wasConnected = false;
  /** Whether a caller has used it: a stale connection then still serves its lease to the end. */
  #wasServed = false;
  /** The claim that was made for its latest connect. */
  claim: ClaimHandle | undefined;
  /** Number of users: leases, callers that connect it, and the pool itself. */
  users = 0;
  /** Number of users that yield to a lease of another session: the pool itself, and callers that stopped waiting. */
  asides = 0;
  /** Whether it stays open without a lease. */
  readonly isPersistent: boolean;
  /** When its last lease ended, on the pool's time line. */
  idleSince = 0;
  /** Whether it is in the list of connections without a lease. */
  isLinked = false;
  previous: Connection<Client> | null = null;
  next: Connection<Client> | null = null;

  constructor(
    context: PoolContext,
    id: string,
    handle: ClientHandle<Client>,
    isPersistent: boolean,
    hooks: ConnectionHooks,
  ) {
    this.#context = context;
    this.id = id;
    this.isPersistent = isPersistent;
    this.handle = handle;
    this.#hooks = hooks;
  }

  /** Resolves when the client is gone for good. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Whether the session still has the auth key that this client uses. */
  get hasCurrentKey(): boolean {
    return this.#hooks.hasCurrentKey();
  }

  /** Why the next lease must not get it; `undefined` if it may. */
  staleReasonAt(now: number): string | undefined {
    if (this.#staleReason !== undefined) return this.#staleReason;
    return this.#wasConnected && this.claim !== undefined && now >= this.claim.usableUntil
      ? "its ownership ran out"
      : undefined;
  }

  /** Excludes it from further leases: the next one gets a new client. */
  markStale(reason: string): void {
    this.#staleReason ??= reason;
  }

  /** Connects unless it is connected. Concurrent callers share one connect: in GramJS, two would open three sockets. */
  ensure(): Promise<void> {
    if (this.isConnected) return Promise.resolve();
    if (this.closing !== undefined) {
      return Promise.reject(
        new ConnectError(`The connection of session "${this.id}" is closed.`, { sessionId: this.id }),
      );
    }
    this.#connecting ??= this.#tracedConnect()
      .then(() => {
        this.#wasServed = true;
      })
      .finally(() => {
        this.#connecting = undefined;
      });
    return this.#connecting;
  }

  /** To be called when the library reports that the connection is lost: a connect under way fails. */
  lost(reason: string): void {
    this.#abort?.abort(
      new ConnectError(
        `Session "${this.id}" could not connect${this.#hooks.route}: its connection was lost: ${reason}.`,
        {
          sessionId: this.id,
        },
      ),
    );
    this.isConnected = false;
    if (!this.#wasConnected) return;
    this.#wasConnected = false;
    this.#hooks.disconnected(this.#closeReason ?? reason);
  }

  /** Closes the connection permanently. Resolves when the client is gone; never rejects. */
  close(reason: string): Promise<void> {
    this.isConnected = false;
    this.closing ??= this.#close(reason);
    return this.closing;
  }

  /** Traced in the context of the caller, which the connection itself must not keep. */
  #tracedConnect(): Promise<void> {
    const connect = (): Promise<void> => {
      const inTrace = captureContext();
      return inOwnContext(() => this.#connect(inTrace));
    };
    return CONNECT_CHANNEL.hasSubscribers ? trace(CONNECT_CHANNEL, { sessionId: this.id }, connect) : connect();
  }

  async #connect(inTrace: RunInContext): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#assertAllowed();
    this.claim = await unlessAborted(abort.signal, this.#hooks.claim());
    // The claim has read the record: another process may have written a cooldown.
    this.#assertAllowed();
    this.#assertUnchanged();
    const startedAt = this.#context.clock.monotonic();
    await this.#connectClient(abort);
    const durationMs = this.#context.clock.monotonic() - startedAt;
    this.#hooks.connected(durationMs);
    this.#assertUnchanged();
    const limitMs = Math.max(this.#context.options.connectTimeoutMs - durationMs, 0);
    await this.#identify(abort, () => inTrace(() => this.#hooks.identify(limitMs)));
    // The answer may have been a verdict, or the account may cool down.
    this.#assertAllowed();
    this.#assertUnchanged();
  }

  /** A loss ends it at once: the request would wait for this very connect to be sent again. */
  async #identify(abort: AbortController, identify: () => Promise<void>): Promise<void> {
    if (!this.isConnected) return;
    this.#abort = abort;
    try {
      await unlessAborted(abort.signal, identify());
      abort.signal.throwIfAborted();
    } catch (error) {
      throw this.closing === undefined ? this.#hooks.connectFailed(error) : error;
    } finally {
      this.#abort = undefined;
    }
  }

  /** Throws if the connection became stale before its first use. */
  #assertUnchanged(): void {
    if (this.#wasServed || this.#staleReason === undefined) return;
    throw new SessionChangedError(`"${this.id}": ${this.#staleReason}.`);
  }

  #assertAllowed(): void {
    const refusal = this.#hooks.refusal();
    if (refusal !== undefined) throw refusal;
  }

  async #connectClient(abort: AbortController): Promise<void> {
    const { clock, options } = this.#context;
    const timer = clock.setTimer(options.connectTimeoutMs, () => {
      abort.abort(
        new ConnectError(
          `Session "${this.id}" could not connect${this.#hooks.route} within ${options.connectTimeoutMs} ms (connectTimeoutMs).`,
          { sessionId: this.id },
        ),
      );
    });
    try {
      await unlessAborted(abort.signal, this.handle.connect(abort.signal));
      abort.signal.throwIfAborted();
      this.isConnected = true;
      if (this.handle.prepare !== undefined) await unlessAborted(abort.signal, this.handle.prepare());
      abort.signal.throwIfAborted();
      this.#wasConnected = true;
    } catch (error) {
      this.isConnected = false;
      throw this.closing === undefined ? this.#hooks.connectFailed(error) : abort.signal.reason;
    } finally {
      timer.cancel();
      this.#abort = undefined;
    }
  }

  async #close(reason: string): Promise<void> {
    this.#closeReason = reason;
    this.#abort?.abort(new ConnectError(`The connection of session "${this.id}" is closed.`, { sessionId: this.id }));
    try {
      await this.#inTime(this.handle.close());
    } catch (error) {
      this.#hooks.closeFailed(error);
    }
    this.lost(reason);
    this.#hooks.closed();
    this.#gone.resolve();
  }

  /** A client that does not close must not keep the pool from closing. */
  #inTime(closed: Promise<void>): Promise<void> {
    const late = (): Error => new Error(`it did not close within ${CLOSE_WITHIN_MS} ms`);
    return withTimeout(this.#context.clock, CLOSE_WITHIN_MS, closed, late);
  }
}

/** Settles like `work`, or rejects with the signal's reason if it aborts first. */
function unlessAborted<T>(signal: AbortSignal, result: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    result.then(resolve, reject);
  });
}
