import { type AccountIndex, siblingsOf } from "./accounts.js";
import type { AvailableSessions } from "./available-sessions.js";
import type { ExpiryHeap } from "./expiry-heap.js";
import type { SessionEntry } from "./session-entry.js";

/**
 * Keeps the sessions of accounts with several sessions in the order of selection: while one of them is leased the others
 * come after the sessions of all other accounts, and once it is released they count as used, too. Accounts with one session
 * cost nothing.
 */
export class AccountSpread<Entry extends SessionEntry = SessionEntry> {
  readonly #accounts: AccountIndex<Entry>;
  readonly #available: AvailableSessions;
  readonly #expiries: ExpiryHeap;

  constructor(accounts: AccountIndex<Entry>, available: AvailableSessions, expiries: ExpiryHeap) {
    this.#accounts = accounts;
    this.#available = available;
    this.#expiries = expiries;
  }

  /** Adds a session to its account, which has become known. */
  join(entry: Entry, now: number): void {
    this.#accounts.add(entry);
    if (entry.accountSessions !== null) this.update(entry.accountSessions, now);
  }

  /** Removes a session from its account, before that changes or is forgotten. */
  leave(entry: Entry, now: number): void {
    const siblings = siblingsOf(entry);
    const { isAvailable } = entry;
    this.#available.remove(entry);
    this.#accounts.remove(entry);
    entry.isAccountInUse = false;
    if (isAvailable) this.#available.add(entry, now);
    this.update(siblings, now);
  }

  /** Reports that a session has been leased. */
  onTaken(entry: SessionEntry, now: number): void {
    const { accountSessions } = entry;
    if (accountSessions === null) return;
    accountSessions.splice(accountSessions.indexOf(entry), 1);
    accountSessions.push(entry);
    this.update(accountSessions, now);
  }

  /** Reports that sessions have been used through another one of their account. `next` returns their order of use. */
  onUsed(siblings: readonly SessionEntry[], now: number, next: () => number): void {
    for (const sibling of siblings) {
      const { isAvailable, isScheduled } = sibling;
      this.#available.remove(sibling);
      if (isScheduled) this.#expiries.remove(sibling);
      sibling.lastUsedSequence = next();
      if (isAvailable) this.#available.add(sibling, now);
      if (isScheduled) this.#expiries.set(sibling);
    }
  }

  /** Moves the sessions of an account when its use has begun or ended. */
  update(sessions: readonly SessionEntry[], now: number): void {
    const isInUse = sessions.length > 1 && sessions.some((session) => session.isLeased);
    for (const session of sessions) {
      if (session.isAccountInUse === isInUse) continue;
      const { isAvailable } = session;
      this.#available.remove(session);
      session.isAccountInUse = isInUse;
      if (isAvailable) this.#available.add(session, now);
    }
  }
}

/** When a session of the same account was last used; `null` if none ever was. */
export function accountUsedAt({ lastUsedAt, accountSessions }: SessionEntry): number | null {
  let latest = lastUsedAt;
  for (const { lastUsedAt: usedAt } of accountSessions ?? []) {
    if (usedAt !== null && (latest === null || usedAt > latest)) latest = usedAt;
  }
  return latest;
}
