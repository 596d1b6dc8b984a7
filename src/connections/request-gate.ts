import type { Clock } from "../common/clock.js";
import { CallTimeoutError, ConnectError, OutcomeUnknownError, SessionPoolError } from "../errors.js";
import type { ActiveCooldown, CooldownScope } from "../state/cooldowns.js";
import { isIdempotent, isTransfer } from "../telegram/idempotent-methods.js";
import { affectsSession, classifyTelegramError, type Verdict } from "../telegram/verdicts.js";
import { type CallObserver, NOOP_TRACKER } from "./attempt.js";
import {
  ConnectionLostError,
  type FloodWait,
  HeldBackError,
  type InFlightRequest,
  type OutgoingRequest,
  type RequestGate,
  UnreadableAnswerError,
} from "./client-adapter.js";
import type { LeaseScope } from "./lease-scope.js";
import { Turns } from "./turns.js";

/** What the gate of one session asks of the pool. */
export interface RequestGateHooks {
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** Milliseconds that one call may sleep in all. */
  readonly inlineWaitMs: number;
  /** Now, on the pool's time line. */
  now(): number;
  /** What holds the request back. */
  hold(request: OutgoingRequest): ActiveCooldown | undefined;
  /** Whether a cooldown holds the request back. A budget does not: a request that was admitted has its part of it. */
  isCooling(request: OutgoingRequest): boolean;
  /** Counts the request in, which is sent at once if it may: another one may have spent the budget since `hold`. */
  tryAdmit(request: OutgoingRequest): boolean;
  /** A request that was admitted is on the wire no more. */
  settled(request: OutgoingRequest, isGranted: boolean): void;
  /** Why nothing may be sent on this session any more, if so. */
  fatal(): Error | undefined;
  /** Telegram has answered with an error. What it cools, if it cools anything. */
  onVerdict(error: unknown, verdict: Verdict, request: OutgoingRequest): CooldownScope | undefined;
  isConnected(): boolean;
  /** Resolves when the client is connected; rejects with the reason why it cannot be. */
  ensureConnected(): Promise<void>;
  floodError(notice: FloodWait, request: OutgoingRequest): Error;
  /** A request was not answered in time: the connection is not to be trusted with the next lease. */
  unanswered(): void;
}

/** How often a request that is harmless to repeat is sent again: after a lost connection, and after a server's fault. */
const RESENDS = 2;
/** The pause before the first repetition after a server's fault; doubles. */
const SERVER_FAULT_PAUSE_MS = 500;

/**
 * How long one part of a file may wait in all, where other parts of it have gone through: no other session can go on
 * with them. Accounts without Premium are told such waits again and again in one transfer, of some seconds each
 * (FLOOD_PREMIUM_WAIT_X); TDLib waits and sends the part again. Source: core.telegram.org/api/files, TDLib NetQueryDelayer.
 */
const TRANSFER_WAIT_MS = 20_000;
/** The least that is waited before a refused request is looked at once more. */
const SHORTEST_PAUSE_MS = 1;

/** One request in the gate, and what is left of its allowances. */
interface PendingCall {
  readonly request: OutgoingRequest;
  readonly isIdempotent: boolean;
  readonly scope: LeaseScope | undefined;
  readonly trace: CallObserver;
  readonly transmit: () => InFlightRequest;
  inlineWaitMs: number;
  transferWaitMs: number;
  resends: number;
  /** Whether it was put on the wire. */
  isSent: boolean;
  /** Whether an earlier transmission of it may have reached Telegram. */
  mayHaveArrived: boolean;
}

/** The gate of one session. See {@link RequestGate}. */
export class SessionRequestGate implements RequestGate {
  readonly #policy: RequestGateHooks;
  readonly #turns = new Turns();
  #timeouts = 0;

  constructor(policy: RequestGateHooks) {
    this.#policy = policy;
  }

