import { look, lookLater, lookOften, remember } from "./canary.js";

type Method = (this: object, ...values: unknown[]) => unknown;
type PoolClass = { readonly prototype: object; readonly open: unknown };

/** Calls whose resolved value is the caller's own: what the work returned, or a session that was asked for. */
const CALLERS_OWN = new Set(["use", "invoke", "exportSession"]);
const ENDINGS = new Set(["close", "destroy"]);
const LOGGER_METHODS = new Set<PropertyKey>(["debug", "info", "warn", "error"]);

/** Watches every pool of a class: what it emits, logs, returns, resolves and rejects with, and the pool itself. */
export function watchPools(pools: PoolClass): void {
  replace(pools, "open", watchOpen);
  for (const name of Object.getOwnPropertyNames(pools.prototype)) {
    if (name !== "constructor") replace(pools.prototype, name, (original) => watchMethod(name, original));
  }
  replace(pools.prototype, "emit", watchEmit);
}

function replace(target: object, name: string, wrap: (original: Method) => Method): void {
  const original = Reflect.get(target, name) as Method;
  const wrapped = wrap(original);
  for (const key of ["name", "length"] as const) {
    Object.defineProperty(wrapped, key, { value: original[key], configurable: true });
  }
  Object.defineProperty(target, name, { value: wrapped, configurable: true, writable: true });
}

function watchOpen(original: Method): Method {
  return function (options, ...rest) {
    const opening = original.call(this, watchLogger(options), ...rest);
    if (opening instanceof Promise) lookLater("open()", opening);
    return opening;
  };
}

function watchEmit(original: Method): Method {
  return function (name, ...payload) {
    for (const event of payload) look(`the event ${String(name)}`, event);
    return original.call(this, name, ...payload);
  };
}

function watchMethod(name: string, original: Method): Method {
  const where = `${name}()`;
  return function (...values) {
    rememberSessions(name, values);
    if (ENDINGS.has(name)) lookOften(`the pool at ${where}`, this);
    const given = name === "use" || name === "map" ? values.map(watchWork(where)) : values;
    try {
      const result = original.apply(this, given);
      watchResult(name, where, result);
      return result;
    } catch (error) {
      lookOften(`what ${where} threw`, error);
      throw error;
    }
  };
}

function watchResult(name: string, where: string, result: unknown): void {
  if (result instanceof Promise) lookLater(where, result, CALLERS_OWN.has(name) ? () => undefined : undefined);
  else if (isIterator(result)) replace(result, "next", (next) => watchNext(where, next));
  else look(`what ${where} returned`, result);
}

/** Of what an iteration resolves only the error is the pool's: the value is the work's and the item the caller's. */
function watchNext(where: string, original: Method): Method {
  return function (...values) {
    const step = original.apply(this, values);
    if (step instanceof Promise)
      lookLater(`a step of ${where}`, step, (result) => fieldOf(fieldOf(result, "value"), "error"));
    return step;
  };
}

/** The lease and the client as the work gets them; nothing is called on them. */
function watchWork(where: string): (value: unknown) => unknown {
  return (work) => {
    if (typeof work !== "function") return work;
    return function (this: unknown, client: unknown, ...rest: unknown[]): unknown {
      lookOften(`the client of ${where}`, client);
      lookOften(`the lease of ${where}`, rest.at(-1));
      return Reflect.apply(work, this, [client, ...rest]);
    };
  };
}

/** The pool is given a logger that looks and hands on. */
function watchLogger(options: unknown): unknown {
  const logger = fieldOf(options, "logger");
  if (typeof logger !== "object" || logger === null) return options;
  const get = (target: object, key: PropertyKey): unknown => {
    const log: unknown = Reflect.get(target, key);
    if (typeof log !== "function" || !LOGGER_METHODS.has(key)) return log;
    return (...values: unknown[]) => {
      for (const value of values) look(`logger.${String(key)}()`, value);
      return Reflect.apply(log, target, values);
    };
  };
  return { ...(options as object), logger: new Proxy(logger, { get }) };
}

function rememberSessions(name: string, [, given]: readonly unknown[]): void {
  const session = name === "add" ? given : name === "update" ? fieldOf(given, "session") : undefined;
  if (typeof session === "string") remember(session);
}

function isIterator(value: unknown): value is object {
  return typeof fieldOf(value, "next") === "function";
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, field) : undefined;
}
