import type { PoolStatus } from "./session-info.js";

const brand = Symbol.for("telegram-session-pool.error");

/** Stable codes that identify the errors of this package. */
export type SessionPoolErrorCode =
  | "NO_SESSION_AVAILABLE"
  | "QUEUE_FULL"
  | "ACQUIRE_TIMEOUT"
  | "ATTEMPT_TIMEOUT"
  | "CALL_TIMEOUT"
  | "LEASE_RELEASED"
  | "POOL_CLOSED"
  | "INVALID_SESSION"
  | "DUPLICATE_SESSION"
  | "SESSION_NOT_FOUND"
  | "CONNECT_FAILED"
  | "ROTATION_UNSAFE"
  | "NO_PROGRESS"
  | "READ_ONLY_LEASE"
  | "OUTCOME_UNKNOWN"
  | "OWNERSHIP_LOST"
  | "STORAGE_FAILED"
  | "STORAGE_CORRUPT"
  | "INVALID_OPTIONS"
  | "ACCOUNT_FILE"
  | "ADD_MANY_INPUT"
  | LoginErrorCode;

/** Why a login failed. */
export type LoginErrorCode =
  | "LOGIN_FLOOD_WAIT"
  | "LOGIN_PHONE_INVALID"
  | "LOGIN_CODE_INVALID"
  | "LOGIN_PASSWORD_INVALID"
  | "LOGIN_PASSWORD_NEEDED"
  | "LOGIN_REFUSED"
  | "SIGN_UP_REQUIRED";

/** Details of an error besides its message. */
export interface SessionPoolErrorDetails {
  readonly cause?: unknown;
  /** Id of the session the error is about, if any. */
  readonly sessionId?: string | undefined;
}

/**
 * Base class of the errors of this package. `instanceof` works across two installed copies of the package; `code` works
 * everywhere. Messages never contain a StringSession, an api hash or a phone number.
 */
export class SessionPoolError extends Error {
  readonly code: SessionPoolErrorCode;
  declare readonly sessionId?: string;

  constructor(code: SessionPoolErrorCode, message: string, details: SessionPoolErrorDetails = {}) {
    super(withoutKeys(message), "cause" in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.name = new.target.name;
    if (details.sessionId !== undefined) this.sessionId = withoutKeys(details.sessionId);
    Object.defineProperty(this, brand, { value: brandsOf(new.target) });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== "object" || value === null) return false;
    const brands: unknown = Reflect.get(value, brand);
    return Array.isArray(brands) && brands.includes(this.name);
  }
}

/**
 * Minimum length of text that may be an auth key, which has 342 characters of base64 in every session string format.
 */
const MIN_KEY_LENGTH = 300;
/** Minimum number of distinct characters in random text of that length. */
const MIN_DISTINCT_CHARACTERS = 20;
const KEY = new RegExp(`[A-Za-z0-9+/_-]{${MIN_KEY_LENGTH},}={0,2}`, "g");

/** Messages quote arguments, and a session string may have been passed as an id, a tag or any other name. */
function withoutKeys(text: string): string {
  if (text.length < MIN_KEY_LENGTH) return text;
  return text.replace(KEY, (run) => (new Set(run).size >= MIN_DISTINCT_CHARACTERS ? "[redacted]" : run));
}

function brandsOf(target: { readonly name: string }): readonly string[] {
  const names: string[] = [];
  for (let type: unknown = target; typeof type === "function" && type !== Error; type = Object.getPrototypeOf(type)) {
    names.push((type as { readonly name: string }).name);
  }
  return names;
}

/** Thrown when no session can serve the caller, now or within its wait. */
export class NoSessionAvailableError extends SessionPoolError {
  /** Number of matching sessions that are cooling down. */
  readonly waitingCount: number;
  /** Whole seconds, rounded up, until the first of them becomes available; `null` if unknown. */
  readonly nextReleaseIn: number | null;
  /** The same as an instant, epoch milliseconds; `null` if unknown. */
  readonly retryAt: number | null;
  /** Status of the pool when the error was created. */
  readonly status: PoolStatus;

