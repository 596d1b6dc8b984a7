import type { PoolContext } from "../pool-context.js";
import type { RecordedCooldown } from "../storage/session-serializer.js";
import { concernsAccount, dependsOnLogin } from "../telegram/verdicts.js";
import type { PooledSession } from "./pooled-session.js";
import type { Restriction, SessionFacts } from "./session-entry.js";
import { isOfKey, type SessionStateManager } from "./session-state-manager.js";
import type { SessionTable } from "./session-table.js";
import { coolAll, shareCooldowns } from "./shared-cooldowns.js";
import type { StatePublisher } from "./state-publisher.js";

/** The state of a session in another process's record. */
export interface RemoteState {
  readonly deadReason: string | null;
  readonly disabledReason: string | null;
  readonly restriction: Restriction | null;
}

/**
 * Merges what other processes have written into the state of sessions: cooldowns only move later, and changes of this
 * process that are not written yet take precedence. What is merged is not written again.
 */
export class RemoteStateMerger {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #sessionState: SessionStateManager;
  readonly #publisher: StatePublisher;

  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    sessionState: SessionStateManager,
    publisher: StatePublisher,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#sessionState = sessionState;
    this.#publisher = publisher;
  }

  /** Applies a cooldown from a record written by another process. */
  mergeCooldown(entry: PooledSession, { scope, until, reason }: RecordedCooldown): void {
    const isOfLogin = !concernsAccount(reason) || (scope.kind === "method" && dependsOnLogin(scope.method));
    const sessions = this.#sessionTable.sharing(entry, !isOfLogin);
    this.#publisher.publishStarted(
      coolAll(this.#sessionTable, sessions, scope, until, reason, this.#context.time.now()),
    );
  }

  /** Applies the state from a record written by another process, except where local changes are yet to be written. */
  mergeState(known: PooledSession, remote: RemoteState): void {
    const { time } = this.#context;
    const { pendingChanges } = known;
    const now = time.now();
    if (pendingChanges.has("revived")) return;
    if (!pendingChanges.has("disabled") && remote.disabledReason !== known.disabledReason) {
      this.#sessionTable.setDisabled(known, remote.disabledReason, now);
    }
    if (pendingChanges.has("answered")) return;
    if (remote.deadReason !== null) {
      // The other process may not know the new session string yet.
      if (!pendingChanges.has("resurrected") && this.#sessionState.setDead(known, remote.deadReason))
        this.#context.events.publish("died", { id: known.id, reason: remote.deadReason });
    } else if (known.deadReason !== null && !pendingChanges.has("verdict")) {
      this.#sessionState.clearFatal(known.id);
      this.#sessionTable.setDead(known, null, now);
    }
    const isOutdated = pendingChanges.has("resurrected") && isOfKey(remote.restriction?.reason);
    if (remote.restriction !== null && !isOutdated) {
      if (known.restriction === null)
        this.#context.events.publish("restricted", { id: known.id, reason: remote.restriction.reason });
      this.#sessionTable.restrict(known, remote.restriction, now);
      this.#context.events.emit("unhealthy", known.id);
    } else if (!pendingChanges.has("verdict")) this.#sessionTable.restrict(known, null, now);
  }

  /** Applies what another process has learned, except where news of this one are yet to be written. */
  mergeFacts(known: PooledSession, { accountId, isBot, expiresAt, authorizationTtlDays }: SessionFacts): void {
    const former = known.accountId;
    const hasNews = known.pendingChanges.has("facts");
    const remote = {
      ...(hasNews && former !== null ? {} : { accountId, isBot }),
      ...(hasNews && known.expiresAt !== null ? {} : { expiresAt, authorizationTtlDays }),
    };
    if (!this.#sessionTable.setFacts(known, remote, this.#context.time.now())) return;
    if (expiresAt !== null) this.#context.events.emit("expiryLearned", known.id);
    if (accountId === null || known.accountId === former) return;
    this.#publisher.publishStarted(shareCooldowns(this.#sessionTable, known, this.#context.time.now()));
    this.#context.events.emit("available");
    this.#context.events.publish("accountLearnt", { id: known.id, accountId });
  }
}
