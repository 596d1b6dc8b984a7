import { AsyncLocalStorage } from "node:async_hooks";
import type { LeaseScope } from "../connections/lease-scope.js";
import type { SessionEntry } from "../state/session-entry.js";

/** The lease of work that runs, and the lease of the work around it. */
interface NestedLease {
  readonly scope: LeaseScope;
  readonly outer: NestedLease | undefined;
}

/**
 * First version of Node.js in which an AsyncLocalStorage is cheap, because it uses AsyncContextFrame. Earlier versions
 * hook into every promise of the process.
 */
const FIRST_CHEAP_NODE_VERSION = 24;

/**
 * Tracks which leases are held by the work around a call, to detect a call inside `use` that would wait for the session of
 * that very `use`.
 *
 * Has no effect in versions of Node.js where it would slow down the process, unless `isForced` (`traceLeases`).
 */
export class Nesting {
  readonly #storage: AsyncLocalStorage<NestedLease> | undefined;

  constructor(isForced: boolean) {
    const [major] = process.versions.node.split(".");
    this.#storage = isForced || Number(major) >= FIRST_CHEAP_NODE_VERSION ? new AsyncLocalStorage() : undefined;
  }

  /** Runs the work of a lease. */
  run<Result>(scope: LeaseScope, work: () => Result): Result {
    const storage = this.#storage;
    return storage === undefined ? work() : storage.run({ scope, outer: storage.getStore() }, work);
  }

  /** Number of leases, by session id, that the work around this call holds; `undefined` if there are none. */
  heldLeases(): ReadonlyMap<string, number> | undefined {
    let held: Map<string, number> | undefined;
    for (let lease = this.#storage?.getStore(); lease !== undefined; lease = lease.outer) {
      const { sessionId, hasEnded } = lease.scope;
      if (hasEnded) continue;
      held ??= new Map();
      held.set(sessionId, (held.get(sessionId) ?? 0) + 1);
    }
    return held;
  }
}

/** Whether all leases of the session are held by the work around a call. */
export function isHeldByCaller(held: ReadonlyMap<string, number>, entry: SessionEntry): boolean {
  return entry.leases > 0 && !entry.isDraining && held.get(entry.id) === entry.leases;
}
