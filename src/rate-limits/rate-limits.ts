import type { MethodBudget } from "../options/budgets.js";
import type { StoredRecord } from "../storage/storage.js";
import type { OutgoingRequest } from "../telegram/requests.js";
import type { Verdict } from "../telegram/verdicts.js";
import { type AppliedLimit, CallCounters, type ExhaustedLimit } from "./call-counters.js";

/** A method, or a method and a peer, that a session must not call before an instant. */
export interface RateBlock {
  readonly method: string;
  readonly peer: string | undefined;
  readonly until: number;
  /** Whether it holds for all sessions of the account. */
  readonly isOfAccount?: boolean;
}

/** What is blocked of a session. */
export interface SessionBlocks {
  readonly id: string;
  readonly blocks: readonly RateBlock[];
}

export const NO_BLOCKS: readonly RateBlock[] = [];

/** A source of rate limits: the user's figures, the user's strategy, or what floods have taught. Instants are pool time. */
export interface RateLimits {
  /** Returns the limits that block the request now. */
  blocksOf(id: string, request: OutgoingRequest, now: number): readonly RateBlock[];
  /**
   * Returns a promise if something has to be written before the request can be sent: the request is judged again when it
   * has resolved. Called for requests that are not blocked.
   */
  reserve?(id: string, request: OutgoingRequest, now: number): Promise<void> | undefined;
  /** Counts a request that is sent now. Returns what is blocked from now on. */
  onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[];
  /** The request is no longer in flight. `isSuccess`: Telegram has answered it, and not with an error. */
  onCompleted?(id: string, request: OutgoingRequest, isSuccess: boolean): void;
  /** Telegram has answered the request with an error. */
  onRejected?(id: string, request: OutgoingRequest, verdict: Verdict): void;
  /** Set by the user of the limits. Called when sessions may make more calls of a method than they were told before. */
  onRelaxed?: ((method: string) => void) | undefined;
  /** Until when a method is blocked for a session by a limit that may have been relaxed; in the past if it is not. */
  blockedUntil?(id: string, method: string, now: number): number;
  /** Reads what the storage contains. */
  load?(records: readonly StoredRecord[]): void;
  /** Returns the sessions that are blocked according to the records that were loaded since the last call. */
  takeBlocked?(now: number): readonly SessionBlocks[];
  /** Called once no request will be sent any more: writes what is not written yet. Rejects as the storage does. */
  flush?(): Promise<void>;
}

/** Limits on the number of calls in a sliding window of time. */
export abstract class WindowedLimits implements RateLimits {
  protected readonly counters: CallCounters = new CallCounters();

  /** The limits that apply to a request. */
  protected abstract limitsOf(id: string, request: OutgoingRequest, now: number): readonly AppliedLimit[];

  /** Called for a request that is sent, before it is counted. */
  protected beforeCount(_id: string, _request: OutgoingRequest, _now: number): void {}

  /** Called for a request that is sent, after it has been counted. */
  protected afterCount(_id: string, _request: OutgoingRequest): void {}

  blocksOf(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    return toBlocks(this.counters.exhausted(id, this.limitsOf(id, request, now), now));
  }

  onSent(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const limits = this.limitsOf(id, request, now);
    if (limits.length === 0) return NO_BLOCKS;
    this.beforeCount(id, request, now);
    this.counters.add(id, limits, now);
    this.afterCount(id, request);
    return toBlocks(this.counters.exhausted(id, limits, now));
  }
}

function toBlocks(exhausted: readonly ExhaustedLimit[]): readonly RateBlock[] {
  if (exhausted.length === 0) return NO_BLOCKS;
  return exhausted.map(({ limit: { method, peer }, until }) => ({ method, peer, until }));
}

const NO_LIMITS: readonly AppliedLimit[] = [];

/** The limits of the option `budgets`, by canonical method name. */
export class ConfiguredLimits extends WindowedLimits {
  readonly #budgets: ReadonlyMap<string, MethodBudget>;

  constructor(budgets: ReadonlyMap<string, MethodBudget>) {
    super();
    this.#budgets = budgets;
  }

  protected override limitsOf(_: string, { method, peer }: OutgoingRequest): readonly AppliedLimit[] {
    const budget = this.#budgets.get(method);
    if (budget === undefined) return NO_LIMITS;
    const { perSession, perPeer } = budget;
    const limits: AppliedLimit[] = [];
    if (perSession !== undefined) {
      limits.push({ ...perSession, method, peer: undefined, retentionMs: perSession.perMs });
    }
    if (perPeer !== undefined && peer !== undefined) {
      limits.push({ ...perPeer, method, peer, retentionMs: perPeer.perMs });
    }
    return limits;
  }
}
