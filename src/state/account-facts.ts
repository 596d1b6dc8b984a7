import type { PoolContext } from "../pool-context.js";
import type { RecordWriter } from "../storage/record-writer.js";
import { concernsAccount } from "../telegram/verdicts.js";
import { latestCooldowns, siblingsOf } from "./accounts.js";
import { markDirty, type PooledSession } from "./pooled-session.js";
import { endOf, type LearnedFacts, type Restriction } from "./session-entry.js";
import type { SessionStateManager } from "./session-state-manager.js";
import type { SessionTable } from "./session-table.js";
import { shareCooldowns } from "./shared-cooldowns.js";
import type { StatePublisher } from "./state-publisher.js";

/**
 * What Telegram has told about the accounts of the sessions, and what follows from it: a session that is known to belong to
 * an account shares the cooldowns and the restriction of its other sessions.
 */
export class AccountFacts {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #recordWriter: RecordWriter;
  readonly #sessionState: SessionStateManager;
  readonly #publisher: StatePublisher;
  /** Sessions whose account a caller is about to ask for: the pool does not ask as well. Bounded by the running checks. */
  readonly askedIds: Set<string> = new Set();

  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    recordWriter: RecordWriter,
    sessionState: SessionStateManager,
    publisher: StatePublisher,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#recordWriter = recordWriter;
    this.#sessionState = sessionState;
    this.#publisher = publisher;
  }

  /**
   * Records what Telegram has told about the account or the authorization; `null` and absent values change nothing. Writes
   * the record once, for all that was learned meanwhile, and not at all if nothing is new. No caller waits for it: what a
   * crash loses is learned again.
   */
  learn(known: PooledSession, facts: LearnedFacts): void {
    const former = known.accountId;
    if (!this.#sessionTable.setFacts(known, facts, this.#context.time.now())) return;
    markDirty(known, "facts");
    const { id, accountId } = known;
    if (facts.expiresAt !== undefined && facts.expiresAt !== null) this.#context.events.emit("expiryLearned", id);
    if (accountId !== former) this.joinAccount(known);
    void this.#recordWriter.saveOutsideFlush(id).then(() => {
      if (accountId !== null && accountId !== former) this.#context.events.publish("accountLearnt", { id, accountId });
    });
  }

  /**
   * Makes the latest cooldowns and restriction of the account hold for all its sessions, once the session is known to be one
   * of it. A death is not shared: a session that has just signed in, or was answered, is alive.
   */
  joinAccount(known: PooledSession): void {
    const { time, events } = this.#context;
    const now = time.now();
    const sessions = this.#sessionTable.sharing(known);
    if (sessions.length > 1) {
      this.#publisher.saveStarted(shareCooldowns(this.#sessionTable, known, now));
      const restriction = latestRestriction(sessions);
      for (const session of restriction === undefined ? [] : sessions) {
        if (restriction !== undefined && session.restriction === null)
          this.#sessionState.applyRestriction(session, restriction, now);
      }
      events.emit("availabilityChanged");
    }
    events.emit("available");
  }

  /**
   * To be called before a session leaves its account, by its removal or with another auth key: writes the cooldowns that
   * others of the account have from it. Never rejects.
   */
  async leaveAccount(known: PooledSession): Promise<void> {
    const siblings = siblingsOf(known);
    if (latestCooldowns([known], this.#context.time.now()).length === 0) return;
    await Promise.all(siblings.map(({ id }) => this.#recordWriter.save(id)));
  }
}

/** The latest restriction of the account among those of its sessions. */
function latestRestriction(sessions: readonly PooledSession[]): Restriction | undefined {
  let latest: Restriction | undefined;
  for (const { restriction } of sessions) {
    if (restriction === null || !concernsAccount(restriction.reason)) continue;
    if (latest === undefined || endOf(restriction) > endOf(latest)) latest = restriction;
  }
  return latest;
}
