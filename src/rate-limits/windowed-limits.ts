import type { OutgoingRequest } from "../connections/client-adapter.js";
import { type AppliedLimit, CallCounters, type ExhaustedLimit } from "./call-counters.js";
import { NO_BLOCK, type RateBlock, type RateLimits } from "./rate-limits.js";

/** Limits of so many calls in so much time, beside what every session has sent. */
export abstract class WindowedLimits implements RateLimits {
  protected readonly spending: CallCounters = new CallCounters();

  /** What a request is held against. */
  protected abstract allowances(id: string, request: OutgoingRequest, now: number): readonly AppliedLimit[];

  /** The request goes; it is not counted yet. */
  protected sending(_id: string, _request: OutgoingRequest, _now: number): void {}

  /** It is counted. */
  protected counted(_id: string, _request: OutgoingRequest): void {}

  refusals(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    return restsOf(this.spending.spent(id, this.allowances(id, request, now), now));
  }

  send(id: string, request: OutgoingRequest, now: number): readonly RateBlock[] {
    const allowances = this.allowances(id, request, now);
    if (allowances.length === 0) return NO_BLOCK;
    this.sending(id, request, now);
    this.spending.add(id, allowances, now);
    this.counted(id, request);
    return restsOf(this.spending.spent(id, allowances, now));
  }
}

function restsOf(spent: readonly ExhaustedLimit[]): readonly RateBlock[] {
  return spent.length === 0
    ? NO_BLOCK
    : spent.map(({ allowance: { method, peer }, until }) => ({ method, peer, until }));
}
