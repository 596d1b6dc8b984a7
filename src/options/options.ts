import type { Clock } from "../common/clock.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import type { Sealer } from "../encryption/sealer.js";
import type { AddManyReport } from "../errors.js";
import type { SessionStorage, StoredPeer } from "../storage/storage.js";
import type { Budgets, ParsedBudgets } from "./budgets.js";
import type { ClientProfile } from "./client-profile.js";
import type { SessionSelection } from "./selection-strategy.js";

/** Severity of a log message. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Structured fields of a log message. Never contain a secret. */
export interface LogFields {
  /** What happened: in most cases the name of a pool event. Stable across versions. */
  readonly event: string;
  readonly sessionId?: string;
  readonly [field: string]: unknown;
}

/**
 * Receives log messages. Each call gets a sentence and the same information as fields; docs/logging.md lists the messages
 * by level. Loggers of winston, pino and bunyan and `console` can be given as they are: pino and bunyan get the fields
 * first, `console` the sentence alone. Errors thrown by a logger do not affect the pool.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** How this process claims sessions against other processes on the same storage. */
export interface OwnershipOptions {
  /**
   * Milliseconds after which a claim expires unless it is renewed. It is renewed every third of that time. If the
   * storage does not answer for three quarters, the session is given up; another host takes it over after five
   * quarters.
   * @default 60_000
   */
  readonly ttlMs?: number | undefined;
  /**
   * Unique name of this host. Only needed where boot ids are not unique, as on virtual machines resumed from one
   * snapshot. Has no effect on systems without `/proc`.
   * @default the boot id
   */
  readonly host?: string | undefined;
}

/** Options of `SessionPool.open`. Validated once; an unknown key or a wrong type throws `OptionsError`. */
export interface SessionPoolOptions<Client> {
  /** Adapter of the Telegram client library, for example `gramjs({ apiId, apiHash })`. */
  readonly client: ClientAdapter<Client>;
  /** Storage for the sessions. @default memory() */
  readonly storage?: SessionStorage | undefined;
  /** Encrypts session strings, profiles and peers before they are stored, for example `aesGcm(key)`. @default none */
  readonly encryption?: Sealer | undefined;
  /** Whether FLOOD_WAIT cools down the whole session or only the method that triggered it. @default "session" */
  readonly cooldownScope?: "session" | "method" | undefined;
  /**
   * Whether a flood or a restriction told to one session holds for every session of its account, in all processes that
   * share the storage, or for that session alone. What concerns the auth key is never shared. @default "account"
   */
  readonly floodsBelongTo?: "account" | "session" | undefined;
  /**
   * Which available session is picked next: `"spread"` (least recently used; sessions of one account count as one), `"warm"` (connected first), `"random"`,
   * or a strategy of your own. @default "spread"
   */
  readonly selection?: SessionSelection | undefined;
  /** Maximum number of concurrent leases per session. @default 1 */
  readonly leasesPerSession?: number | undefined;
  /**
   * Milliseconds. Flood waits up to this long are waited out inside the failing call if no other session is available
   * or retrying elsewhere would be unsafe. @default 0
   */
  readonly inlineWaitMs?: number | undefined;
  /** Maximum number of connected clients. @default Infinity */
  readonly maxConnected?: number | undefined;
  /** Maximum number of waiting callers; further ones are rejected with `QueueFullError`. @default Infinity */
  readonly maxWaiters?: number | undefined;
  /** Milliseconds without a lease after which a client is disconnected. @default 300_000 */
  readonly idleTimeoutMs?: number | undefined;
  /** Timeout for one connection attempt, in milliseconds. @default 15_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Timeout for the answer to one request, in milliseconds. @default 60_000 */
  readonly callTimeoutMs?: number | undefined;
  /** Maximum duration of a lease in milliseconds; after that it is revoked. @default Infinity */
  readonly maxLeaseMs?: number | undefined;
  /** Milliseconds `close` waits for active leases before it revokes them. @default 10_000 */
  readonly closeTimeoutMs?: number | undefined;
  /** Timeout for one operation of the storage or of `encryption`, in milliseconds. @default 5_000 */
  readonly storageTimeoutMs?: number | undefined;
  /**
   * Milliseconds a session stays restricted after PEER_FLOOD or USER_RESTRICTED. Telegram reports no duration, so this
   * is a heuristic. A frozen account stays restricted until the date that Telegram names, one whose login lacks its
   * password until `enable`, `update` or a successful probe (`probeIntervalMs`).
   * @default 86_400_000
   */
  readonly restrictedForMs?: number | undefined;
  /**
   * Interval in milliseconds at which restricted and dead sessions are probed with `updates.getState`, frozen ones with
   * `help.getAppConfig`. A session that gets an answer becomes available again, a frozen one when no freeze is named. An
   * answer does not prove that a restriction is over: use hours, not seconds. Sessions that Telegram is about to terminate
   * because they are unused are touched with `account.getAuthorizations`; without the option, `expiring` is all.
   * @default Infinity
   */
  readonly probeIntervalMs?: number | undefined;
  /**
   * Whether this pool keeps sessions connected whose profile says `keepConnected`. With `false` it connects a session
   * for a caller only: for a script that runs beside the process that listens.
   * @default true
   */
  readonly keepConnected?: boolean | undefined;
  /** How this process claims its connected sessions against other processes on the same storage. */
  readonly ownership?: OwnershipOptions | undefined;
  /**
   * Rate limits per session and method, to slow down before Telegram reports a flood: limits by method name, such as `{
   * "messages.SendMessage": { calls: 20, perMs: 60_000 } }` or `presets.conservative`; `"learn"`; or a strategy of your
   * own.
   * @default none
   */
  readonly budgets?: Budgets | undefined;
  /**
   * Whether to record a stack trace per lease, for `leaked` and `leases()`. Costs microseconds per lease. @default
   * false
   */
  readonly traceLeases?: boolean | undefined;
  /** Whether to accept sessions with server addresses outside Telegram's published ranges. @default false */
  readonly trustServers?: boolean | undefined;
  /** Receives log messages; `console` is compatible. @default none */
  readonly logger?: Logger | undefined;
  /**
   * Called at most ten times a second while `open` reads the records that the storage has listed, and once at the end. For
   * pools of very many sessions, and for a sealer that takes its time. @default none
   */
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Source of time and timers. @default systemClock */
  readonly clock?: Clock | undefined;
}

