import { LeaseReleasedError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import { findVerdictRow } from "../telegram/verdict-table.js";
import {
  concernsAccount,
  expiresOnItsOwn,
  FREEZE_CODE,
  isEndOfAccount,
  MAX_COOLDOWN_SECONDS,
  type Verdict,
} from "../telegram/verdicts.js";
import type { CooldownScope } from "./cooldowns.js";
import { markDirty, type PooledSession } from "./pooled-session.js";
import { NO_BACK_OFF, type Restriction } from "./session-entry.js";
import type { SessionTable } from "./session-table.js";
import { coolAll } from "./shared-cooldowns.js";
import { SAME_END_TOLERANCE_MS, type StatePublisher } from "./state-publisher.js";

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

/**
 * Applies verdicts of Telegram and decisions of the user to sessions: first the session table is changed, then the record is
 * written, then the event is published.
 */
export class SessionStateManager {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #recordWriter: RecordWriter;
  readonly #publisher: StatePublisher;
  /** The errors of dead sessions. `clearFatal` deletes them when a session is enabled or removed. */
  readonly #fatal = new Map<string, Error>();
  /** When an unconfirmed code was last received, by session; deleted together with `#fatal`. */
  readonly #suspectedAt = new Map<string, number>();
  #probedId: string | undefined;
  constructor(
    context: PoolContext,
    sessionTable: SessionTable<PooledSession>,
    recordWriter: RecordWriter,
    publisher: StatePublisher,
  ) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#recordWriter = recordWriter;
    this.#publisher = publisher;
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
    const sessions = this.#sessionTable.sharing(entry, isOfItsKey && concernsAccount(reason));
    const started = coolAll(this.#sessionTable, sessions, scope, until, reason, now);
    if (started.length === 0) return;
    events.emit("availabilityChanged");
    this.#publisher.saveStarted(started, seconds, refusedMethod);
  }

  /** Restricts the account: for `restrictedForMs`, or until it is enabled if the reason does not expire on its own. */
  restrict(entry: PooledSession, reason: string, isOfItsKey = true): void {
    const { time, options } = this.#context;
    const now = time.now();
    const until =
      expiresOnItsOwn(reason) && Number.isFinite(options.restrictedForMs) ? now + options.restrictedForMs : null;
    const wasFrozen = entry.isFrozen;
    for (const session of this.#sessionTable.sharing(entry, isOfItsKey && concernsAccount(reason))) {
      this.applyRestriction(session, { reason, until }, now);
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
        this.applyRestriction(session, { reason: FREEZE_CODE, until: end }, now);
      } else if (end !== null && end - (restriction.until ?? 0) >= SAME_END_TOLERANCE_MS) {
        this.applyRestriction(session, { reason: restriction.reason, until: end }, now);
      }
    }
  }

  /** Restricts the session, writes its record and publishes the event. */
  applyRestriction(entry: PooledSession, restriction: Restriction, now: number): void {
    const { events, metrics } = this.#context;
    const { reason } = restriction;
    const isNew = entry.restriction?.reason !== reason;
    if (isNew) metrics.recorder?.restrictions.add(entry.id, reason);
    this.#sessionTable.restrict(entry, restriction, now);
    events.emit("availabilityChanged");
    events.emit("unhealthy", entry.id);
    this.#publisher.saveThen(entry.id, () => {
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
    for (const session of this.#sessionTable.sharing(entry, isEndOfAccount(reason)))
      this.#markDead(session, reason, error);
  }

  #markDead(entry: PooledSession, reason: string, error: unknown): void {
    if (!this.setDead(entry, reason, error)) return;
    // A reason of the user's own is free text, and no label.
    this.#context.metrics.recorder?.deaths.add(entry.id, isTelegramErrorCode(reason) ? reason : "retired");
    this.#publisher.saveThen(entry.id, () => {
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

  /** Marks the session as dead, in memory only. Returns whether it was alive before. */
  setDead(entry: PooledSession, reason: string, error?: unknown): boolean {
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
}
