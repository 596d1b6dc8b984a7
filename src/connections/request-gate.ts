import type { Timer } from "../common/clock.js";
import { ownershipLost, readOnlyLease } from "../error-factories.js";
import { CallTimeoutError, ConnectError, OutcomeUnknownError } from "../errors.js";
import type { CallOutcome } from "../observability/pool-metrics.js";
import { CALL_CHANNEL, type CallTrace, trace } from "../observability/tracing.js";
import type { Ownership } from "../ownership/ownership.js";
import type { PoolContext } from "../pool-context.js";
import type { RateLimiting } from "../rate-limits/rate-limiting.js";
import type { ActiveCooldown, CooldownScope } from "../state/cooldowns.js";
import type { PooledSession } from "../state/pooled-session.js";
import type { SessionStateManager } from "../state/session-state-manager.js";
import type { SessionTable } from "../state/session-table.js";
import { isIdempotent, isTransfer } from "../telegram/idempotent-methods.js";
import { classifyTelegramError, isFreeze, type Verdict } from "../telegram/verdicts.js";
import { NOOP_TRACKER } from "./attempt.js";
import {
  ConnectionLostError,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
  UnreadableAnswerError,
} from "./client-adapter.js";
import type { Connection } from "./connection.js";
import type { LeaseScope } from "./lease-scope.js";
import { OrderedRequests } from "./ordered-requests.js";
import {
  alreadyExecuted,
  callOutcomeOf,
  isOutcomeUnknown,
  isWithoutEffect,
  notConnected,
  outcomeUnknown,
  type PendingCall,
  unreadable,
} from "./pending-call.js";

/** Maximum number of times an idempotent request is sent again after a lost connection or a server error. */
const RESENDS = 2;
/** Delay before the first repetition after a server error; doubles with each. */
const SERVER_FAULT_PAUSE_MS = 500;

/**
 * How long one part of a file may wait in all once other parts have been transferred, which no other session can continue.
 * Accounts without Premium get such waits repeatedly in one transfer, of some seconds each (FLOOD_PREMIUM_WAIT_X); TDLib
 * waits and sends the part again. Source: core.telegram.org/api/files, TDLib NetQueryDelayer.
 */
const TRANSFER_WAIT_MS = 20_000;
/** Minimum delay before a refused request is checked again. */
const MIN_PAUSE_MS = 1;

/** What decides about the requests of a session. */
export interface RequestGateParts {
  readonly sessionTable: SessionTable<PooledSession>;
  readonly sessionState: SessionStateManager;
  readonly ownership: Ownership;
  readonly rateLimits: RateLimiting | undefined;
}

/** The {@link RequestGate} of one session. */
export class SessionRequestGate implements RequestGate {
  /** The session's connection. Created after the gate, and set before the first request. */
  connection: Connection<unknown> | undefined;
  readonly #context: PoolContext;
  readonly #id: string;
  readonly #sessionTable: SessionTable<PooledSession>;
  readonly #sessionState: SessionStateManager;
  readonly #ownership: Ownership;
  readonly #rateLimits: RateLimiting | undefined;
  readonly #ordered = new OrderedRequests();
  #timeouts = 0;

  constructor(
    context: PoolContext,
    id: string,
    { sessionTable, sessionState, ownership, rateLimits }: RequestGateParts,
  ) {
    this.#context = context;
    this.#id = id;
    this.#sessionTable = sessionTable;
    this.#sessionState = sessionState;
    this.#ownership = ownership;
    this.#rateLimits = rateLimits;
  }

