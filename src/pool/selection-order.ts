import { type Order, OwnOrder, RandomOrder, SpreadOrder, WarmOrder, WeightedOrder } from "../roster/order.js";
import type { RosterEntry } from "../roster/roster-entry.js";
import type { SelectionStrategy, SessionSelection } from "../selection-strategy.js";
import type { SessionInfo } from "../session-info.js";
import { guarded, type RuleSurroundings, type Safely } from "./user-rule.js";

/** The order behind the option `selection`. */
export function orderOf(selection: SessionSelection, { info, failed }: RuleSurroundings): Order {
  if (selection === "spread") return new SpreadOrder();
  if (selection === "warm") return new WarmOrder();
  if (selection === "random") return new RandomOrder(Math.random);
  const safely = guarded("selection", failed);
  if ("random" in selection) {
    const { random } = selection;
    return new RandomOrder(typeof random === "number" ? seeded(random) : () => safely(random, 0));
  }
  if ("weight" in selection) {
    return new WeightedOrder((entry) => safely(() => selection.weight(info(entry.id)), Number.NaN));
  }
  return ownOrder(selection, info, safely);
}

function ownOrder(strategy: SelectionStrategy, info: (id: string) => SessionInfo, safely: Safely): Order {
  const rank = ({ id }: RosterEntry) => safely(() => strategy.rank(info(id)), Number.NaN);
  return new OwnOrder(rank, ({ id }) => safely(() => strategy.leased(info(id)), undefined));
}

/** Numbers from 0 up to 1, the same for the same seed: Mulberry32 (Tommy Ettinger, 2017). */
function seeded(seed: number): () => number {
  const bits = new Uint32Array(new Float64Array([seed]).buffer);
  let state = (bits[0] ?? 0) ^ Math.imul(bits[1] ?? 0, 0x9e3779b1);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
