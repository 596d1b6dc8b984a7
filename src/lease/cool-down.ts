import { OptionsError } from "../errors.js";
import { checkCoolDown } from "../options/validate.js";
import type { CooldownScope } from "../state/cooldowns.js";
import type { SessionEntry } from "../state/session-entry.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import { canonicalMethod } from "../telegram/requests.js";
import type { CooldownTarget } from "./lease.js";

/** What a holder of a lease asks for: the session rests, or the session for one method or peer. */
export function coolDown(
  sessionState: SessionStateManager,
  entry: SessionEntry,
  seconds: number,
  scope: CooldownTarget,
): void {
  checkCoolDown(seconds, scope);
  sessionState.startCooldown(
    entry,
    cooldownScopeOf(scope),
    Math.min(Math.max(seconds, 1), LONGEST_WAIT_SECONDS),
    "coolDown",
  );
}

function cooldownScopeOf({ method, peer }: CooldownTarget): CooldownScope {
  if (method !== undefined && peer !== undefined) {
    throw new OptionsError("coolDown: give a method or a peer, not both.");
  }
  if (method !== undefined) return { kind: "method", method: canonicalMethod(method) };
  return peer === undefined ? { kind: "session" } : { kind: "peer", peer };
}

/** A wait is at least a second and at most 365 days. */
const LONGEST_WAIT_SECONDS = 365 * 86_400;