  constructor(
    message: string,
    wait: {
      readonly waitingCount: number;
      readonly nextReleaseIn: number | null;
      readonly retryAt: number | null;
      readonly status: PoolStatus;
    },
    details: SessionPoolErrorDetails = {},
  ) {
    super("NO_SESSION_AVAILABLE", message, details);
    this.waitingCount = wait.waitingCount;
    this.nextReleaseIn = wait.nextReleaseIn;
    this.retryAt = wait.retryAt;
    this.status = wait.status;
  }
}

/** Details of an error of a caller that can try again later. */
export interface RetryableErrorDetails extends SessionPoolErrorDetails {
  /** See the error's `retryAt`. @default null */
  readonly retryAt?: number | null;
}

/** Thrown when `maxWaiters` callers are already waiting. */
export class QueueFullError extends SessionPoolError {
  /** When a session that matches ends its cooldown, in epoch milliseconds; `null` if none is known to. */
  readonly retryAt: number | null;

  constructor(message: string, details: RetryableErrorDetails = {}) {
    super("QUEUE_FULL", message, details);
    this.retryAt = details.retryAt ?? null;
  }
}

/** Thrown when no session became available within `wait`. */
export class AcquireTimeoutError extends SessionPoolError {
  /** When a session that matches ends its cooldown, in epoch milliseconds; `null` if none is known to. */
  readonly retryAt: number | null;

  constructor(message: string, details: RetryableErrorDetails = {}) {
    super("ACQUIRE_TIMEOUT", message, details);
    this.retryAt = details.retryAt ?? null;
  }
}

/**
 * Thrown when one attempt of `use` or `invoke` took longer than `timeoutMs`. Requests it had sent may have taken
 * effect.
 */
export class AttemptTimeoutError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("ATTEMPT_TIMEOUT", message, details);
  }
}

/** Thrown when Telegram did not answer an idempotent request within `callTimeoutMs`. */
export class CallTimeoutError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("CALL_TIMEOUT", message, details);
  }
}

/** Thrown when a client is used after its lease was released, revoked or lost. */
export class LeaseReleasedError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails & { readonly code?: "OWNERSHIP_LOST" } = {}) {
    super(details.code ?? "LEASE_RELEASED", message, details);
  }
}

/**
 * Thrown by a request that is not a known read, under a lease that was taken with `allowFrozen`. It was not sent, on whichever
 * session: frozen accounts change nothing.
 */
export class ReadOnlyLeaseError extends SessionPoolError {
  /** The method of the request, by its full name. */
  readonly method: string;

  constructor(message: string, method: string, details: SessionPoolErrorDetails = {}) {
    super("READ_ONLY_LEASE", message, details);
    this.method = method;
  }
}

/** Thrown when this process lost ownership of the session, and with it the lease. */
export class OwnershipLostError extends LeaseReleasedError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super(message, { ...details, code: "OWNERSHIP_LOST" });
  }
}

/** Thrown by calls to a pool that is closed or closing. */
export class PoolClosedError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("POOL_CLOSED", message, details);
  }
}

/** Thrown when a text is not a session string this package can read. */
export class InvalidSessionError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("INVALID_SESSION", message, details);
  }
}

/** Thrown when the id already has another auth key, or the auth key another id; `sessionId` is the id that has it. */
export class DuplicateSessionError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("DUPLICATE_SESSION", message, details);
  }
}

/** Thrown when no session has the given id. */
export class SessionNotFoundError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("SESSION_NOT_FOUND", message, details);
  }
}

/** Thrown when a client could not connect, or lost its connection. */
export class ConnectError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("CONNECT_FAILED", message, details);
  }
}

/**
 * Thrown when a retry on another session would be unsafe: this one has to wait, and the work had already sent a write
 * that may have taken effect. `cause` is Telegram's error.
 */
