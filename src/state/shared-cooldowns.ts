import { latestCooldowns } from "./accounts.js";
import type { CooldownScope } from "./cooldowns.js";
import type { SessionEntry } from "./session-entry.js";

/** A cooldown that has been started or extended. */
export interface StartedCooldown<Entry extends SessionEntry = SessionEntry> {
  readonly entry: Entry;
  readonly scope: CooldownScope;
  readonly until: number;
  readonly reason: string;
  /** Its former end; 0 if there was none. */
  readonly formerUntil: number;
  /** The session of the same account from which it comes; `undefined` for that session itself. */
  readonly sharedBy: string | undefined;
}

/** The part of the session table that cooldowns of an account need. */
interface CooldownTable<Entry extends SessionEntry> {
  get(id: string): Entry | undefined;
  sharing(entry: Entry): readonly Entry[];
  cool(entry: SessionEntry, scope: CooldownScope, until: number, reason: string, now: number): boolean;
}

/**
 * Starts or extends a cooldown that Telegram has started for the first of the sessions and that holds for all of them. Returns
 * those whose end has changed.
 */
export function coolAll<Entry extends SessionEntry>(
  table: CooldownTable<Entry>,
  sessions: readonly Entry[],
  scope: CooldownScope,
  until: number,
  reason: string,
  now: number,
): readonly StartedCooldown<Entry>[] {
  const [told] = sessions;
  const started: StartedCooldown<Entry>[] = [];
  for (const entry of sessions) {
    const formerUntil = entry.cooldowns.until(scope);
    if (!table.cool(entry, scope, until, reason, now)) continue;
    started.push({ entry, scope, until, reason, formerUntil, sharedBy: entry === told ? undefined : told?.id });
  }
  return started;
}

/** Makes the latest of the cooldowns of each scope hold for all sessions of the account. Returns what has changed. */
export function shareCooldowns<Entry extends SessionEntry>(
  table: CooldownTable<Entry>,
  entry: Entry,
  now: number,
): readonly StartedCooldown<Entry>[] {
  const sessions = table.sharing(entry);
  if (sessions.length === 1) return [];
  return latestCooldowns(sessions, now).flatMap(({ id, scope, until, reason }) => {
    const source = table.get(id);
    return source === undefined ? [] : coolAll(table, table.sharing(source), scope, until, reason, now);
  });
}

/** Makes the cooldowns of each account hold for all its sessions: once for each account, and not where nothing cools. */
export function shareAllCooldowns<Entry extends SessionEntry>(
  table: CooldownTable<Entry>,
  entries: readonly Entry[],
  now: number,
): void {
  const done = new Set<readonly SessionEntry[]>();
  for (const entry of entries) {
    const { accountSessions } = entry;
    if (accountSessions === null || done.has(accountSessions)) continue;
    done.add(accountSessions);
    if (!accountSessions.every((session) => session.isUnblocked)) shareCooldowns(table, entry, now);
  }
}