  /** Considers cooldowns only: an admitted request has already been counted against the rate limits. */
  isBlocked({ method, peer }: OutgoingRequest): boolean {
    if (this.#fatalError() !== undefined) return true;
    const entry = this.#sessionTable.get(this.#id);
    if (entry === undefined || entry.isUnblocked) return false;
    const { cooldowns } = entry;
    const now = this.#context.time.now();
    return cooldowns.blockingTelegramCooldown([method], peer === undefined ? [] : [peer], now) !== undefined;
  }

  call(request: OutgoingRequest, scope: LeaseScope | undefined, transmit: () => InFlightRequest): Promise<unknown> {
    if (!CALL_CHANNEL.hasSubscribers) return this.#call(request, scope, transmit);
    const message: CallTrace = { sessionId: this.#id, method: request.method, attempt: scope?.attempt };
    return trace(CALL_CHANNEL, message, () => this.#call(request, scope, transmit));
  }

  #call(request: OutgoingRequest, scope: LeaseScope | undefined, transmit: () => InFlightRequest): Promise<unknown> {
    if (scope?.ended !== undefined) return Promise.reject(scope.ended);
    const isRead = isIdempotent(request.method);
    if (!isRead && scope?.isReadOnly === true) return Promise.reject(readOnlyLease(this.#id, request.method));
    const carriesFile = isTransfer(request.method);
    const tracker = scope?.tracker ?? NOOP_TRACKER;
    const call: PendingCall = {
      request,
      isIdempotent: isRead,
      isTransfer: carriesFile,
      hasEffect: false,
      scope,
      tracker,
      transmit,
      inlineWaitMs: this.#context.options.inlineWaitMs,
      transferWaitMs: carriesFile ? TRANSFER_WAIT_MS : 0,
      resends: 0,
      isSent: false,
      sentAt: undefined,
      mayHaveArrived: false,
    };
    const noted = call.isIdempotent ? undefined : tracker.beforeWrite?.();
    const result = noted === undefined ? this.#run(call) : noted.then(() => this.#run(call));
    const { recorder } = this.#context.metrics;
    if (recorder !== undefined) {
      result.catch((error: unknown) => {
        if (isOutcomeUnknown(call, error)) recorder.unknownOutcomes++;
      });
    }
    return scope === undefined ? result : scope.race(result);
  }

  async #run(call: PendingCall): Promise<unknown> {
    const { request } = call;
    for (;;) {
      await this.#untilAllowed(call);
      const turn = request.isOrdered ? this.#ordered.takeTurn() : undefined;
      try {
        if (turn?.before !== undefined && !(await this.#waitFor(turn.before, call))) continue;
        const admission = this.#rateLimits?.tryAdmit(this.#id, request) ?? true;
        if (admission !== true && !(await this.#isAdmitted(call, admission))) continue;
        return await this.#transmit(call);
      } catch (error) {
        await this.#afterFailure(call, error);
      } finally {
        turn?.end();
      }
    }
  }

  /**
   * Resolves with whether the request may be sent without another check. `admission` is the answer of the rate limits; it is
   * asked for again after what had to be written first.
   */
  async #isAdmitted(call: PendingCall, admission: false | Promise<void>): Promise<boolean> {
    const { request, scope } = call;
    for (let answer: boolean | Promise<void> = admission; answer !== true; ) {
      if (answer === false) {
        // A wait that has just ended would otherwise be checked repeatedly within this turn of the event loop.
        if (this.#hold(request) === undefined) await this.#sleep(MIN_PAUSE_MS, scope);
        return false;
      }
      await answer.catch((error: unknown) => {
        throw this.#notSent(call, error instanceof Error ? error : new Error(String(error)));
      });
      if (!this.#isStillAllowed(call)) return false;
      answer = this.#rateLimits?.tryAdmit(this.#id, request) ?? true;
    }
    return true;
  }

  /** Returns whether nothing has happened, while the request waited, for which it has to be checked again. */
  #isStillAllowed({ request, scope }: PendingCall): boolean {
    const isConnected = this.connection?.isConnected === true && !this.#ownership.needsRevalidation(this.#id);
    return scope?.ended === undefined && isConnected && !this.isBlocked(request);
  }

  /** Resolves when the request may be sent, after waiting out what is allowed. Throws the error that refuses it. */
  async #untilAllowed(call: PendingCall): Promise<void> {
    for (;;) {
      const refusal = call.scope?.ended ?? this.#fatalError();
      if (refusal !== undefined) throw this.#notSent(call, refusal);
      const hold = this.#hold(call.request);
      if (hold !== undefined) {
        const waitMs = hold.until - this.#context.time.now();
        const allowance = this.#allowance(call, hold.scope, waitMs);
        if (allowance === undefined) {
          throw this.#notSent(call, this.#floodError(hold.scope, waitMs, call.request), hold.scope);
        }
        call[allowance] -= waitMs;
        await this.#sleep(waitMs, call.scope);
      } else if (this.connection?.isConnected && !this.#ownership.needsRevalidation(this.#id)) {
        return;
      } else {
        await this.#connect().catch((error: unknown) => {
          throw this.#notSent(call, notConnected(call, error));
        });
      }
    }
  }

  async #connect(): Promise<void> {
    if ((await this.#ownership.claim(this.#id)) === undefined) throw ownershipLost(this.#id);
    await this.connection?.ensure();
  }

  /** Returns the cooldown or the rate limit that blocks the request. */
  #hold({ method, peer }: OutgoingRequest): ActiveCooldown | undefined {
    const entry = this.#sessionTable.get(this.#id);
    if (entry === undefined || entry.isUnblocked) return undefined;
    return entry.cooldowns.blockingCooldown([method], peer === undefined ? [] : [peer], this.#context.time.now());
  }

  /** Returns why no further request may be sent on this session, if so. */
  #fatalError(): Error | undefined {
    const death = this.#sessionState.fatal(this.#id);
    if (death !== undefined) return death;
    const claim = this.connection?.claim;
    return claim !== undefined && this.#context.time.now() < claim.usableUntil ? undefined : ownershipLost(this.#id);
  }

  /** Waits for the ordered requests ahead. Returns whether the request may be sent without another check. */
  async #waitFor(before: Promise<void>, call: PendingCall): Promise<boolean> {
    const timeouts = this.#timeouts;
    await before;
    if (this.#timeouts !== timeouts) {
      throw this.#notSent(
        call,
        this.#timeoutError(call, "was not sent, because the request before it was not answered"),
      );
    }
    return this.#isStillAllowed(call);
  }

  /** Returns which allowance covers the wait; `undefined` if the request must not wait on this session. */
  #allowance(call: PendingCall, scope: CooldownScope, waitMs: number): "inlineWaitMs" | "transferWaitMs" | undefined {
    if (waitMs <= call.transferWaitMs && call.tracker.isWorthStaying(waitMs)) return "transferWaitMs";
    return waitMs <= call.inlineWaitMs && !call.tracker.shouldRotate(scope) ? "inlineWaitMs" : undefined;
  }

  /** Returns the error for the caller of a request that is not sent, or not sent again. */
  #notSent(call: PendingCall, error: Error, scope?: CooldownScope): Error {
    if (!isWithoutEffect(call)) return outcomeUnknown(call, error);
    call.tracker.refused(call, scope);
    return error;
  }

