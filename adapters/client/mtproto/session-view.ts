import type { LeaseScope } from "../../../src/connections/lease-scope.js";

type Method = (...values: unknown[]) => unknown;

const views = new WeakMap<LeaseScope, object>();

/** The client's session as one lease may use it: its methods throw once the lease is over. */
export function viewSession<Session extends object>(session: Session, scope: LeaseScope): Session {
  const known = views.get(scope);
  if (known !== undefined) return known as Session;
  const methods = new Map<string | symbol, Method>();
  const view = new Proxy(session, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof name === "symbol" || name === "constructor" || typeof value !== "function") return value;
      const method = methods.get(name) ?? whileLeased(target, value as Method, scope);
      methods.set(name, method);
      return method;
    },
    set: (target, name, value) => {
      if (scope.ended !== undefined) throw scope.ended;
      return Reflect.set(target, name, value);
    },
  });
  views.set(scope, view);
  return view;
}

function whileLeased(target: object, method: Method, scope: LeaseScope): Method {
  return (...values) => {
    if (scope.ended !== undefined) throw scope.ended;
    return method.apply(target, values);
  };
}
