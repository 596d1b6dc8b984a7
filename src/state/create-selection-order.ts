import { catchUserErrors, type SafeCall, type UserCallbackContext } from "../common/user-callback.js";
import type { SelectionStrategy, SessionSelection } from "../options/selection-strategy.js";
import type { SessionInfo } from "../options/session-info.js";
import {
  ConnectedFirstOrder,
  CustomOrder,
  LruOrder,
  RandomOrder,
  type SelectionOrder,
  WeightedOrder,
} from "./selection-order.js";
import type { SessionEntry } from "./session-entry.js";

/** The order behind the option `selection`. */
export function createSelectionOrder(
  selection: SessionSelection,
  { info, failed }: UserCallbackContext,
): SelectionOrder {
  if (selection === "spread") return new LruOrder();
  if (selection === "warm") return new ConnectedFirstOrder();
  if (selection === "random") return new RandomOrder(Math.random);
  const safely = catchUserErrors("selection", failed);
  if ("random" in selection) {
    const { random } = selection;
    return new RandomOrder(typeof random === "number" ? seeded(random) : () => safely(random, 0));
  }
  if ("weight" in selection) {
    return new WeightedOrder((entry) => safely(() => selection.weight(info(entry.id)), Number.NaN));
  }
  return customOrder(selection, info, safely);
}

function customOrder(strategy: SelectionStrategy, info: (id: string) => SessionInfo, safely: SafeCall): SelectionOrder {
  const rank = ({ id }: SessionEntry) => safely(() => strategy.rank(info(id)), Number.NaN);
  return new CustomOrder(rank, ({ id }) => safely(() => strategy.leased(info(id)), undefined));
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