  #floodError(scope: CooldownScope, waitMs: number, request: OutgoingRequest): Error {
    const wait = { seconds: Math.max(1, Math.ceil(waitMs / 1000)), isSlowMode: scope.kind === "peer" };
    return this.connection?.handle.floodError(wait, request) ?? new ConnectError("The session has no client.");
  }

  async #transmit(call: PendingCall): Promise<unknown> {
    const { request, scope, transmit } = call;
    const { clock, options, metrics } = this.#context;
    let timer: Timer | undefined;
    let isGranted = false;
    try {
      // Throws if the request cannot be serialized: it was not sent then.
      const transmission = transmit();
      call.isSent = true;
      metrics.timeline?.recordCall();
      call.sentAt = metrics.recorder === undefined ? undefined : clock.monotonic();
      call.tracker.sent(call);
      scope?.sent();
      try {
        const timeout = new Promise<never>((_, reject) => {
          timer = clock.setTimer(options.callTimeoutMs, () => reject(this.#onTimeout(call, transmission)));
        });
        const answer = await Promise.race([transmission.answer, timeout]);
        isGranted = true;
        if (call.sentAt !== undefined) this.#record(call, "ok");
        call.tracker.granted(call);
        return answer;
      } finally {
        timer?.cancel();
        scope?.answered();
      }
    } finally {
      this.#rateLimits?.onCompleted(this.#id, request, isGranted);
    }
  }

  /** Records one transmission. */
  #record(call: PendingCall, outcome: CallOutcome): void {
    const { clock, metrics } = this.#context;
    const sentAt = call.sentAt ?? clock.monotonic();
    call.sentAt = undefined;
    metrics.recorder?.recordCall(call.request.method, outcome, clock.monotonic() - sentAt);
  }

  /** Abandons a request after `callTimeoutMs` and excludes the connection from further leases. Returns the error. */
  #onTimeout(call: PendingCall, transmission: InFlightRequest): Error {
    this.#timeouts++;
    transmission.abandon();
    this.connection?.markStale("a request was not answered");
    const error = this.#timeoutError(call, `was not answered within ${this.#context.options.callTimeoutMs} ms`);
    return call.isIdempotent ? error : outcomeUnknown(call, error);
  }

  #timeoutError({ request, scope }: PendingCall, what: string): CallTimeoutError {
    return new CallTimeoutError(`${request.method} ${what} (callTimeoutMs).`, { sessionId: scope?.sessionId });
  }

  /** Resolves when the request may be sent again on this session. Otherwise throws the error for the caller. */
  async #afterFailure(call: PendingCall, error: unknown): Promise<void> {
    const { request } = call;
    if (call.sentAt !== undefined && !(error instanceof HeldBackError)) this.#record(call, callOutcomeOf(error));
    if (error instanceof HeldBackError) {
      if (isWithoutEffect(call)) call.tracker.refused(call);
      return;
    }
    if (error instanceof OutcomeUnknownError || error instanceof CallTimeoutError) throw error;
    if (error instanceof ConnectionLostError) return this.#afterLoss(call, error);
    if (error instanceof UnreadableAnswerError) throw unreadable(call, error.cause);
    const verdict = classifyTelegramError(error, { method: request.method, now: this.#context.clock.now() });
    if (verdict.code === "UNKNOWN") throw unreadable(call, error);
    call.tracker.failed(error);
    if (verdict.kind === "dead" && !request.isHomeDc) return this.#afterForgotten(call, error);
    if (verdict.code === "RANDOM_ID_DUPLICATE" && call.mayHaveArrived) throw alreadyExecuted(call, error);
    const cooled = this.#applyVerdict(error, verdict, call);
    if (verdict.provesNotExecuted && isWithoutEffect(call)) call.tracker.refused(call, cooled);
    if (cooled !== undefined && this.#isSleptOut(call)) return;
    // The second copy was refused; the first one may have been executed.
    if (!isWithoutEffect(call)) throw outcomeUnknown(call, error);
    const isHarmless = call.isIdempotent || verdict.provesNotExecuted;
    if (verdict.kind === "retry" && isHarmless && call.resends < RESENDS) {
      await this.#sleep(SERVER_FAULT_PAUSE_MS * 2 ** call.resends++, call.scope);
      return;
    }
    throw error;
  }

  /** Applies Telegram's error to the session. Returns the cooldown that it started, if any. */
  #applyVerdict(error: unknown, verdict: Verdict, { request, scope }: PendingCall): CooldownScope | undefined {
    this.#rateLimits?.onRejected(this.#id, request, verdict);
    const hasCurrentKey = this.connection?.hasCurrentKey === true;
    const cooled = this.#sessionState.applyVerdict(this.#id, error, verdict, request, hasCurrentKey);
    if (cooled !== undefined || scope?.isReadOnly !== true || !isFreeze(verdict.code)) return cooled;
    // The session goes on serving reads, and would be selected again for this one.
    return this.#sessionState.limitFrozen(this.#id, verdict, request);
  }

  /** Returns whether this call waits out the flood wait that Telegram has just answered with. */
  #isSleptOut(call: PendingCall): boolean {
    const hold = this.#hold(call.request);
    return hold !== undefined && this.#allowance(call, hold.scope, hold.until - this.#context.time.now()) !== undefined;
  }

  /** Sends reads again and, once, a write whose duplicate Telegram would refuse. Throws for all other requests. */
  #afterLoss(call: PendingCall, error: ConnectionLostError): void {
    const { request, scope } = call;
    call.mayHaveArrived ||= error.wasSent;
    const allowed = call.isIdempotent || !call.mayHaveArrived ? RESENDS : request.hasRandomId ? 1 : 0;
    if (call.resends++ < allowed) return;
    const message = `${request.method} got no answer: ${error.message}.`;
    throw this.#notSent(call, new ConnectError(message, { cause: error, sessionId: scope?.sessionId }));
  }

  /** Another data center has lost the exported authorization. This does not concern the account: export it again. */
  #afterForgotten(call: PendingCall, error: unknown): void {
    if (isWithoutEffect(call) && call.resends++ < 1) return;
    const { request, scope } = call;
    const message = `${request.method} was refused: another data center does not know the session.`;
    throw this.#notSent(call, new ConnectError(message, { cause: error, sessionId: scope?.sessionId }));
  }

  /** Resolves when the wait is over on the pool's time line, even if a timer fires early, or when the lease ends. */
  async #sleep(waitMs: number, scope: LeaseScope | undefined): Promise<void> {
    const { time, clock } = this.#context;
    const until = time.now() + waitMs;
    for (let left = waitMs; left > 0 && scope?.ended === undefined; left = until - time.now()) {
      await new Promise<void>((resolve) => {
        const stop = scope?.onEnd(() => {
          timer.cancel();
          resolve();
        });
        const timer = clock.setTimer(left, () => {
          stop?.();
          resolve();
        });
      });
    }
  }
}
