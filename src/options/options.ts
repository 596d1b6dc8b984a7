import type { Clock } from "../common/clock.js";
import type { ClientAdapter } from "../connections/client-adapter.js";
import type { Sealer } from "../encryption/sealer.js";
import type { SessionStorage } from "../storage/storage.js";
import type { Budgets, ParsedBudgets } from "./budgets.js";
import type { ClientProfile } from "./client-profile.js";
import type { SessionSelection } from "./selection-strategy.js";

/** How much a line of the log matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** What a line of the log says, for programs. Never a secret. */
export interface LogFields {
  /** What has happened; most are names of events of the pool. Stable. */
  readonly event: string;
  readonly sessionId?: string;
  readonly [field: string]: unknown;
}

/**
 * Where a pool writes what an operator should see: `console` is one. Called with a sentence, and with the same as fields;
 * what is written at which level is in docs/logging.md. One that throws or rejects stops nothing.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** How a process holds its sessions. */
export interface OwnershipOptions {
  /**
   * Milliseconds for which a claim holds that is not renewed. It is renewed every third; after three quarters without
   * the storage's answer the session is given up; another host takes it after five quarters. @default 60_000
   */
  readonly ttlMs?: number | undefined;
  /**
   * A name of this host, another one for each, where the boot id does not tell them apart: virtual machines resumed from
   * one snapshot. Without effect where there is no `/proc`.
   * @default the boot id
   */
  readonly host?: string | undefined;
}

/** How a pool is set up. Checked once by `open`; an unknown key or a wrong type is an `OptionsError`. */
export interface SessionPoolOptions<Client> {
  /** The Telegram library behind the leases, for instance `gramjs({ apiId, apiHash })`. */
  readonly client: ClientAdapter<Client>;
  /** Where the sessions are kept. @default memory() */
  readonly storage?: SessionStorage | undefined;
  /** Seals session strings, profiles and peers before they are stored, for instance `aesGcm(key)`. @default none */
  readonly encryption?: Sealer | undefined;
  /** What a FLOOD_WAIT rests: the whole session, or the session for that method. @default "session" */
  readonly cooldownScope?: "session" | "method" | undefined;
  /** Who is next of the sessions that can serve: `"spread"` (longest rested), `"warm"` (connected first), `"random"`, or a rule of your own. @default "spread" */
  readonly selection?: SessionSelection | undefined;
  /** Callers that may share one session at once. @default 1 */
  readonly leasesPerSession?: number | undefined;
  /**
   * Milliseconds. A flood this short is slept out inside the refused call when no other session is free or when
   * another one must not be used any more. @default 0
   */
  readonly inlineWaitMs?: number | undefined;
  /** Clients connected at once. @default Infinity */
  readonly maxConnected?: number | undefined;
  /** Callers waiting at once; the next is refused with `QueueFullError`. @default Infinity */
  readonly maxWaiters?: number | undefined;
  /** Milliseconds without a lease after which a client is closed. @default 300_000 */
  readonly idleTimeoutMs?: number | undefined;
  /** Milliseconds that one connect may take. @default 15_000 */
  readonly connectTimeoutMs?: number | undefined;
  /** Milliseconds that Telegram may take to answer one request. @default 60_000 */
  readonly callTimeoutMs?: number | undefined;
  /** Milliseconds after which a lease is taken back. @default Infinity */
  readonly maxLeaseMs?: number | undefined;
  /** Milliseconds for which `close` waits for leases. @default 10_000 */
  readonly closeTimeoutMs?: number | undefined;
  /** Milliseconds for which an operation waits for the storage, or for `encryption`. @default 5_000 */
  readonly storageTimeoutMs?: number | undefined;
  /**
   * Milliseconds for which PEER_FLOOD and USER_RESTRICTED keep a session back. A guess: Telegram names no end. A frozen
   * account and one whose login lacks its password stay restricted until `enable`, `update` or `probeIntervalMs`.
   * @default 86_400_000
   */
  readonly restrictedForMs?: number | undefined;
  /**
   * Milliseconds after which a session that Telegram restricted, or called dead, is asked whether it is answered again
   * (`updates.getState`), and then is free. An answer does not prove that a restriction is over: hours, not seconds.
   * @default Infinity
   */
  readonly probeIntervalMs?: number | undefined;
  /** How this process holds the sessions it has connected, against other processes on the same storage. */
  readonly ownership?: OwnershipOptions | undefined;
  /**
   * Calls that a session may make of a method in a while, so that it rests before Telegram has to say so: by name, for
   * instance `{ "messages.SendMessage": { calls: 20, perMs: 60_000 } }` or `presets.conservative`; `"learn"`; or a rule of
   * your own.
   * @default none
   */
  readonly budgets?: Budgets | undefined;
  /** Remember where each lease was taken, for `leaked` and `leases()`. Costs microseconds a lease. @default false */
  readonly traceLeases?: boolean | undefined;
  /** Accept sessions that name servers outside Telegram's published ranges. @default false */
  readonly trustServers?: boolean | undefined;
  /** Where to write what a person should see. @default none */
  readonly logger?: Logger | undefined;
  /** Where time comes from. @default systemClock */
  readonly clock?: Clock | undefined;
}

