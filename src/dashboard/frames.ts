import type { SessionState } from "../session-info.js";

/*
 * What the server sends to the page, as JSON. All instants are epoch milliseconds, all durations milliseconds; texts are
 * shortened and contain no secret, but any other character.
 */

/** A name, and until when it is cooling. */
export type NamedCooldown = readonly [name: string, until: number];

/** The process that has a session connected, or may. */
export interface HolderRow {
  readonly pid: number;
  readonly isLocal: boolean;
  /** Whether it is the process that serves the dashboard. */
  readonly isSelf: boolean;
}

/** One session. */
export interface SessionRow {
  readonly id: string;
  readonly state: SessionState;
  readonly tags: readonly string[];
  readonly availableAt: number | null;
  readonly reason: string | null;
  readonly addedAt: number;
  readonly lastUsedAt: number | null;
  readonly restrictedUntil: number | null;
  /** Whether Telegram has frozen its account; `restrictedUntil` is the end of that. */
  readonly isFrozen: boolean;
  /** The account's user id. */
  readonly accountId: string | null;
  /** When Telegram terminates the session if it stays unused. */
  readonly expiresAt: number | null;
  /** The soonest to end come first. */
  readonly methods: readonly NamedCooldown[];
  readonly peers: readonly NamedCooldown[];
  readonly holder: HolderRow | null;
  readonly isConnected: boolean;
  readonly proxy: string | null;
}

/** One lease. */
export interface LeaseRow {
  /** Identifies the lease in the pool. */
  readonly key: string;
  readonly id: string;
  readonly leasedAt: number;
  /** Where it was taken, with `traceLeases`. */
  readonly stack: string | null;
}

/** One run of `map`. */
export interface RunRow {
  readonly key: string;
  readonly name: string | null;
  readonly startedAt: number | null;
  readonly done: number;
  readonly total: number | null;
  readonly failed: number;
  readonly skipped: number;
  readonly perSecond: number;
  readonly etaAt: number | null;
  readonly waitingUntil: number | null;
  readonly uncertain: number;
  readonly uncertainItems: readonly string[];
  /** Whether the items are keys of a checkpoint; indexes otherwise. */
  readonly hasKeys: boolean;
  readonly hasEnded: boolean;
}

/** Ten seconds of a pool. */
export interface BucketRow {
  readonly at: number;
  readonly calls: number;
  readonly waiters: number;
  readonly deaths: number;
  readonly restrictions: number;
  readonly floods: Readonly<Record<string, number>>;
}

/** An event that an operator wants to know of. */
export interface IncidentRow {
  readonly number: number;
  readonly at: number;
  readonly kind: string;
  readonly sessionId: string | null;
  readonly reason: string | null;
  readonly until: number | null;
}

/** A record that cannot be read. */
export interface RejectedRow {
  readonly id: string;
  readonly reason: string;
}

/** The counts of a pool. Those that a storage does not tell are `null`. */
export interface StatusRow {
  readonly total: number;
  readonly free: number;
  readonly leased: number | null;
  readonly cooling: number;
  readonly restricted: number;
  readonly dead: number;
  readonly disabled: number;
  readonly foreign: number;
  readonly waiters: number | null;
  /** `null` while a session is free, and if none is known to become free. */
  readonly nextAvailableAt: number | null;
  /** Number of active leases, of which the longest are sent. */
  readonly leases: number | null;
}

/** Lists whose rows are sent when they have changed, by their names. */
export interface RowLists {
  readonly sessions: SessionRow;
  readonly leases: LeaseRow;
  readonly runs: RunRow;
  readonly rejected: RejectedRow;
}

/** A row as it is sent: fields that are `null`, `false` or an empty list are left out. */
export type CompactRow<Row> = Partial<Row>;

/** Changes of one list. */
export interface ListChange<Row> {
  readonly set?: readonly CompactRow<Row>[];
  /** Keys of rows that are gone. */
  readonly gone?: readonly string[];
}

/** What has changed in one pool; everything, in the first frame. */
export interface PoolFrame {
  readonly name: string;
  /** Instant of the reading, by the pool's clock. */
  readonly at: number;
  readonly status?: StatusRow;
  readonly lists?: { readonly [Name in keyof RowLists]?: ListChange<RowLists[Name]> };
  readonly buckets?: readonly BucketRow[];
  readonly incidents?: readonly IncidentRow[];
  readonly isEnded?: boolean;
  /** Whether the last reading failed: what is shown is older than that. */
  readonly isStale?: boolean;
}

/** One message: the whole state (`isFull`), or what has changed since the one before. */
export interface Frame {
  readonly isFull: boolean;
  /** Identifies the state that a page has after it. */
  readonly id: string;
  /** Names of all pools, in order. */
  readonly names: readonly string[];
  readonly pools: readonly PoolFrame[];
}

/** The first message to each page. */
export interface Hello {
  readonly access: "view" | "manage";
  /** To be sent along with changes; `null` without the right to them. */
  readonly token: string | null;
  /** Whether the pools are read from their storage, beside the processes that use it. */
  readonly isStorage: boolean;
  readonly pid: number;
}

/** The answer to a change. */
export interface ChangeAnswer {
  readonly ok: boolean;
  /** Why not; a sentence. */
  readonly message: string | null;
}
