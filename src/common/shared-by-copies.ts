/**
 * Returns a collection that is shared, by its name, by all copies of this package in one thread; each worker thread has its
 * own. The name MUST change when the shape of the contents does, as the copies may be of different versions.
 */
export function sharedByCopies<Collection extends object>(name: string, kind: new () => Collection): Collection {
  const key = Symbol.for(`telegram-session-pool.${name}`);
  const existing: unknown = Reflect.get(globalThis, key);
  if (existing instanceof kind) return existing;
  const created = new kind();
  Object.defineProperty(globalThis, key, { value: created });
  return created;
}