export class RotationUnsafeError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("ROTATION_UNSAFE", message, details);
  }
}

/**
 * Thrown when work keeps being restarted on sessions it has already tried without getting further: it makes more
 * requests than a session allows at once. `cause` is the last rejection.
 */
export class NoProgressError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("NO_PROGRESS", message, details);
  }
}

/** Thrown when a write was sent and its outcome is unknown. It is not retried. */
export class OutcomeUnknownError extends SessionPoolError {
  /** `"yes"`: Telegram reports that the write took effect. `"unknown"`: it may have. */
  readonly executed: "yes" | "unknown";

  constructor(message: string, executed: "yes" | "unknown", details: SessionPoolErrorDetails = {}) {
    super("OUTCOME_UNKNOWN", message, details);
    this.executed = executed;
  }
}

/** Thrown when the storage failed or did not answer in time. */
export class StorageError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails & { readonly code?: "STORAGE_CORRUPT" } = {}) {
    super(details.code ?? "STORAGE_FAILED", message, details);
  }
}

/** Thrown when stored data cannot be read. Nothing was overwritten. */
export class StorageCorruptError extends StorageError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super(message, { ...details, code: "STORAGE_CORRUPT" });
  }
}

/** Thrown when an option or argument is missing, unknown or of the wrong type; the message names it. */
export class OptionsError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("INVALID_OPTIONS", message, details);
  }
}

/** Thrown by `login` and `duplicate` when the login fails; `code` is the reason. Nothing is left behind. */
export class LoginError extends SessionPoolError {
  /** With `LOGIN_FLOOD_WAIT`: the seconds after which Telegram can be asked again. Otherwise `null`. */
  readonly seconds: number | null;
  /** Telegram's own code, such as `"PHONE_NUMBER_BANNED"`; `null` where it refused nothing. */
  readonly reason: string | null;

  constructor(
    code: LoginErrorCode,
    message: string,
    details: SessionPoolErrorDetails & { readonly seconds?: number; readonly reason?: string } = {},
  ) {
    super(code, message, details);
    this.seconds = details.seconds ?? null;
    this.reason = details.reason ?? null;
  }
}

/** A session that `addMany` has added, or found in the pool. */
export interface AddedSession {
  /** Index among the entries of the input, from 0. */
  readonly index: number;
  readonly id: string;
}

/** An entry that `addMany` has not added. */
export interface RefusedSession {
  /** Index among the entries of the input, from 0. */
  readonly index: number;
  /** The entry's id; `""` if it has none, or a session string in its place. */
  readonly id: string;
  /** The error that `add` would have thrown. The `sessionId` of a `DuplicateSessionError` is the session that holds the key. */
  readonly error: SessionPoolError;
  /** The error's message. */
  readonly reason: string;
}

/** Result of `addMany` by entry. Each list is in the order of the input. */
export interface AddManyReport {
  /** New in the pool. */
  readonly added: readonly AddedSession[];
  /** In the pool before, with this auth key under this id. */
  readonly known: readonly AddedSession[];
  readonly refused: readonly RefusedSession[];
}

/**
 * Thrown when `addMany` gives up because the storage failed for a whole round of entries (32 at least); `cause` is its last error. What was
 * added before stays in the pool.
 */
export class AddManyStorageError extends StorageError {
  /** Results of the entries so far. */
  readonly report: AddManyReport;

  constructor(message: string, report: AddManyReport, details: SessionPoolErrorDetails = {}) {
    super(message, details);
    this.report = report;
  }
}

/** Thrown when the input of `addMany` threw; `cause` is what it threw. What was added before stays in the pool. */
export class AddManyInputError extends SessionPoolError {
  /** Results of the entries before the failure. */
  readonly report: AddManyReport;

  constructor(message: string, report: AddManyReport, details: SessionPoolErrorDetails = {}) {
    super("ADD_MANY_INPUT", message, details);
    this.report = report;
  }
}
