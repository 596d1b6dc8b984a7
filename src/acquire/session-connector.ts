import type { AbortListeners } from "../common/abort-listeners.js";
import type { ConnectBackoff } from "../connections/connect-backoff.js";
import { type Connection, SessionChangedError } from "../connections/connection.js";
import { type ConnectionPool, Opening } from "../connections/connection-pool.js";
import { attemptTimeoutError, connectTookTooLong, notConnectedInTime } from "../error-factories.js";
import { ConnectError } from "../errors.js";
import type { LeaseManager } from "../lease/lease-manager.js";
import type { PoolContext } from "../pool-context.js";
import type { PoolLifecycle } from "../pool-lifecycle.js";
import { canEverServe } from "../state/criteria.js";
import type { PooledSession } from "../state/pooled-session.js";
import { affectsSession, classifyTelegramError } from "../telegram/verdicts.js";
import type { AcquireRequest } from "./acquire-request.js";

/** What connecting a session for a caller is built on. */
export interface SessionConnectorParts<Client> {
  readonly lifecycle: PoolLifecycle;
  readonly connections: ConnectionPool<Client>;
  readonly backOffs: ConnectBackoff;
  readonly leases: LeaseManager<Client>;
  readonly abortListeners: AbortListeners;
}

/** The limits of a caller's wait for a connect, besides the timeout of the connect itself. */
interface ConnectLimit {
  readonly ms: number;
  /** Whether it is the timeout of the attempt: then the session backs off as after a failed connect. */
  readonly isAttempt: boolean;
  error(): Error;
}

/**
 * Connects reserved sessions for callers, within the limits of each caller. A session that does not connect is made
 * available again, after a back-off where nothing else delays the next attempt.
 */
export class SessionConnector<Client> {
  readonly #context: PoolContext;
  readonly #lifecycle: PoolLifecycle;
  readonly #connections: ConnectionPool<Client>;
  readonly #backOffs: ConnectBackoff;
  readonly #leases: LeaseManager<Client>;
  readonly #abortListeners: AbortListeners;
  /** Sessions whose latest connection was closed while it was being opened, without a reason in their state. */
  readonly #closedWhileOpening = new WeakSet<PooledSession>();

  constructor(context: PoolContext, parts: SessionConnectorParts<Client>) {
    this.#context = context;
    this.#lifecycle = parts.lifecycle;
    this.#connections = parts.connections;
    this.#backOffs = parts.backOffs;
    this.#leases = parts.leases;
    this.#abortListeners = parts.abortListeners;
  }

  /** Connects a reserved session. Resolves with `undefined` if another session is to be tried. */
  async connect(entry: PooledSession, request: AcquireRequest): Promise<Connection<Client> | undefined> {
    const { time } = this.#context;
    const startedAt = time.now();
    let connection: Connection<Client> | undefined;
    try {
      connection = await this.#open(entry, request);
      request.signal?.throwIfAborted();
      this.#throwIfClosed();
      // The record, read when the session was claimed, may tell of a freeze.
      if (entry.isFrozen && !request.isReadOnly) throw new SessionChangedError(`Session "${entry.id}" is frozen.`);
      this.#closedWhileOpening.delete(entry);
      return connection;
    } catch (error) {
      if (connection !== undefined) void this.#connections.checkIn(connection);
      this.#cancelReservation(entry, request, error);
      this.#throwIfClosed();
      this.#throwIfFinal(entry, request, error);
      return undefined;
    } finally {
      request.recordConnectTime(time.now() - startedAt);
    }
  }

