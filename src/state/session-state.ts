import { LeaseReleasedError } from "../errors.js";
import type { PoolContext } from "../pool-context.js";
import type { RecordWriter } from "../storage/record-writer.js";
import type { RecordedCooldown } from "../storage/session-serializer.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import { findVerdictRow } from "../telegram/verdict-table.js";
import { expiresOnItsOwn, type Verdict } from "../telegram/verdicts.js";
import type { CooldownScope } from "./cooldowns.js";
import { markDirty, type PooledSession } from "./pooled-session.js";
import type { Restriction, SessionEntry } from "./session-entry.js";
import type { SessionRegistry } from "./session-registry.js";
import type { SessionTable } from "./session-table.js";

/** What another process's record says of a session. */
export interface RemoteState {
  readonly deadReason: string | null;
  readonly disabledReason: string | null;
  readonly restriction: Restriction | null;
}

/**
 * Only an answer proves a death, for answers are encrypted with the session's key: what comes unencrypted (a transport
 * error) anybody on the way may have sent. This answer, given once, may be a server's fault; given again after a new
 * connection it is true. Source: TDLib takes AUTH_KEY_PERM_EMPTY for a server's fault.
 */
const UNCONFIRMED_DEATH_CODES: ReadonlySet<string> = new Set(["AUTH_KEY_PERM_EMPTY"]);
/** By which earlier versions of this package retired a session. */
const FORMER_DEATHS: ReadonlySet<string> = new Set(["TRANSPORT_404", "PHONE_NUMBER_BANNED"]);
const CONFIRMATION_WINDOW_MS = 600_000;

/** Whether this reason of a death is Telegram's, not a person's. */
export function isTelegramErrorCode(reason: string): boolean {
  return (
    UNCONFIRMED_DEATH_CODES.has(reason) || FORMER_DEATHS.has(reason) || findVerdictRow(reason)?.row.kind === "dead"
  );
}

/**
 * Whether a restriction is one of the auth key, not of the account: the login was not finished, and only another session
 * string, or finishing it, helps. Source: core.telegram.org/api/auth#2fa.
 */
export function isOfKey(reason: string | undefined): boolean {
  return reason === "SESSION_PASSWORD_NEEDED";
}

/** Of a wait without an end: a year. */
const LONGEST_SECONDS = 365 * 86_400;

/** A cooldown that another process's record moves by less is the same one, by another clock. */
const SAME_COOLDOWN_TOLERANCE_MS = 1_000;

/** Turns verdicts into what the roster, the records and the listeners have to know, in that order. */
export class SessionStateManager {
  readonly #context: PoolContext;
  readonly #sessionTable: SessionTable;
  readonly #registry: SessionRegistry;
  readonly #recordWriter: RecordWriter;
  // One entry for each session that is dead or suspected; `forgive` deletes both when it lives again or was removed.
  readonly #fatal = new Map<string, Error>();
  /** When a session was last said to be unknown, if it is not dead by that yet. */
  readonly #suspectedAt = new Map<string, number>();

  /** The session that is being probed. */
  #probedId: string | undefined;

  constructor(context: PoolContext, sessionTable: SessionTable, registry: SessionRegistry, recordWriter: RecordWriter) {
    this.#context = context;
    this.#sessionTable = sessionTable;
    this.#registry = registry;
    this.#recordWriter = recordWriter;
    // After its "cooled", which waits for the record, and never in the stack of a caller of the pool.
    context.events.on("recovered", (id, isAnnounced) => {
      if (isAnnounced) void recordWriter.flush(id).then(() => context.events.publish("recovered", { id }));
    });
  }

  /** Why nothing may be sent on a dead session, unless that is to show whether it is still dead. */
  fatal(id: string): Error | undefined {
    return this.#probedId === id ? undefined : this.#fatal.get(id);
  }

  /** Whether the session is being probed: the one reason to connect and use a restricted or dead session. */
  isProbed(id: string): boolean {
    return this.#probedId === id;
  }

