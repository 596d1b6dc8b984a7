import {
  AcquireTimeoutError,
  AttemptTimeoutError,
  ConnectError,
  DuplicateSessionError,
  NoSessionAvailableError,
  OwnershipLostError,
  QueueFullError,
  ReadOnlyLeaseError,
  SessionNotFoundError,
  StorageCorruptError,
  StorageError,
} from "./errors.js";
import type { PoolStatus, SessionState } from "./session-info.js";
import { parseSession } from "./telegram/session-string.js";
import { isFreeze } from "./telegram/verdicts.js";

/** The sessions that a caller asked for, as far as messages name them. */
export interface RequestedSessions {
  readonly id?: string | undefined;
  readonly tags: readonly string[];
  readonly account?: string | undefined;
  readonly methods: readonly string[];
  readonly peers: readonly string[];
  /** The peer that the session had to know, and the sessions that do. */
  readonly knows?: { readonly peer: string; readonly ids: { readonly size: number } } | undefined;
  /** Sessions that have failed this caller already. */
  readonly excluded?: unknown;
}

/** The state of the one session that a caller has named. */
export interface NamedSession {
  readonly state: SessionState;
  readonly reason: string | null;
  /** Whether the caller's method or peer is cooling, if the session itself is free. */
  readonly isHeld: boolean;
  /** Whether it is one of those that the caller wants. */
  readonly isMatch: boolean;
}

/** When a caller that cannot be served now could be. */
export interface AvailabilityForecast {
  readonly waitingCount: number;
  /** Milliseconds until the first session is free; `null` if unknown. */
  readonly waitMs: number | null;
  readonly retryAt: number | null;
  /** Whether `maxConnected` is reached. */
  readonly isFull: boolean;
  readonly cause: unknown;
  /** For a caller that has named a session. */
  readonly named?: NamedSession | undefined;
}

/** No session can serve this caller. */
export function unavailableError(
  requested: RequestedSessions,
  status: PoolStatus,
  prospects: AvailabilityForecast,
): NoSessionAvailableError {
  const { waitingCount, waitMs, retryAt, isFull, cause, named } = prospects;
  const nextReleaseIn = waitMs === null ? null : Math.ceil(waitMs / 1000);
  const first = named === undefined ? "the first is free" : "it is free";
  const next = nextReleaseIn === null ? "" : `; ${first} in ${nextReleaseIn} s`;
  return new NoSessionAvailableError(
    `No session is available${describeRequested(requested)}: ${describeState(requested, status, named)}${fullIf(isFull)}${next}.`,
    { waitingCount, nextReleaseIn, retryAt, status },
    { ...(cause === undefined ? {} : { cause }), sessionId: requested.id },
  );
}

/** A caller inside the work of a lease wants another lease, and only that work could give one back. */
export function waitsForItself(holds: readonly string[], status: PoolStatus, id?: string): NoSessionAvailableError {
  const named = holds.map((held) => `"${held}"`).join(", ");
  return new NoSessionAvailableError(
    `No session is available: this call is made inside the work of use(), which holds every session that matches (${named}), so it would wait for itself. Use the client that the work was given, or make the call after the work.`,
    { waitingCount: 0, nextReleaseIn: null, retryAt: null, status },
    { sessionId: id },
  );
}

/** The wait has passed. */
export function acquireTimeoutError(
  waitMs: number,
  requested: RequestedSessions,
  status: PoolStatus,
  prospects: Pick<AvailabilityForecast, "retryAt" | "isFull" | "cause" | "named">,
): AcquireTimeoutError {
  const { retryAt, isFull, cause, named } = prospects;
  return new AcquireTimeoutError(
    `No session was free within ${Math.round(waitMs)} ms (wait)${describeRequested(requested)}: ${describeState(requested, status, named)}${fullIf(isFull)}.`,
    { ...(cause === undefined ? {} : { cause }), retryAt, sessionId: requested.id },
  );
}

/** The wait has passed before the storage has answered who knows a peer. */
export function peerLookUpTimeoutError(waitMs: number, peer: string, cause: unknown): AcquireTimeoutError {
  return new AcquireTimeoutError(
    `The storage did not answer within ${Math.round(waitMs)} ms (wait) which sessions know ${peer}.`,
    cause === undefined ? {} : { cause },
  );
}

/** The wait has passed while a session connected. */
export function connectTookTooLong(id: string, waitMs: number, cause: unknown): AcquireTimeoutError {
  return new AcquireTimeoutError(
    `Session "${id}" was still connecting after ${Math.round(waitMs)} ms (wait). The connect goes on: a later call may find it ready.`,
    { ...(cause === undefined ? {} : { cause }), sessionId: id },
  );
}

/** A caller that does not wait has no time left for connecting. */
export function notConnectedInTime(id: string, connectTimeoutMs: number, cause: unknown): ConnectError {
  return new ConnectError(
    `Session "${id}" could not connect within ${connectTimeoutMs} ms (connectTimeoutMs; with wait: false this is for all sessions that are tried).`,
    { ...(cause === undefined ? {} : { cause }), sessionId: id },
  );
}

/** The session no longer belongs to this process: for its requests and its leases. */
export function ownershipLost(id: string): OwnershipLostError {
  return new OwnershipLostError(
    `Ownership of session "${id}" was lost: its claim could not be renewed in time, or another process has taken it over. Requests already sent may have taken effect.`,
    { sessionId: id },
  );
}

