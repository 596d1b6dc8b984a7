import type { MethodBudget } from "../../budget-options.js";
import type { OutgoingRequest } from "../../connections/client-adapter.js";
import type { Allowance } from "../../roster/spending.js";
import { CountedLimits } from "./counted-limits.js";

const NONE: readonly Allowance[] = [];

/** The limits of the options, each as it stands there. */
export class GivenLimits extends CountedLimits {
  readonly #plan: ReadonlyMap<string, MethodBudget>;

  constructor(plan: ReadonlyMap<string, MethodBudget>) {
    super();
    this.#plan = plan;
  }

  protected override allowances(_: string, { method, peer }: OutgoingRequest): readonly Allowance[] {
    const budget = this.#plan.get(method);
    if (budget === undefined) return NONE;
    const { perSession, perPeer } = budget;
    const allowances: Allowance[] = [];
    if (perSession !== undefined) allowances.push({ ...perSession, method, peer: undefined, keepMs: perSession.perMs });
    if (perPeer !== undefined && peer !== undefined) {
      allowances.push({ ...perPeer, method, peer, keepMs: perPeer.perMs });
    }
    return allowances;
  }
}
