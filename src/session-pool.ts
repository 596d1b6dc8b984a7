import { AcquireRequest } from "./acquire/acquire-request.js";
import { inOwnContext } from "./common/own-context.js";
import { ProcessRef } from "./common/process-ref.js";
import {
  type CreatedPool,
  createPool,
  type OpenedStorage,
  openStorage,
  resolveOptions,
  startPool,
} from "./create-pool.js";
import { unknownSessionError } from "./error-factories.js";
import { type AddManyReport, OptionsError } from "./errors.js";
import { EVENT_NAMES, SafeEmitter, type SessionPoolEvents } from "./events.js";
import { BulkAddition } from "./jobs/bulk/bulk-addition.js";
import { BulkRun } from "./jobs/bulk/bulk-run.js";
import { createInvokeJob, type ResponseOf } from "./jobs/invoke.js";
import { type IterateWork, iterate } from "./jobs/iterate.js";
import { createJob } from "./jobs/job-runner.js";
import type { Lease, LeaseInfo } from "./lease/lease.js";
import { duplicateSession } from "./login/duplicate-session.js";
import type { PoolMetrics } from "./observability/pool-metrics.js";
import type {
  AcquireOptions,
  AddManyOptions,
  AddOptions,
  CheckOptions,
  DuplicateOptions,
  MapOptions,
  MapRun,
  NewSession,
  ResolvedOptions,
  RotateKeysOptions,
  SessionChange,
  SessionPoolOptions,
  UseOptions,
} from "./options/options.js";
import {
  checkAcquireOptions,
  checkAddManyArguments,
  checkCheckOptions,
  checkCloseOptions,
  checkMapArguments,
  checkReason,
  checkRotateKeysOptions,
  checkTextId,
  checkUseArguments,
} from "./options/validate.js";
import { measurePool, observePool, type PoolObservation } from "./pool-observation.js";
import type { PoolStatus, SessionHealth, SessionInfo } from "./session-info.js";

const DEFAULT_ACQUIRE_OPTIONS: AcquireOptions = {};

/**
 * A pool of Telegram accounts in this process: it leases them as connected clients, cools down
 * accounts that hit a flood wait, continues on another account, and persists all of this across restarts.
 *
 * @example
 * ```ts
 * await using pool = await SessionPool.open({ client: gramjs({ apiId, apiHash }), storage: sqlite("sessions.db") });
 * await pool.add("alice", aliceSession);
 * const me = await pool.use((client) => client.getMe());
 * ```
 */
export class SessionPool<Client> extends SafeEmitter<SessionPoolEvents> implements AsyncDisposable {
  readonly #parts: CreatedPool<Client>;

  private constructor(options: ResolvedOptions<Client>, opened: OpenedStorage) {
    const subscribed = new Set<keyof SessionPoolEvents>();
    super(EVENT_NAMES, subscribed);
    // Programs in JavaScript can call it.
    if (!(opened?.processRef instanceof ProcessRef)) {
      throw new OptionsError('A pool cannot be constructed; use "await SessionPool.open(options)".');
    }
    const publish = (name: string, event: unknown): void => {
      if (!subscribed.has(name as keyof SessionPoolEvents)) return;
      // All listeners get the same object.
      Object.freeze(event);
      inOwnContext(() => (this.emit as (name: string, event: unknown) => boolean).call(this, name, event));
    };
    this.#parts = createPool(options, opened, publish, subscribed);
  }