/** Which session to lease, and how long to wait for it. */
export interface AcquireOptions {
  /** Leases this session and no other. */
  readonly id?: string | undefined;
  /** Sticky key: the same key gets the same session as long as that one can serve. */
  readonly key?: string | undefined;
  /** Only sessions that have all of these tags. */
  readonly tags?: readonly string[] | undefined;
  /** Only sessions of this account: its user id in decimal, as in `SessionInfo.accountId`. */
  readonly account?: string | undefined;
  /**
   * Skips sessions that are cooling down for this method, for example `"contacts.ResolveUsername"`; case of the first
   * letter does not matter.
   */
  readonly method?: string | undefined;
  /** Skips sessions that are cooling down for this peer: `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`. */
  readonly peer?: string | undefined;
  /**
   * Only sessions whose peer cache holds this peer, so that they need not ask Telegram for it: `"@name"` (in any case),
   * `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`.
   */
  readonly knows?: string | undefined;
  /**
   * With `knows`: when no session that knows the peer can serve within `wait`, any other session may, which has to resolve the
   * peer first. @default false
   */
  readonly resolve?: boolean | undefined;
  /**
   * `true`: wait as long as a session could still become available. A number: wait and connect for at most that many
   * milliseconds in total, over all attempts. `false` or `0`: do not wait; connecting is then limited to
   * `connectTimeoutMs` in total, however many sessions are tried.
   * @default true
   */
  readonly wait?: boolean | number | undefined;
  /**
   * Also takes sessions whose accounts Telegram has frozen: they read and change nothing. The lease is then for reads only,
   * whichever session it gets: a request that is not a known read is refused with `ReadOnlyLeaseError` before it is sent.
   * @default false
   */
  readonly allowFrozen?: boolean | undefined;
  /** Waiting callers with a higher priority are always served first; equal ones in order of arrival. @default 0 */
  readonly priority?: number | undefined;
  /** Cancels the call when aborted; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * What may be retried on another session: `"safe"` only what cannot have taken effect, `"any"` everything, `"none"`
 * nothing.
 */
export type RetryPolicy = "safe" | "any" | "none";

/** Options of `use` and `invoke`. */
export interface UseOptions extends AcquireOptions {
  /** What may be retried on another session. @default "safe" */
  readonly retry?: RetryPolicy | undefined;
  /** Maximum number of attempts, including the first; a failed connect counts as one. @default Infinity */
  readonly maxAttempts?: number | undefined;
  /** Timeout for one attempt, connecting and work together, in milliseconds. @default none */
  readonly timeoutMs?: number | undefined;
}

/** Where and under which name the progress of a bulk job is stored. See {@link MapOptions.checkpoint}. */
export interface MapCheckpoint<I> {
  /**
   * The pool's own storage or another one, which is opened on demand and closed with the pool. Every pool on a storage
   * lists all its records, so use a separate one for more than 100,000 items.
   */
  readonly storage: SessionStorage;
  /** Name of the job. Only one run at a time can use it. */
  readonly name: string;
  /** Unique key of an item, the same in every run. Items with equal keys count as one item. Stored in plain text. */
  readonly key: (item: I) => string;
}

/** Progress of a `map` run. */
export interface MapProgress {
  /** Number of finished items: succeeded, failed or skipped. */
  readonly done: number;
  /** Number of all items, if known: `items` is an array, a Set or a Map, or `total` was given. */
  readonly total?: number;
  /** Number of items that failed. */
  readonly failed: number;
  /** Number of items that the checkpoint had recorded as finished. */
  readonly skipped: number;
  /** Average number of items finished per second since this run started. */
  readonly perSecond: number;
  /** Estimated completion time, epoch milliseconds; `null` if unknown. */
  readonly etaAt: number | null;
  /**
   * Until when all sessions are cooling down and no item can proceed, epoch milliseconds; `null` while items proceed.
   */
  readonly waitingUntil: number | null;
}

/** One value for all items, or a function of the item. */
export type PerItem<I> = string | ((item: I) => string | undefined);

/** Options of `map`. Those of `use` apply to each item. */
export interface MapOptions<I> extends Omit<UseOptions, "id" | "key" | "peer" | "knows" | "signal"> {
  /** Leases this session and no other. May be a function of the item. */
  readonly id?: PerItem<I> | undefined;
  /** Sticky key: the same key gets the same session as long as that one can serve. May be a function of the item. */
  readonly key?: PerItem<I> | undefined;
  /**
   * Skips sessions that are cooling down for this peer: `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`. May be a
   * function of the item.
   */
  readonly peer?: PerItem<I> | undefined;
  /** Only sessions whose peer cache holds this peer: see {@link AcquireOptions.knows}. May be a function of the item. */
  readonly knows?: PerItem<I> | undefined;
  /** Maximum number of items in flight, including results not read yet. @default usable sessions, at most 1000 */
  readonly concurrency?: number | undefined;
  /** Whether results come in the order of the items instead of in order of completion. @default false */
  readonly ordered?: boolean | undefined;
  /** Number of items, if `items` has no known size. For progress only. @default none */
  readonly total?: number | undefined;
  /** Called once a second while the iteration runs, and once at its end. */
  readonly onProgress?: ((progress: MapProgress) => void) | undefined;
  /**
   * Ends the iteration with the signal's reason when aborted. Running work loses its lease; results that are ready are
   * delivered first.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Makes the job resumable: a later run of the same name skips finished items. An item is recorded before its result
   * is delivered. Finished items are those that succeeded, failed by themselves, or may have taken effect
   * (`uncertainKeys`). Items that no session could serve, or that had sent no write when the process was killed, run
   * again; with `retry: "any"` also those that had sent one.
   * @default none
   */
  readonly checkpoint?: MapCheckpoint<I> | undefined;
}

/** Result of one item. */
export type MapResult<I, O> = {
  readonly item: I;
  /** Index among `items`, from 0. */
  readonly index: number;
  /** The session that produced the final result; `null` if none did. */
  readonly sessionId: string | null;
  /** Number of times the work was started. */
  readonly attempts: number;
} & ({ readonly ok: true; readonly value: O } | { readonly ok: false; readonly error: unknown });

/** The results of `map`; can be iterated once. Nothing starts before the first result is requested. */
export interface MapRun<I, O> extends AsyncIterable<MapResult<I, O>>, AsyncDisposable {
  /**
   * With a checkpoint: keys of items whose outcome is unknown, including from earlier runs. They are not retried;
   * verify them and re-run the failed ones under a new name.
   */
  readonly uncertainKeys: readonly string[];
  /** Resolves with the next result. For loops other than `for await`. */
  next(): Promise<IteratorResult<MapResult<I, O>, undefined>>;
  /**
   * Ends the iteration without losing results: running items finish, no further ones start, and the reader gets all
   * results and then the end. Resolves when no item is running; keep reading meanwhile. For graceful shutdown.
   */
  drain(): Promise<void>;
  /** Ends the iteration as `break` does: running items may finish, no further ones start. */
  return(): Promise<IteratorResult<MapResult<I, O>, undefined>>;
  /** Returns the run itself. */
  [Symbol.asyncIterator](): MapRun<I, O>;
  /** Ends the iteration and deletes its checkpoint, if it has one. Throws `StorageError`. */
  deleteCheckpoint(): Promise<void>;
}

/** Options of `add`. */
export interface AddOptions {
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ClientProfile | undefined;
}

/** Options of `duplicate`. */
export interface DuplicateOptions extends AddOptions {
  /**
   * Asks for the account's password, with its hint (`null` when there is none); `attempt` counts from 1. Without it an
   * account that has a password cannot be duplicated. @default none
   */
  readonly password?: ((hint: string | null, attempt: number) => string | Promise<string>) | undefined;
  /** Tags of the new session. @default those of the first one */
  readonly tags?: readonly string[] | undefined;
  /** Profile of the new session. @default that of the first one, without `keepConnected` */
  readonly profile?: ClientProfile | undefined;
  /** How long to wait for a lease of the first session, as in `acquire`. @default true */
  readonly wait?: boolean | number | undefined;
  /** Cancels the call when aborted; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** An entry of `addMany`: the arguments of `add`. */
export interface NewSession extends AddOptions {
  readonly id: string;
  readonly session: string;
  /** What another program has stored of the session's peers: seeds the peer cache of a session that is new. */
  readonly peers?: readonly StoredPeer[] | undefined;
  /** The account's user id in decimal, where it is known. @default read from the session string, or learned from Telegram */
  readonly accountId?: string | undefined;
  /** Whether the account is a bot, where it is known. @default as for `accountId` */
  readonly isBot?: boolean | undefined;
}

/** Progress of `addMany`. */
export interface AddManyProgress {
  /** Number of entries that are done: added, known or refused. */
  readonly done: number;
  /** Number of all entries, if known: the input is an array, a Set or a Map. */
  readonly total?: number;
  readonly added: number;
  readonly known: number;
  readonly refused: number;
}

/** Options of `addMany`. */
export interface AddManyOptions {
  /** Ends the addition: entries under way are finished, then it rejects with the signal's reason. @default none */
  readonly signal?: AbortSignal | undefined;
  /** Called at most ten times a second while entries are done, and once at the end. @default none */
  readonly onProgress?: ((progress: AddManyProgress) => void) | undefined;
  /**
   * Called with the results so far when the signal or the closing of the pool has ended the addition, before it rejects.
   * Not called when it rejects before it has begun. @default none
   */
  readonly onAborted?: ((report: AddManyReport) => void) | undefined;
}

/** Progress of `rotateKeys`. */
export interface RotateKeysProgress {
  /** Number of sessions that are done: rewritten, or encrypted with the first key before. */
  readonly done: number;
  readonly total: number;
  readonly rewritten: number;
}

/** Options of `rotateKeys`. */
export interface RotateKeysOptions {
  /** Called at most ten times a second while sessions are done, and once at the end. @default none */
  readonly onProgress?: ((progress: RotateKeysProgress) => void) | undefined;
}

/** Progress of `check`. */
export interface CheckProgress {
  /** Number of questions that are done: answered, failed, or not to be asked of this session. */
  readonly done: number;
  /** Number of all questions. */
  readonly total: number;
}

/** Options of `check`. */
export interface CheckOptions {
  /** Ends the check: it rejects with the signal's reason. @default none */
  readonly signal?: AbortSignal | undefined;
  /** Called at most ten times a second while questions are answered, and once at the end. @default none */
  readonly onProgress?: ((progress: CheckProgress) => void) | undefined;
}

/** Progress of `SessionPool.open` once the storage has listed its records. */
export interface LoadProgress {
  /** Number of records that are read, rejected ones included. */
  readonly done: number;
  readonly total: number;
  readonly rejected: number;
}

/** Changes for `update`; omitted fields stay as they are. */
export interface SessionChange {
  readonly session?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ClientProfile | undefined;
}

/** Options with every default filled in. */
export type ResolvedOptions<Client> = {
  readonly [Key in Exclude<
    keyof SessionPoolOptions<Client>,
    "logger" | "onProgress" | "encryption" | "ownership" | "budgets"
  >]-?: Exclude<SessionPoolOptions<Client>[Key], undefined>;
} & {
  readonly logger: Logger | undefined;
  readonly onProgress: ((progress: LoadProgress) => void) | undefined;
  readonly encryption: Sealer | undefined;
  /** Validated, with methods by canonical name. */
  readonly budgets: ParsedBudgets | undefined;
  readonly ownership: { readonly ttlMs: number; readonly host: string | undefined };
};