  isBlocked(request: OutgoingRequest): boolean {
    return this.#policy.isCooling(request) || this.#policy.fatal() !== undefined;
  }

  call(request: OutgoingRequest, scope: LeaseScope | undefined, transmit: () => InFlightRequest): Promise<unknown> {
    if (scope?.ended !== undefined) return Promise.reject(scope.ended);
    const isHarmless = isIdempotent(request.method);
    const isPart = isTransfer(request.method);
    const tracker = scope?.tracker ?? NOOP_TRACKER;
    const passage: PendingCall = {
      request,
      isIdempotent: isHarmless,
      scope,
      trace: tracker.trace({ isRead: isHarmless, isTransfer: isPart }),
      transmit,
      inlineWaitMs: this.#policy.inlineWaitMs,
      transferWaitMs: isPart ? TRANSFER_WAIT_MS : 0,
      resends: 0,
      isSent: false,
      mayHaveArrived: false,
    };
    const noted = isHarmless ? undefined : tracker.beforeWrite?.();
    const result = noted === undefined ? this.#run(passage) : noted.then(() => this.#run(passage));
    return scope === undefined ? result : scope.race(result);
  }

  async #run(passage: PendingCall): Promise<unknown> {
    for (;;) {
      await this.#untilAllowed(passage);
      const turn = passage.request.isOrdered ? this.#turns.take() : undefined;
      try {
        if (turn?.before !== undefined && !(await this.#waitFor(turn.before, passage))) continue;
        if (!this.#policy.tryAdmit(passage.request)) {
          // A wait that is over already would be looked at again and again in this very turn of the event loop.
          if (this.#policy.hold(passage.request) === undefined) await this.#sleep(SHORTEST_PAUSE_MS, passage.scope);
          continue;
        }
        return await this.#transmit(passage);
      } catch (error) {
        await this.#afterFailure(passage, error);
      } finally {
        turn?.end();
      }
    }
  }

  /** Returns at once when the request may go; sleeps where that is asked for; throws what refuses it. */
  async #untilAllowed(passage: PendingCall): Promise<void> {
    for (;;) {
      const refusal = passage.scope?.ended ?? this.#policy.fatal();
      if (refusal !== undefined) throw this.#notSent(passage, refusal);
      const hold = this.#policy.hold(passage.request);
      if (hold !== undefined) {
        const waitMs = hold.until - this.#policy.now();
        const allowance = this.#allowance(passage, hold.scope, waitMs);
        if (allowance === undefined) {
          throw this.#notSent(passage, this.#floodError(hold.scope, waitMs, passage.request), hold.scope);
        }
        passage[allowance] -= waitMs;
        await this.#sleep(waitMs, passage.scope);
      } else if (this.#policy.isConnected()) {
        return;
      } else {
        await this.#policy.ensureConnected().catch((error: unknown) => {
          throw this.#notSent(passage, notConnected(passage, error));
        });
      }
    }
  }

  /** Waits for the ordered requests ahead. Whether the request may be sent now without a second look. */
  async #waitFor(before: Promise<void>, passage: PendingCall): Promise<boolean> {
    const timeouts = this.#timeouts;
    await before;
    if (this.#timeouts !== timeouts) {
      throw this.#notSent(
        passage,
        this.#timeoutError(passage, "was not sent, because the one before it was not answered"),
      );
    }
    return passage.scope?.ended === undefined && this.#policy.isConnected() && !this.isBlocked(passage.request);
  }

  /** What a wait is slept out of, if it is slept out on this session. */
  #allowance(
    passage: PendingCall,
    scope: CooldownScope,
    waitMs: number,
  ): "inlineWaitMs" | "transferWaitMs" | undefined {
    const tracker = passage.scope?.tracker ?? NOOP_TRACKER;
    if (waitMs <= passage.transferWaitMs && tracker.isWorthStaying(waitMs)) return "transferWaitMs";
    return waitMs <= passage.inlineWaitMs && !tracker.shouldRotate(scope) ? "inlineWaitMs" : undefined;
  }

  /** What the caller gets for a request that is not sent (again). */
  #notSent(passage: PendingCall, error: Error, scope?: CooldownScope): Error {
    if (!isWithoutEffect(passage)) return outcomeUnknown(passage, error);
    passage.trace.refused(scope);
    return error;
  }

  #floodError(scope: CooldownScope, waitMs: number, request: OutgoingRequest): Error {
    const seconds = Math.max(1, Math.ceil(waitMs / 1000));
    return this.#policy.floodError({ seconds, isSlowMode: scope.kind === "peer" }, request);
  }

  async #transmit(passage: PendingCall): Promise<unknown> {
    const transmission = this.#send(passage);
    passage.isSent = true;
    passage.trace.sent();
    passage.scope?.sent();
    let stop: () => void = () => {};
    const timeout = new Promise<never>((_, reject) => {
      const timer = this.#policy.clock.setTimer(this.#policy.callTimeoutMs, () => {
        this.#timeouts++;
        transmission.abandon();
        this.#policy.unanswered();
        const error = this.#timeoutError(passage, `was not answered within ${this.#policy.callTimeoutMs} ms`);
        reject(passage.isIdempotent ? error : outcomeUnknown(passage, error));
      });
      stop = () => timer.cancel();
    });
    let isGranted = false;
    try {
      const answer = await Promise.race([transmission.answer, timeout]);
      isGranted = true;
      passage.trace.granted();
      return answer;
    } finally {
      stop();
      passage.scope?.answered();
      this.#policy.settled(passage.request, isGranted);
    }
  }

  /** A request that cannot be put into bytes is not sent, and does not count. */
  #send(passage: PendingCall): InFlightRequest {
    try {
      return passage.transmit();
    } catch (error) {
      this.#policy.settled(passage.request, false);
      throw error;
    }
  }

  #timeoutError(passage: PendingCall, what: string): CallTimeoutError {
    return new CallTimeoutError(`${passage.request.method} ${what} (callTimeoutMs).`, {
      sessionId: passage.scope?.sessionId,
    });
  }

  /** Returns when the request may be tried again on this session; throws what the caller gets otherwise. */
  async #afterFailure(passage: PendingCall, error: unknown): Promise<void> {
    if (error instanceof HeldBackError) {
      if (isWithoutEffect(passage)) passage.trace.refused();
      return;
    }
    if (error instanceof OutcomeUnknownError || error instanceof CallTimeoutError) throw error;
    if (error instanceof ConnectionLostError) return this.#afterLoss(passage, error);
    if (error instanceof UnreadableAnswerError) throw notUnderstood(passage, error.cause);
    const { request } = passage;
    const verdict = classifyTelegramError(error, { method: request.method, now: this.#policy.clock.now() });
    if (verdict.code === "UNKNOWN") throw notUnderstood(passage, error);
    passage.trace.failed(error);
    if (verdict.kind === "dead" && !passage.request.isHomeDc) return this.#afterForgotten(passage, error);
    if (verdict.code === "RANDOM_ID_DUPLICATE" && passage.mayHaveArrived) throw alreadyExecuted(passage, error);
    const cooled = this.#policy.onVerdict(error, verdict, passage.request);
    if (verdict.provesNotExecuted && isWithoutEffect(passage)) passage.trace.refused(cooled);
    if (cooled !== undefined && this.#isSleptOut(passage)) return;
    // The second copy was refused; the first one may have gone through.
    if (!isWithoutEffect(passage)) throw outcomeUnknown(passage, error);
    const isHarmless = passage.isIdempotent || verdict.provesNotExecuted;
    if (verdict.kind === "retry" && isHarmless && passage.resends < RESENDS) {
      await this.#sleep(SERVER_FAULT_PAUSE_MS * 2 ** passage.resends++, passage.scope);
      return;
    }
    throw error;
  }

  /** Whether the flood that Telegram just told is to be slept out in this call. */
  #isSleptOut(passage: PendingCall): boolean {
    const hold = this.#policy.hold(passage.request);
    return hold !== undefined && this.#allowance(passage, hold.scope, hold.until - this.#policy.now()) !== undefined;
  }

  /** A read may go again; so may, once, a write that Telegram would refuse a second time. Nothing else. */
  #afterLoss(passage: PendingCall, error: ConnectionLostError): void {
    passage.mayHaveArrived ||= error.wasSent;
    const allowed = passage.isIdempotent || !passage.mayHaveArrived ? RESENDS : passage.request.hasRandomId ? 1 : 0;
    if (passage.resends++ < allowed) return;
    const { request, scope } = passage;
    throw this.#notSent(
      passage,
      new ConnectError(`${request.method} got no answer: ${error.message}.`, {
        cause: error,
        sessionId: scope?.sessionId,
      }),
    );
  }

  /** Another data center has lost what home had exported to it, which is no word about the account: it is exported anew. */
  #afterForgotten(passage: PendingCall, error: unknown): void {
    if (isWithoutEffect(passage) && passage.resends++ < 1) return;
    const { request, scope } = passage;
    const message = `${request.method} was refused: another data center does not know the session.`;
    throw this.#notSent(passage, new ConnectError(message, { cause: error, sessionId: scope?.sessionId }));
  }

  /** Sleeps until the pool's time line has passed the whole wait, however early the timer fires, or the lease ends. */
  async #sleep(waitMs: number, scope: LeaseScope | undefined): Promise<void> {
    const until = this.#policy.now() + waitMs;
    for (let left = waitMs; left > 0 && scope?.ended === undefined; left = until - this.#policy.now()) {
      await new Promise<void>((resolve) => {
        const stop = scope?.onEnd(() => {
          timer.cancel();
          resolve();
        });
        const timer = this.#policy.clock.setTimer(left, () => {
          stop?.();
          resolve();
        });
      });
    }
  }
}

