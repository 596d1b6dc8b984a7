import { CallTimeoutError, ConnectError, OutcomeUnknownError, SessionPoolError } from "../errors.js";
import type { CallOutcome } from "../observability/pool-metrics.js";
import { affectsSession, classifyTelegramError, type VerdictKind } from "../telegram/verdicts.js";
import type { AttemptTracker, TrackedCall } from "./attempt.js";
import {
  ConnectionLostError,
  type InFlightRequest,
  type OutgoingRequest,
  UnreadableAnswerError,
} from "./client-adapter.js";
import type { LeaseScope } from "./lease-scope.js";

const OUTCOMES: Readonly<Record<VerdictKind, CallOutcome>> = {
  cooldown: "flood",
  restricted: "restricted",
  dead: "dead",
  retry: "serverError",
  none: "error",
};

const MAY_HAVE_EXECUTED = "it may have taken effect. It is not repeated; check before you send it again.";

/** A request in the gate, with the waiting time and the repetitions that it may still use. */
export interface PendingCall extends TrackedCall {
  readonly request: OutgoingRequest;
  readonly scope: LeaseScope | undefined;
  readonly tracker: AttemptTracker;
  readonly transmit: () => InFlightRequest;
  inlineWaitMs: number;
  transferWaitMs: number;
  resends: number;
  /** Whether the request was put on the wire. */
  isSent: boolean;
  /** Start of the current transmission by the monotonic clock; `undefined` if it is not measured. */
  sentAt: number | undefined;
  /** Whether an earlier transmission may have reached Telegram. */
  mayHaveArrived: boolean;
}

/** Returns whether a refusal at this point proves that the request has had no effect. */
export function isWithoutEffect({ isIdempotent: isRead, mayHaveArrived }: PendingCall): boolean {
  return isRead || !mayHaveArrived;
}

/** How one transmission of a request ended that failed with this error. */
export function callOutcomeOf(error: unknown): CallOutcome {
  if (error instanceof ConnectionLostError) return "lost";
  if (error instanceof OutcomeUnknownError || error instanceof CallTimeoutError) return "timeout";
  const verdict = error instanceof UnreadableAnswerError ? undefined : classifyTelegramError(error);
  return verdict === undefined || verdict.code === "UNKNOWN" ? "unreadable" : OUTCOMES[verdict.kind];
}

/** Whether a request that failed with this error is a write that may have taken effect, without an answer that says so. */
export function isOutcomeUnknown({ isIdempotent, isSent }: PendingCall, error: unknown): boolean {
  if (error instanceof OutcomeUnknownError) return error.executed === "unknown";
  return !isIdempotent && isSent && classifyTelegramError(error).kind === "retry";
}

/** Returns the error for a request that was not sent because its client could not connect. */
export function notConnected({ request, scope }: PendingCall, error: unknown): Error {
  if (error instanceof SessionPoolError || (error instanceof Error && affectsSession(classifyTelegramError(error)))) {
    return error;
  }
  const id = scope?.sessionId;
  const reason = error instanceof Error ? error.message : String(error);
  return new ConnectError(
    `${request.method} was not sent: the connection of session "${id}" was lost, and it must not connect now: ${reason}`,
    { cause: error, sessionId: id },
  );
}

/** Returns the error for an unreadable answer, or for a request that could not be serialized. */
export function unreadable(call: PendingCall, error: unknown): unknown {
  if (call.isIdempotent || !call.isSent) {
    call.tracker.broke(error);
    return error;
  }
  return outcomeError(call, "unknown", `was sent, and its answer could not be read: ${MAY_HAVE_EXECUTED}`, error);
}

/** Returns the error for a write that was sent and not answered. */
export function outcomeUnknown(call: PendingCall, cause: unknown): OutcomeUnknownError {
  return outcomeError(call, "unknown", `was sent and not answered: ${MAY_HAVE_EXECUTED}`, cause);
}

/** Returns the error for a write whose second copy Telegram refuses as a duplicate. */
export function alreadyExecuted(call: PendingCall, cause: unknown): OutcomeUnknownError {
  const text = "took effect, but its answer was lost with the connection: Telegram refuses the second copy.";
  return outcomeError(call, "yes", text, cause);
}

function outcomeError(
  { request, scope }: PendingCall,
  executed: "yes" | "unknown",
  text: string,
  cause: unknown,
): OutcomeUnknownError {
  return new OutcomeUnknownError(`${request.method} ${text}`, executed, { cause, sessionId: scope?.sessionId });
}
