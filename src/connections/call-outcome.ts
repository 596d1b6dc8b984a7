import { CallTimeoutError, OutcomeUnknownError } from "../errors.js";
import type { CallOutcome } from "../observability/pool-metrics.js";
import { classifyTelegramError, type VerdictKind } from "../telegram/verdicts.js";
import { ConnectionLostError, UnreadableAnswerError } from "./client-adapter.js";

const OUTCOMES: Readonly<Record<VerdictKind, CallOutcome>> = {
  cooldown: "flood",
  restricted: "restricted",
  dead: "dead",
  retry: "serverError",
  none: "error",
};

/** How one transmission of a request ended that failed with this error. */
export function callOutcomeOf(error: unknown): CallOutcome {
  if (error instanceof ConnectionLostError) return "lost";
  if (error instanceof OutcomeUnknownError || error instanceof CallTimeoutError) return "timeout";
  const verdict = error instanceof UnreadableAnswerError ? undefined : classifyTelegramError(error);
  return verdict === undefined || verdict.code === "UNKNOWN" ? "unreadable" : OUTCOMES[verdict.kind];
}

/** Whether a request that failed with this error is a write that may have taken effect, without an answer that says so. */
export function isOutcomeUnknown(
  { isIdempotent, isSent }: { readonly isIdempotent: boolean; readonly isSent: boolean },
  error: unknown,
): boolean {
  if (error instanceof OutcomeUnknownError) return error.executed === "unknown";
  return !isIdempotent && isSent && classifyTelegramError(error).kind === "retry";
}