/** A request that is not a known read, under a lease for reads only. */
export function readOnlyLease(id: string, method: string): ReadOnlyLeaseError {
  return new ReadOnlyLeaseError(
    `${method} was not sent: this lease of session "${id}" is for reads only, because it was taken with allowFrozen, and ${method} is not among the methods that are known to change nothing. Take a lease without allowFrozen for it.`,
    method,
    { sessionId: id },
  );
}

/** `maxWaiters` is reached. */
export function queueFullError(maxWaiters: number, retryAt: number | null): QueueFullError {
  return new QueueFullError(`${maxWaiters} callers are waiting already (maxWaiters).`, { retryAt });
}

/** The deadline of one attempt has passed. */
export function attemptTimeoutError(id: string, timeoutMs: number): AttemptTimeoutError {
  return new AttemptTimeoutError(
    `The attempt on session "${id}" took longer than ${timeoutMs} ms (timeoutMs). Requests already sent may have taken effect.`,
    { sessionId: id },
  );
}

/** No session has this id. */
export function unknownSessionError(id: string): SessionNotFoundError {
  return new SessionNotFoundError(`No session has the id ${shown(id)}. Add it with add(), or look at sessions().`, {
    sessionId: isSecret(id) ? undefined : id,
  });
}

/** Another session holds the auth key. */
export function duplicateKeyError(id: string, holder: string, isBeingRemoved = false): DuplicateSessionError {
  if (isBeingRemoved) {
    return new DuplicateSessionError(
      `"${id}" has the same auth key as "${holder}", which is being removed: a lease of it runs, or its client is still closing. Try again when that has ended.`,
      { sessionId: holder },
    );
  }
  return new DuplicateSessionError(
    `"${id}" has the same auth key as "${holder}": Telegram destroys a key that is used from two places. Keep one of them; to rename or replace a session use remove() or update().`,
    { sessionId: holder },
  );
}

/** The id is taken until the last lease of the removed session has ended. */
export function removalPendingError(id: string): SessionNotFoundError {
  return new SessionNotFoundError(
    `"${id}" is being removed: its last lease still runs. Add it again when that has ended.`,
    {
      sessionId: id,
    },
  );
}

/** The record could not be written in time; nothing has changed. */
export function writeTimedOutError(id: string): StorageError {
  return new StorageError(`The record of "${id}" could not be written in time. Try again.`, { sessionId: id });
}

/** The record of the session cannot be read. */
export function unreadableRecordError(id: string, reason: string): StorageCorruptError {
  return new StorageCorruptError(
    `The record of "${id}" could not be read (${reason}) and was left as it is. Restore it from a backup, or remove("${id}") and add it again.`,
    { sessionId: id },
  );
}

/** The storage holds sessions, and none can be opened with the given encryption. */
export function allLocked(count: number, reason: string): StorageCorruptError {
  return new StorageCorruptError(
    `The storage holds ${count} ${count === 1 ? "session" : "sessions"} and none of them can be opened with the given encryption: ${reason}. Nothing was overwritten.`,
  );
}

function fullIf(isFull: boolean): string {
  return isFull ? "; maxConnected allows no further client" : "";
}

/** The state of the session that was named, otherwise of all. */
function describeState(requested: RequestedSessions, status: PoolStatus, named: NamedSession | undefined): string {
  return named === undefined ? describe(status) : describeNamed(named, requested);
}

function describe(status: PoolStatus): string {
  if (status.total === 0)
    return "the pool has no sessions; add() some, or see rejected() for stored ones that could not be loaded";
  const states = ["free", "leased", "cooling", "restricted", "dead", "disabled", "foreign"] as const;
  const parts = states.filter((state) => status[state] > 0).map((state) => `${status[state]} ${state}`);
  return `${parts.join(", ")}, ${status.total} in all`;
}

/** The state of one session, and what to do about it. */
function describeNamed({ state, reason, isHeld, isMatch }: NamedSession, { excluded }: RequestedSessions): string {
  const why = reason === null ? "" : ` (${reason})`;
  switch (state) {
    case "dead":
      return `it is dead${why}; give it a new session string with update(), or call enable() if that was a mistake`;
    case "restricted":
      return `it is restricted${why}; enable() lifts that early${isFreeze(reason) ? ", and a lease with allowFrozen reads with it" : ""}`;
    case "disabled":
      return `it is disabled${why}; enable() brings it back`;
    case "foreign":
      return "another process uses it";
    case "leased":
      return "it is leased";
    case "cooling":
      return `it is cooling${why}`;
    case "free":
      if (excluded !== undefined) return "it has failed this caller";
      if (isHeld) return "it is cooling for that";
      return isMatch ? "it is free" : "it does not match";
  }
}

function describeRequested({ id, tags, account, methods, peers, knows }: RequestedSessions): string {
  const parts = [
    id === undefined ? "" : ` with the id "${id}"`,
    tags.length === 0 ? "" : ` with the tags ${tags.map(shown).join(", ")}`,
    account === undefined ? "" : ` of the account ${account}`,
    methods.length === 0 ? "" : ` for ${methods.join(", ")}`,
    peers.length === 0 ? "" : ` for ${peers.join(", ")}`,
    knows === undefined ? "" : ` that knows ${knows.peer}${knows.ids.size === 0 ? " (none does)" : ""}`,
  ];
  return parts.join("");
}

/** An id or a tag, as a message may name it: a session string that was given for one must not be repeated. */
function shown(text: string): string {
  return isSecret(text) ? "given, which is a session string" : `"${text}"`;
}

function isSecret(text: string): boolean {
  try {
    parseSession(text);
    return true;
  } catch {
    return false;
  }
}