/** Which session a caller wants, and how long it would wait for it. */
export interface AcquireOptions {
  /** This very session. */
  readonly id?: string | undefined;
  /** The same key gets the same session while it can. */
  readonly key?: string | undefined;
  /** Only sessions that carry all of these. */
  readonly tags?: readonly string[] | undefined;
  /** `"contacts.ResolveUsername"` or `"contacts.resolveUsername"`: not a session that is cooling for it. */
  readonly method?: string | undefined;
  /** `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`: not a session that is cooling for it. */
  readonly peer?: string | undefined;
  /**
   * `true`: as long as it can help. Milliseconds: waiting and connecting together end by then, over all attempts.
   * `false` or `0`: no queueing; connecting then has `connectTimeoutMs` in all, whatever number of sessions is tried.
   * @default true
   */
  readonly wait?: boolean | number | undefined;
  /** Higher first, strictly; equal ones first come, first served. @default 0 */
  readonly priority?: number | undefined;
  /** Gives up when aborted, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What may be repeated on another session: `"safe"` what cannot have taken effect, `"any"` everything, `"none"` nothing. */
export type RetryPolicy = "safe" | "any" | "none";

/** How `use` and `invoke` run one job. */
export interface UseOptions extends AcquireOptions {
  /** @default "safe" */
  readonly retry?: RetryPolicy | undefined;
  /** Attempts, the first one included; a connect that fails is one. @default Infinity */
  readonly maxAttempts?: number | undefined;
  /** Milliseconds for one attempt, its connects and its work together. @default none */
  readonly timeoutMs?: number | undefined;
}

/** What is durable of a bulk job, and under which name. See {@link MapOptions.checkpoint}. */
export interface MapCheckpoint<I> {
  /**
   * The pool's own storage, or another one: it is opened when it is needed and closed with the pool. Every pool on a
   * storage lists all of it: beyond 100,000 items use one of its own.
   */
  readonly storage: SessionStorage;
  /** The job's name. One run at a time has it. */
  readonly name: string;
  /** What an item is known by; the same in every run. Items with one key are one item. It is stored as it is. */
  readonly key: (item: I) => string;
}

/** How far `map` is. */
export interface MapProgress {
  /** Items that are over: worked, failed or skipped. */
  readonly done: number;
  /** Of all items, where that is known: `items` is an array, a Set or a Map, or `total` was given. */
  readonly total?: number;
  /** Items that came with an error. */
  readonly failed: number;
  /** Items that the checkpoint had as over already. */
  readonly skipped: number;
  /** Items of this run that were over in a second, since it began. */
  readonly perSecond: number;
  /** When it will be done at this pace, epoch milliseconds; `null` when that is not known. */
  readonly etaAt: number | null;
  /** Nothing can go on before this instant, epoch milliseconds: all sessions rest. `null` when something goes on. */
  readonly waitingUntil: number | null;
}

/** One value for every item, or how it follows from the item. */
export type PerItem<I> = string | ((item: I) => string | undefined);

/** How `map` runs its items. What `use` takes holds for each item. */
export interface MapOptions<I> extends Omit<UseOptions, "id" | "key" | "peer" | "signal"> {
  /** This very session. May be a function of the item. */
  readonly id?: PerItem<I> | undefined;
  /** The same key gets the same session while it can. May be a function of the item. */
  readonly key?: PerItem<I> | undefined;
  /** `"user:<id>"`, `"chat:<id>"` or `"channel:<id>"`: not a session cooling for it. May be a function of the item. */
  readonly peer?: PerItem<I> | undefined;
  /** Items under way at once, and pulled ahead of whoever reads the results. @default usable sessions, at most 1000 */
  readonly concurrency?: number | undefined;
  /** Results in the order of the items instead of as they finish. @default false */
  readonly ordered?: boolean | undefined;
  /** How many items there are, where `items` does not tell. @default none */
  readonly total?: number | undefined;
  /** Told once a second while the iteration runs, and at its end. */
  readonly onProgress?: ((progress: MapProgress) => void) | undefined;
  /** Ends the iteration with its reason when aborted: works that run lose their lease, results that there are come first. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Makes the job resumable: a later run of this name leaves out what is over, on disk before its result is handed over.
   * Over is what was done, what failed by itself, and what may have taken effect (`uncertainKeys`); to be done again is what no
   * session could serve, and what had sent no write when the process was killed. With `retry: "any"` also what had.
   * @default none
   */
  readonly checkpoint?: MapCheckpoint<I> | undefined;
}

/** What has become of one item. */
export type MapResult<I, O> = {
  readonly item: I;
  /** Its place among `items`, from 0. */
  readonly index: number;
  /** The session that gave the final answer; `null` when none did. */
  readonly sessionId: string | null;
  /** How often the work was begun. */
  readonly attempts: number;
} & ({ readonly ok: true; readonly value: O } | { readonly ok: false; readonly error: unknown });

/** The results of `map`, once. Nothing happens before the first one is asked for. */
export interface MapRun<I, O> extends AsyncIterable<MapResult<I, O>>, AsyncDisposable {
  /**
   * With a checkpoint: the keys of items of which nobody can tell whether they took effect, of earlier runs too. They are
   * not repeated: look, and `map` those that have to be sent again under another name.
   */
  readonly uncertainKeys: readonly string[];
  /** The next result, for a loop of your own. */
  next(): Promise<IteratorResult<MapResult<I, O>, undefined>>;
  /**
   * Ends the iteration and loses no result: what runs finishes, nothing else begins, and whoever reads the results gets
   * all of them and then the end. Resolves when nothing runs any more; read on meanwhile. For a shutdown by signal.
   */
  drain(): Promise<void>;
  /** Ends the iteration as `break` does: what runs may finish, nothing else begins. */
  return(): Promise<IteratorResult<MapResult<I, O>, undefined>>;
  /** The run itself. */
  [Symbol.asyncIterator](): MapRun<I, O>;
  /**
   * Ends the iteration and deletes its checkpoint. Throws `StorageError`; does nothing without a checkpoint.
   */
  deleteCheckpoint(): Promise<void>;
}

/** What comes with a session when it is added. */
export interface AddOptions {
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ClientProfile | undefined;
}

/** What `update` may change. */
export interface SessionChange {
  readonly session?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly profile?: ClientProfile | undefined;
}

/** Options with every default filled in. */
export type ResolvedOptions<Client> = {
  readonly [Key in Exclude<
    keyof SessionPoolOptions<Client>,
    "logger" | "encryption" | "ownership" | "budgets"
  >]-?: Exclude<SessionPoolOptions<Client>[Key], undefined>;
} & {
  readonly logger: Logger | undefined;
  readonly encryption: Sealer | undefined;
  /** Checked, with methods by canonical name. */
  readonly budgets: ParsedBudgets | undefined;
  readonly ownership: { readonly ttlMs: number; readonly host: string | undefined };
};