  /** Runs a probe of the session, during which it may connect whatever Telegram said of it. One at a time. */
  async whileProbed<T>(id: string, probe: () => Promise<T>): Promise<T> {
    this.#probedId = id;
    try {
      return await probe();
    } finally {
      this.#probedId = undefined;
    }
  }

  /**
   * Takes note of an error of Telegram's. Returns what it cooled, if it cooled anything. The death of a key that the
   * session does not have any more (`isOfItsKey`) is none of the session; a wait may be the account's, and counts.
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
    if (verdict.isGuess)
      this.#context.log.write(
        "warn",
        `Session "${id}": a wait without readable seconds; resting ${verdict.seconds} s.`,
        {
          event: "unreadableWait",
          sessionId: id,
          seconds: verdict.seconds,
        },
      );
    switch (verdict.kind) {
      case "cooldown": {
        const scope = this.#scopeOf(verdict, request);
        this.startCooldown(entry, scope, verdict.seconds ?? 60, verdict.code);
        return scope;
      }
      case "restricted":
        if (verdict.scope === "method" && request !== undefined) return this.#restrictMethod(entry, verdict, request);
        if (!isOfItsKey && isOfKey(verdict.code)) return undefined;
        this.restrict(entry, verdict.code);
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

  /** Whether Telegram has said for the second time in a while that it does not know the auth key. */
  #isConfirmed(id: string, code: string): boolean {
    if (!UNCONFIRMED_DEATH_CODES.has(code)) return false;
    const now = this.#context.time.now();
    const isAgain = now - (this.#suspectedAt.get(id) ?? Number.NEGATIVE_INFINITY) < CONFIRMATION_WINDOW_MS;
    if (isAgain) this.#suspectedAt.delete(id);
    else this.#suspectedAt.set(id, now);
    return isAgain;
  }