  /**
   * Opens the storage and loads what it holds. Connects nothing. Throws `OptionsError` for what is wrong with the
   * options, `StorageError` when the storage cannot be opened or listed, `StorageCorruptError` when it holds sessions and
   * none can be opened with the given `encryption`.
   */
  static async open<Client>(options: SessionPoolOptions<Client>): Promise<SessionPool<Client>> {
    const resolved = resolveOptions(options);
    const opened = await openStorage(resolved);
    const pool = new SessionPool(resolved, opened);
    try {
      await opened.processRef.whileRunning(() => pool.#parts.storageSync.load(opened.records));
    } catch (error) {
      await pool.destroy();
      throw error;
    }
    inOwnContext(() => setImmediate(() => startPool(pool.#parts)));
    return pool;
  }

  /**
   * Adds a session; safe at every start. A known id with the same auth key resolves with what is there: its state and
   * cooldown are kept, tags and profile, when given, replace.
   *
   * Throws `InvalidSessionError`, `DuplicateSessionError` (the id has another key, or the key another id),
   * `StorageCorruptError` (the id's record cannot be read), `StorageError`, `OptionsError`, `PoolClosedError`.
   */
  async add(id: string, session: string, options: AddOptions = {}): Promise<SessionInfo> {
    return this.#changeSession(id, async ({ admin }) => (await admin.add(id, session, options)).info);
  }

  /**
   * Adds many sessions, each as `add` does it; one that is refused stops no other. What is pulled from the input at once is
   * bounded, and a storage that can writes many records together. Safe to repeat: what is there is `known`.
   *
   * Throws `AddManyInputError` when the input throws, `AddManyStorageError` when the storage fails for a whole round of
   * entries (32 at least), `PoolClosedError` when the pool is closed before the last entry, the signal's reason,
   * `OptionsError`. What was added before stays added.
   *
   * @example
   * ```ts
   * const { added, known, refused } = await pool.addMany([{ id: "alice", session: aliceSession, tags: ["imported"] }]);
   * for (const { id, reason } of refused) console.warn(`${id}: ${reason}`);
   * ```
   */
  async addMany(
    sessions: Iterable<NewSession> | AsyncIterable<NewSession>,
    options: AddManyOptions = {},
  ): Promise<AddManyReport> {
    checkAddManyArguments(sessions, options);
    return new BulkAddition(
      this.#parts.bulkRuns,
      sessions,
      options,
      ({ id, session, peers, accountId, isBot, ...rest }) =>
        this.#changeSession(id, ({ admin }) => admin.add(id, session, rest, { peers, accountId, isBot })),
    ).run();
  }

  /** Changes a session. A new session string makes a dead session free. Throws as `add`, and `SessionNotFoundError`. */
  async update(id: string, change: SessionChange): Promise<SessionInfo> {
    checkTextId("update", id);
    return this.#changeSession(id, ({ admin }) => admin.update(id, change));
  }

  /** Removes a session and its record, after its current lease has ended. Resolves with whether the session existed. */
  async remove(id: string): Promise<boolean> {
    checkTextId("remove", id);
    return this.#changeSession(id, ({ removal }) => removal.remove(id));
  }

  /** Disables a session until `enable`, across restarts; its current lease may finish. Throws `SessionNotFoundError`. */
  async disable(id: string, reason = "disabled"): Promise<void> {
    checkTextId("disable", id);
    checkReason("disable", reason);
    return this.#changeSession(id, ({ admin }) => admin.disable(id, reason));
  }

  /** Makes a dead, restricted or disabled session available again. A cooldown stays. Throws `SessionNotFoundError`. */
  async enable(id: string): Promise<void> {
    checkTextId("enable", id);
    return this.#changeSession(id, ({ admin }) => admin.enable(id));
  }

  /** Returns a snapshot of one session. */
  get(id: string): SessionInfo | undefined {
    this.#parts.scheduler.advanceToNow(id);
    const known = this.#parts.registry.getVisible(id);
    return known && this.#parts.registry.info(known);
  }

  /** Returns a snapshot of all sessions. */
  sessions(): readonly SessionInfo[] {
    this.#parts.scheduler.advanceToNow();
    return this.#parts.registry.infos();
  }

  /** Returns the records that could not be read, with the reason. They are never overwritten; `remove` deletes them. */
  rejected(): readonly { readonly id: string; readonly reason: string }[] {
    return this.#parts.registry.rejected();
  }

  /**
   * Returns the session string, which the pool shows nowhere else. It gives full access to the account. Throws
   * `SessionNotFoundError`.
   */
  async exportSession(id: string): Promise<string> {
    checkTextId("exportSession", id);
    const known = this.#parts.registry.getVisible(id);
    if (known === undefined) throw unknownSessionError(id);
    return known.credentials.reveal();
  }

  /**
   * Asks Telegram whether the session is alive, and what it says of the account without a message to anybody: user id,
   * Premium, restrictions, a freeze, and when the session ends if it stays unused. What failed or came incomplete is `null`.
   * Never asks while the session cools, is held by another process, dead, disabled, or restricted by anything but a freeze.
   * What it learns becomes part of the session's state, and what an error says of it counts as for any call. A session that
   * was not asked is not alive, and `reason` says why. A leased one is waited for, up to `connectTimeoutMs` and
   * `callTimeoutMs` together.
   *
   * Throws `SessionNotFoundError`, `PoolClosedError`, `OptionsError`, or the signal's reason.
   *
   * @example
   * ```ts
   * const { isAlive, reason } = await pool.check("alice");
   * if (!isAlive) console.log(`alice: ${reason}`);
   * ```
   */
  async check(id: string, options: CheckOptions = {}): Promise<SessionHealth> {
    checkTextId("check", id);
    checkCheckOptions(options);
    const session = this.get(id);
    if (session === undefined) throw unknownSessionError(id);
    return this.#parts.sessionCheck.run(session, options);
  }

  /**
   * Signs a second session of an account in, approved by the first, and adds it under `newId`: with an auth key of its
   * own, so that both can be used at once. The first session is leased for it; its tags and profile are the new one's
   * unless others are given. When anything fails, the new key is signed out again, unless the storage failed and may hold
   * its record.
   *
   * Throws as `acquire` for the first session and as `add` for the new one (`DuplicateSessionError` when `newId` is
   * taken, before anything is sent), `LoginError`, `ConnectError`, Telegram's refusal, or the signal's reason.
   *
   * @example
   * ```ts
   * await pool.duplicate("alice", "alice-laptop", { password: () => process.env.ALICE_PASSWORD ?? "" });
   * const session = await pool.exportSession("alice-laptop");
   * ```
   */
  async duplicate(id: string, newId: string, options: DuplicateOptions = {}): Promise<SessionInfo> {
    return this.#changeSession(newId, (parts) => duplicateSession(parts, id, newId, options));
  }

  /**
   * Encrypts everything again that is not encrypted with the first key of `encryption`, peers included. Resolves with the
   * number of rewritten records; records that could not be read are left as they are. After that an old key can be dropped.
   * `onProgress` is called at most ten times a second, and once at the end.
   *
   * Throws `OptionsError` without `encryption`, `StorageError` when a record could not be written, and `PoolClosedError`
   * when the pool is closed before the last one: call it again.
   */
  async rotateKeys(options: RotateKeysOptions = {}): Promise<number> {
    checkRotateKeysOptions(options);
    return this.#change(({ reencryption }) => reencryption.rotate(options));
  }

  /**
   * Leases a session: of those that match, the one that `selection` says. End it with `release()` or `using`.
   *
   * Throws `NoSessionAvailableError` when waiting cannot help or is not wanted, `AcquireTimeoutError`,
   * `SessionNotFoundError`, `QueueFullError`, `ConnectError` (with `id`, or when every candidate failed),
   * `PoolClosedError`, `OptionsError`, or the signal's reason.
   */
  acquire(options: AcquireOptions = DEFAULT_ACQUIRE_OPTIONS): Promise<Lease<Client>> {
    let request: AcquireRequest;
    // Not an async function: another promise between the caller and the acquirer would slow down every lease.
    try {
      if (options !== DEFAULT_ACQUIRE_OPTIONS) checkAcquireOptions(options);
      request = new AcquireRequest(options);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#parts.acquirer.acquireDurably(request);
  }

  /**
   * Leases a session, runs the work and releases the session. If Telegram refuses the session, runs the work again on
   * another one, as far as `retry` allows. The work's own errors come through unchanged.
   *
   * Throws as `acquire`, and `RotationUnsafeError`, `OutcomeUnknownError`, `AttemptTimeoutError`, `CallTimeoutError`.
   */
  async use<T>(work: (client: Client, lease: Lease<Client>) => T | Promise<T>, options: UseOptions = {}): Promise<T> {
    checkUseArguments("use", work, options);
    return this.#parts.jobRunner.run(createJob(work, options));
  }

  /**
   * Sends one raw request by `use`. The request is rebuilt for every session from the arguments it was made with; pass
   * a function that makes it when they hold objects of their own.
   */
  async invoke<R>(request: R | (() => R), options: UseOptions = {}): Promise<ResponseOf<R>> {
    checkUseArguments("invoke", request, options);
    const job = createInvokeJob(this.#parts.context.options.client, request, options);
    return (await this.#parts.jobRunner.run(job)) as ResponseOf<R>;
  }

  /**
   * Iterates on one session, whose lease lasts until the iteration ends: for methods that return an iterable, such as
   * `client.iterMessages(…)`, whose results outlive the lease of `use`. Rotates as `use` does before the first item; a failure
   * after it ends the iteration. Leave the loop, or read to the end: an iteration that is merely forgotten keeps its lease.
   *
   * Throws as `use`, from the iteration.
   */
  iterate<T>(work: IterateWork<Client, T>, options: UseOptions = {}): AsyncGenerator<T, void, undefined> {
    checkUseArguments("iterate", work, options);
    return iterate(this.#parts.jobRunner, work, options);
  }

  /**
   * Runs the work for each item by the rules of `use`, many at once, and hands the results over: an item that fails is a
   * result with its error. At most `concurrency` items are pulled ahead of the reader of the results. Nothing
   * happens before the first result is asked for; `break` lets the works that run finish, and nothing else begins.
   *
   * Throws `OptionsError`. The iteration ends with what `items` throws, the signal's reason, `PoolClosedError`, or the
   * `StorageError` of its checkpoint, after the results that there are.
   */
  map<I, O>(
    items: Iterable<I> | AsyncIterable<I>,
    work: (client: Client, item: I, lease: Lease<Client>) => O | Promise<O>,
    options: MapOptions<I> = {},
  ): MapRun<I, O> {
    checkMapArguments(items, work, options);
    return new BulkRun(this.#parts.bulkRuns, items, work, options);
  }

  /** Returns the active leases: their sessions, and since when they are held. */
  leases(): readonly LeaseInfo[] {
    return this.#parts.leases.list();
  }

  /** Returns the counts of sessions by state, and of waiters. */
  status(): PoolStatus {
    return this.#parts.scheduler.status();
  }

  /**
   * Measures the pool from the first call on, until everything that it returned is disposed of: waits, leases, connects,
   * calls, floods. A pool that is not measured records nothing. For monitoring systems other than Prometheus, which has
   * `telegram-session-pool/prometheus`.
   *
   * @example
   * ```ts
   * using metrics = pool.metrics();
   * await pool.use((client) => client.getMe());
   * const { calls, floods, rotations } = metrics.read();
   * ```
   */
  metrics(): PoolMetrics {
    return measurePool(this.#parts);
  }

  /**
   * Observes the pool until it is disposed of: every session with its cooldowns, owner and proxy, the leases, the runs of
   * `map`, and what happened within the last hour, counted from the first call. A lease costs the same; nothing is computed
   * before it is read. For `telegram-session-pool/dashboard`.
   *
   * @example
   * ```ts
   * using observation = pool.observe();
   * const { sessions } = observation.read();
   * ```
   */
  observe(): PoolObservation {
    return observePool(this.#parts);
  }

  /** Returns the {@link status}, for logs and monitoring. */
  toJSON(): PoolStatus {
    return this.status();
  }

  /**
   * Ends the pool: queued callers reject with `PoolClosedError`. Leases are waited for, and so are callers whose session
   * connects or who move to another free session; after `closeTimeoutMs` leases are revoked and reported as `leaked`. Resolves when
   * clients are gone, writes flushed, and the storage is closed. A second call returns the same promise. `timeoutMs` replaces `closeTimeoutMs`. Rejects with `OptionsError`.
   */
  close(options: { readonly timeoutMs?: number | undefined } = {}): Promise<void> {
    try {
      checkCloseOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#parts.shutdown.close(options.timeoutMs);
  }

  /** Ends the pool now: every lease and every queued caller rejects, with `reason` as the `cause`. */
  destroy(reason?: Error): Promise<void> {
    return this.#parts.shutdown.destroy(reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #changeSession<T>(id: string, change: (parts: CreatedPool<Client>) => Promise<T>): Promise<T> {
    return this.#change((parts) => change(parts).finally(() => parts.context.events.emit("changed", id)));
  }

  /** Runs a change of the sessions, which `close` waits for. */
  async #change<T>(change: (parts: CreatedPool<Client>) => Promise<T>): Promise<T> {
    const { lifecycle } = this.#parts;
    const closed = lifecycle.closedError();
    if (closed !== undefined) throw closed;
    return lifecycle.track(this.#parts.processRef.whileRunning(() => change(this.#parts)));
  }
}
