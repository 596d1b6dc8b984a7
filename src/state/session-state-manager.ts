import { LeaseReleasedError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { RecordedCooldown } from "../storage/session-serializer.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import { findVerdictRow } from "../telegram/verdict-table.js";
import {
  concernsAccount,
  dependsOnLogin,
  expiresOnItsOwn,
  FREEZE_CODE,
  isEndOfAccount,
  MAX_COOLDOWN_SECONDS,
  type Verdict,
} from "../telegram/verdicts.js";
import { latestCooldowns, siblingsOf } from "./accounts.js";
import type { CooldownScope } from "./cooldowns.js";
import { markDirty, type PooledSession } from "./pooled-session.js";
import { endOf, type LearnedFacts, NO_BACK_OFF, type Restriction, type SessionFacts } from "./session-entry.js";
import type { SessionRegistry } from "./session-registry.js";
import type { SessionTable, StartedCooldown } from "./session-table.js";

/** The state of a session in another process's record. */
export interface RemoteState {
  readonly deadReason: string | null;
  readonly disabledReason: string | null;
  readonly restriction: Restriction | null;
}

/**
 * Codes that may be transient: the session counts as dead only if the code is repeated on a new connection. Source: TDLib
 * treats AUTH_KEY_PERM_EMPTY as a server fault. Only answers count, as these are encrypted with the session's key; a
 * transport error is not, and may come from anyone on the route.
 */
const UNCONFIRMED_DEATH_CODES: ReadonlySet<string> = new Set(["AUTH_KEY_PERM_EMPTY"]);
/** Codes for which earlier versions of this package marked a session as dead. */
const FORMER_DEATHS: ReadonlySet<string> = new Set(["TRANSPORT_404", "PHONE_NUMBER_BANNED"]);
const CONFIRMATION_WINDOW_MS = 600_000;

/** Whether the reason of a death is an error code of Telegram, as opposed to one that a user gave. */
export function isTelegramErrorCode(reason: string): boolean {
  return (
    UNCONFIRMED_DEATH_CODES.has(reason) || FORMER_DEATHS.has(reason) || findVerdictRow(reason)?.row.kind === "dead"
  );
}

/**
 * Whether a restriction concerns the auth key instead of the account: the login was not completed, and only completing it
 * or another session string lifts the restriction. Source: core.telegram.org/api/auth#2fa.
 */
export function isOfKey(reason: string | undefined): boolean {
  return reason === "SESSION_PASSWORD_NEEDED";
}

/** A cooldown or freeze that ends later by less than this is the same one, by a different clock. */
const SAME_END_TOLERANCE_MS = 1_000;

/**
 * Applies verdicts of Telegram, decisions of the user and records of other processes to sessions: first the session table
 * is changed, then the record is written, then the event is published.
 */
export class SessionStateManager {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #registry: SessionRegistry;
  readonly #recordWriter: RecordWriter;
  /** The errors of dead sessions. `clearFatal` deletes them when a session is enabled or removed. */
  readonly #fatal = new Map<string, Error>();
  /** When an unconfirmed code was last received, by session; deleted together with `#fatal`. */
  readonly #suspectedAt = new Map<string, number>();
  #probedId: string | undefined;
  /** Sessions whose account a caller is about to ask for: the pool does not ask as well. Bounded by the running checks. */
  readonly askedIds: Set<string> = new Set();

  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    registry: SessionRegistry,
    recordWriter: RecordWriter,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#registry = registry;
    this.#recordWriter = recordWriter;
    // After its "cooled" event, which waits for the record, and never in the call stack of a user.
    context.events.on("recovered", (id, isAnnounced) => {
      if (isAnnounced) void recordWriter.flush(id).then(() => context.events.publish("recovered", { id }));
    });
  }

  /** The error that made the session dead, with which requests on it fail; `undefined` while the session is probed. */
  fatal(id: string): Error | undefined {
    return this.#probedId === id ? undefined : this.#fatal.get(id);
  }

  /** Whether the session is being probed: only then a restricted or dead session is connected and used. */
  isProbed(id: string): boolean {
    return this.#probedId === id;
  }

  /** Runs a probe of the session, which may connect although it is restricted or dead. One at a time. */
  async whileProbed<T>(id: string, probe: () => Promise<T>): Promise<T> {
    this.#probedId = id;
    try {
      return await probe();
    } finally {
      this.#probedId = undefined;
    }
  }

  /**
   * Applies the verdict on an error of Telegram. Returns the scope of the cooldown that it started, if it started one.
   *
   * @param isOfItsKey whether the session still has the auth key of the request. If not, the death of that key does not
   * concern it; a cooldown may be one of the account, and does.
   */
  applyVerdict(
    id: string,
    error: unknown,
    verdict: Verdict,
    request?: OutgoingRequest,
    isOfItsKey = true,
  ): CooldownScope | undefined {
    const entry = this.#sessionTable.get(id);
    if (entry === undefined) return undefined;
    const { log, metrics } = this.#context;
    if (verdict.isGuess)
      log.write("warn", `Session "${id}": a wait without readable seconds; cooling down for ${verdict.seconds} s.`, {
        event: "unreadableWait",
        sessionId: id,
        seconds: verdict.seconds,
      });
    switch (verdict.kind) {
      case "cooldown": {
        const method = request?.method ?? "connect";
        metrics.recorder?.recordFlood(id, method, verdict.code, verdict.seconds ?? 60);
        metrics.timeline?.recordFlood(method);
        const scope = this.#scopeOf(verdict, request);
        this.startCooldown(entry, scope, verdict.seconds ?? 60, verdict.code, request?.method, isOfItsKey);
        return scope;
      }
      case "restricted":
        if (verdict.scope === "method" && request !== undefined)
          return this.#restrictMethod(entry, verdict, request, isOfItsKey);
        if (!isOfItsKey && isOfKey(verdict.code)) return undefined;
        this.restrict(entry, verdict.code, isOfItsKey);
        return undefined;
      case "dead":
        if (isOfItsKey && request?.isHomeDc !== false) this.markDead(entry, verdict.code, error);
        return undefined;
      default:
        if (isOfItsKey && request?.isHomeDc !== false && this.#isConfirmed(id, verdict.code))
          this.markDead(entry, verdict.code, error);
        return undefined;
    }
  }

  /** Whether Telegram has repeated an unconfirmed code within the confirmation window. */
  #isConfirmed(id: string, code: string): boolean {
    if (!UNCONFIRMED_DEATH_CODES.has(code)) return false;
    const now = this.#context.time.now();
    const isRepeated = now - (this.#suspectedAt.get(id) ?? Number.NEGATIVE_INFINITY) < CONFIRMATION_WINDOW_MS;
    if (isRepeated) this.#suspectedAt.delete(id);
    else this.#suspectedAt.set(id, now);
    return isRepeated;
  }

  /**
   * Starts or extends a cooldown by an answer of Telegram, to `refusedMethod`, or by a lease. It holds for the account unless
   * the reason is about the authorization alone.
   *
   * @param isOfItsKey see {@link applyVerdict}: a former key may have been another account's
   */
  startCooldown(
    entry: PooledSession,
    scope: CooldownScope,
    seconds: number,
    reason: string,
    refusedMethod?: string,
    isOfItsKey = true,
  ): void {
    const { time, events } = this.#context;
    const now = time.now();
    const until = now + seconds * 1000;
    const sessions = this.#concerned(entry, isOfItsKey && concernsAccount(reason));
    const started = this.#sessionTable.coolAll(sessions, scope, until, reason, now);
    if (started.length === 0) return;
    events.emit("availabilityChanged");
    this.#saveStarted(started, seconds, refusedMethod);
  }

  /** Restricts the account: for `restrictedForMs`, or until it is enabled if the reason does not expire on its own. */
  restrict(entry: PooledSession, reason: string, isOfItsKey = true): void {
    const { time, options } = this.#context;
    const now = time.now();
    const until =
      expiresOnItsOwn(reason) && Number.isFinite(options.restrictedForMs) ? now + options.restrictedForMs : null;
    const wasFrozen = entry.isFrozen;
    for (const session of this.#concerned(entry, isOfItsKey && concernsAccount(reason))) {
      this.#applyRestriction(session, { reason, until }, now);
    }
    if (entry.isFrozen && !wasFrozen) this.#context.events.emit("frozen", entry.id);
  }

  /**
   * Applies a freeze that Telegram's configuration names: the session is restricted until that instant, epoch
   * milliseconds; until Telegram says otherwise if it is `null` or past.
   */
  freeze(known: PooledSession, until: number | null): void {
    const { time } = this.#context;
    const now = time.now();
    const end = until === null || until <= time.toWall(now) ? null : time.fromWall(until);
    for (const session of this.#sessionTable.sharing(known)) {
      const { restriction } = session;
      if (restriction === null || !session.isFrozen) {
        this.#applyRestriction(session, { reason: FREEZE_CODE, until: end }, now);
      } else if (end !== null && end - (restriction.until ?? 0) >= SAME_END_TOLERANCE_MS) {
        this.#applyRestriction(session, { reason: restriction.reason, until: end }, now);
      }
    }
  }

  /** Restricts the session, writes its record and publishes the event. */
  #applyRestriction(entry: PooledSession, restriction: Restriction, now: number): void {
    const { events, metrics } = this.#context;
    const { reason } = restriction;
    const isNew = entry.restriction?.reason !== reason;
    if (isNew) metrics.recorder?.restrictions.add(entry.id, reason);
    this.#sessionTable.restrict(entry, restriction, now);
    events.emit("availabilityChanged");
    events.emit("unhealthy", entry.id);
    this.#saveThen(entry.id, () => {
      if (isNew) this.#context.events.publish("restricted", { id: entry.id, reason });
    });
  }

  /**
   * Keeps a frozen session from a read that was refused: the method, or the chat that the account cannot access. Returns
   * the scope of the cooldown.
   */
  limitFrozen(id: string, verdict: Verdict, request: OutgoingRequest): CooldownScope | undefined {
    const entry = this.#sessionTable.get(id);
    if (entry === undefined) return undefined;
    const isOfPeer = verdict.code === "FROZEN_PARTICIPANT_MISSING" && request.peer !== undefined;
    const scope: CooldownScope = isOfPeer
      ? { kind: "peer", peer: request.peer }
      : { kind: "method", method: request.method };
    this.#restrictScope(entry, scope, verdict.code, request.method);
    return scope;
  }

  /** Telegram refuses a method without a duration: it is tried again after the duration of a restriction. */
  #restrictMethod(
    entry: PooledSession,
    { code }: Verdict,
    { method }: OutgoingRequest,
    isOfItsKey: boolean,
  ): CooldownScope {
    const scope: CooldownScope = { kind: "method", method };
    this.#context.metrics.recorder?.restrictions.add(entry.id, code);
    this.#restrictScope(entry, scope, code, method, isOfItsKey);
    return scope;
  }

  #restrictScope(entry: PooledSession, scope: CooldownScope, code: string, method: string, isOfItsKey = true): void {
    const seconds = Math.min(
      Math.max(Math.ceil(this.#context.options.restrictedForMs / 1000), 1),
      MAX_COOLDOWN_SECONDS,
    );
    this.startCooldown(entry, scope, seconds, code, method, isOfItsKey);
  }

  /** Marks the session as dead, by an answer of Telegram or by the user; if Telegram has ended the account, all of it. */
  markDead(entry: PooledSession, reason: string, error?: unknown): void {
    for (const session of this.#concerned(entry, isEndOfAccount(reason))) this.#markDead(session, reason, error);
  }

  #markDead(entry: PooledSession, reason: string, error: unknown): void {
    if (!this.#setDead(entry, reason, error)) return;
    // A reason of the user's own is free text, and no label.
    this.#context.metrics.recorder?.deaths.add(entry.id, isTelegramErrorCode(reason) ? reason : "retired");
    this.#saveThen(entry.id, () => {
      // The record may have brought another auth key from another process in the meantime.
      if (entry.deadReason === reason) this.#context.events.publish("died", { id: entry.id, reason });
    });
  }

  /** Disables the session until it is enabled; current leases may finish. */
  disable(known: PooledSession, reason: string): void {
    this.#sessionTable.setDisabled(known, reason, this.#context.time.now());
    this.#context.events.emit("availabilityChanged");
  }

  /** Ends death, restriction and disabling. Cooldowns stay. */
  revive(known: PooledSession): void {
    this.clearFatal(known.id);
    this.#sessionTable.revive(known, this.#context.time.now());
  }

  /** Applies an answered probe: whatever Telegram said of the session before is void. */
  markAnswered(known: PooledSession): void {
    const now = this.#context.time.now();
    this.clearFatal(known.id);
    this.#sessionTable.restrict(known, null, now);
    this.#sessionTable.backOff(known, NO_BACK_OFF, now);
    this.#sessionTable.setDead(known, null, now);
    markDirty(known, "answered");
    void this.#recordWriter.save(known.id);
    this.#context.events.emit("available");
  }

  /** Applies a complete answer by which the account is not frozen: it holds for every session of the account. */
  thaw(known: PooledSession): void {
    const now = this.#context.time.now();
    for (const session of this.#sessionTable.sharing(known)) {
      if (session === known || !session.isFrozen) continue;
      this.#sessionTable.restrict(session, null, now);
      markDirty(session, "answered");
      void this.#recordWriter.save(session.id);
    }
    this.markAnswered(known);
  }

  /** Ends what concerned the former auth key of a session that has a new one. */
  keyReplaced(known: PooledSession): void {
    const { time, events } = this.#context;
    this.clearFatal(known.id);
    this.#sessionTable.setDead(known, null, time.now());
    if (isOfKey(known.restriction?.reason)) this.#sessionTable.restrict(known, null, time.now());
    events.emit("available");
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
   * of it. A death is not shared: whoever has just signed in, or was answered, is alive.
   */
  joinAccount(known: PooledSession): void {
    const { time, events } = this.#context;
    const now = time.now();
    const sessions = this.#sessionTable.sharing(known);
    if (sessions.length > 1) {
      this.#saveStarted(this.#sessionTable.shareCooldowns(known, now));
      const restriction = latestRestriction(sessions);
      for (const session of restriction === undefined ? [] : sessions) {
        if (restriction !== undefined && session.restriction === null)
          this.#applyRestriction(session, restriction, now);
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

  /** Applies what another process has learned, except where news of this one are yet to be written. */
  mergeRemoteFacts(known: PooledSession, { accountId, isBot, expiresAt, authorizationTtlDays }: SessionFacts): void {
    const former = known.accountId;
    const hasNews = known.pendingChanges.has("facts");
    const remote = {
      ...(hasNews && former !== null ? {} : { accountId, isBot }),
      ...(hasNews && known.expiresAt !== null ? {} : { expiresAt, authorizationTtlDays }),
    };
    if (!this.#sessionTable.setFacts(known, remote, this.#context.time.now())) return;
    if (expiresAt !== null) this.#context.events.emit("expiryLearned", known.id);
    if (accountId === null || known.accountId === former) return;
    this.#publishStarted(this.#sessionTable.shareCooldowns(known, this.#context.time.now()));
    this.#context.events.emit("available");
    this.#context.events.publish("accountLearnt", { id: known.id, accountId });
  }

  /** Applies a cooldown from a record written by another process. */
  mergeRemoteCooldown(entry: PooledSession, { scope, until, reason }: RecordedCooldown): void {
    const isOfLogin = !concernsAccount(reason) || (scope.kind === "method" && dependsOnLogin(scope.method));
    const sessions = this.#concerned(entry, !isOfLogin);
    this.#publishStarted(this.#sessionTable.coolAll(sessions, scope, until, reason, this.#context.time.now()));
  }

  /** Applies the state from a record written by another process, except where local changes are yet to be written. */
  mergeRemoteState(known: PooledSession, remote: RemoteState): void {
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
      if (!pendingChanges.has("resurrected") && this.#setDead(known, remote.deadReason))
        this.#context.events.publish("died", { id: known.id, reason: remote.deadReason });
    } else if (known.deadReason !== null && !pendingChanges.has("verdict")) {
      this.clearFatal(known.id);
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

  /** Returns whether the session was alive before. */
  #setDead(entry: PooledSession, reason: string, error?: unknown): boolean {
    if (entry.deadReason !== null) return false;
    const { time, events } = this.#context;
    this.#fatal.set(
      entry.id,
      error instanceof Error
        ? error
        : new LeaseReleasedError(`Session "${entry.id}" is dead: ${reason}.`, { sessionId: entry.id }),
    );
    this.#sessionTable.setDead(entry, reason, time.now());
    events.emit("availabilityChanged");
    events.emit("dead", entry.id);
    events.emit("unhealthy", entry.id);
    return true;
  }

  /** The sessions that a verdict on one session concerns, itself first. */
  #concerned(entry: PooledSession, isOfAccount: boolean): readonly PooledSession[] {
    return isOfAccount ? this.#sessionTable.sharing(entry) : [entry];
  }

  /** Writes the record of each session, and publishes its event then. `seconds` as Telegram named them. */
  #saveStarted(started: readonly StartedCooldown<PooledSession>[], seconds?: number, refusedMethod?: string): void {
    const now = this.#context.time.now();
    for (const { entry, scope, until, reason, sharedBy } of started) {
      const left = seconds ?? Math.ceil((until - now) / 1000);
      this.#saveThen(entry.id, () =>
        this.#publishCooled(entry.id, scope, until, left, reason, refusedMethod, sharedBy),
      );
    }
  }

  /** Publishes what another process has written, or will write, except what differs by its clock only. */
  #publishStarted(started: readonly StartedCooldown<PooledSession>[]): void {
    const now = this.#context.time.now();
    for (const { entry, scope, until, reason, formerUntil, sharedBy } of started) {
      if (until - Math.max(formerUntil, now) < SAME_END_TOLERANCE_MS) continue;
      this.#publishCooled(entry.id, scope, until, Math.ceil((until - now) / 1000), reason, undefined, sharedBy);
    }
  }

  #publishCooled(
    id: string,
    scope: CooldownScope,
    until: number,
    seconds: number,
    reason: string,
    refusedMethod?: string,
    sharedBy?: string,
  ): void {
    const refused = refusedMethod === undefined ? {} : { refusedMethod };
    const shared = sharedBy === undefined ? {} : { sharedBy };
    const event = { id, until: this.#context.time.toWall(until), seconds, reason, ...refused, ...shared };
    if (scope.kind === "session") this.#context.events.publish("cooled", event);
    else if (scope.kind === "method") this.#context.events.publish("cooled", { ...event, method: scope.method });
    else if (scope.kind === "peer") this.#context.events.publish("cooled", { ...event, peer: scope.peer });
  }

  /** Forgets the error of a session that is no longer dead. */
  clearFatal(id: string): void {
    this.#fatal.delete(id);
    this.#suspectedAt.delete(id);
  }

  #scopeOf(verdict: Verdict, request: OutgoingRequest | undefined): CooldownScope {
    if (request === undefined) return { kind: "session" };
    if (verdict.scope === "peer" && request.peer !== undefined) return { kind: "peer", peer: request.peer };
    if (verdict.scope === "session" && this.#context.options.cooldownScope === "session") return { kind: "session" };
    return { kind: "method", method: request.method };
  }

  /** Publishes only once the record is written, so that what listeners know is still true after a crash. */
  #saveThen(id: string, publish: () => void): void {
    const known = this.#registry.get(id);
    if (known !== undefined) markDirty(known, "verdict");
    void this.#recordWriter.save(id).then(publish);
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
