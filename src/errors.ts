import type { PoolStatus } from "./sessions/session-info.js";

const brand = Symbol.for("telegram-session-pool.error");

/** The stable names by which a program tells this package's errors apart. */
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
  | "OUTCOME_UNKNOWN"
  | "OWNERSHIP_LOST"
  | "STORAGE_FAILED"
  | "STORAGE_CORRUPT"
  | "INVALID_OPTIONS";

/** What an error may carry beside its message. */
export interface SessionPoolErrorDetails {
  readonly cause?: unknown;
  /** The session the error is about, where there is one. */
  readonly sessionId?: string | undefined;
}

/**
 * The base of every error this package throws. `instanceof` works across two installed copies of the package; `code`
 * works everywhere. No message holds a StringSession, an api hash or a phone number.
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

/** An auth key is 342 characters of base64, in every format of session strings. */
const SHORTEST_KEY = 300;
/** Different characters in so long a text of random bytes. */
const FEWEST_CHARACTERS = 20;
const KEY = new RegExp(`[A-Za-z0-9+/_-]{${SHORTEST_KEY},}={0,2}`, "g");

/** Messages name what they were given, and a session string may have been given as an id, a tag or any other name. */
function withoutKeys(text: string): string {
  if (text.length < SHORTEST_KEY) return text;
  return text.replace(KEY, (run) => (new Set(run).size >= FEWEST_CHARACTERS ? "[redacted]" : run));
}

function brandsOf(target: { readonly name: string }): readonly string[] {
  const names: string[] = [];
  for (let type: unknown = target; typeof type === "function" && type !== Error; type = Object.getPrototypeOf(type)) {
    names.push((type as { readonly name: string }).name);
  }
  return names;
}

/** No session can serve this caller, now or within the time it would wait. */
export class NoSessionAvailableError extends SessionPoolError {
  /** How many matching sessions are cooling. */
  readonly waitingCount: number;
  /** Whole seconds, rounded up, until the first of them is free; `null` when no instant is known. */
  readonly nextReleaseIn: number | null;
  /** The same as an instant, epoch milliseconds; `null` when none is known. */
  readonly retryAt: number | null;
  /** The pool's counts at that moment. */
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

/** `maxWaiters` callers are waiting already. */
export class QueueFullError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("QUEUE_FULL", message, details);
  }
}

/** The time given by `wait` passed before a session was free. */
export class AcquireTimeoutError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("ACQUIRE_TIMEOUT", message, details);
  }
}

/** One attempt of `use` or `invoke` took longer than `timeoutMs`. What it had sent may have taken effect. */
export class AttemptTimeoutError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("ATTEMPT_TIMEOUT", message, details);
  }
}

/** Telegram did not answer one request that is harmless to repeat within `callTimeoutMs`. */
export class CallTimeoutError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("CALL_TIMEOUT", message, details);
  }
}

/** The lease behind this client was released, revoked or lost. */
export class LeaseReleasedError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails & { readonly code?: "OWNERSHIP_LOST" } = {}) {
    super(details.code ?? "LEASE_RELEASED", message, details);
  }
}

/** This process lost its right to connect the session, and with it the lease. */
export class OwnershipLostError extends LeaseReleasedError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super(message, { ...details, code: "OWNERSHIP_LOST" });
  }
}

/** The pool is closed or closing. */
export class PoolClosedError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("POOL_CLOSED", message, details);
  }
}

/** The text is not a session string this package can read. */
export class InvalidSessionError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("INVALID_SESSION", message, details);
  }
}

/** The id holds another auth key, or the auth key is held under another id; `sessionId` is the id that holds it. */
export class DuplicateSessionError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("DUPLICATE_SESSION", message, details);
  }
}

/** No session has this id. */
export class SessionNotFoundError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("SESSION_NOT_FOUND", message, details);
  }
}

/** A client could not be connected, or its connection was lost. */
export class ConnectError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("CONNECT_FAILED", message, details);
  }
}

/** The session was told to wait, but the work had sent a write that may have taken effect; `cause` is Telegram's error. */
export class RotationUnsafeError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("ROTATION_UNSAFE", message, details);
  }
}

/**
 * The work was begun again and again on sessions it had tried before, and never got further: it makes more requests than
 * a session grants at once. `cause` is the last refusal.
 */
export class NoProgressError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("NO_PROGRESS", message, details);
  }
}

/** A write was sent and its outcome is not known for sure. It is not repeated. */
export class OutcomeUnknownError extends SessionPoolError {
  /** `"yes"`: Telegram says that it has it already. `"unknown"`: nobody can tell. */
  readonly executed: "yes" | "unknown";

  constructor(message: string, executed: "yes" | "unknown", details: SessionPoolErrorDetails = {}) {
    super("OUTCOME_UNKNOWN", message, details);
    this.executed = executed;
  }
}

/** The storage failed or did not answer in time. */
export class StorageError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails & { readonly code?: "STORAGE_CORRUPT" } = {}) {
    super(details.code ?? "STORAGE_FAILED", message, details);
  }
}

/** What the storage holds cannot be read. Nothing was overwritten. */
export class StorageCorruptError extends StorageError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super(message, { ...details, code: "STORAGE_CORRUPT" });
  }
}

/** An option or argument is missing, unknown or of the wrong kind; the message names it. */
export class OptionsError extends SessionPoolError {
  constructor(message: string, details: SessionPoolErrorDetails = {}) {
    super("INVALID_OPTIONS", message, details);
  }
}