  startCooldown(entry: SessionEntry, scope: CooldownScope, seconds: number, reason: string): void {
    const { time, events } = this.#context;
    const now = time.now();
    const until = now + seconds * 1000;
    if (!this.#sessionTable.cool(entry, scope, until, reason, now)) return;
    events.emit("unavailable");
    this.#saveThen(entry.id, () => this.#tellCooled(entry.id, scope, until, seconds));
  }

  restrict(entry: SessionEntry, reason: string): void {
    const { time, events, options } = this.#context;
    const now = time.now();
    const until =
      expiresOnItsOwn(reason) && Number.isFinite(options.restrictedForMs) ? now + options.restrictedForMs : null;
    const isNews = entry.restriction?.reason !== reason;
    this.#sessionTable.restrict(entry, { reason, until }, now);
    events.emit("unavailable");
    events.emit("unhealthy", entry.id);
    this.#saveThen(entry.id, () => {
      if (isNews) this.#context.events.publish("restricted", { id: entry.id, reason });
    });
  }

  /** Telegram refuses one kind of request and says no end: it is tried again after as long as a restriction lasts. */
  #restrictMethod(entry: SessionEntry, { code }: Verdict, { method }: OutgoingRequest): CooldownScope {
    const scope: CooldownScope = { kind: "method", method };
    const seconds = Math.min(Math.max(Math.ceil(this.#context.options.restrictedForMs / 1000), 1), LONGEST_SECONDS);
    this.startCooldown(entry, scope, seconds, code);
    return scope;
  }

  markDead(entry: SessionEntry, reason: string, error?: unknown): void {
    if (!this.#setDead(entry, reason, error)) return;
    this.#saveThen(entry.id, () => {
      // Another process may have given the session another key meanwhile.
      if (entry.deadReason === reason) this.#tellDied(entry.id, reason);
    });
  }

  /** Keeps the session from work until it is revived; the current lease may end first. */
  disable(known: PooledSession, reason: string): void {
    this.#sessionTable.setDisabled(known, reason, this.#context.time.now());
    this.#context.events.emit("unavailable");
  }

  /** Ends death, restriction and disabling. A cooldown stays. */
  revive(known: PooledSession): void {
    this.clearFatal(known.id);
    this.#sessionTable.revive(known, this.#context.time.now());
  }

  /** The session has another auth key: what Telegram said of the former one is void. */
  keyReplaced(known: PooledSession): void {
    const { time, events } = this.#context;
    this.clearFatal(known.id);
    this.#sessionTable.setDead(known, null, time.now());
    if (isOfKey(known.restriction?.reason)) this.#sessionTable.restrict(known, null, time.now());
    events.emit("available");
  }

  /** Another process has learnt that the session has to rest. */
  mergeRemoteCooldown(entry: SessionEntry, { scope, until, reason }: RecordedCooldown): void {
    const { time } = this.#context;
    const now = time.now();
    const known = entry.cooldowns.until(scope);
    if (
      !this.#sessionTable.cool(entry, scope, until, reason, now) ||
      until - Math.max(known, now) < SAME_COOLDOWN_TOLERANCE_MS
    )
      return;
    this.#tellCooled(entry.id, scope, until, Math.ceil((until - now) / 1000));
  }

  /** Another process has learnt how the session stands: dead, restricted, disabled, or none of these. */
  mergeRemoteState(known: PooledSession, life: RemoteState): void {
    const { time } = this.#context;
    const { pendingChanges: changing } = known;
    const now = time.now();
    if (changing.has("revived")) return;
    if (!changing.has("disabled") && life.disabledReason !== known.disabledReason) {
      this.#sessionTable.setDisabled(known, life.disabledReason, now);
    }
    if (changing.has("answered")) return;
    if (life.deadReason !== null) {
      // The other process may know the former session string only.
      if (!changing.has("resurrected") && this.#setDead(known, life.deadReason))
        this.#tellDied(known.id, life.deadReason);
    } else if (known.deadReason !== null && !changing.has("verdict")) {
      this.clearFatal(known.id);
      this.#sessionTable.setDead(known, null, now);
    }
    const isOutdated = changing.has("resurrected") && isOfKey(life.restriction?.reason);
    if (life.restriction !== null && !isOutdated) {
      if (known.restriction === null)
        this.#context.events.publish("restricted", { id: known.id, reason: life.restriction.reason });
      this.#sessionTable.restrict(known, life.restriction, now);
      this.#context.events.emit("unhealthy", known.id);
    } else if (!changing.has("verdict")) this.#sessionTable.restrict(known, null, now);
  }

  /** Whether it was alive until now. */
  #setDead(entry: SessionEntry, reason: string, error?: unknown): boolean {
    if (entry.deadReason !== null) return false;
    const { time, events } = this.#context;
    this.#fatal.set(
      entry.id,
      error instanceof Error
        ? error
        : new LeaseReleasedError(`Session "${entry.id}" is dead: ${reason}.`, { sessionId: entry.id }),
    );
    this.#sessionTable.setDead(entry, reason, time.now());
    events.emit("unavailable");
    events.emit("dead", entry.id);
    events.emit("unhealthy", entry.id);
    return true;
  }

  #tellCooled(id: string, scope: CooldownScope, until: number, seconds: number): void {
    const event = { id, until: this.#context.time.toWall(until), seconds };
    if (scope.kind === "session") this.#context.events.publish("cooled", event);
    else if (scope.kind === "method") this.#context.events.publish("cooled", { ...event, method: scope.method });
    else if (scope.kind === "peer") this.#context.events.publish("cooled", { ...event, peer: scope.peer });
  }

  #tellDied(id: string, reason: string): void {
    this.#context.events.publish("died", { id, reason });
  }

  /** The session may be used again. */
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

  /** Listeners are told when it is on disk, so that what they were told is true after a crash. */
  #saveThen(id: string, tell: () => void): void {
    const known = this.#registry.get(id);
    if (known !== undefined) markDirty(known, "verdict");
    void this.#recordWriter.save(id).then(tell);
  }
}
