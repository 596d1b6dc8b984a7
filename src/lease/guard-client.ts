import type { LeaseScope } from "../connections/lease-scope.js";

/** A client adapter's rules for guarding the leases of its client. */
export interface ClientGuardRules<Client extends object> {
  /** The adapter's own implementation of a method that sends requests, adds handlers or opens connections. */
  override(name: string, scope: LeaseScope, guarded: Client): ((...values: never[]) => unknown) | undefined;
  /** Returns the value to substitute for the client's own value of a field. May throw `scope.ended`. */
  substitute(name: string, scope: LeaseScope): { readonly value: unknown } | undefined;
  /** Whether a method returns synchronously: after the lease it throws instead of rejecting. */
  isSynchronous(name: string): boolean;
  /** Whether a field is a cache that all leases of the client share. Any other field set under a lease ends with it. */
  isClientWide(name: string): boolean;
  /** Returns whether assignments to a field are ignored. */
  isReadonly(name: string): boolean;
}

/**
 * The client for use under one lease, as `ClientHandle.guard` returns it: the same class and the same methods, with
 * the guard as `this`, so that whatever a method creates (messages, iterators, events) refers to the guard and not to the
 * client. Once the lease has ended every method throws or rejects with `scope.ended`.
 *
 * @example
 * // In the ClientHandle of a client that sends every request through its method `call`:
 * guard(scope: LeaseScope): Client {
 *   return guard(this.client, scope, {
 *     override: (name) =>
 *       name === "call" ? (request: Request) => this.gate.call(describe(request), scope, () => this.transmit(request)) : undefined,
 *     substitute: (name) => {
 *       if (name === "authKey" && scope.ended !== undefined) throw scope.ended;
 *       return undefined;
 *     },
 *     isSynchronous: (name) => name === "on" || name === "off",
 *     isClientWide: (name) => name === "me",
 *     isReadonly: (name) => name === "floodWaitLimit",
 *   });
 * }
 */
export function guardClient<Client extends object>(
  client: Client,
  scope: LeaseScope,
  rules: ClientGuardRules<Client>,
): Client {
  const handler = new ClientGuard(client, scope, rules);
  const guarded = new Proxy(client, handler);
  handler.guarded = guarded;
  return guarded;
}

type Method = (...values: unknown[]) => unknown;

class ClientGuard<Client extends object> implements ProxyHandler<Client> {
  guarded: Client;
  readonly #scope: LeaseScope;
  readonly #rules: ClientGuardRules<Client>;
  /** Guarded methods by name, created on first use. */
  readonly #methods = new Map<string, Method>();
  /** Fields that were set under the lease. */
  readonly #settings = new Map<string, unknown>();

  constructor(client: Client, scope: LeaseScope, rules: ClientGuardRules<Client>) {
    this.guarded = client;
    this.#scope = scope;
    this.#rules = rules;
  }

  get(client: Client, name: string | symbol): unknown {
    if (typeof name === "symbol") return Reflect.get(client, name);
    const known = this.#methods.get(name);
    if (known !== undefined) return known;
    if (this.#settings.has(name)) return this.#settings.get(name);
    const replaced = this.#rules.substitute(name, this.#scope);
    if (replaced !== undefined) return replaced.value;
    const method = this.#method(client, name);
    if (method === undefined) return Reflect.get(client, name, this.guarded);
    this.#methods.set(name, method);
    return method;
  }

  set(client: Client, name: string | symbol, value: unknown): boolean {
    if (this.#scope.ended !== undefined) throw this.#scope.ended;
    if (typeof name === "symbol") return Reflect.set(client, name, value);
    if (this.#rules.isReadonly(name)) return true;
    // An own accessor of the client only hides its value: see `substitute`.
    const setter = Object.hasOwn(client, name) ? undefined : propertyOf(client, name)?.set;
    if (setter !== undefined) setter.call(this.guarded, value);
    else if (this.#rules.isClientWide(name)) return Reflect.set(client, name, value);
    else this.#settings.set(name, value);
    return true;
  }

  /** The value as `get` returns it: a descriptor must not reveal what is substituted. */
  getOwnPropertyDescriptor(client: Client, name: string | symbol): PropertyDescriptor | undefined {
    const descriptor = Reflect.getOwnPropertyDescriptor(client, name);
    if (descriptor?.configurable !== true) return descriptor;
    const { enumerable = false } = descriptor;
    return { value: this.get(client, name), enumerable, writable: true, configurable: true };
  }

  /** Treated as an assignment, which ends with the lease. Accessors are refused. */
  defineProperty(client: Client, name: string | symbol, descriptor: PropertyDescriptor): boolean {
    return "value" in descriptor && this.set(client, name, descriptor.value);
  }

  /** Deletes only what was set under the lease. */
  deleteProperty(_: Client, name: string | symbol): boolean {
    if (this.#scope.ended !== undefined) throw this.#scope.ended;
    if (typeof name === "string") this.#settings.delete(name);
    return true;
  }

  /** Creates the guarded method; `undefined` for accessors, and for classes in a field of the client. */
  #method(client: Client, name: string): Method | undefined {
    if (Object.hasOwn(client, name) || name === "constructor") return undefined;
    const original: unknown = propertyOf(client, name)?.value;
    if (typeof original !== "function") return undefined;
    const run = (this.#rules.override(name, this.#scope, this.guarded) as Method | undefined) ?? (original as Method);
    return (...values) => {
      const { ended } = this.#scope;
      if (ended === undefined) return run.apply(this.guarded, values);
      if (this.#rules.isSynchronous(name)) throw ended;
      return Promise.reject(ended);
    };
  }
}

/** Not those of Object itself: a client whose lease has ended can still be printed. */
function propertyOf(target: object, name: string): PropertyDescriptor | undefined {
  for (
    let holder: object | null = target;
    holder !== null && holder !== Object.prototype;
    holder = Object.getPrototypeOf(holder)
  ) {
    const property = Object.getOwnPropertyDescriptor(holder, name);
    if (property !== undefined) return property;
  }
  return undefined;
}
