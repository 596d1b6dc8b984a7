import type { OutgoingRequest } from "../../connections/client-adapter.js";
import { type Allowance, Spending, type Spent } from "../../roster/spending.js";
import { type Limits, NO_REST, type Rest } from "./limits.js";

/** Limits of so many calls in so much time, beside what every session has sent. */
export abstract class CountedLimits implements Limits {
  protected readonly spending: Spending = new Spending();

  /** What a request is held against. */
  protected abstract allowances(id: string, request: OutgoingRequest, now: number): readonly Allowance[];

  /** The request goes; it is not counted yet. */
  protected sending(_id: string, _request: OutgoingRequest, _now: number): void {}

  /** It is counted. */
  protected counted(_id: string, _request: OutgoingRequest): void {}

  refusals(id: string, request: OutgoingRequest, now: number): readonly Rest[] {
    return restsOf(this.spending.spent(id, this.allowances(id, request, now), now));
  }

  send(id: string, request: OutgoingRequest, now: number): readonly Rest[] {
    const allowances = this.allowances(id, request, now);
    if (allowances.length === 0) return NO_REST;
    this.sending(id, request, now);
    this.spending.add(id, allowances, now);
    this.counted(id, request);
    return restsOf(this.spending.spent(id, allowances, now));
  }
}

function restsOf(spent: readonly Spent[]): readonly Rest[] {
  return spent.length === 0
    ? NO_REST
    : spent.map(({ allowance: { method, peer }, until }) => ({ method, peer, until }));
}
