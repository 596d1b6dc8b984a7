import { AsyncLocalStorage } from "node:async_hooks";
import type { LeaseScope } from "../connections/lease-scope.js";
import type { SessionEntry } from "../state/session-entry.js";

/** A lease whose work runs, and the one around it. */
interface Holder {
  readonly scope: LeaseScope;
  readonly outer: Holder | undefined;
}

/** From this version on an AsyncLocalStorage costs next to nothing (AsyncContextFrame); before, it slows every promise of the process. */
const CHEAP_SINCE = 24;

/**
 * Knows, of a call that is made inside `use`, which leases the works around it hold: one that waits for a session that only
 * they can give back would wait for itself.
 *
 * Without effect where knowing it would slow down the whole process, unless that is wanted (`traceLeases`).
 */
export class Nesting {
  readonly #holders: AsyncLocalStorage<Holder> | undefined;

  constructor(isWanted: boolean) {
    const [major] = process.versions.node.split(".");
    this.#holders = isWanted || Number(major) >= CHEAP_SINCE ? new AsyncLocalStorage() : undefined;
  }

  /** Runs the work of a lease. */
  run<Result>(scope: LeaseScope, work: () => Result): Result {
    const holders = this.#holders;
    return holders === undefined ? work() : holders.run({ scope, outer: holders.getStore() }, work);
  }

  /** How many leases of each session the works around this call hold; `undefined` when there are none. */
  held(): ReadonlyMap<string, number> | undefined {
    let held: Map<string, number> | undefined;
    for (let holder = this.#holders?.getStore(); holder !== undefined; holder = holder.outer) {
      const { sessionId, hasEnded: isOver } = holder.scope;
      if (isOver) continue;
      held ??= new Map();
      held.set(sessionId, (held.get(sessionId) ?? 0) + 1);
    }
    return held;
  }
}

/** Whether nobody but the works around a call can give this session back. */
export function isHeldBy(held: ReadonlyMap<string, number>, entry: SessionEntry): boolean {
  return entry.leases > 0 && !entry.isDraining && held.get(entry.id) === entry.leases;
}