/** Whether a refusal now means that nothing of the request has taken effect. */
function isWithoutEffect({ isIdempotent: isRead, mayHaveArrived }: PendingCall): boolean {
  return isRead || !mayHaveArrived;
}

/** Why a request could not be sent whose client had to be connected first. What only the pool understands is put in its words. */
function notConnected({ request, scope }: PendingCall, error: unknown): Error {
  if (error instanceof SessionPoolError || (error instanceof Error && affectsSession(classifyTelegramError(error)))) {
    return error;
  }
  const id = scope?.sessionId;
  const reason = error instanceof Error ? error.message : String(error);
  return new ConnectError(
    `${request.method} was not sent: the connection of session "${id}" was lost, and it must not connect now: ${reason}`,
    { cause: error, sessionId: id },
  );
}

/** What the caller gets for an answer that the client could not read, or for what it could not put into bytes. */
function notUnderstood(passage: PendingCall, error: unknown): unknown {
  if (passage.isIdempotent || !passage.isSent) {
    passage.trace.broke(error);
    return error;
  }
  const { request, scope } = passage;
  return new OutcomeUnknownError(
    `${request.method} was sent, and its answer could not be read: it may have taken effect. It is not repeated; look before you send it again.`,
    "unknown",
    { cause: error, sessionId: scope?.sessionId },
  );
}

function outcomeUnknown({ request, scope }: PendingCall, cause: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError(
    `${request.method} was sent and not answered: it may have taken effect. It is not repeated; look before you send it again.`,
    "unknown",
    { cause, sessionId: scope?.sessionId },
  );
}

function alreadyExecuted({ request, scope }: PendingCall, cause: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError(
    `${request.method} took effect, but its answer was lost with the connection: Telegram refuses the second copy.`,
    "yes",
    { cause, sessionId: scope?.sessionId },
  );
}
