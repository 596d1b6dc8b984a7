import type { LeaseScope } from "../../../src/connections/lease-scope.js";

const scopes = new WeakMap<object, LeaseScope>();

/** Remembers which lease a guarded client belongs to. */
export function setScope(guarded: object, scope: LeaseScope): void {
  scopes.set(guarded, scope);
}

/** The lease that a guarded client belongs to; `undefined` for a client itself. */
export function getScope(client: object): LeaseScope | undefined {
  return scopes.get(client);
}
