import type { ClientProfile } from "../client-profile.js";
import type { Secret } from "../records/secret.js";
import type { RosterEntry } from "../roster/roster-entry.js";

/** One session of the pool: its place in the roster and what is not the roster's business. */
export interface KnownSession {
  readonly entry: RosterEntry;
  /** The session string. */
  secret: Secret;
  /** The session string as it stands in the record: sealed, or the same. */
  stored: Secret;
  fingerprint: string;
  profile: ClientProfile;
  /** It was removed while it was connected; its record goes when its client is gone. */
  isRemoved: boolean;
  /** What this process has changed and not written yet, and at which count of changes. */
  readonly changing: Map<OwnChange, number>;
}

/**
 * What wins over another process's record until it is on disk: what a person has changed (`"life"`: dead, disabled,
 * restricted), and what Telegram has just said (`"verdict"`).
 */
export type OwnChange = "tags" | "profile" | "key" | "life" | "verdict";

let changes = 0;

/** Takes note of a change; to be called before the record is written. */
export function markChanged(known: KnownSession, ...parts: readonly OwnChange[]): void {
  changes++;
  for (const part of parts) known.changing.set(part, changes);
}
