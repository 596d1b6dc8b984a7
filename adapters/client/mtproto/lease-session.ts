import type { LeaseScope } from "../../../src/connections/lease-scope.js";

type Method = (...values: unknown[]) => unknown;

const views = new WeakMap<LeaseScope, object>();

/** The client's session as one lease may use it, with the key in it: all of it throws once the lease is over. */
export function createLeaseSession<Session extends object>(session: Session, scope: LeaseScope): Session {
  const known = views.get(scope);
  if (known !== undefined) return known as Session;
  const view = viewOf(session, scope);
  views.set(scope, view);
  return view;
}

function viewOf<Target extends object>(object: Target, scope: LeaseScope): Target {
  const methods = new Map<string | symbol, Method>();
  const assertLeased = (): void => {
    if (scope.ended !== undefined) throw scope.ended;
  };
  const read = (target: Target, name: string | symbol): unknown => {
    const value: unknown = Reflect.get(target, name);
    if (typeof name === "symbol" || name === "constructor") return value;
    if (typeof value === "function") {
      const method = methods.get(name) ?? throwAfterLease(target, value as Method, scope);
      methods.set(name, method);
      return method;
    }
    assertLeased();
    return hasKey(value) ? viewOf(value, scope) : value;
  };
  return new Proxy(object, {
    get: read,
    getOwnPropertyDescriptor: (target, name) => {
      const descriptor = Reflect.getOwnPropertyDescriptor(target, name);
      if (descriptor?.configurable !== true) return descriptor;
      const { enumerable = false } = descriptor;
      return { value: read(target, name), enumerable, writable: true, configurable: true };
    },
    set: (target, name, value) => {
      assertLeased();
      return Reflect.set(target, name, value);
    },
  });
}

/** A library's auth key, which a lease must not keep. */
function hasKey(value: unknown): value is object {
  return typeof value === "object" && value !== null && typeof Reflect.get(value, "getKey") === "function";
}

function throwAfterLease(target: object, method: Method, scope: LeaseScope): Method {
  return (...values) => {
    if (scope.ended !== undefined) throw scope.ended;
    return method.apply(target, values);
  };
}
