import type { OutgoingRequest } from "../connections/client-adapter.js";
import type { MethodBudget } from "../options/budgets.js";
import type { AppliedLimit } from "./call-counters.js";
import { WindowedLimits } from "./windowed-limits.js";

const NONE: readonly AppliedLimit[] = [];

/** The limits of the options, each as it stands there. */
export class ConfiguredLimits extends WindowedLimits {
  readonly #plan: ReadonlyMap<string, MethodBudget>;

  constructor(plan: ReadonlyMap<string, MethodBudget>) {
    super();
    this.#plan = plan;
  }

  protected override allowances(_: string, { method, peer }: OutgoingRequest): readonly AppliedLimit[] {
    const budget = this.#plan.get(method);
    if (budget === undefined) return NONE;
    const { perSession, perPeer } = budget;
    const allowances: AppliedLimit[] = [];
    if (perSession !== undefined)
      allowances.push({ ...perSession, method, peer: undefined, retentionMs: perSession.perMs });
    if (perPeer !== undefined && peer !== undefined) {
      allowances.push({ ...perPeer, method, peer, retentionMs: perPeer.perMs });
    }
    return allowances;
  }
}
