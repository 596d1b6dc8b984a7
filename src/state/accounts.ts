import { dependsOnLogin } from "../telegram/verdicts.js";
import type { CooldownScope } from "./cooldowns.js";
import type { SessionEntry } from "./session-entry.js";

/** Shared by all look-ups that find nothing. */
const NONE: readonly never[] = Object.freeze([]);

/**
 * The sessions of each account whose user id is known. An account with one session takes an entry of the map and nothing
 * else; the sessions of one with several share the array in {@link SessionEntry.accountSessions}.
 */
export class AccountIndex<Entry extends SessionEntry = SessionEntry> {
  readonly #sessions = new Map<string, Entry | Entry[]>();

  /** Adds a session under its account, if that is known. */
  add(entry: Entry): void {
    const { accountId } = entry;
    if (accountId === null) return;
    const found = this.#sessions.get(accountId);
    if (found === undefined || found === entry) {
      this.#sessions.set(accountId, entry);
      return;
    }
    if (Array.isArray(found)) {
      if (!found.includes(entry)) found.push(entry);
      entry.accountSessions = found;
      return;
    }
    const several = [found, entry];
    this.#sessions.set(accountId, several);
    for (const session of several) session.accountSessions = several;
  }

  /** Removes a session. MUST be called before its account changes. */
  remove(entry: Entry): void {
    const { accountId } = entry;
    const found = accountId === null ? undefined : this.#sessions.get(accountId);
    if (accountId === null || found === undefined) return;
    entry.accountSessions = null;
    if (!Array.isArray(found)) {
      if (found === entry) this.#sessions.delete(accountId);
      return;
    }
    const place = found.indexOf(entry);
    if (place >= 0) found.splice(place, 1);
    const [last] = found;
    if (found.length > 1 || last === undefined) return;
    last.accountSessions = null;
    this.#sessions.set(accountId, last);
  }

  /** The sessions of an account. */
  sessionsOf(accountId: string): readonly Entry[] {
    const found = this.#sessions.get(accountId);
    if (found === undefined) return NONE;
    return Array.isArray(found) ? found : [found];
  }
}

/** The other sessions of the same account, as far as is known. */
export function siblingsOf<Entry extends SessionEntry>(entry: Entry): readonly Entry[] {
  // Sessions of one account are of the same table, and of the same class.
  const sessions = entry.accountSessions as readonly Entry[] | null;
  return sessions === null ? NONE : sessions.filter((session) => session !== entry);
}

/** A cooldown of one session that holds for others of its account. */
export interface AccountCooldown {
  readonly scope: CooldownScope;
  readonly until: number;
  readonly reason: string;
  /** The session that had it first. */
  readonly id: string;
}

/**
 * The latest cooldown of each scope among the sessions of an account. A cooldown that may be due to the age of one login is
 * left out: it says nothing of the others.
 */
export function latestCooldowns(sessions: readonly SessionEntry[], now: number): readonly AccountCooldown[] {
  const latest = new Map<string, AccountCooldown>();
  for (const { id, cooldowns } of sessions) {
    for (const { scope, until, reason } of cooldowns.active(now)) {
      if (scope.kind === "method" && dependsOnLogin(scope.method)) continue;
      const name = JSON.stringify(scope);
      if (until > (latest.get(name)?.until ?? 0)) latest.set(name, { scope, until, reason, id });
    }
  }
  return [...latest.values()];
}
