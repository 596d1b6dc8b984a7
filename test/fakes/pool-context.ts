import type { ClientAdapter } from "../../src/adapter.js";
import { resolveOptions } from "../../src/create-pool.js";
import type { SessionPoolEvents } from "../../src/events.js";
import type { SessionPoolOptions } from "../../src/options/options.js";
import { createContext, type PoolContext } from "../../src/pool-context.js";

/** One event as the pool's listeners get it. */
export interface PublishedEvent {
  readonly name: keyof SessionPoolEvents;
  readonly event: unknown;
}

/** A context for parts that are tested by themselves, and what they have published. */
export interface FakeContext extends PoolContext {
  readonly published: readonly PublishedEvent[];
}

const NO_CLIENT: ClientAdapter<unknown> = {
  open: async () => {},
  create: () => {
    throw new Error("This test connects nothing.");
  },
  invoke: async () => {},
};

export function fakeContext(options: Partial<SessionPoolOptions<unknown>> = {}): FakeContext {
  const published: PublishedEvent[] = [];
  const resolved = resolveOptions({ client: NO_CLIENT, ...options });
  const context = createContext(resolved, (name, event) => published.push({ name, event }), { has: () => true });
  return { ...context, published };
}
