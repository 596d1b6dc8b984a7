import type { ClientProfile } from "./client-profile.js";
import type { Clock } from "./clock.js";
import type { ClientAdapter } from "./connections/client-adapter.js";
import type { Sealer } from "./records/sealing.js";
import type { SessionStorage } from "./records/storage.js";
import type { SessionSelection } from "./selection-strategy.js";

/** Where the pool writes what a person should see. A console fits, and so does pino. */
export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
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
  /** Milliseconds for which an operation waits for the storage. @default 5_000 */
  readonly storageTimeoutMs?: number | undefined;
  /** Milliseconds for which PEER_FLOOD keeps a session back. A guess: Telegram names no end. @default 86_400_000 */
  readonly restrictedForMs?: number | undefined;
  /** How this process holds the sessions it has connected, against other processes on the same storage. */
  readonly ownership?: OwnershipOptions | undefined;
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
   * `true`: as long as it can help. Milliseconds: at most so long, over all attempts. `false` or `0`: not at all.
   * Connecting is not waiting: `connectTimeoutMs` bounds it. @default true
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
  /** Attempts, the first one included. @default Infinity */
  readonly maxAttempts?: number | undefined;
  /** Milliseconds for one attempt, connect and work together. @default none */
  readonly timeoutMs?: number | undefined;
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
  readonly [Key in Exclude<keyof SessionPoolOptions<Client>, "logger" | "encryption" | "ownership">]-?: Exclude<
    SessionPoolOptions<Client>[Key],
    undefined
  >;
} & {
  readonly logger: Logger | undefined;
  readonly encryption: Sealer | undefined;
  readonly ownership: { readonly ttlMs: number; readonly host: string | undefined };
};
