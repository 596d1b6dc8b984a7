/** Shared by all copies of this package in one thread; each worker thread has its own. */
const KEY = Symbol.for("telegram-session-pool.live-pools");

/** The pools of this thread that are not closed yet: what a closed one had claimed may be claimed again. */
export const livePools: Set<string> = registered();

function registered(): Set<string> {
  const existing: unknown = Reflect.get(globalThis, KEY);
  if (existing instanceof Set) return existing;
  const created = new Set<string>();
  Object.defineProperty(globalThis, KEY, { value: created });
  return created;
}