  #throwIfClosed(): void {
    const error = this.#lifecycle.closedError(true);
    if (error !== undefined) throw error;
  }

  /**
   * Makes a session available again that did not connect. It backs off if nothing else keeps it from being reserved again
   * at once: after a failed connect, and when its connection was closed while it was being opened for the second time in a
   * row.
   */
  #cancelReservation(entry: PooledSession, { criteria, abandonedWith }: AcquireRequest, error: unknown): void {
    const isUnavailable =
      entry.isForeign || !canEverServe(entry, criteria) || entry.unavailableUntil > this.#context.time.now();
    const wasClosed = !isUnavailable && error instanceof SessionChangedError;
    const hasFailed = !isUnavailable && error instanceof ConnectError && error !== abandonedWith;
    if (hasFailed || (wasClosed && this.#closedWhileOpening.has(entry))) this.#backOff(entry);
    if (wasClosed) this.#closedWhileOpening.add(entry);
    else this.#closedWhileOpening.delete(entry);
    this.#leases.cancelReservation(entry);
  }

  /** Throws the error of a connect if it ends the request; otherwise records it for the next attempt. */
  #throwIfFinal(entry: PooledSession, request: AcquireRequest, error: unknown): void {
    if (error === request.abandonedWith || error === request.signal?.reason) throw error;
    if (error instanceof SessionChangedError) return;
    const isConnectError = error instanceof ConnectError;
    // A verdict of Telegram has changed the state of the session already.
    if (!isConnectError && !affectsSession(classifyTelegramError(error))) throw error;
    request.attempts++;
    const isOnlyCandidate = isConnectError && request.criteria.id !== undefined;
    if (request.attempts >= request.maxAttempts || isOnlyCandidate) throw error;
    if (isConnectError) request.recordFailure(entry.id, error, true);
    else request.cause ??= error;
  }

  /** Opens the connection of a session, within the limits of the caller. */
  #open(entry: PooledSession, request: AcquireRequest): Promise<Connection<Client>> {
    const opening = new Opening();
    const opened = this.#connections.checkOut(entry.id, opening);
    const limit = this.#connectLimit(entry, request);
    if (limit === undefined && request.signal === undefined) return opened;
    return new Promise((resolve, reject) => {
      const stopLimits = this.#limit(entry, request, opening, limit, (error) => {
        request.abandonedWith = error;
        reject(error);
      });
      opened
        .then((connection) => {
          if (opening.isGivenUp) void this.#connections.end(opening);
          else resolve(connection);
        }, reject)
        .finally(stopLimits);
    });
  }

  /** Calls `abandon` when a limit is reached or the signal aborts. Returns the function that prevents it. */
  #limit(
    entry: PooledSession,
    { signal }: AcquireRequest,
    opening: Opening,
    limit: ConnectLimit | undefined,
    abandon: (error: unknown) => void,
  ): () => void {
    const expire = ({ isAttempt, error }: ConnectLimit): void => {
      if (isAttempt) {
        this.#backOff(entry);
        this.#connections.giveUp(opening);
      } else this.#connections.leave(opening);
      abandon(error());
    };
    const timer = limit && this.#context.options.clock.setTimer(Math.max(limit.ms, 0), () => expire(limit));
    const stopListening =
      signal &&
      this.#abortListeners.onAbort(signal, () => {
        this.#connections.giveUp(opening);
        abandon(signal.reason);
      });
    return () => {
      timer?.cancel();
      stopListening?.();
    };
  }

  /** The limit that is reached first; `undefined` if there is none. */
  #connectLimit(entry: PooledSession, request: AcquireRequest): ConnectLimit | undefined {
    const { attemptTimeoutMs, attemptConnectMs } = request;
    const wait = this.#waitLimit(entry, request);
    const attemptMs = attemptTimeoutMs - attemptConnectMs;
    const error = (): Error => attemptTimeoutError(entry.id, attemptTimeoutMs);
    const first = attemptMs <= wait.ms ? { ms: attemptMs, isAttempt: true, error } : wait;
    return Number.isFinite(first.ms) ? first : undefined;
  }

  /** Without `wait`, connecting is limited by `connectTimeoutMs` over all attempts. */
  #waitLimit({ id }: PooledSession, request: AcquireRequest): ConnectLimit {
    const { totalConnectMs, givenWaitMs, waitMs, cause } = request;
    if (givenWaitMs > 0)
      return { ms: waitMs, isAttempt: false, error: () => connectTookTooLong(id, givenWaitMs, cause) };
    const { connectTimeoutMs } = this.#context.options;
    const ms = connectTimeoutMs - totalConnectMs;
    return { ms, isAttempt: false, error: () => notConnectedInTime(id, connectTimeoutMs, cause) };
  }

  #backOff(entry: PooledSession): void {
    if (entry.isEntered) this.#backOffs.backOff(entry);
  }
}
