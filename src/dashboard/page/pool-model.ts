import type { SessionState } from "../../session-info.js";
import type {
  BucketRow,
  CompactRow,
  IncidentRow,
  LeaseRow,
  ListChange,
  PoolFrame,
  RejectedRow,
  RunRow,
  SessionRow,
  StatusRow,
} from "../frames.js";

const HOUR_MS = 3_600_000;
/** A session that ends within this time ends soon; the event `expiring` comes so early as well. */
export const SOON_MS: number = 30 * 24 * HOUR_MS;
const MAX_INCIDENTS = 200;

/** Every state, in the order in which it is shown. */
export const STATES: readonly SessionState[] = [
  "free",
  "leased",
  "cooling",
  "restricted",
  "dead",
  "disabled",
  "foreign",
];

const NO_STATUS: StatusRow = {
  total: 0,
  free: 0,
  leased: 0,
  cooling: 0,
  restricted: 0,
  dead: 0,
  disabled: 0,
  foreign: 0,
  waiters: 0,
  nextAvailableAt: null,
  leases: 0,
};

/** What is left out of the rows. */
const NO_SESSION: SessionRow = {
  id: "",
  state: "free",
  tags: [],
  availableAt: null,
  reason: null,
  addedAt: 0,
  lastUsedAt: null,
  restrictedUntil: null,
  isFrozen: false,
  accountId: null,
  expiresAt: null,
  methods: [],
  peers: [],
  holder: null,
  isConnected: false,
  proxy: null,
};
const NO_LEASE: LeaseRow = { key: "", id: "", leasedAt: 0, stack: null };
const NO_RUN: RunRow = {
  key: "",
  name: null,
  startedAt: null,
  done: 0,
  total: null,
  failed: 0,
  skipped: 0,
  perSecond: 0,
  etaAt: null,
  waitingUntil: null,
  uncertain: 0,
  uncertainItems: [],
  hasKeys: false,
  hasEnded: false,
};
const NO_RECORD: RejectedRow = { id: "", reason: "" };

/** What the page knows of one pool. */
export class PoolModel {
  readonly name: string;
  status: StatusRow = NO_STATUS;
  readonly sessions: Map<string, SessionRow> = new Map();
  readonly leases: Map<string, LeaseRow> = new Map();
  readonly runs: Map<string, RunRow> = new Map();
  readonly rejected: Map<string, RejectedRow> = new Map();
  /** By their beginning, in the order of time. */
  readonly buckets: Map<number, BucketRow> = new Map();
  /** The latest comes last. */
  incidents: readonly IncidentRow[] = [];
  isEnded = false;
  /** Whether the server could not read it lately. */
  isStale = false;
  /** Increases when the sessions have changed. */
  sessionsVersion = 0;
  /** Ids of the sessions of each account, of this version of the sessions. */
  #accounts: { readonly version: number; readonly ids: ReadonlyMap<string, readonly string[]> } | undefined;
  /** By how much the clock of the pool is ahead of the browser's. */
  #offset = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** The time by the clock of the pool. */
  now(): number {
    return Date.now() + this.#offset;
  }

  /** The accounts by their user ids, with the ids of their sessions. */
  get accounts(): ReadonlyMap<string, readonly string[]> {
    if (this.#accounts?.version === this.sessionsVersion) return this.#accounts.ids;
    const ids = new Map<string, string[]>();
    for (const { id, accountId } of this.sessions.values()) {
      if (accountId === null) continue;
      const known = ids.get(accountId);
      if (known === undefined) ids.set(accountId, [id]);
      else known.push(id);
    }
    this.#accounts = { version: this.sessionsVersion, ids };
    return ids;
  }

  /** Ids of all sessions of the account of a session, its own included; none if the account is not known. */
  siblingsOf({ accountId }: SessionRow): readonly string[] {
    return accountId === null ? [] : (this.accounts.get(accountId) ?? []);
  }

  /** Takes a message over. */
  apply({ at, status, lists, buckets, incidents, isEnded, isStale }: PoolFrame): void {
    this.#offset = at - Date.now();
    this.status = status ?? this.status;
    this.isEnded = isEnded ?? this.isEnded;
    this.isStale = isStale ?? this.isStale;
    if (change(this.sessions, lists?.sessions, NO_SESSION, ({ id }) => id)) this.sessionsVersion++;
    change(this.leases, lists?.leases, NO_LEASE, ({ key }) => key);
    change(this.runs, lists?.runs, NO_RUN, ({ key }) => key);
    change(this.rejected, lists?.rejected, NO_RECORD, ({ id }) => id);
    for (const bucket of buckets ?? []) this.buckets.set(bucket.at, bucket);
    // Those of the future are of before the clock of the pool was set back.
    for (const since of this.buckets.keys()) {
      if (since < at - HOUR_MS || since > at + HOUR_MS) this.buckets.delete(since);
    }
    if (incidents !== undefined) this.incidents = [...this.incidents, ...incidents].slice(-MAX_INCIDENTS);
  }
}

function change<Row>(
  rows: Map<string, Row>,
  changes: ListChange<Row> | undefined,
  empty: Row,
  keyOf: (row: Row) => string,
): boolean {
  for (const short of changes?.set ?? []) {
    const row = { ...empty, ...(short satisfies CompactRow<Row>) };
    rows.set(keyOf(row), row);
  }
  for (const key of changes?.gone ?? []) rows.delete(key);
  return changes !== undefined;
}

/** Conditions of an account that an operator needs to see, regardless of the state of its session. */
export type Flag = "frozen" | "ends soon" | "shared account";

/** Every flag, the most urgent first. */
export const FLAGS: readonly Flag[] = ["frozen", "ends soon", "shared account"];

/** Whether a session has a flag. */
export function hasFlag(pool: PoolModel, row: SessionRow, flag: Flag): boolean {
  if (flag === "frozen") return row.isFrozen;
  if (flag === "shared account") return pool.siblingsOf(row).length > 1;
  return row.expiresAt !== null && row.expiresAt - pool.now() < SOON_MS && row.state !== "dead";
}

/** Until when a session is known to be unable to work; `null` if it can, or no end is known. */
export function blockedUntil({ availableAt, restrictedUntil }: SessionRow): number | null {
  return availableAt ?? restrictedUntil;
}

/** Number of floods by method in the last hour, the most frequent first. */
export function floodsByMethod({ buckets }: PoolModel): readonly (readonly [method: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const { floods } of buckets.values()) {
    for (const [method, count] of Object.entries(floods)) counts.set(method, (counts.get(method) ?? 0) + count);
  }
  return [...counts].sort(([, one], [, other]) => other - one);
}
